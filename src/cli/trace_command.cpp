// vitro trace: prints, filters, counts and converts binary traces.
#include <fmt/format.h>

#include <map>
#include <memory>
#include <set>

#include "commands.h"
#include "vitro/base/trace_file.h"
#include "vitro/report/trace_query.h"

namespace vitro::cli {
namespace {

struct TraceOptions {
  std::string file, where, format = "text", count_by;
  bool count = false;
};

constexpr const char* kFtraceHeader =
    "# tracer: nop\n#\n#                                _-----=> irqs-off/BH-disabled\n#                               / _----=> need-resched\n"
    "#                              | / _---=> hardirq/softirq\n#                              || / _--=> preempt-depth\n"
    "#                              ||| / _-=> migrate-disable\n#                              |||| /     delay\n"
    "#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION\n#              | |         |   |||||     |         |\n";

Result<int, UserError> run_trace(const TraceOptions& o) {
  const std::unique_ptr<TraceReader> reader = TRY(TraceReader::open(o.file));
  std::unique_ptr<report::TraceQuery> query;
  if (!o.where.empty()) query = TRY(report::TraceQuery::parse(o.where));
  std::string out;
  const auto drain = [&] {
    const bool ok = std::fwrite(out.data(), 1, out.size(), stdout) == out.size();
    out.clear();
    return ok;
  };
  if (o.format == "ftrace") out += kFtraceHeader;
  uint64_t matched = 0;
  std::map<std::string, uint64_t> counts;
  std::string csv_event;
  bool written = true;
  const bool whole = reader->for_each([&](const TraceReader::EventType& type, const TraceRecord& record) {
    if (query && !query->matches(type, record)) return true;
    ++matched;
    if (!o.count_by.empty()) {
      ++counts[report::field_text(o.count_by, type, record)];
    } else if (!o.count) {
      if (o.format == "csv") {
        if (csv_event != type.name) report::append_csv_header(out, type), csv_event = type.name;   // another kind of event: its own columns
        report::append_csv_line(out, type, record);
      } else {
        append_trace_line(out, record, type.spec);
      }
      if (out.size() > 1 << 16) written = drain();
    }
    return written;
  });
  if (!o.count_by.empty()) {
    std::multimap<uint64_t, std::string, std::greater<>> by_count;
    for (const auto& [value, n] : counts) by_count.emplace(n, value);
    for (const auto& [n, value] : by_count) fmt::format_to(std::back_inserter(out), "{:>10} {}\n", n, value.empty() ? "-" : value);
  } else if (o.count) {
    fmt::format_to(std::back_inserter(out), "{}\n", matched);
  }
  if (!drain() || std::fflush(stdout) != 0) return fail(UserError{"cannot write to the standard output", "free some space, or read all of it"});
  if (!whole) fmt::print(stderr, "vitro: {} is cut: its first {} events are good\n", o.file, reader->records_read());
  return 0;
}

}  // namespace

void add_trace_command(CLI::App& app, Action& chosen) {
  auto o = std::make_shared<TraceOptions>();
  CLI::App* command = app.add_subcommand("trace", "Print, filter, count or convert a binary trace (run --trace-out FILE.vtrace)");
  command->add_option("FILE", o->file, "The trace")->required();
  command->add_option("--where", o->where, "Only events that match: event=tlb_miss and address>=0x1000 and not comm~'sh*'")->type_name("EXPRESSION");
  command->add_option("--format", o->format, "text (default), ftrace (with the header that Perfetto and trace-cmd's users expect) or csv")
      ->check(CLI::IsMember({"text", "ftrace", "csv"}));
  command->add_flag("--count", o->count, "Print only how many events match");
  command->add_option("--count-by", o->count_by, "Print how many events match for each value of a field")->type_name("FIELD");
  command->callback([o, &chosen] { chosen = [o] { return run_trace(*o); }; });
}

}  // namespace vitro::cli
