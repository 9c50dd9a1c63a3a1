// The table of events, the filter, and ftrace's text form.
#include "vitro/base/trace.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "vitro/base/check.h"

namespace vitro {
namespace {

using enum FieldFormat;

constexpr TraceField kPageFault[] = {{"address", Hex}, {"ip", Hex}, {"error_code", Hex}, {"kind", Word}, {"pfn", Hex},
                                     {"cost_ns", Unsigned}, {"insn", Quoted}, {"sym", Word}};
constexpr TraceField kTlbMiss[] = {{"level", Word}, {"address", Hex}, {"page_size", Word}, {"refs", Unsigned}};
constexpr TraceField kTlbFlush[] = {{"pages", ColonSigned}, {"reason", ColonText}, {"reason_code", Parentheses}};
constexpr TraceField kSysEnter[] = {{"nr", Signed}, {"name", Word}, {"args", Quoted}};
constexpr TraceField kSysExit[] = {{"nr", Signed}, {"name", Word}, {"ret", Signed}};
constexpr TraceField kSignalGenerate[] = {{"sig", Signed}, {"errno", Signed}, {"code", Signed}, {"comm", Word}, {"pid", Signed}};
constexpr TraceField kSignalDeliver[] = {{"sig", Signed}, {"errno", Signed}, {"code", Signed}, {"sa_handler", Hex}, {"sa_flags", Hex}};
constexpr TraceField kSchedSwitch[] = {{"prev_comm", Word}, {"prev_pid", Signed}, {"prev_state", Word}, {"next_comm", Word}, {"next_pid", Signed}};
constexpr TraceField kSchedFork[] = {{"comm", Word}, {"pid", Signed}, {"child_comm", Word}, {"child_pid", Signed}};
constexpr TraceField kSchedExec[] = {{"filename", Word}, {"pid", Signed}, {"old_pid", Signed}};
constexpr TraceField kSchedExit[] = {{"comm", Word}, {"pid", Signed}, {"exit_code", Signed}};
constexpr TraceField kSchedWakeup[] = {{"comm", Word}, {"pid", Signed}};
constexpr TraceField kPageAlloc[] = {{"pfn", Hex}, {"order", Unsigned}, {"migratetype", Signed}, {"gfp_flags", Word}};
constexpr TraceField kPageFree[] = {{"pfn", Hex}, {"order", Unsigned}};
constexpr TraceField kCacheAlloc[] = {{"ptr", Hex}, {"name", Word}, {"bytes_req", Unsigned}, {"bytes_alloc", Unsigned}, {"gfp_flags", Word}};
constexpr TraceField kCacheFree[] = {{"ptr", Hex}, {"name", Word}};
constexpr TraceField kKfree[] = {{"ptr", Hex}};
constexpr TraceField kFilemap[] = {{"ino", Hex}, {"ofs", Unsigned}, {"pfn", Hex}};
constexpr TraceField kBlock[] = {{"sector", Unsigned}, {"nr_sector", Unsigned}, {"rwbs", Word}};
constexpr TraceField kNode[] = {{"nid", Signed}};
constexpr TraceField kKswapdWake[] = {{"nid", Signed}, {"order", Signed}};
constexpr TraceField kWakeupKswapd[] = {{"nid", Signed}, {"order", Signed}, {"gfp_flags", Word}};
constexpr TraceField kDirectBegin[] = {{"order", Signed}, {"gfp_flags", Word}};
constexpr TraceField kDirectEnd[] = {{"nr_reclaimed", Unsigned}};
constexpr TraceField kIsolate[] = {{"isolate_mode", Signed}, {"classzone", Signed}, {"order", Signed}, {"nr_requested", Unsigned}, {"nr_scanned", Unsigned},
                                   {"nr_skipped", Unsigned}, {"nr_taken", Unsigned}, {"lru", Word}};
constexpr TraceField kShrinkInactive[] = {{"nid", Signed}, {"nr_scanned", Signed}, {"nr_reclaimed", Signed}, {"nr_dirty", Signed}, {"nr_writeback", Signed},
                                          {"nr_congested", Signed}, {"nr_immediate", Signed}, {"nr_activate_anon", Signed}, {"nr_activate_file", Signed},
                                          {"nr_ref_keep", Signed}, {"nr_unmap_fail", Signed}, {"priority", Signed}, {"flags", Word}};
constexpr TraceField kShrinkActive[] = {{"nid", Signed}, {"nr_taken", Signed}, {"nr_active", Signed}, {"nr_deactivated", Signed}, {"nr_referenced", Signed},
                                        {"priority", Signed}, {"flags", Word}};
constexpr TraceField kWriteFolio[] = {{"pfn", Hex}, {"flags", Word}};
constexpr TraceField kThrottled[] = {{"nid", Signed}, {"usec_timeout", Signed}, {"usect_delayed", Signed}, {"reason", Word}};
constexpr TraceField kSwapPage[] = {{"type", Unsigned}, {"offset", Unsigned}, {"pfn", Hex}};
constexpr TraceField kVictim[] = {{"pid", Signed}};

constexpr TraceEventSpec kEvents[] = {
    {"page_fault_user", "page-fault", kPageFault},
    {"page_fault_kernel", "page-fault", kPageFault},
    {"tlb_miss", "tlb-miss", kTlbMiss},
    {"tlb_flush", "tlb-flush", kTlbFlush},
    {"sys_enter", "syscall", kSysEnter},
    {"sys_exit", "syscall", kSysExit},
    {"signal_generate", "signal", kSignalGenerate},
    {"signal_deliver", "signal", kSignalDeliver},
    {"sched_switch", "task", kSchedSwitch},
    {"sched_process_fork", "task", kSchedFork},
    {"sched_process_exec", "task", kSchedExec},
    {"sched_process_exit", "task", kSchedExit},
    {"sched_wakeup", "task", kSchedWakeup},
    {"mm_page_alloc", "alloc", kPageAlloc},
    {"mm_page_free", "alloc", kPageFree},
    {"kmem_cache_alloc", "slab", kCacheAlloc},
    {"kmem_cache_free", "slab", kCacheFree},
    {"kmalloc", "slab", kCacheAlloc},
    {"kfree", "slab", kKfree},
    {"mm_filemap_add_to_page_cache", "filemap", kFilemap},
    {"mm_filemap_delete_from_page_cache", "filemap", kFilemap},
    {"block_rq_issue", "block", kBlock},
    {"block_rq_complete", "block", kBlock},
    {"mark_victim", "oom", kVictim},
    {"mm_vmscan_kswapd_sleep", "reclaim", kNode},
    {"mm_vmscan_kswapd_wake", "reclaim", kKswapdWake},
    {"mm_vmscan_wakeup_kswapd", "reclaim", kWakeupKswapd},
    {"mm_vmscan_direct_reclaim_begin", "reclaim", kDirectBegin},
    {"mm_vmscan_direct_reclaim_end", "reclaim", kDirectEnd},
    {"mm_vmscan_lru_isolate", "reclaim", kIsolate},
    {"mm_vmscan_lru_shrink_inactive", "reclaim", kShrinkInactive},
    {"mm_vmscan_lru_shrink_active", "reclaim", kShrinkActive},
    {"mm_vmscan_write_folio", "reclaim", kWriteFolio},
    {"mm_vmscan_throttled", "reclaim", kThrottled},
    {"swap_out", "swap", kSwapPage},
    {"swap_in", "swap", kSwapPage},
};
static_assert(std::size(kEvents) == kEventCount, "one table row for each Event");

// Writes ftrace text through a large buffer; the first failing write is kept and reported.
class TextTraceSink final : public TraceSink {
 public:
  TextTraceSink(int fd, std::string name, bool owned) : fd_(fd), name_(std::move(name)), owned_(owned) { buffer_.reserve(kBufferSize + 4096); }
  ~TextTraceSink() override {
    (void)flush();
    if (owned_) ::close(fd_);
  }
  void write(const TraceRecord& record) override {
    append_trace_line(buffer_, record);
    if (buffer_.size() >= kBufferSize) drain();
  }
  Result<void, UserError> flush() override {
    drain();
    if (error_ == 0) return {};
    return fail(UserError{fmt::format("cannot write the trace to {}: {}", name_, std::strerror(error_)),
                          "the trace is complete up to the last whole line; free some space or name another file"});
  }
  bool failed() const override { return error_ != 0; }

