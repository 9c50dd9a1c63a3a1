// The compact binary trace (.vtrace): written at millions of events a second, self-describing, and valid up to where it was cut.
//
// File: "VTRACE1\n", the description of all events (so that a newer vitro reads an older trace), then chunks, then an end mark.
//   chunk    u32 payload bytes (> 0), u32 records, payload
//   end      u32 0, u32 0, u64 records in the whole file
// Payload: records one after the other. Numbers are LEB128; times are differences in nanoseconds; texts are numbered when first seen.
//   0x00..0xef  an event: time difference, then one value a field (number, zigzag for signed; or text number)
//   0xfe        the task changes: pid (zigzag), cpu, length and bytes of its name
//   0xfd        the next text number: length and bytes
#pragma once

#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "vitro/base/result.h"
#include "vitro/base/trace.h"

namespace vitro {

Result<std::unique_ptr<TraceSink>, UserError> open_binary_trace(const std::string& path);

// By the name's ending: ".vtrace" is binary, all else text; "-" is text on stderr.
Result<std::unique_ptr<TraceSink>, UserError> open_trace(const std::string& path);

// Reads a binary trace from front to back.
class TraceReader {
 public:
  // Errors: cannot be opened, is no vtrace.
  static Result<std::unique_ptr<TraceReader>, UserError> open(const std::string& path);
  ~TraceReader();

  struct Field {
    std::string name;
    FieldFormat format;
    std::string before, after;
  };
  struct EventType {
    std::string name, group, system;
    std::vector<Field> fields;
    std::vector<TraceField> raw_fields;  // points into `fields`
    TraceEventSpec spec{};               // points into the above
  };
  const std::vector<EventType>& events() const { return events_; }

  // Calls `visit` for each record until it returns false. Returns false where the file is cut or damaged: everything before that was visited.
  using Visitor = std::function<bool(const EventType& type, const TraceRecord& record)>;
  bool for_each(const Visitor& visit);
  uint64_t records_read() const { return records_; }

 private:
  explicit TraceReader(FILE* file) : file_(file) {}
  Result<void, UserError> read_header(const std::string& path);
  bool read_chunk(std::string_view payload, uint32_t records, const Visitor& visit, bool& wanted);

  FILE* file_;
  std::vector<EventType> events_;
  std::vector<std::unique_ptr<std::string>> texts_;
  uint64_t time_ = 0;
  uint64_t records_ = 0;
  Pid pid_{0};
  unsigned cpu_ = 0;
  std::string comm_;
};

}  // namespace vitro
