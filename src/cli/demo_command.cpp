// vitro demo: short guided runs of vitro itself. Each is a command line that a user could type.
#include <fmt/format.h>
#include <unistd.h>

#include <climits>
#include <string>
#include <vector>

#include "commands.h"

#include "vitro/base/print.h"

namespace vitro::cli {
namespace {

struct Demo {
  const char* name;
  const char* about;
  std::vector<std::string> arguments;   // of vitro; "@GUEST" is the path of one of vitro's own guests
};

const std::vector<Demo>& demos() {
  static const std::vector<Demo> all{
      {"demand-paging", "100 MiB are mapped at once; frames come one by one, as pages are touched", {"run", "--ram", "256M", "--stats", "--", "@demand_paging"}},
      {"cow", "fork shares every frame; the child's writes copy them, one page at a time", {"run", "--stats", "--", "@cow_fork", "64K"}},
      {"shared", "a shared mapping: what the child writes, the parent reads", {"run", "--stats", "--", "@shared_anon"}},
      {"segv", "a bad address, caught by a handler", {"run", "--trace", "page-fault,signal", "--", "@segv", "caught", "0x10"}},
  };
  return all;
}

std::string own_path() {
  char buffer[PATH_MAX];
  const ssize_t n = ::readlink("/proc/self/exe", buffer, sizeof buffer);
  return n > 0 ? std::string(buffer, static_cast<size_t>(n)) : "vitro";
}

Result<int, UserError> run_demo(const std::string& name) {
  if (name.empty()) {
    print(stdout, "vitro demo NAME, where NAME is one of\n");
    for (const Demo& d : demos()) print(stdout, "  {:<14} {}\n", d.name, d.about);
    return 0;
  }
  for (const Demo& d : demos()) {
    if (name != d.name) continue;
    const std::string program = own_path();
    const std::string guests = program.substr(0, program.rfind('/')) + "/guest/";
    std::vector<std::string> words{program};
    std::string shown = "vitro";
    for (const std::string& a : d.arguments) {
      words.push_back(a[0] == '@' ? guests + a.substr(1) : a);
      shown += " " + words.back();
    }
    if (::access(words.back().c_str(), F_OK) != 0 && ::access(guests.c_str(), X_OK) != 0)
      return fail(UserError{fmt::format("the guest programs are not in {}", guests), "build them: scripts/setup"});
    print(stdout, "{}\n$ {}\n", d.about, shown);
    std::fflush(stdout);
    std::vector<char*> argv;
    for (std::string& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);
    ::execv(program.c_str(), argv.data());
    return fail(UserError{"cannot start " + program, ""});
  }
  return fail(UserError{fmt::format("no demo is called '{}'", name), "vitro demo lists them"});
}

}  // namespace

void add_demo_command(CLI::App& app, Action& chosen) {
  auto name = std::make_shared<std::string>();
  CLI::App* demo = app.add_subcommand("demo", "Show a mechanism with one of vitro's own guest programs");
  demo->add_option("NAME", *name, "Which one; without it they are listed");
  demo->callback([name, &chosen] { chosen = [name] { return run_demo(*name); }; });
}

}  // namespace vitro::cli
