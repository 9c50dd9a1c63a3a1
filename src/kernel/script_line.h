// The first line of a script: "#!interpreter [argument]" (fs/binfmt_script.c).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace vitro::kernel {

struct ScriptLine {
  std::string interpreter;
  std::optional<std::string> argument;  // everything after the interpreter, in one piece
  bool operator==(const ScriptLine&) const = default;
};

inline constexpr size_t kProgramHeadSize = 256;  // BINPRM_BUF_SIZE

// `head`: the file's first bytes, at most kProgramHeadSize. Nullopt: not a script, no interpreter, or its path may have been cut off.
std::optional<ScriptLine> parse_script_line(std::string_view head);

}  // namespace vitro::kernel
