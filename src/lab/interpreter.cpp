// Runs a parsed lab, statement by statement, and prints what each step changed.
#include <algorithm>

#include "lab/evaluate.h"
#include "lab/reports.h"
#include "lab/session.h"
#include "lab/show.h"
#include "lab/snapshot.h"

namespace vitro::lab {
namespace {

constexpr std::string_view kIndent = "       ";

class Interpreter final : public Lab {
 public:
  Interpreter(std::unique_ptr<LabMachine> machine, const LabConfig& config, Output output) : session_(std::move(machine), config), output_(std::move(output)) {
    session_.machine->slabs().set_damage_observer([this](const mm::SlabDamage& damage) {
      session_.corrupted = true;
      session_.report(slab_damage_report(session_, damage));
    });
  }
  ~Interpreter() override { session_.machine->slabs().set_damage_observer(nullptr); }

  Ending run(const Script& script) override {
    for (const Statement& s : script.statements)
      if (const Flow flow = step(s); flow == Flow::Stop) return std::exchange(ending_, Ending{});
    return {};
  }

  size_t report_leaks() override {
    size_t count = 0;
    const std::string text = leaks_text(session_, &count);
    if (count) print("still allocated at the end:\n{}", text);
    return count;
  }

 private:
  enum class Flow : uint8_t { On, Break, Stop };

  template <class... Args>
  void print(fmt::format_string<Args...> format, Args&&... args) {
    output_(fmt::format(format, std::forward<Args>(args)...));
  }
  // Statements inside a repeat are silent where their results only matter in number.
  bool loud() const { return loops_ == 0 || session_.config.verbose; }
  void announce(const Statement& s) {
    if (loud() && session_.config.echo) print("{:>4}   {}\n", s.at.line, s.source);
  }
  void flush_notes() {
    if (loud())
      for (const std::string& n : session_.notes) print("{}{}\n", kIndent, n);
    session_.notes.clear();
  }

  Flow stop(Ending::Kind kind, Position at, std::string what) {
    ending_ = {kind, at, std::move(what)};
    return Flow::Stop;
  }
  Flow stop(const ScriptError& e) { return stop(Ending::Kind::ScriptMistake, e.at, e.what); }

  Flow step(const Statement& s) {
    switch (s.kind) {
      case Statement::Kind::Call: return call(s);
      case Statement::Kind::Let: return let(s);
      case Statement::Kind::Expect: return expect(s);
      case Statement::Kind::BreakIf: return break_if(s);
      case Statement::Kind::Repeat: return repeat(s);
      case Statement::Kind::Print: return print_line(s);
      case Statement::Kind::Show: return show(s);
      case Statement::Kind::Set: return set(s);
    }
    return Flow::On;
  }

  // The name of what is assigned to, with its index: "p[3]".
  Result<std::pair<int64_t, std::string>, ScriptError> place_of(const Target& t) {
    if (!t.index) return std::pair{int64_t{0}, t.name};
    const int64_t index = TRY(evaluate_number(session_, *t.index));
    return std::pair{index, fmt::format("{}[{}]", t.name, index)};
  }

  Flow call(const Statement& s) {
    announce(s);
    const bool watched = loud();
    const Snapshot before = watched ? Snapshot::take(session_.machine->physical()) : Snapshot{};
    const auto done = perform(s);
    if (!done) {
      flush_notes();
      return stop(done.error());
    }
    flush_notes();
    if (watched) print_changes(before);
    verify();
    return settle_errors(s);
  }

  Result<void, ScriptError> perform(const Statement& s) {
    Call call{.statement = s};
    int64_t index = 0;
    if (s.target) std::tie(index, call.name) = TRY(place_of(*s.target));
    for (const Expression& e : s.operands) call.operands.push_back(TRY(evaluate(session_, e)));
    if (s.align) call.operands.push_back(TRY(evaluate(session_, *s.align)));
    if (s.constructor) call.operands.push_back(TRY(evaluate(session_, *s.constructor)));
    TRY(check_operands(s, call));
    const Value result = TRY(run_operation(session_, call));
    if (s.target) session_.variables[s.target->name].insert_or_assign(index, result);
    if (loops_ && s.operation->result != VariableKind::None) {
      Tally& t = tally_[&s];
      ++(result.is_null() ? t.null : t.done);
    }
    return {};
  }

