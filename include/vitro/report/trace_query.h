// Questions to a trace: `event=tlb_miss and address>=0x7f0000000000`, and what to do with what matches.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "vitro/base/result.h"
#include "vitro/base/trace_file.h"

namespace vitro::report {

// A condition over one record.
//
//   expression: term { or term }        term: factor { and factor }      factor: not factor | ( expression ) | FIELD OP VALUE
//   OP: = == != < <= > >= ~             (~ matches with * and ?)
//   FIELD: event, group, comm, pid, cpu, time (seconds), or a field of the event; a record without the field does not match
//   VALUE: a number (0x... or decimal), a word, or "quoted text"
class TraceQuery {
 public:
  // The error names the place that is not understood.
  static Result<std::unique_ptr<TraceQuery>, UserError> parse(std::string_view text);
  virtual ~TraceQuery() = default;
  virtual bool matches(const TraceReader::EventType& type, const TraceRecord& record) const = 0;
};

// The value of a field as text, as the trace prints it; empty where the record has no such field.
std::string field_text(std::string_view field, const TraceReader::EventType& type, const TraceRecord& record);

// One line of comma-separated values: time,comm,pid,cpu,event and then `name=value` pairs are no columns, so one event type has fixed columns.
void append_csv_header(std::string& out, const TraceReader::EventType& type);
void append_csv_line(std::string& out, const TraceReader::EventType& type, const TraceRecord& record);

}  // namespace vitro::report
