#include "lab/evaluate.h"

#include <charconv>

#include "vitro/fs/process_view.h"

namespace vitro::lab {
namespace {

using Kind = Value::Kind;

ScriptError mistake(const Expression& e, std::string what) { return {e.at, std::move(what)}; }

Outcome variable(Session& s, const Expression& e) {
  int64_t index = 0;
  if (!e.operands.empty()) index = TRY(evaluate_number(s, e.operands[0]));
  const auto found = s.variables.find(e.text);
  if (found != s.variables.end())
    if (const auto element = found->second.find(index); element != found->second.end()) return element->second;
  if (e.operands.empty()) return fail(mistake(e, fmt::format("'{}' has no value yet", e.text)));
  return fail(mistake(e, fmt::format("{}[{}] has no value: nothing was assigned to it", e.text, index)));
}

// A line of meminfo or vmstat: "Slab:   1234 kB", "nr_free_pages 1234".
Outcome counter(Session& s, const Expression& e) {
  const std::string text = e.text == "meminfo" ? fs::meminfo_text(s.machine->vm(), {}) : fs::vmstat_text(s.machine->vm());
  for (size_t from = 0; from < text.size();) {
    const size_t end = std::min(text.find('\n', from), text.size());
    const std::string_view line = std::string_view(text).substr(from, end - from);
    from = end + 1;
    const size_t name_end = line.find_first_of(": ");
    if (line.substr(0, name_end) != e.member) continue;
    const size_t digit = line.find_first_of("0123456789", name_end);
    int64_t n = 0;
    if (digit != std::string_view::npos) std::from_chars(line.data() + digit, line.data() + line.size(), n);
    return Value::of_number(n);
  }
  return fail(mistake(e, fmt::format("{} has no line '{}': show {} prints it", e.text, e.member, e.text)));
}

Outcome binary(Session& s, const Expression& e) {
  const Value left = TRY(evaluate(s, e.operands[0]));
  const int64_t right = TRY(evaluate_number(s, e.operands[1]));
  // Addresses move by bytes, and keep knowing whose they are.
  if (left.kind == Kind::Address && (e.operation == '+' || e.operation == '-')) {
    Value moved = left;
    const auto distance = static_cast<uint64_t>(right);
    moved.address = VirtAddr{e.operation == '+' ? left.address.value() + distance : left.address.value() - distance};
    return moved;
  }
  if (left.kind != Kind::Number) return fail(mistake(e, fmt::format("'{}' needs numbers, and {} is none", e.operation, value_text(s, left))));
  const auto a = static_cast<uint64_t>(left.number), b = static_cast<uint64_t>(right);  // wraps where it overflows
  switch (e.operation) {
    case '+': return Value::of_number(static_cast<int64_t>(a + b));
    case '-': return Value::of_number(static_cast<int64_t>(a - b));
    case '*': return Value::of_number(static_cast<int64_t>(a * b));
    default: break;
  }
  if (right == 0) return fail(mistake(e, "division by zero"));
  if (right == -1) return Value::of_number(e.operation == '/' ? static_cast<int64_t>(0 - a) : 0);
  return Value::of_number(e.operation == '/' ? left.number / right : left.number % right);
}

}  // namespace

Outcome evaluate(Session& s, const Expression& e) {
  switch (e.kind) {
    case Expression::Kind::Number: return Value::of_number(e.number);
    case Expression::Kind::Text: return Value::of_text(e.text);
    case Expression::Kind::Null: return Value{};
    case Expression::Kind::Variable: return variable(s, e);
    case Expression::Kind::Field: return evaluate_field(s, e);
    case Expression::Kind::Counter: return counter(s, e);
    case Expression::Kind::Binary: return binary(s, e);
    case Expression::Kind::Negative: return Value::of_number(static_cast<int64_t>(0 - static_cast<uint64_t>(TRY(evaluate_number(s, e.operands[0])))));
  }
  return Value{};
}

Result<int64_t, ScriptError> evaluate_number(Session& s, const Expression& e) {
  const Value v = TRY(evaluate(s, e));
  if (v.kind != Kind::Number) return fail(mistake(e, fmt::format("a number is needed here, not {}", value_text(s, v))));
  return v.number;
}

std::string value_text(Session& s, const Value& v, Base base) {
  switch (v.kind) {
    case Kind::Null: return "NULL";
    case Kind::Number: return base == Base::Hexadecimal ? fmt::format("{:#x}", static_cast<uint64_t>(v.number)) : fmt::format("{}", v.number);
    case Kind::Text: return v.text;
    case Kind::Address: case Kind::Memory: return fmt::format("{:#x}", v.address.value());
    case Kind::Pages: return fmt::format("pfn {:#x}", v.frame.value());
    case Kind::Cache: return fmt::format("cache {}", s.caches[v.allocation - 1].name);
  }
  return "";
}

Result<bool, ScriptError> holds(const Condition& c, const Value& left, const Value& right) {
  const bool equality = c.comparison == Comparison::Equal || c.comparison == Comparison::NotEqual;
  const auto ordered = [&](auto a, auto b) {
    switch (c.comparison) {
      case Comparison::Equal: return a == b;
      case Comparison::NotEqual: return a != b;
      case Comparison::Less: return a < b;
      case Comparison::LessOrEqual: return a <= b;
      case Comparison::Greater: return a > b;
      case Comparison::GreaterOrEqual: return a >= b;
    }
    return false;
  };
  if (left.kind == Kind::Number && right.kind == Kind::Number) return ordered(left.number, right.number);
  if (left.kind == Kind::Text || right.kind == Kind::Text) {
    if (left.kind != right.kind) return fail(ScriptError{c.left.at, fmt::format("a word and a value cannot be compared: {}", c.source)});
    if (!equality) return fail(ScriptError{c.left.at, fmt::format("words are equal or not, and have no order: {}", c.source)});
    return ordered(left.text, right.text);
  }
  // Everything else is an address, a frame or NULL.
  const auto place = [](const Value& v) -> uint64_t {
    if (v.kind == Kind::Number) return static_cast<uint64_t>(v.number);
    return v.kind == Kind::Pages ? v.frame.value() : v.kind == Kind::Cache ? v.allocation : v.address.value();
  };
  if (left.kind != right.kind && !left.is_null() && !right.is_null() && left.kind != Kind::Number && right.kind != Kind::Number)
    return fail(ScriptError{c.left.at, fmt::format("these cannot be compared: {}", c.source)});
  return ordered(place(left), place(right));
}

}  // namespace vitro::lab