  // What the parser could not know: results of expressions.
  Result<void, ScriptError> check_operands(const Statement& s, const Call& call) {
    size_t i = 0;
    for (const char letter : s.operation->operands) {
      if (letter == 'f' || letter == 'o' || letter == 'n') continue;
      if (i >= s.operands.size()) break;
      const Value& v = call.operands[i];
      if ((letter == 's' || letter == 'S') && v.kind != Value::Kind::Number)
        return fail(ScriptError{s.operands[i].at, fmt::format("a number is needed here, not {}", value_text(session_, v))});
      if ((letter == 'p' || letter == 'x') && (v.kind == Value::Kind::Text || v.kind == Value::Kind::Cache || v.kind == Value::Kind::Memory))
        return fail(ScriptError{s.operands[i].at, fmt::format("a pointer is needed here, not {}", value_text(session_, v))});
      ++i;
    }
    for (; i < call.operands.size(); ++i)
      if (call.operands[i].kind != Value::Kind::Number) return fail(ScriptError{s.at, "align and ctor are numbers"});
    return {};
  }

  // Errors of a kernel end the lab unless the step expected them.
  Flow settle_errors(const Statement& s) {
    const std::vector<KernelError> errors = std::exchange(session_.errors, {});
    bool expected = false;
    for (const KernelError& e : errors) {
      const bool this_one = s.expected_error && (e.headline + "\n" + e.text).find(*s.expected_error) != std::string::npos;
      expected |= this_one;
      print_error(e);
      if (!this_one) return stop(Ending::Kind::KernelError, s.at, e.headline);
    }
    if (s.expected_error && !expected) return stop(Ending::Kind::ExpectFailed, s.at, fmt::format("expect_error: nothing was reported, and \"{}\" was expected", *s.expected_error));
    if (expected && loud()) print("{}as expected: {}\n", kIndent, *s.expected_error);
    return Flow::On;
  }

  void print_error(const KernelError& e) {
    const std::string text = e.text.empty() ? e.headline + "\n" : e.text;
    for (size_t from = 0; from < text.size();) {
      const size_t end = text.find('\n', from);
      print("{}{}\n", kIndent, std::string_view(text).substr(from, end - from));
      from = end + 1;
    }
  }

  void print_changes(const Snapshot& before) {
    for (const std::string& line : Snapshot::take(session_.machine->physical()).changes_since(before)) print("{}{}\n", kIndent, line);
  }

  void verify() {
    if (!session_.config.verify || !loud()) return;
    if (session_.corrupted) session_.machine->verify_zones();
    else session_.machine->verify();
  }

  Flow let(const Statement& s) {
    announce(s);
    const auto place = place_of(*s.target);
    if (!place) return stop(place.error());
    const Outcome value = evaluate(session_, s.operands[0]);
    if (!value) return stop(value.error());
    if (value->kind != Value::Kind::Number && value->kind != Value::Kind::Text)
      return stop({s.operands[0].at, "let remembers numbers and words; virt(p) is the number of an address"});
    session_.variables[s.target->name].insert_or_assign(place->first, *value);
    if (loud()) print("{}{} = {}\n", kIndent, place->second, value_text(session_, *value));
    return Flow::On;
  }

  // The two sides and whether it holds.
  struct Compared {
    Value left, right;
    bool holds;
  };
  Result<Compared, ScriptError> compare(const Condition& c) {
    Compared result;
    result.left = TRY(evaluate(session_, c.left));
    result.right = TRY(evaluate(session_, c.right));
    result.holds = TRY(holds(c, result.left, result.right));
    return result;
  }

  Flow expect(const Statement& s) {
    announce(s);
    const auto compared = compare(*s.condition);
    if (!compared) return stop(compared.error());
    // Who writes 0x41 wants to see 0x42.
    const Base base = s.condition->source.find("0x") == std::string::npos ? Base::Decimal : Base::Hexadecimal;
    const std::string left = value_text(session_, compared->left, base), right = value_text(session_, compared->right, base);
    if (!compared->holds) return stop(Ending::Kind::ExpectFailed, s.at, fmt::format("expect {}: left is {}, right is {}", s.condition->source, left, right));
    if (loud()) print("{}holds: {}\n", kIndent, left == right ? left : fmt::format("{} and {}", left, right));
    return Flow::On;
  }

  Flow break_if(const Statement& s) {
    const auto compared = compare(*s.condition);
    if (!compared) return stop(compared.error());
    return compared->holds ? Flow::Break : Flow::On;
  }

