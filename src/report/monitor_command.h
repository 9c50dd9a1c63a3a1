// The monitor's language: what a line of it says, checked before anything runs. What a command does is in MonitorView and Monitor.
//
//   MonitorCommand c = TRY(parse_monitor_command("x/4gx $rsp"));
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "report/monitor_expression.h"
#include "vitro/base/result.h"

namespace vitro::report {

enum class MonitorVerb : uint8_t { Walk, Maps, Frame, Tlb, Examine, Registers, Disassemble, Counters, Tasks, Step, Continue, Quit, Help };

struct MonitorVerbInfo {
  MonitorVerb verb;
  std::string_view name, alias;  // alias: empty where there is none
  std::string_view usage;        // "walk [PID] ADDR"
  std::string_view help;
};
std::span<const MonitorVerbInfo> monitor_verbs();
const MonitorVerbInfo* find_monitor_verb(std::string_view name);

// x/NFU: how many, in which form, of which size.
struct ExamineFormat {
  uint64_t count = 1;
  char form = 'x';    // x hexadecimal, d signed, u unsigned, o octal, t binary, a address with symbol, c character, s string, i instruction, f floating point
  unsigned size = 4;  // bytes: 1, 2, 4 or 8; of no consequence to s and i
};
inline constexpr uint64_t kMaximumExamined = 65536;
// "8gx", in any order. Errors: an unknown letter, a count of 0 or beyond kMaximumExamined, a form that its size has not.
Result<ExamineFormat, UserError> parse_examine_format(std::string_view text);

struct MonitorCommand {
  MonitorVerb verb = MonitorVerb::Help;
  std::optional<int32_t> pid;
  std::optional<Expression> address;
  ExamineFormat format;
  uint64_t count = 0;  // disas: instructions; step: instructions
  std::string word;    // regs: "all"; tlb: an array; counters: a name; help: a command
};
// One command. Errors name it and say how it is written.
Result<MonitorCommand, UserError> parse_monitor_command(std::string_view line);

// The commands of a text, cut at ';' and at line ends; empty ones are dropped.
std::vector<std::string> split_monitor_commands(std::string_view text);

}  // namespace vitro::report