 private:
  static constexpr size_t kBufferSize = 1 << 18;
  void drain() {
    size_t done = 0;
    while (done < buffer_.size() && error_ == 0) {
      const ssize_t n = ::write(fd_, buffer_.data() + done, buffer_.size() - done);
      if (n > 0) done += static_cast<size_t>(n);
      else if (errno != EINTR) error_ = errno;
    }
    buffer_.clear();
  }
  int fd_;
  std::string name_;
  bool owned_;
  std::string buffer_;
  int error_ = 0;
};

}  // namespace

const TraceEventSpec& trace_event_spec(Event e) { return kEvents[static_cast<size_t>(e)]; }

bool glob_match(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t]) && pattern[p] != '*') ++p, ++t;
    else if (p < pattern.size() && pattern[p] == '*') star = p++, resume = t;
    else if (star != std::string_view::npos) p = star + 1, t = ++resume;
    else return false;
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

void append_trace_line(std::string& out, const TraceRecord& record, const TraceEventSpec& spec) {
  const uint64_t us = record.time.value() / 1000;
  auto to = std::back_inserter(out);
  fmt::format_to(to, "{:>16}-{:<7} [{:03}] ..... {:5}.{:06}: {}:", record.pid.value() == 0 ? "<idle>" : record.comm, record.pid.value(), record.cpu, us / 1000000, us % 1000000, spec.name);
  for (size_t i = 0; i < spec.fields.size() && i < record.values.size(); ++i) {
    const TraceValue& v = record.values[i];
    switch (spec.fields[i].format) {
      case ColonSigned:
        fmt::format_to(to, " {}:{}", spec.fields[i].name, static_cast<int64_t>(v.number));
        continue;
      case ColonText:
        fmt::format_to(to, " {}:{}", spec.fields[i].name, v.text);
        continue;
      case Parentheses:
        fmt::format_to(to, " ({})", static_cast<int64_t>(v.number));
        continue;
      default:
        fmt::format_to(to, " {}=", spec.fields[i].name);
    }
    switch (spec.fields[i].format) {
      case Hex: fmt::format_to(to, "0x{:x}", v.number); break;
      case Unsigned: fmt::format_to(to, "{}", v.number); break;
      case Signed: fmt::format_to(to, "{}", static_cast<int64_t>(v.number)); break;
      case Word: out += v.text.empty() ? std::string_view("-") : v.text; break;
      default: out += '"', out += v.text, out += '"'; break;
    }
  }
  out += '\n';
}

