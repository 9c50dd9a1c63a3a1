// Questions to a trace: `event=tlb_miss and address>=0x7f0000000000`, and what to do with what matches.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vitro/base/result.h"
#include "vitro/base/trace_file.h"

namespace vitro::report {

using EventTypes = std::span<const TraceReader::EventType>;

// A condition over one record.
//
//   expression: term { or term }        term: factor { and factor }      factor: not factor | ( expression ) | FIELD OP VALUE
//   OP: = == != < <= > >= ~             (~ matches with * and ?)
//   FIELD: event, group, comm, pid, cpu, time (seconds), or a field of an event; a record without the field does not match
//   VALUE: a number (0x... or decimal), a word, or "quoted text"
class TraceQuery {
 public:
  // The error names the place that is not understood; or the field, or the event's name, that no event of `events` has, and what is like it.
  static Result<std::unique_ptr<TraceQuery>, UserError> parse(std::string_view text, EventTypes events);
  virtual ~TraceQuery() = default;
  virtual bool matches(const TraceReader::EventType& type, const TraceRecord& record) const = 0;
};

// Whether `field` can be asked for. `what`: who asks, for the message.
Result<void, UserError> check_trace_field(std::string_view what, std::string_view field, EventTypes events);

// The value of a field as text, without quotes; empty where the record has no such field.
std::string field_text(std::string_view field, const TraceReader::EventType& type, const TraceRecord& record);

// Comma-separated values (RFC 4180): time, comm, pid, cpu, event, and one column for each field of the given events. A field whose name is
// one of the first five's is called event_NAME.
class CsvTable {
 public:
  explicit CsvTable(const std::vector<const TraceReader::EventType*>& events);
  void append_header(std::string& out) const;
  void append_line(std::string& out, const TraceReader::EventType& type, const TraceRecord& record) const;

 private:
  std::vector<std::string> columns_;
  std::map<std::string, size_t, std::less<>> numbers_;
};

// One object of the JSON that chrome://tracing and ui.perfetto.dev read, without what goes around all of them.
void append_json_event(std::string& out, const TraceReader::EventType& type, const TraceRecord& record);

}  // namespace vitro::report
