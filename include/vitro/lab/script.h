// A lab's text, parsed: all mistakes are found here, before anything runs. docs/lab.md describes the language.
//
//   auto script = lab::parse("p = kmalloc 100 GFP_KERNEL\nkfree p\n");
//   if (!script) print(script.error().at.line, script.error().what);
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "vitro/base/result.h"

namespace vitro::lab {

// In bytes from 1.
struct Position {
  unsigned line = 1, column = 1;
};

// A mistake in the script: where, and what to do about it.
struct ScriptError {
  Position at;
  std::string what;
};
// "lab.txt:3:5: unknown operation 'kmaloc': did you mean kmalloc?"
std::string error_line(std::string_view file, const ScriptError& error);

struct Script;  // the tree, src/lab/ast.h

// What a variable holds; it keeps its kind.
enum class VariableKind : uint8_t { None, Number, Pointer, Pages, Cache, Memory };
std::string_view variable_kind_name(VariableKind k);  // "a number", "a pointer", "pages", "a cache", "user memory"

// What scripts that were read before this one assigned: for a lab that is typed line by line.
struct Names {
  struct Variable {
    VariableKind kind = VariableKind::None;
    bool array = false;
    unsigned line = 0;
  };
  std::map<std::string, Variable> variables;
  unsigned lines = 0;  // read so far: the next script starts behind them
};

Result<std::shared_ptr<const Script>, ScriptError> parse(std::string_view text);
// The same with names known before; adds the script's lines and, where it has no mistake, its variables.
Result<std::shared_ptr<const Script>, ScriptError> parse(std::string_view text, Names& names);

// The whole language in tables, as `vitro lab --list` prints it.
std::string vocabulary_text();

}  // namespace vitro::lab
