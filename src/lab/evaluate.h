// Expressions to values: variables, arithmetic, and the fields that look into the allocators.
#pragma once

#include "lab/session.h"

namespace vitro::lab {

Outcome evaluate(Session& s, const Expression& e);
// The same where only a number will do.
Result<int64_t, ScriptError> evaluate_number(Session& s, const Expression& e);
Outcome evaluate_field(Session& s, const Expression& e);

// As expect and print show it; numbers in the base asked for.
enum class Base : uint8_t { Decimal, Hexadecimal };
std::string value_text(Session& s, const Value& v, Base base = Base::Decimal);
// Errors: values that cannot be compared.
Result<bool, ScriptError> holds(const Condition& c, const Value& left, const Value& right);

}  // namespace vitro::lab
