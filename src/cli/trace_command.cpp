// vitro trace: prints, filters, counts and converts binary traces.
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "commands.h"
#include "vitro/base/print.h"
#include "vitro/base/trace_file.h"
#include "vitro/report/trace_query.h"

namespace vitro::cli {
namespace {

struct TraceOptions {
  std::vector<std::string> words;  // FILE, and after --count perhaps "by FIELD"
  std::string where, format = "text", count_by;
  bool count = false, events = false;
};

constexpr const char* kFtraceHeader =
    "# tracer: nop\n#\n#                                _-----=> irqs-off/BH-disabled\n#                               / _----=> need-resched\n"
    "#                              | / _---=> hardirq/softirq\n#                              || / _--=> preempt-depth\n"
    "#                              ||| / _-=> migrate-disable\n#                              |||| /     delay\n"
    "#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION\n#              | |         |   |||||     |         |\n";

// Standard output through a large buffer; the first failure is kept.
class Output {
 public:
  std::string text;
  bool drain_if_large() { return text.size() < (1 << 16) || drain(); }
  bool drain() {
    if (!error_ && std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) error_ = errno;
    text.clear();
    return !error_;
  }
  Result<void, UserError> finish() {
    if (drain() && std::fflush(stdout) != 0) error_ = errno;
    if (!error_) return {};
    return fail(UserError{fmt::format("cannot write to the standard output: {}", std::strerror(error_)), "free some space, or read all of it"});
  }

 private:
  int error_ = 0;
};

void print_counts(std::string& out, const std::map<std::string, uint64_t>& counts) {
  std::multimap<uint64_t, std::string, std::greater<>> by_count;
  for (const auto& [value, n] : counts) by_count.emplace(n, value);
  for (const auto& [n, value] : by_count) fmt::format_to(std::back_inserter(out), "{:>10} {}\n", n, value.empty() ? "-" : value);
}

// The columns: fields of those events that match.
Result<report::CsvTable, UserError> csv_table(const std::string& file, const report::TraceQuery* query) {
  const std::unique_ptr<TraceReader> reader = TRY(TraceReader::open(file));
  std::set<const TraceReader::EventType*> seen;
  reader->for_each([&](const TraceReader::EventType& type, const TraceRecord& record) {
    if (!query || query->matches(type, record)) seen.insert(&type);
    return true;
  });
  std::vector<const TraceReader::EventType*> in_order;
  for (const auto& type : reader->events())
    if (seen.contains(&type)) in_order.push_back(&type);
  return report::CsvTable(in_order);
}

Result<int, UserError> run_trace(const TraceOptions& o) {
  const std::string& file = o.words.front();
  const std::unique_ptr<TraceReader> reader = TRY(TraceReader::open(file));
  std::unique_ptr<report::TraceQuery> query;
  if (!o.where.empty()) query = TRY(report::TraceQuery::parse(o.where, reader->events()));
  if (!o.count_by.empty()) TRY(report::check_trace_field("--count by", o.count_by, reader->events()));
  Output out;
  std::optional<report::CsvTable> csv;
  const bool print = !o.count && o.count_by.empty(), json = print && o.format == "json";
  if (print && o.format == "csv") csv.emplace(TRY(csv_table(file, query.get())));
  if (print && o.format == "ftrace") out.text += kFtraceHeader;
  if (csv) csv->append_header(out.text);
  if (json) out.text += "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[";
  uint64_t matched = 0;
  std::map<std::string, uint64_t> counts;
  const bool whole = reader->for_each([&](const TraceReader::EventType& type, const TraceRecord& record) {
    if (query && !query->matches(type, record)) return true;
    ++matched;
    if (!o.count_by.empty()) {
      ++counts[report::field_text(o.count_by, type, record)];
    } else if (print) {
      if (csv) {
        csv->append_line(out.text, type, record);
      } else if (json) {
        out.text += matched == 1 ? "\n" : ",\n";
        report::append_json_event(out.text, type, record);
      } else {
        append_trace_line(out.text, record, type.spec);
      }
      return out.drain_if_large();
    }
    return true;
  });
  if (json) out.text += "\n]}\n";
  if (!o.count_by.empty()) print_counts(out.text, counts);
  else if (o.count) fmt::format_to(std::back_inserter(out.text), "{}\n", matched);
  TRY(out.finish());
  if (!whole) vitro::print(stderr, "vitro: {} is cut: its first {} events are good\n", file, reader->records_read());
  return 0;
}

// Rows of a Markdown table, as docs/traces.md has it.
Result<int, UserError> list_events() {
  Output out;
  out.text = "| event | group | fields |\n|---|---|---|\n";
  for (size_t i = 0; i < kEventCount; ++i) {
    const TraceEventSpec& spec = trace_event_spec(static_cast<Event>(i));
    fmt::format_to(std::back_inserter(out.text), "| `{}:{}` | {} |", spec.system, spec.name, spec.group);
    for (size_t f = 0; f < spec.fields.size(); ++f) fmt::format_to(std::back_inserter(out.text), "{} {}", f ? "," : "", spec.fields[f].name);
    out.text += " |\n";
  }
  TRY(out.finish());
  return 0;
}

}  // namespace

void add_trace_command(CLI::App& app, Action& chosen) {
  auto o = std::make_shared<TraceOptions>();
  CLI::App* command = app.add_subcommand("trace", "Print, filter, count or convert a binary trace (run --trace-out FILE.vtrace)");
  command->add_option("FILE", o->words, "The trace")->type_name("");
  command->add_flag("--events", o->events, "List the events that run --trace knows, their groups and fields");
  command->add_option("--where", o->where, "Only events that match: event=tlb_miss and address>=0x1000 and not comm~'sh*'")->type_name("EXPRESSION");
  command->add_option("--format", o->format, "text (default), ftrace (with the header that trace-cmd's and Perfetto's users expect), csv or json (for chrome://tracing and ui.perfetto.dev)")
      ->check(CLI::IsMember({"text", "ftrace", "csv", "json"}));
  command->add_flag("--count", o->count, "Print only how many events match; --count by FIELD: for each value of a field");
  command->add_option("--count-by", o->count_by, "The same as --count by FIELD")->type_name("FIELD");
  command->callback([o, &chosen] {
    if (o->events) {
      chosen = [] { return list_events(); };
      return;
    }
    if (o->words.empty()) throw CLI::RequiredError("FILE");
    std::vector<std::string>& w = o->words;
    if (w.size() == 3 && o->count) {
      // by FIELD FILE, or FILE by FIELD
      const size_t by = w[0] == "by" ? 0 : 1;
      if (w[by] == "by") {
        o->count_by = w[by + 1];
        w = {w[by == 0 ? 2 : 0]};
      }
    }
    if (w.size() != 1) throw CLI::ValidationError(fmt::format("one trace is read at a time, not '{}' too", w[1]));
    chosen = [o] { return run_trace(*o); };
  });
}

}  // namespace vitro::cli
