#include "vitro/report/trace_query.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
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

// How many letters have to be changed, added or taken away to make one word the other (Levenshtein).
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t changed = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, changed}));
    }
  }
  return row.back();
}

// "did you mean a, b?", or all that there is.
std::string near_matches(std::string_view word, const std::set<std::string, std::less<>>& known) {
  std::vector<std::pair<size_t, std::string_view>> close;
  for (const std::string& k : known) {
    const size_t d = distance(word, k);
    const bool part = word.size() >= 3 && k.find(word) != std::string::npos;
    if (part || d <= std::max<size_t>(1, word.size() / 3)) close.emplace_back(d, k);
  }
  std::sort(close.begin(), close.end());
  std::string out;
  for (size_t i = 0; i < close.size() && i < 4; ++i) (out += out.empty() ? "did you mean " : ", ") += close[i].second;
  if (!out.empty()) return out + "?";
  for (const std::string& k : known) (out += out.empty() ? "known: " : ", ") += k;
  return out;
}

constexpr std::string_view kCommonFields[] = {"time", "comm", "pid", "cpu", "event"};

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
    if (field_ == "system") return text(type.system);
    if (field_ == "comm") return text(r.comm);
    if (field_ == "pid") return number(static_cast<int64_t>(r.pid.value()));
    if (field_ == "cpu") return number(static_cast<int64_t>(r.cpu));
    if (field_ == "time") return number(r.time.value());
    for (size_t i = 0; i < type.fields.size() && i < r.values.size(); ++i) {
      if (type.fields[i].name != field_) continue;
      const FieldFormat format = type.fields[i].format;
      if (is_text(format)) return text(r.values[i].text);
      return is_signed(format) ? number(static_cast<int64_t>(r.values[i].number)) : number(r.values[i].number);
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
  Parser(std::string_view text, EventTypes events) : text_(text), events_(events) {}
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
    for (const auto& [text, op] : kOps) {
      if (!symbol(text)) continue;
      const std::string wanted = TRY(value());
      TRY(check(field, op, wanted));
      return std::make_unique<Comparison>(field, op, wanted);
    }
    return refuse("one of = != < <= > >= ~");
  }
  // Whether any event could be meant.
  Result<void, UserError> check(const std::string& field, Op op, const std::string& value) const {
    TRY(check_trace_field("--where", field, events_));
    if (field == "event" || field == "group" || field == "system") {
      std::set<std::string, std::less<>> known;
      for (const auto& type : events_) known.insert(field == "event" ? type.name : field == "group" ? type.group : type.system);
      const bool pattern = op == Op::Matches;
      const bool found = std::any_of(known.begin(), known.end(), [&](const std::string& k) { return pattern ? glob_match(value, k) : k == value; });
      if (!found && (pattern || op == Op::Equal || op == Op::NotEqual))
        return fail(UserError{fmt::format("--where: no {} is called '{}'", field, value), near_matches(value, known)});
      return {};
    }
    bool numeric = field == "pid" || field == "cpu" || field == "time", textual = field == "comm";
    for (const auto& type : events_)
      for (const auto& f : type.fields)
        if (f.name == field) (is_text(f.format) ? textual : numeric) = true;
    double seconds = 0;
    const bool number = to_number(value) || (field == "time" && std::from_chars(value.data(), value.data() + value.size(), seconds).ec == std::errc{});
    if (numeric && !textual && !number)
      return fail(UserError{fmt::format("--where: '{}' is compared with '{}', which is no number", field, value), "write it in decimal, or in hexadecimal with 0x"});
    return {};
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
  EventTypes events_;
  size_t at_ = 0;
};

void append_value(std::string& out, FieldFormat format, const TraceValue& v) {
  if (is_text(format)) out += v.text;
  else append_trace_value(out, format, v);
}

}  // namespace

Result<std::unique_ptr<TraceQuery>, UserError> TraceQuery::parse(std::string_view text, EventTypes events) { return Parser{text, events}.parse(); }

Result<void, UserError> check_trace_field(std::string_view what, std::string_view field, EventTypes events) {
  std::set<std::string, std::less<>> known(std::begin(kCommonFields), std::end(kCommonFields));
  known.insert("group"), known.insert("system");
  for (const auto& type : events)
    for (const auto& f : type.fields) known.insert(f.name);
  if (known.contains(field)) return {};
  return fail(UserError{fmt::format("{}: no event has a field '{}'", what, field), near_matches(field, known)});
}

