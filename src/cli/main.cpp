// vitro: Linux memory management, in vitro. Reads the command line, runs one command, turns errors into one line and exit status 2.
#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <string>

#include "commands.h"

namespace vitro::cli {

void print_user_error(const UserError& error) {
  std::string line = error.what;
  if (!error.hint.empty()) line += ": " + error.hint;
  std::replace(line.begin(), line.end(), '\n', ' ');
  fmt::print(stderr, "vitro: {}\n", line);
}

}  // namespace vitro::cli

int main(int argc, char** argv) {
  using namespace vitro;
  auto logger = spdlog::stderr_logger_st("vitro");
  logger->set_pattern("vitro: %l: %v");
  spdlog::set_default_logger(logger);
  spdlog::set_level(spdlog::level::warn);

  CLI::App app{"vitro: Linux memory management, in vitro. Runs unmodified x86-64 Linux programs on an emulated CPU, MMU and memory manager.", "vitro"};
  app.set_version_flag("--version", "vitro " VITRO_VERSION);
  app.require_subcommand(1);
  app.option_defaults()->always_capture_default(false);
  cli::Action chosen;
  const cli::SetCommand set_command = cli::add_run_command(app, chosen);
  cli::add_demo_command(app, chosen);
  cli::add_trace_command(app, chosen);
  cli::add_syscalls_command(app, chosen);
  cli::add_lab_command(app, chosen);
  cli::add_tlbs_command(app, chosen);

  std::vector<std::string> words(argv + 1, argv + argc);
  if (!words.empty() && words.front() == "run") {
    const std::vector<std::string> after(words.begin() + 1, words.end());
    const size_t program = cli::program_position(*app.get_subcommand("run"), after);
    words.resize(1 + program);
    const size_t skip = program < after.size() && after[program] == "--" ? 1 : 0;
    if (program + skip < after.size()) set_command({after.begin() + static_cast<long>(program + skip), after.end()});
  }
  std::reverse(words.begin(), words.end());  // CLI11 takes them from the back

  try {
    app.parse(std::move(words));
  } catch (const CLI::Success& e) {  // --help, --version
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    cli::print_user_error({e.what(), "see vitro --help or vitro run --help"});
    return cli::kUserErrorStatus;
  }
  const Result<int, UserError> status = chosen();
  if (status) return *status;
  cli::print_user_error(status.error());
  return cli::kUserErrorStatus;
}
