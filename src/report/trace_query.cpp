#include "vitro/report/trace_query.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <vector>

namespace vitro::report {
namespace {

enum class Op : uint8_t { Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual, Matches };

std::optional<uint64_t> to_number(std::string_view text) {
  const bool hex = text.starts_with("0x") || text.starts_with("0X");
  if (hex) text.remove_prefix(2);
  const bool negative = !hex && text.starts_with("-");
  if (negative) text.remove_prefix(1);
  uint64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n, hex ? 16 : 10);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return negative ? -n : n;
}

class Comparison final : public TraceQuery {
 public:
  Comparison(std::string field, Op op, std::string value) : field_(std::move(field)), op_(op), value_(std::move(value)), number_(to_number(value_)) {
    if (field_ == "time") {
      double seconds = 0;
      const auto [end, error] = std::from_chars(value_.data(), value_.data() + value_.size(), seconds);
      if (error == std::errc{} && end == value_.data() + value_.size()) number_ = static_cast<uint64_t>(seconds * 1e9);
    }
  }
  bool matches(const TraceReader::EventType& type, const TraceRecord& r) const override {
    if (field_ == "event") return text(type.name);
    if (field_ == "group") return text(type.group);
    if (field_ == "comm") return text(r.comm);
    if (field_ == "pid") return number(static_cast<int64_t>(r.pid.value()));
    if (field_ == "cpu") return number(static_cast<int64_t>(r.cpu));
    if (field_ == "time") return number(r.time.value());
    for (size_t i = 0; i < type.fields.size() && i < r.values.size(); ++i) {
      if (type.fields[i].name != field_) continue;
      switch (type.fields[i].format) {
        case FieldFormat::Signed: return number(static_cast<int64_t>(r.values[i].number));
        case FieldFormat::Hex:
        case FieldFormat::Unsigned: return number(r.values[i].number);
        default: return text(r.values[i].text);
      }
    }
    return false;
  }

 private:
  template <class T>
  bool number(T have) const {
    if (!number_) return op_ == Op::NotEqual;
    const T want = static_cast<T>(*number_);
    switch (op_) {
      case Op::Equal: case Op::Matches: return have == want;
      case Op::NotEqual: return have != want;
      case Op::Less: return have < want;
      case Op::LessEqual: return have <= want;
      case Op::Greater: return have > want;
      case Op::GreaterEqual: return have >= want;
    }
    return false;
  }
  bool text(std::string_view have) const {
    switch (op_) {
      case Op::Equal: return have == value_;
      case Op::NotEqual: return have != value_;
      case Op::Less: return have < value_;
      case Op::LessEqual: return have <= value_;
      case Op::Greater: return have > value_;
      case Op::GreaterEqual: return have >= value_;
      case Op::Matches: return glob_match(value_, have);
    }
    return false;
  }
  std::string field_;
  Op op_;
  std::string value_;
  std::optional<uint64_t> number_;
};

class Not final : public TraceQuery {
 public:
  explicit Not(std::unique_ptr<TraceQuery> q) : q_(std::move(q)) {}
  bool matches(const TraceReader::EventType& t, const TraceRecord& r) const override { return !q_->matches(t, r); }

 private:
  std::unique_ptr<TraceQuery> q_;
};

// All of them, or any of them.
class Chain final : public TraceQuery {
 public:
  Chain(std::vector<std::unique_ptr<TraceQuery>> parts, bool any) : parts_(std::move(parts)), any_(any) {}
  bool matches(const TraceReader::EventType& t, const TraceRecord& r) const override {
    for (const auto& part : parts_)
      if (part->matches(t, r) == any_) return any_;
    return !any_;
  }

