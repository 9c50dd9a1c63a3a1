// vitro lab: a script of kernel-memory operations, without a kernel.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "commands.h"
#include "size_option.h"
#include "vitro/lab/lab.h"

namespace vitro::cli {
namespace {

constexpr size_t kLongestLab = size_t{4} << 20;

struct LabOptions {
  std::string file, ram = "256M";
  unsigned cpus = 1;
  bool verbose = false, verify = false, list = false, interactive = false;
};

Result<std::string, UserError> read_all(const std::string& path) {
  const auto refuse = [&](std::string_view why) { return fail(UserError{fmt::format("cannot read {}: {}", path, why), "name a lab, such as guest/labs/buddy.lab"}); };
  const std::unique_ptr<FILE, int (*)(FILE*)> file{path == "-" ? stdin : std::fopen(path.c_str(), "re"), [](FILE* f) { return f == stdin ? 0 : std::fclose(f); }};
  if (!file) return refuse(std::strerror(errno));
  std::string text;
  char buffer[1 << 14];
  while (const size_t n = std::fread(buffer, 1, sizeof buffer, file.get())) {
    text.append(buffer, n);
    if (text.size() > kLongestLab) return refuse("it is longer than 4 MiB");
  }
  if (std::ferror(file.get())) return refuse(std::strerror(errno));
  return text;
}

int status_of(const lab::Ending& ending, const std::string& file) {
  if (ending.kind != lab::Ending::Kind::Done) {
    std::fflush(stdout);
    fmt::print(stderr, "{}\n", lab::error_line(file, {ending.at, ending.what}));
  }
  return ending.status();
}

// Line by line, each run as soon as its brackets are closed. A mistake is told and forgotten.
void converse(lab::Lab& lab) {
  const bool prompt = ::isatty(0);
  lab::Names names;
  std::string pending, line;
  for (;;) {
    if (prompt) fmt::print("{}", pending.empty() ? "lab> " : "...> ");
    std::fflush(stdout);
    line.clear();
    int c;
    while ((c = std::fgetc(stdin)) != EOF && c != '\n' && line.size() < kLongestLab) line += static_cast<char>(c);
    if (c == EOF && line.empty()) break;
    pending += line + '\n';
    if (std::count(pending.begin(), pending.end(), '{') > std::count(pending.begin(), pending.end(), '}')) continue;
    const auto script = lab::parse(pending, names);
    pending.clear();
    if (script) {
      (void)status_of(lab.run(**script), "line");
    } else {
      std::fflush(stdout);
      fmt::print(stderr, "{}\n", lab::error_line("line", script.error()));
    }
  }
  if (prompt) fmt::print("\n");
}

Result<int, UserError> run_lab(const LabOptions& o) {
  if (o.list) {
    fmt::print("{}", lab::vocabulary_text());
    return 0;
  }
  if (o.interactive && !o.file.empty() && o.file != "-") return fail(UserError{"--interactive reads standard input and no file", "leave one of them out"});
  if (o.file.empty() && !o.interactive) return fail(UserError{"vitro lab needs a file", "name a lab, such as guest/labs/buddy.lab; - reads standard input"});
  lab::LabConfig config;
  config.ram = TRY(parse_size("--ram", o.ram));
  config.cpus = o.cpus;
  config.verbose = o.verbose;
  config.verify = o.verify;
  bool written = true;
  const auto output = [&written](std::string_view text) { written &= std::fwrite(text.data(), 1, text.size(), stdout) == text.size(); };
  const auto done = [&](int status) -> Result<int, UserError> {
    if (std::fflush(stdout) != 0 || !written) return fail(UserError{"cannot write to the standard output", "free some space, or read all of it"});
    return status;
  };
  if (o.interactive || (o.file == "-" && ::isatty(0))) {
    config.echo = false;
    const std::unique_ptr<lab::Lab> lab = TRY(lab::Lab::create(config, output));
    converse(*lab);
    lab->report_leaks();
    return done(0);
  }
  const std::string text = TRY(read_all(o.file));
  const auto script = lab::parse(text);
  if (!script) {
    fmt::print(stderr, "{}\n", lab::error_line(o.file, script.error()));
    return kUserErrorStatus;
  }
  const std::unique_ptr<lab::Lab> lab = TRY(lab::Lab::create(config, output));
  const lab::Ending ending = lab->run(**script);
  if (ending.kind == lab::Ending::Kind::Done) lab->report_leaks();
  return done(status_of(ending, o.file));
}

}  // namespace

void add_lab_command(CLI::App& app, Action& chosen) {
  auto o = std::make_shared<LabOptions>();
  CLI::App* command = app.add_subcommand("lab", "Run a script of kernel-memory operations (kmalloc, vmalloc, alloc_pages ...) and show what each changes");
  command->add_option("FILE", o->file, "The lab; - is standard input");
  command->add_option("--ram", o->ram, "Size of the machine's RAM (default 256M)")->type_name("SIZE");
  command->add_option("--cpus", o->cpus, "CPUs, for `set cpu` (default 1)")->type_name("N");
  command->add_flag("--verbose", o->verbose, "Say what each step inside a repeat changed, too");
  command->add_flag("--verify", o->verify, "Recount the memory manager's state after each step, as long as the lab itself corrupts nothing");
  command->add_flag("--interactive", o->interactive, "Run each line of standard input at once, and go on after a mistake");
  command->add_flag("--list", o->list, "Print the language: statements, operations, fields, flags");
  command->callback([o, &chosen] { chosen = [o] { return run_lab(*o); }; });
}

}  // namespace vitro::cli
