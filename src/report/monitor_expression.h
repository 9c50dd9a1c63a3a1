// Addresses as a person writes them in the monitor: sums of numbers, registers and symbols.
//
//   size_t used = 0;
//   Expression e = TRY(parse_expression("$rsp + 0x10 - 8", used));
//   uint64_t a = TRY(e.evaluate(names));
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vitro/base/result.h"

namespace vitro::report {

struct Expression {
  enum class Kind : uint8_t { Number, Register, Symbol };
  struct Term {
    Kind kind = Kind::Number;
    bool negative = false;
    uint64_t number = 0;
    std::string name;  // without the '$'
  };
  std::vector<Term> terms;

  // What names stand for, where they are known.
  struct Names {
    std::function<std::optional<uint64_t>(std::string_view)> of_register, of_symbol;
  };
  // Modulo 2^64. Errors: a name that stands for nothing.
  Result<uint64_t, UserError> evaluate(const Names& names) const;
  // The number, where that is all there is.
  std::optional<uint64_t> plain_number() const;
};

// Parses as much of `text` as is an expression; `used` says how much, white space behind it included. Numbers are decimal or begin with 0x. Errors: nothing
// there that begins an expression, no such register, a number beyond 64 bits.
Result<Expression, UserError> parse_expression(std::string_view text, size_t& used);

// rax ... r15, rip (pc), rsp (sp), rflags (eflags), fs_base, gs_base.
bool is_register_name(std::string_view name);

}  // namespace vitro::report