 private:
  std::vector<std::unique_ptr<TraceQuery>> parts_;
  bool any_;
};

using Parsed = Result<std::unique_ptr<TraceQuery>, UserError>;

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}
  Parsed parse() {
    auto query = TRY(expression(0));
    skip_space();
    if (at_ < text_.size()) return refuse("an 'and', an 'or' or the end");
    return query;
  }

 private:
  static constexpr unsigned kMaxDepth = 100;
  tl::unexpected<UserError> refuse(std::string_view expected) const {
    return fail(UserError{fmt::format("--where '{}': column {}: expected {}", text_, at_ + 1, expected), "for example: event=tlb_miss and address>=0x1000"});
  }
  void skip_space() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  static bool word_char(char c) { return std::isalnum(static_cast<unsigned char>(c)) || std::string_view("_-.:/*?+[]").find(c) != std::string_view::npos; }
  std::string_view word() {
    skip_space();
    const size_t start = at_;
    while (at_ < text_.size() && word_char(text_[at_])) ++at_;
    return text_.substr(start, at_ - start);
  }
  bool keyword(std::string_view k) {
    const size_t before = at_;
    if (word() == k) return true;
    at_ = before;
    return false;
  }
  bool symbol(std::string_view s) {
    skip_space();
    if (!text_.substr(at_).starts_with(s)) return false;
    at_ += s.size();
    return true;
  }
  Parsed chain(unsigned depth, bool any) {
    std::vector<std::unique_ptr<TraceQuery>> parts;
    do parts.push_back(TRY(any ? chain(depth, false) : factor(depth)));
    while (keyword(any ? "or" : "and"));
    if (parts.size() == 1) return std::move(parts.front());
    return std::make_unique<Chain>(std::move(parts), any);
  }
  Parsed expression(unsigned depth) { return chain(depth, true); }
  Parsed factor(unsigned depth) {
    if (depth > kMaxDepth) return refuse("fewer parentheses");
    if (keyword("not")) return std::make_unique<Not>(TRY(factor(depth + 1)));
    if (symbol("(")) {
      auto inner = TRY(expression(depth + 1));
      if (!symbol(")")) return refuse("a ')'");
      return inner;
    }
    const std::string field{word()};
    if (field.empty()) return refuse("a field");
    static constexpr std::pair<std::string_view, Op> kOps[] = {{"==", Op::Equal}, {"!=", Op::NotEqual}, {"<=", Op::LessEqual}, {">=", Op::GreaterEqual},
                                                               {"=", Op::Equal}, {"<", Op::Less}, {">", Op::Greater}, {"~", Op::Matches}};
    for (const auto& [text, op] : kOps)
      if (symbol(text)) return std::make_unique<Comparison>(field, op, TRY(value()));
    return refuse("one of = != < <= > >= ~");
  }
  Result<std::string, UserError> value() {
    skip_space();
    if (at_ < text_.size() && (text_[at_] == '"' || text_[at_] == '\'')) {
      const size_t end = text_.find(text_[at_], at_ + 1);
      if (end == std::string_view::npos) return refuse("the closing quote");
      std::string result{text_.substr(at_ + 1, end - at_ - 1)};
      at_ = end + 1;
      return result;
    }
    const std::string_view w = word();
    if (w.empty()) return refuse("a value");
    return std::string(w);
  }
  std::string_view text_;
  size_t at_ = 0;
};

void append_value(std::string& out, FieldFormat format, const TraceValue& v) {
  switch (format) {
    case FieldFormat::Hex: fmt::format_to(std::back_inserter(out), "0x{:x}", v.number); break;
    case FieldFormat::Unsigned: fmt::format_to(std::back_inserter(out), "{}", v.number); break;
    case FieldFormat::Signed: fmt::format_to(std::back_inserter(out), "{}", static_cast<int64_t>(v.number)); break;
    default: out += v.text;
  }
}

}  // namespace

Result<std::unique_ptr<TraceQuery>, UserError> TraceQuery::parse(std::string_view text) { return Parser{text}.parse(); }

std::string field_text(std::string_view field, const TraceReader::EventType& type, const TraceRecord& r) {
  if (field == "event") return type.name;
  if (field == "group") return type.group;
  if (field == "comm") return std::string(r.comm);
  if (field == "pid") return std::to_string(r.pid.value());
  if (field == "cpu") return std::to_string(r.cpu);
  std::string out;
  for (size_t i = 0; i < type.fields.size() && i < r.values.size(); ++i)
    if (type.fields[i].name == field) append_value(out, type.fields[i].format, r.values[i]);
  return out;
}

void append_csv_header(std::string& out, const TraceReader::EventType& type) {
  out += "time,comm,pid,cpu,event";
  for (const auto& field : type.fields) out += ',', out += field.name;
  out += '\n';
}

void append_csv_line(std::string& out, const TraceReader::EventType& type, const TraceRecord& r) {
  // RFC 4180: a field with a comma, a quote or a line end is quoted, and its quotes are doubled.
  const auto quoted = [&](std::string_view s) {
    if (s.find_first_of(",\"\r\n") == std::string_view::npos) {
      out += s;
      return;
    }
    out += '"';
    for (char c : s) out += c == '"' ? std::string_view("\"\"") : std::string_view(&c, 1);
    out += '"';
  };
  fmt::format_to(std::back_inserter(out), "{}.{:09},", r.time.value() / 1'000'000'000, r.time.value() % 1'000'000'000);
  quoted(r.comm);
  fmt::format_to(std::back_inserter(out), ",{},{},{}", r.pid.value(), r.cpu, type.name);
  std::string value;
  for (size_t i = 0; i < type.fields.size() && i < r.values.size(); ++i) {
    value.clear();
    append_value(value, type.fields[i].format, r.values[i]);
    out += ',';
    quoted(value);
  }
  out += '\n';
}

}  // namespace vitro::report
