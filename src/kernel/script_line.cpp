#include "kernel/script_line.h"

namespace vitro::kernel {
namespace {

constexpr bool blank(char c) { return c == ' ' || c == '\t'; }
constexpr bool terminator(char c) { return blank(c) || c == '\0'; }

size_t skip_blanks(std::string_view s, size_t at) {
  while (at < s.size() && blank(s[at])) ++at;
  return at;
}

}  // namespace

std::optional<ScriptLine> parse_script_line(std::string_view head) {
  if (!head.starts_with("#!")) return std::nullopt;
  std::string padded(head.substr(0, kProgramHeadSize));
  padded.resize(kProgramHeadSize, '\0');  // a short file reads as if zeros followed
  std::string_view line(padded);
  if (const size_t newline = line.find('\n'); newline != std::string_view::npos) {
    line = line.substr(0, newline);
  } else {
    line.remove_suffix(1);
    // No end of line in sight: fine as long as the interpreter's own end is.
    const size_t name = skip_blanks(line, 2);
    size_t end = name;
    while (end < line.size() && !terminator(line[end])) ++end;
    if (name >= line.size() || end >= line.size()) return std::nullopt;
  }
  while (!line.empty() && blank(line.back())) line.remove_suffix(1);
  const size_t name = skip_blanks(line, 2);
  size_t end = name;
  while (end < line.size() && !terminator(line[end])) ++end;
  if (end == name) return std::nullopt;
  ScriptLine result{std::string(line.substr(name, end - name)), std::nullopt};
  if (end < line.size() && line[end] != '\0') {
    std::string_view argument = line.substr(skip_blanks(line, end));
    argument = argument.substr(0, argument.find('\0'));
    if (!argument.empty()) result.argument = std::string(argument);
  }
  return result;
}

}  // namespace vitro::kernel
