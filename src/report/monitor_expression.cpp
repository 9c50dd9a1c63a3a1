#include "report/monitor_expression.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

namespace vitro::report {
namespace {

constexpr std::array<std::string_view, 23> kRegisters{"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp",    "rsp",    "r8",      "r9",      "r10", "r11",
                                                      "r12", "r13", "r14", "r15", "rip", "pc",  "sp", "rflags", "eflags", "fs_base", "gs_base"};

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)); }
bool begins_name(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_' || c == '.'; }
bool in_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '@'; }

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}
  size_t at() const { return at_; }

  Result<Expression, UserError> sum() {
    Expression e;
    skip_space();
    bool negative = sign().value_or(false);
    for (;;) {
      e.terms.push_back(TRY(term(negative)));
      skip_space();
      const std::optional<bool> next = sign();
      if (!next) return e;
      negative = *next;
    }
  }

 private:
  void skip_space() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
  }
  // True: minus.
  std::optional<bool> sign() {
    if (at_ == text_.size() || (text_[at_] != '+' && text_[at_] != '-')) return std::nullopt;
    const bool minus = text_[at_++] == '-';
    skip_space();
    return minus;
  }
  std::string_view name() {
    const size_t start = at_;
    while (at_ < text_.size() && in_name(text_[at_])) ++at_;
    return text_.substr(start, at_ - start);
  }
  tl::unexpected<UserError> refuse(std::string what) const {
    return fail(UserError{std::move(what), "an address is a sum of numbers (0x1f, 42), registers ($rsp) and symbols (main)"});
  }
  Result<Expression::Term, UserError> term(bool negative) {
    Expression::Term t;
    t.negative = negative;
    if (at_ == text_.size()) return refuse("an address is missing");
    const char c = text_[at_];
    if (c == '$') {
      ++at_;
      t.kind = Expression::Kind::Register;
      t.name = name();
      if (!is_register_name(t.name)) return refuse(fmt::format("there is no register ${}", t.name));
    } else if (std::isdigit(static_cast<unsigned char>(c))) {
      const std::string_view word = name();
      const bool hex = word.starts_with("0x") || word.starts_with("0X");
      const std::string_view digits = word.substr(hex ? 2 : 0);
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), t.number, hex ? 16 : 10);
      if (error == std::errc::result_out_of_range) return refuse(fmt::format("{} has more than 64 bits", word));
      if (error != std::errc{} || end != digits.data() + digits.size()) return refuse(fmt::format("'{}' is no number", word));
    } else if (begins_name(c)) {
      t.kind = Expression::Kind::Symbol;
      t.name = name();
    } else {
      return refuse(fmt::format("'{}' is no address", text_.substr(at_)));
    }
    return t;
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

bool is_register_name(std::string_view name) { return std::ranges::find(kRegisters, name) != kRegisters.end(); }

Result<uint64_t, UserError> Expression::evaluate(const Names& names) const {
  uint64_t sum = 0;
  for (const Term& t : terms) {
    uint64_t value = t.number;
    if (t.kind == Kind::Register) {
      const auto known = names.of_register(t.name);
      if (!known) return fail(UserError{fmt::format("there is no register ${} here", t.name), {}});
      value = *known;
    } else if (t.kind == Kind::Symbol) {
      const auto known = names.of_symbol(t.name);
      if (!known) return fail(UserError{fmt::format("no symbol '{}' in what is mapped", t.name), "hexadecimal numbers begin with 0x"});
      value = *known;
    }
    sum += t.negative ? -value : value;
  }
  return sum;
}

std::optional<uint64_t> Expression::plain_number() const {
  if (terms.size() != 1 || terms[0].kind != Kind::Number || terms[0].negative) return std::nullopt;
  return terms[0].number;
}

Result<Expression, UserError> parse_expression(std::string_view text, size_t& used) {
  Parser parser(text);
  auto e = TRY(parser.sum());
  used = parser.at();
  return e;
}

}  // namespace vitro::report
