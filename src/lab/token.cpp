#include "lab/token.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace vitro::lab {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }
bool is_printable(char c) { return c >= ' ' && c <= '~'; }

class Lexer {
 public:
  Lexer(std::string_view text, unsigned first_line) : text_(text), line_(first_line) {}

  Result<std::vector<Token>, ScriptError> run() {
    for (;;) {
      const bool spaced = skip_blanks();
      Token t;
      t.at = {line_, static_cast<unsigned>(at_ - line_start_ + 1)};
      t.after_space = spaced;
      t.begin = at_;
      if (at_ == text_.size()) break;
      const char c = text_[at_];
      if (c == '\n' || c == ';') {
        t.kind = Token::Kind::EndOfStatement;
        ++at_;
        if (c == '\n') ++line_, line_start_ = at_;
      } else if (is_letter(c)) {
        read_word(t);
      } else if (is_digit(c)) {
        TRY(read_number(t));
      } else if (c == '"') {
        TRY(read_string(t));
      } else {
        TRY(read_symbol(t));
      }
      t.end = at_;
      const bool is_echo = t.is_word("echo") && starts_statement();
      tokens_.push_back(std::move(t));
      if (is_echo) read_rest();
    }
    const Position end{line_, static_cast<unsigned>(at_ - line_start_ + 1)};
    tokens_.push_back({.kind = Token::Kind::EndOfStatement, .at = end, .begin = at_, .end = at_});
    tokens_.push_back({.kind = Token::Kind::EndOfFile, .at = end, .begin = at_, .end = at_});
    return std::move(tokens_);
  }

 private:
  bool skip_blanks() {
    const size_t start = at_;
    while (at_ < text_.size() && is_blank(text_[at_])) ++at_;
    if (at_ < text_.size() && text_[at_] == '#')
      while (at_ < text_.size() && text_[at_] != '\n') ++at_;
    return at_ != start || tokens_.empty();
  }

  bool starts_statement() const {
    return tokens_.empty() || tokens_.back().kind == Token::Kind::EndOfStatement || tokens_.back().is("{") || tokens_.back().is("}");
  }

  void read_word(Token& t) {
    t.kind = Token::Kind::Word;
    const size_t start = at_;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      // A minus sign joins letters and digits only: "p-" and "p -8" are no words with a minus in them.
      const bool joins = c == '-' && at_ + 1 < text_.size() && (is_letter(text_[at_ + 1]) || is_digit(text_[at_ + 1]));
      if (!is_letter(c) && !is_digit(c) && c != '.' && !joins) break;
      ++at_;
    }
    t.text = text_.substr(start, at_ - start);
  }

  Result<void, ScriptError> read_number(Token& t) {
    t.kind = Token::Kind::Number;
    const bool hex = text_[at_] == '0' && at_ + 1 < text_.size() && (text_[at_ + 1] | 0x20) == 'x';
    const size_t start = at_;
    if (hex) at_ += 2;
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value, hex ? 16 : 10);
    const bool none = end == text_.data() + at_;
    at_ = static_cast<size_t>(end - text_.data());
    unsigned shift = 0;
    if (!hex && at_ < text_.size()) {
      const char unit = static_cast<char>(text_[at_] | 0x20);
      shift = unit == 'k' ? 10 : unit == 'm' ? 20 : unit == 'g' ? 30 : 0;
      if (shift) ++at_;
    }
    while (at_ < text_.size() && (is_letter(text_[at_]) || is_digit(text_[at_]))) ++at_, shift = 99;
    t.text = text_.substr(start, at_ - start);
    if (none || shift == 99) return fail(ScriptError{t.at, fmt::format("'{}' is no number: write 100, 0x64, 64K, 1M or 1G", t.text)});
    // Addresses use all 64 bits; what is counted does not.
    if (error == std::errc::result_out_of_range || (shift && value > (uint64_t{1} << 62) >> shift))
      return fail(ScriptError{t.at, fmt::format("'{}' is too large", t.text)});
    t.number = static_cast<int64_t>(value << shift);
    return {};
  }

  Result<void, ScriptError> read_string(Token& t) {
    t.kind = Token::Kind::String;
    const size_t end = text_.find_first_of("\"\n", ++at_);
    if (end == std::string_view::npos || text_[end] == '\n') return fail(ScriptError{t.at, "the text has no closing \""});
    t.text = text_.substr(at_, end - at_);
    at_ = end + 1;
    return {};
  }

  Result<void, ScriptError> read_symbol(Token& t) {
    t.kind = Token::Kind::Symbol;
    const std::string_view two = text_.substr(at_, 2);
    if (two == "==" || two == "!=" || two == "<=" || two == ">=") t.text = two;
    else if (std::string_view("=<>+-*/%()[]{}|,").find(text_[at_]) != std::string_view::npos) t.text = text_.substr(at_, 1);
    else if (is_printable(text_[at_])) return fail(ScriptError{t.at, fmt::format("'{}' means nothing here", text_[at_])});
    else return fail(ScriptError{t.at, fmt::format("byte 0x{:02x} means nothing here", static_cast<unsigned char>(text_[at_]))});
    at_ += t.text.size();
    t.tight = at_ < text_.size() && !is_blank(text_[at_]) && text_[at_] != '\n';
    return {};
  }

  void read_rest() {
    while (at_ < text_.size() && is_blank(text_[at_])) ++at_;
    Token t{.kind = Token::Kind::String, .at = {line_, static_cast<unsigned>(at_ - line_start_ + 1)}, .begin = at_};
    const size_t end = std::min(text_.find('\n', at_), text_.size());
    t.text = text_.substr(at_, end - at_);
    if (!t.text.empty() && t.text.back() == '\r') t.text.pop_back();
    at_ = t.end = end;
    tokens_.push_back(std::move(t));
  }

  std::string_view text_;
  size_t at_ = 0, line_start_ = 0;
  unsigned line_;
  std::vector<Token> tokens_;
};

}  // namespace

std::string error_line(std::string_view file, const ScriptError& error) {
  return fmt::format("{}:{}:{}: {}", file, error.at.line, error.at.column, error.what);
}

Result<std::vector<Token>, ScriptError> tokenize(std::string_view text, unsigned first_line) { return Lexer(text, first_line).run(); }

}  // namespace vitro::lab
