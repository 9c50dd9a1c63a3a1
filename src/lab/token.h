// The words of a lab.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "vitro/base/result.h"
#include "vitro/lab/script.h"

namespace vitro::lab {

struct Token {
  enum class Kind : uint8_t { Word, Number, String, Symbol, EndOfStatement, EndOfFile };
  Kind kind = Kind::EndOfFile;
  Position at;
  std::string text;          // a word, a symbol, a string's content
  int64_t number = 0;        // Number
  bool after_space = false;  // white space in front
  bool tight = false;        // Symbol: something follows without white space: "-8" against "- 8"
  size_t begin = 0, end = 0;  // where it stands in the text, from 0
  bool is(std::string_view symbol) const { return kind == Kind::Symbol && text == symbol; }
  bool is_word(std::string_view word) const { return kind == Kind::Word && text == word; }
};

// Words are letters, digits, _ . and - (cache names have them: kmalloc-128); numbers are decimal or 0x hexadecimal with an optional K, M or G;
// a statement ends with its line or at a semicolon. What follows `echo` on its line is one String. The last token is EndOfFile.
Result<std::vector<Token>, ScriptError> tokenize(std::string_view text, unsigned first_line = 1);

}  // namespace vitro::lab
