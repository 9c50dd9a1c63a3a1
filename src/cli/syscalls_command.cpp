// vitro syscalls: the system-call table as a page of text; docs/syscalls.md is its output.
#include <fmt/format.h>

#include "commands.h"
#include "vitro/base/print.h"
#include "vitro/syscalls/table.h"

namespace vitro::cli {

void add_syscalls_command(CLI::App& app, Action& chosen) {
  CLI::App* command = app.add_subcommand("syscalls", "List every system call and how far vitro follows it (Markdown)");
  command->callback([&chosen] {
    chosen = []() -> Result<int, UserError> {
      print(stdout, "{}", syscalls::markdown());
      return 0;
    };
  });
}

}  // namespace vitro::cli
