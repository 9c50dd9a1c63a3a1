// Tracepoints. Every event that vitro can show is described once, in the table behind trace_event_spec(); sinks (text, binary) print
// from that description alone. An event that nobody asked for costs one bit test.
//
//   TRACE(tracer, Event::TlbMiss, "l1d", address.value(), "4K", references);
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vitro/base/result.h"
#include "vitro/base/types.h"

namespace vitro {

// Linux's event names where Linux has one. Keep in step with the table in trace.cpp.
enum class Event : uint8_t {
  PageFaultUser, PageFaultKernel, TlbMiss, TlbFlush, SysEnter, SysExit, SignalGenerate, SignalDeliver,
  SchedSwitch, SchedProcessFork, SchedProcessExec, SchedProcessExit, SchedWakeup,
  MmPageAlloc, MmPageFree, KmemCacheAlloc, KmemCacheFree, Kmalloc, Kfree,
  MmFilemapAdd, MmFilemapDelete, BlockIssue, BlockComplete, OomMarkVictim,
  MmVmscanKswapdSleep, MmVmscanKswapdWake, MmVmscanWakeupKswapd, MmVmscanDirectReclaimBegin, MmVmscanDirectReclaimEnd, MmVmscanLruIsolate,
  MmVmscanLruShrinkInactive, MmVmscanLruShrinkActive, MmVmscanWriteFolio, MmVmscanThrottled, SwapOut, SwapIn,
  MmShrinkSlabStart, MmShrinkSlabEnd, OomScoreAdjUpdate, OomWakeReaper, OomStartTaskReaping, OomFinishTaskReaping, OomSkipTaskReaping, OomReclaimRetryZone,
  WritebackDirtyFolio, FolioWaitWriteback, WritebackStart, WritebackWritten, WritebackPagesWritten, WritebackWakeBackground,
  WritebackSingleInodeStart, WritebackSingleInode, GlobalDirtyState, BdiDirtyRatelimit, BalanceDirtyPages,
  Count,
};
inline constexpr size_t kEventCount = static_cast<size_t>(Event::Count);

// How a value prints. Hex has 0x in front; Word: text as is; Quoted: text in double quotes; Device: a device number as MAJOR:MINOR; BlockDevice: as
// MAJOR,MINOR.
enum class FieldFormat : uint8_t { Hex, Unsigned, Signed, Word, Quoted, BareHex, Device, BlockDevice };
inline constexpr FieldFormat kLastFieldFormat = FieldFormat::BlockDevice;
constexpr bool is_text(FieldFormat f) { return f == FieldFormat::Word || f == FieldFormat::Quoted; }
constexpr bool is_signed(FieldFormat f) { return f == FieldFormat::Signed; }

struct TraceField {
  const char* name;
  FieldFormat format;
  const char* before = nullptr;  // what stands in front of the value where that is not " NAME=" (Linux's TP_printk)
  const char* after = "";
};

struct TraceEventSpec {
  const char* name;    // as ftrace prints it: page_fault_user
  const char* group;   // what --trace calls it: page-fault
  const char* system;  // the directory Linux has it in (events/SYSTEM): exceptions
  std::span<const TraceField> fields;
};
const TraceEventSpec& trace_event_spec(Event e);

// One field's value: a number or a text, as its TraceField says.
struct TraceValue {
  uint64_t number = 0;
  std::string_view text;
  TraceValue(std::string_view t) : text(t) {}
  TraceValue(const char* t) : text(t) {}
  TraceValue(const std::string& t) : text(t) {}
  template <class T>
    requires std::is_integral_v<T> || std::is_enum_v<T>
  TraceValue(T n) : number(static_cast<uint64_t>(n)) {}
};

struct TraceRecord {
  Event event;
  Nanoseconds time;
  Pid pid;
  unsigned cpu = 0;
  std::string_view comm;  // the task's name, at most 15 bytes
  std::span<const TraceValue> values;
};

class TraceSink {
 public:
  virtual ~TraceSink() = default;
  virtual void write(const TraceRecord& record) = 0;
  // Writes out what is buffered. The error says that the trace is incomplete from here on (full disk, closed pipe).
  virtual Result<void, UserError> flush() = 0;
  // True once a write has failed: the run should end.
  virtual bool failed() const = 0;
};

// One value as that line has it. `for_nothing`: in place of an empty Word.
void append_trace_value(std::string& out, FieldFormat format, const TraceValue& value, std::string_view for_nothing = {});
// Renders one record as ftrace's text line, with the newline. `spec`: the record's description, where it is not this program's own.
void append_trace_line(std::string& out, const TraceRecord& record, const TraceEventSpec& spec);
inline void append_trace_line(std::string& out, const TraceRecord& record) { append_trace_line(out, record, trace_event_spec(record.event)); }

// A sink that writes ftrace text to a file; "-" is stderr.
Result<std::unique_ptr<TraceSink>, UserError> open_text_trace(const std::string& path);

class Tracer {
 public:
  bool enabled(Event e) const { return enabled_[static_cast<size_t>(e)]; }
  bool any_enabled() const { return sink_ != nullptr; }
  // `list`: names of events, of groups or of Linux's systems, and SYSTEM:EVENT, separated by commas; `*` and `?` as in a shell. The error names the
  // first that matches nothing.
  Result<void, UserError> enable(std::string_view list);
  void set_sink(std::unique_ptr<TraceSink> sink) { sink_ = std::move(sink); }
  TraceSink* sink() const { return sink_.get(); }

  // Who the next events happen to, and when. The kernel keeps these current; `now` points at the virtual clock.
  void set_task(Pid pid, std::string_view comm);
  void set_clock(Nanoseconds (*now)(const void*), const void* clock) { now_ = now, clock_ = clock; }
  void set_cpu(unsigned cpu) { cpu_ = cpu; }
  std::string_view comm() const { return comm_.data(); }

  void emit(Event e, std::initializer_list<TraceValue> values);
  // The names of the last events emitted, for a crash report, oldest first.
  std::vector<std::string> recent() const;

 private:
  std::bitset<kEventCount> enabled_;
  std::unique_ptr<TraceSink> sink_;
  Nanoseconds (*now_)(const void*) = nullptr;
  const void* clock_ = nullptr;
  Pid pid_{0};
  unsigned cpu_ = 0;
  std::array<char, 16> comm_{"swapper/0"};
  std::array<std::pair<Event, uint64_t>, 16> recent_{};
  uint64_t emitted_ = 0;
};

// Shell-style match with `*` and `?`.
bool glob_match(std::string_view pattern, std::string_view text);

}  // namespace vitro

// Evaluates its arguments only where the event is wanted.
#define TRACE(tracer, event, ...)                                  \
  do {                                                             \
    if ((tracer).enabled(event)) [[unlikely]]                      \
      (tracer).emit(event, {__VA_ARGS__});                         \
  } while (false)