Result<std::unique_ptr<TraceSink>, UserError> open_text_trace(const std::string& path) {
  if (path == "-") return std::make_unique<TextTraceSink>(2, "stderr", false);
  FILE* f = std::fopen(path.c_str(), "we");
  if (!f) return fail(UserError{fmt::format("cannot open the trace file {}: {}", path, std::strerror(errno)), "name a file in a directory you may write to"});
  const int fd = ::dup(::fileno(f));
  std::fclose(f);
  return std::make_unique<TextTraceSink>(fd, path, true);
}

Result<void, UserError> Tracer::enable(std::string_view list) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    const std::string_view pattern = list.substr(0, comma);
    list = comma == std::string_view::npos ? std::string_view{} : list.substr(comma + 1);
    if (pattern.empty()) continue;
    bool matched = false;
    for (size_t i = 0; i < kEventCount; ++i)
      if (glob_match(pattern, kEvents[i].group) || glob_match(pattern, kEvents[i].name)) enabled_.set(i), matched = true;
    if (!matched) {
      std::string groups;
      for (const TraceEventSpec& e : kEvents)
        if (groups.find(e.group) == std::string::npos) groups += groups.empty() ? e.group : std::string(", ") + e.group;
      return fail(UserError{fmt::format("no trace event matches '{}'", pattern), "known: " + groups + ", or an event's own name; * and ? match"});
    }
  }
  return {};
}

void Tracer::set_task(Pid pid, std::string_view comm) {
  pid_ = pid;
  const size_t n = std::min(comm.size(), comm_.size() - 1);
  std::memcpy(comm_.data(), comm.data(), n);
  comm_[n] = 0;
}

void Tracer::emit(Event e, std::initializer_list<TraceValue> values) {
  recent_[emitted_++ % recent_.size()] = {e, values.size() ? values.begin()->number : 0};
  if (!sink_) return;
  DCHECK(values.size() == trace_event_spec(e).fields.size(), "event {} takes {} values, not {}", trace_event_spec(e).name,
         trace_event_spec(e).fields.size(), values.size());
  sink_->write(TraceRecord{e, now_ ? now_(clock_) : Nanoseconds{0}, pid_, cpu_, comm_.data(), {values.begin(), values.size()}});
}

std::vector<std::string> Tracer::recent() const {
  std::vector<std::string> names;
  const uint64_t n = std::min<uint64_t>(emitted_, recent_.size());
  for (uint64_t i = emitted_ - n; i < emitted_; ++i) {
    const auto& [event, first] = recent_[i % recent_.size()];
    names.push_back(fmt::format("{} {:#x}", trace_event_spec(event).name, first));
  }
  return names;
}

}  // namespace vitro