std::string field_text(std::string_view field, const TraceReader::EventType& type, const TraceRecord& r) {
  if (field == "event") return type.name;
  if (field == "group") return type.group;
  if (field == "system") return type.system;
  if (field == "comm") return std::string(r.comm);
  if (field == "pid") return std::to_string(r.pid.value());
  if (field == "cpu") return std::to_string(r.cpu);
  if (field == "time") return fmt::format("{}.{:09}", r.time.value() / 1'000'000'000, r.time.value() % 1'000'000'000);
  std::string out;
  for (size_t i = 0; i < type.fields.size() && i < r.values.size(); ++i)
    if (type.fields[i].name == field) append_value(out, type.fields[i].format, r.values[i]);
  return out;
}

namespace {

void append_csv(std::string& out, std::string_view s) {
  // RFC 4180: a field with a comma, a quote or a line end is quoted, and its quotes are doubled.
  if (s.find_first_of(",\"\r\n") == std::string_view::npos) {
    out += s;
    return;
  }
  out += '"';
  for (char c : s) out += c == '"' ? std::string_view("\"\"") : std::string_view(&c, 1);
  out += '"';
}

void append_json_text(std::string& out, std::string_view s) {
  out += '"';
  for (const char c : s) {
    const auto byte = static_cast<unsigned char>(c);
    // Names may hold any bytes; those that are not ASCII are taken for Latin-1, so that what comes out is always JSON.
    if (c == '"' || c == '\\') out += '\\', out += c;
    else if (byte < 0x20 || byte > 0x7e) fmt::format_to(std::back_inserter(out), "\\u{:04x}", byte);
    else out += c;
  }
  out += '"';
}

}  // namespace

CsvTable::CsvTable(const std::vector<const TraceReader::EventType*>& events) : columns_(std::begin(kCommonFields), std::end(kCommonFields)) {
  const size_t common = columns_.size();
  for (const auto* type : events)
    for (const auto& field : type->fields) {
      if (!numbers_.try_emplace(field.name, columns_.size()).second) continue;
      const bool taken = std::find(columns_.begin(), columns_.begin() + static_cast<ptrdiff_t>(common), field.name) != columns_.begin() + static_cast<ptrdiff_t>(common);
      columns_.push_back(taken ? "event_" + field.name : field.name);
    }
}

void CsvTable::append_header(std::string& out) const {
  for (size_t i = 0; i < columns_.size(); ++i) (out += i ? "," : "") += columns_[i];
  out += '\n';
}

void CsvTable::append_line(std::string& out, const TraceReader::EventType& type, const TraceRecord& r) const {
  fmt::format_to(std::back_inserter(out), "{}.{:09},", r.time.value() / 1'000'000'000, r.time.value() % 1'000'000'000);
  append_csv(out, r.comm);
  fmt::format_to(std::back_inserter(out), ",{},{},{}", r.pid.value(), r.cpu, type.name);
  std::vector<std::string> values(columns_.size());
  for (size_t i = 0; i < type.fields.size() && i < r.values.size(); ++i)
    if (const auto number = numbers_.find(type.fields[i].name); number != numbers_.end()) append_value(values[number->second], type.fields[i].format, r.values[i]);
  for (size_t i = std::size(kCommonFields); i < values.size(); ++i) out += ',', append_csv(out, values[i]);
  out += '\n';
}

void append_json_event(std::string& out, const TraceReader::EventType& type, const TraceRecord& r) {
  // An instant on its thread's line; the time in microseconds.
  fmt::format_to(std::back_inserter(out), R"({{"name":"{}","cat":"{}","ph":"i","s":"t","ts":{}.{:03},"pid":{},"tid":{},"args":{{"comm":)", type.name,
                 type.group, r.time.value() / 1000, r.time.value() % 1000, r.pid.value(), r.pid.value());
  append_json_text(out, r.comm);
  fmt::format_to(std::back_inserter(out), R"(,"cpu":{})", r.cpu);
  for (size_t i = 0; i < type.fields.size() && i < r.values.size(); ++i) {
    const auto& field = type.fields[i];
    const bool taken = field.name == "comm" || field.name == "cpu";
    fmt::format_to(std::back_inserter(out), R"(,"{}{}":)", taken ? "event_" : "", field.name);
    std::string value;
    append_value(value, field.format, r.values[i]);
    // Addresses as text: a double, which JSON's readers use, cannot hold them.
    if (field.format != FieldFormat::Unsigned && field.format != FieldFormat::Signed) append_json_text(out, value);
    else out += value;
  }
  out += "}}";
}

}  // namespace vitro::report