  Flow repeat(const Statement& s) {
    const auto count = evaluate_number(session_, s.operands[0]);
    if (!count) return stop(count.error());
    const bool outermost = loops_ == 0;
    announce(s);
    const Snapshot before = outermost ? Snapshot::take(session_.machine->physical()) : Snapshot{};
    if (outermost) tally_.clear();
    ++loops_;
    Flow flow = Flow::On;
    int64_t turns = 0;
    for (; turns < *count && flow == Flow::On; ++turns) {
      session_.variables[s.name][0] = Value::of_number(turns);
      for (const Statement& inner : s.body)
        if (flow = step(inner); flow != Flow::On) break;
    }
    --loops_;
    session_.variables.erase(s.name);
    if (flow == Flow::Stop) return flow;
    if (outermost) {
      summarize(turns, flow == Flow::Break, before);
      verify();
    }
    return Flow::On;
  }

  void summarize(int64_t turns, bool broken, const Snapshot& before) {
    print("{}{} turns{}\n", kIndent, turns, broken ? ", then break" : "");
    for (const auto& [statement, t] : tally_) {
      print("{}line {}: {}: {} done", kIndent, statement->at.line, statement->operation->name, t.done);
      if (t.null) print(", {} NULL", t.null);
      print("\n");
    }
    print_changes(before);
  }

  Flow print_line(const Statement& s) {
    std::string line;
    for (const Expression& e : s.operands) {
      const Outcome value = evaluate(session_, e);
      if (!value) return stop(value.error());
      if (!line.empty()) line += ' ';
      line += value_text(session_, *value);
    }
    print("{}\n", line);
    return Flow::On;
  }

  Flow show(const Statement& s) {
    announce(s);
    if (s.operands.empty()) {
      output_(show_topic(session_, s.name));
      return Flow::On;
    }
    const Outcome value = evaluate(session_, s.operands[0]);
    if (!value) return stop(value.error());
    if (s.name == "slab") {
      const mm::SlabCache* cache = session_.cache_of(*value);
      if (!cache) return stop({s.operands[0].at, fmt::format("there is no cache '{}': show slabinfo lists them", value_text(session_, *value))});
      output_(show_cache(*cache));
    } else {
      output_(show_value(session_, std::string_view(s.source).substr(s.source.find_first_of(" \t") + 1), *value));
    }
    return Flow::On;
  }

  Flow set(const Statement& s) {
    announce(s);
    const auto value = evaluate_number(session_, s.operands[0]);
    if (!value) return stop(value.error());
    const auto in = [&](int64_t low, int64_t high) { return *value >= low && *value <= high; };
    const auto refuse = [&](int64_t low, int64_t high) { return stop({s.operands[0].at, fmt::format("{} is {} to {}, not {}", s.name, low, high, *value)}); };
    mm::Watermarks& marks = session_.machine->physical().watermarks();
    const Snapshot before = Snapshot::take(session_.machine->physical());
    if (s.name == "cpu") {
      const int64_t most = session_.machine->cpus() - 1;
      if (!in(0, most)) return refuse(0, most);
      session_.machine->physical().set_current_cpu(static_cast<unsigned>(*value));
    } else if (s.name == "min_free_kbytes") {
      const auto most = static_cast<int64_t>(session_.machine->physical().allocator().managed_frames().bytes().value() >> 10);
      if (!in(0, most)) return refuse(0, most);
      marks.set_min_free_kbytes(static_cast<uint64_t>(*value));
    } else if (s.name == "watermark_scale_factor") {
      if (!in(1, 3000)) return refuse(1, 3000);
      marks.set_watermark_scale_factor(static_cast<unsigned>(*value));
    } else if (s.name == "watermark_boost_factor") {
      if (!in(0, INT32_MAX)) return refuse(0, INT32_MAX);
      marks.set_watermark_boost_factor(static_cast<unsigned>(*value));
    } else {
      if (*value != 0 && !in(8, INT32_MAX)) return refuse(8, INT32_MAX);
      marks.set_high_fraction(static_cast<unsigned>(*value));
    }
    if (loud()) print_changes(before);
    verify();
    return Flow::On;
  }

  struct Tally {
    uint64_t done = 0, null = 0;
  };
  struct ByPlace {
    bool operator()(const Statement* a, const Statement* b) const {
      return std::pair(a->at.line, a->at.column) < std::pair(b->at.line, b->at.column);
    }
  };
  Session session_;
  Output output_;
  unsigned loops_ = 0;
  std::map<const Statement*, Tally, ByPlace> tally_;  // of the outermost repeat that runs
  Ending ending_;
};

}  // namespace

Result<std::unique_ptr<Lab>, UserError> Lab::create(const LabConfig& config, Output output) {
  std::unique_ptr<LabMachine> machine = TRY(LabMachine::create(config));
  return std::make_unique<Interpreter>(std::move(machine), config, std::move(output));
}

}  // namespace vitro::lab
