// The commands of the vitro program. Each adds itself to the command line and, when chosen, runs to an exit status.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "vitro/base/result.h"

namespace vitro::cli {

inline constexpr int kUserErrorStatus = 2;

// A command's work: its exit status, or what the user did wrong.
using Action = std::function<Result<int, UserError>()>;

// `run` ends its own options at the program: main() splits the words there and gives the rest to what this returns.
using SetCommand = std::function<void(std::vector<std::string> command)>;
SetCommand add_run_command(CLI::App& app, Action& chosen);
// Where in the words after `run` the program stands ("--" included): the first word that is neither an option nor an option's value.
size_t program_position(const CLI::App& run_command, const std::vector<std::string>& words);
void add_demo_command(CLI::App& app, Action& chosen);
void add_trace_command(CLI::App& app, Action& chosen);
void add_syscalls_command(CLI::App& app, Action& chosen);
void add_lab_command(CLI::App& app, Action& chosen);
void add_tlbs_command(CLI::App& app, Action& chosen);

// One line on stderr: "vitro: WHAT: HINT".
void print_user_error(const UserError& error);

}  // namespace vitro::cli
