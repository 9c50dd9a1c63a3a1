// The table of events, the filter, and ftrace's text form.
#include "vitro/base/trace.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "vitro/base/check.h"
#include "vitro/base/device_number.h"

namespace vitro {
namespace {

using enum FieldFormat;

constexpr TraceField kPageFault[] = {{"address", Hex}, {"ip", Hex}, {"error_code", Hex}, {"kind", Word}, {"pfn", Hex},
                                     {"cost_ns", Unsigned}, {"insn", Quoted}, {"sym", Word}};
constexpr TraceField kTlbMiss[] = {{"level", Word}, {"address", Hex}, {"page_size", Word}, {"refs", Unsigned}};
constexpr TraceField kTlbFlush[] = {{"pages", Signed, " pages:"}, {"reason", Word, " reason:"}, {"reason_code", Signed, " (", ")"}};
constexpr TraceField kSysEnter[] = {{"nr", Signed}, {"name", Word}, {"args", Quoted}};
constexpr TraceField kSysExit[] = {{"nr", Signed}, {"name", Word}, {"ret", Signed}};
constexpr TraceField kSignalGenerate[] = {{"sig", Signed}, {"errno", Signed}, {"code", Signed}, {"comm", Word}, {"pid", Signed}, {"grp", Signed}, {"res", Signed}};
constexpr TraceField kSignalDeliver[] = {{"sig", Signed}, {"errno", Signed}, {"code", Signed}, {"sa_handler", BareHex}, {"sa_flags", BareHex}};
constexpr TraceField kSchedSwitch[] = {{"prev_comm", Word}, {"prev_pid", Signed}, {"prev_prio", Signed}, {"prev_state", Word}, {"next_comm", Word, " ==> next_comm="},
                                       {"next_pid", Signed}, {"next_prio", Signed}};
constexpr TraceField kSchedFork[] = {{"comm", Word}, {"pid", Signed}, {"child_comm", Word}, {"child_pid", Signed}};
constexpr TraceField kSchedExec[] = {{"filename", Word}, {"pid", Signed}, {"old_pid", Signed}};
constexpr TraceField kSchedExit[] = {{"comm", Word}, {"pid", Signed}, {"exit_code", Signed}};
constexpr TraceField kSchedWakeup[] = {{"comm", Word}, {"pid", Signed}, {"prio", Signed}, {"target_cpu", Unsigned, " target_cpu=00"}};  // %03d; tasks run on CPU 0
constexpr TraceField kPageAlloc[] = {{"page", BareHex}, {"pfn", Hex}, {"order", Signed}, {"migratetype", Signed}, {"gfp_flags", Word}};
constexpr TraceField kPageFree[] = {{"page", BareHex}, {"pfn", Hex}, {"order", Signed}};
constexpr TraceField kCacheAlloc[] = {{"ptr", Hex}, {"name", Word}, {"bytes_req", Unsigned}, {"bytes_alloc", Unsigned}, {"gfp_flags", Word}};
constexpr TraceField kCacheFree[] = {{"ptr", Hex}, {"name", Word}};
constexpr TraceField kKfree[] = {{"ptr", Hex}};
constexpr TraceField kFilemap[] = {{"dev", Device, " dev "}, {"ino", BareHex, " ino "}, {"pfn", Hex}, {"ofs", Unsigned}, {"order", Unsigned}};
constexpr TraceField kBlockIssue[] = {{"dev", BlockDevice, " "}, {"rwbs", Word, " "}, {"bytes", Unsigned, " "}, {"sector", Unsigned, " () "}, {"nr_sector", Unsigned, " + "},
                                      {"issuer", Word, " [", "]"}};
constexpr TraceField kBlockComplete[] = {{"dev", BlockDevice, " "}, {"rwbs", Word, " "}, {"sector", Unsigned, " () "}, {"nr_sector", Unsigned, " + "}, {"error", Signed, " [", "]"}};
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
constexpr TraceField kWriteFolio[] = {{"page", BareHex}, {"pfn", Hex}, {"flags", Word}};
constexpr TraceField kShrinkSlabStart[] = {{"shrink", Word, " "}, {"shr", BareHex, " "}, {"nid", Signed, ": nid: "}, {"nr_objects_to_shrink", Signed, " objects to shrink "},
                                           {"gfp_flags", Word, " gfp_flags "}, {"cache_items", Signed, " cache items "}, {"delta", Signed, " delta "},
                                           {"total_scan", Signed, " total_scan "}, {"priority", Signed, " priority "}};
constexpr TraceField kShrinkSlabEnd[] = {{"shrink", Word, " "}, {"shr", BareHex, " "}, {"nid", Signed, ": nid: "}, {"unused_scan", Signed, " unused scan count "},
                                         {"new_scan", Signed, " new scan count "}, {"total_scan", Signed, " total_scan "}, {"retval", Signed, " last shrinker return val "}};
constexpr TraceField kThrottled[] = {{"nid", Signed}, {"usec_timeout", Signed}, {"usect_delayed", Signed}, {"reason", Word}};
constexpr TraceField kSwapPage[] = {{"type", Unsigned}, {"offset", Unsigned}, {"pfn", Hex}};
constexpr TraceField kPid[] = {{"pid", Signed}};
constexpr TraceField kVictim[] = {{"pid", Signed}, {"comm", Word}, {"total_vm", Unsigned, " total-vm=", "kB"}, {"anon_rss", Unsigned, " anon-rss=", "kB"},
                                  {"file_rss", Unsigned, " file-rss:", "kB"}, {"shmem_rss", Unsigned, " shmem-rss:", "kB"}, {"uid", Unsigned},
                                  {"pgtables", Unsigned, nullptr, "kB"}, {"oom_score_adj", Signed}};
constexpr TraceField kScoreAdj[] = {{"pid", Signed}, {"comm", Word}, {"oom_score_adj", Signed}};
constexpr TraceField kRetryZone[] = {{"node", Signed}, {"zone", Word}, {"order", Signed}, {"reclaimable", Unsigned}, {"available", Unsigned}, {"min_wmark", Unsigned},
                                     {"no_progress_loops", Signed}, {"wmark_check", Signed}};
constexpr TraceField kDirtyFolio[] = {{"bdi", Device, " bdi ", ":"}, {"ino", Unsigned}, {"index", Unsigned}};
constexpr TraceField kWritebackWork[] = {{"bdi", Device, " bdi ", ":"}, {"sb_dev", Device, " sb_dev "}, {"nr_pages", Signed}, {"sync_mode", Signed}, {"kupdate", Signed},
                                         {"range_cyclic", Signed}, {"background", Signed}, {"reason", Word}, {"cgroup_ino", Unsigned}};
constexpr TraceField kPagesWritten[] = {{"pages", Signed, " "}};
constexpr TraceField kWriteback[] = {{"bdi", Device, " bdi ", ":"}, {"cgroup_ino", Unsigned}};
constexpr TraceField kSingleInode[] = {{"bdi", Device, " bdi ", ":"}, {"ino", Unsigned}, {"state", Word}, {"dirtied_when", Unsigned}, {"age", Unsigned}, {"index", Unsigned},
                                       {"to_write", Signed}, {"wrote", Unsigned}, {"cgroup_ino", Unsigned}};
constexpr TraceField kDirtyState[] = {{"dirty", Unsigned}, {"writeback", Unsigned}, {"bg_thresh", Unsigned}, {"thresh", Unsigned}, {"limit", Unsigned},
                                      {"dirtied", Unsigned}, {"written", Unsigned}};
constexpr TraceField kRatelimit[] = {{"bdi", Device, " bdi ", ":"}, {"write_bw", Unsigned}, {"awrite_bw", Unsigned}, {"dirty_rate", Unsigned}, {"dirty_ratelimit", Unsigned},
                                     {"task_ratelimit", Unsigned}, {"balanced_dirty_ratelimit", Unsigned}, {"cgroup_ino", Unsigned}};
constexpr TraceField kBalance[] = {{"bdi", Device, " bdi ", ":"}, {"limit", Unsigned}, {"setpoint", Unsigned}, {"dirty", Unsigned}, {"bdi_setpoint", Unsigned},
                                   {"bdi_dirty", Unsigned}, {"dirty_ratelimit", Unsigned}, {"task_ratelimit", Unsigned}, {"dirtied", Unsigned}, {"dirtied_pause", Unsigned},
                                   {"paused", Unsigned}, {"pause", Signed}, {"period", Unsigned}, {"think", Signed}, {"cgroup_ino", Unsigned}};

constexpr TraceEventSpec kEvents[] = {
    {"page_fault_user", "page-fault", "exceptions", kPageFault},
    {"page_fault_kernel", "page-fault", "exceptions", kPageFault},
    {"tlb_miss", "tlb-miss", "tlb", kTlbMiss},
    {"tlb_flush", "tlb-flush", "tlb", kTlbFlush},
    {"sys_enter", "syscall", "raw_syscalls", kSysEnter},
    {"sys_exit", "syscall", "raw_syscalls", kSysExit},
    {"signal_generate", "signal", "signal", kSignalGenerate},
    {"signal_deliver", "signal", "signal", kSignalDeliver},
    {"sched_switch", "task", "sched", kSchedSwitch},
    {"sched_process_fork", "task", "sched", kSchedFork},
    {"sched_process_exec", "task", "sched", kSchedExec},
    {"sched_process_exit", "task", "sched", kSchedExit},
    {"sched_wakeup", "task", "sched", kSchedWakeup},
    {"mm_page_alloc", "alloc", "kmem", kPageAlloc},
    {"mm_page_free", "alloc", "kmem", kPageFree},
    {"kmem_cache_alloc", "slab", "kmem", kCacheAlloc},
    {"kmem_cache_free", "slab", "kmem", kCacheFree},
    {"kmalloc", "slab", "kmem", kCacheAlloc},
    {"kfree", "slab", "kmem", kKfree},
    {"mm_filemap_add_to_page_cache", "filemap", "filemap", kFilemap},
    {"mm_filemap_delete_from_page_cache", "filemap", "filemap", kFilemap},
    {"block_rq_issue", "block", "block", kBlockIssue},
    {"block_rq_complete", "block", "block", kBlockComplete},
    {"mark_victim", "oom", "oom", kVictim},
    {"mm_vmscan_kswapd_sleep", "reclaim", "vmscan", kNode},
    {"mm_vmscan_kswapd_wake", "reclaim", "vmscan", kKswapdWake},
    {"mm_vmscan_wakeup_kswapd", "reclaim", "vmscan", kWakeupKswapd},
    {"mm_vmscan_direct_reclaim_begin", "reclaim", "vmscan", kDirectBegin},
    {"mm_vmscan_direct_reclaim_end", "reclaim", "vmscan", kDirectEnd},
    {"mm_vmscan_lru_isolate", "reclaim", "vmscan", kIsolate},
    {"mm_vmscan_lru_shrink_inactive", "reclaim", "vmscan", kShrinkInactive},
    {"mm_vmscan_lru_shrink_active", "reclaim", "vmscan", kShrinkActive},
    {"mm_vmscan_write_folio", "reclaim", "vmscan", kWriteFolio},
    {"mm_vmscan_throttled", "reclaim", "vmscan", kThrottled},
    {"swap_out", "swap", "swap", kSwapPage},
    {"swap_in", "swap", "swap", kSwapPage},
    {"mm_shrink_slab_start", "reclaim", "vmscan", kShrinkSlabStart},
    {"mm_shrink_slab_end", "reclaim", "vmscan", kShrinkSlabEnd},
    {"oom_score_adj_update", "oom", "oom", kScoreAdj},
    {"wake_reaper", "oom", "oom", kPid},
    {"start_task_reaping", "oom", "oom", kPid},
    {"finish_task_reaping", "oom", "oom", kPid},
    {"skip_task_reaping", "oom", "oom", kPid},
    {"reclaim_retry_zone", "reclaim", "oom", kRetryZone},
    {"writeback_dirty_folio", "writeback", "writeback", kDirtyFolio},
    {"folio_wait_writeback", "writeback", "writeback", kDirtyFolio},
    {"writeback_start", "writeback", "writeback", kWritebackWork},
    {"writeback_written", "writeback", "writeback", kWritebackWork},
    {"writeback_pages_written", "writeback", "writeback", kPagesWritten},
    {"writeback_wake_background", "writeback", "writeback", kWriteback},
    {"writeback_single_inode_start", "writeback", "writeback", kSingleInode},
    {"writeback_single_inode", "writeback", "writeback", kSingleInode},
    {"global_dirty_state", "writeback", "writeback", kDirtyState},
    {"bdi_dirty_ratelimit", "writeback", "writeback", kRatelimit},
    {"balance_dirty_pages", "writeback", "writeback", kBalance},
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

bool named(std::string_view pattern, const TraceEventSpec& e) { return glob_match(pattern, e.group) || glob_match(pattern, e.name); }
bool in_system(std::string_view pattern, const TraceEventSpec& e) {
  const size_t colon = pattern.find(':');
  if (colon == std::string_view::npos) return glob_match(pattern, e.system);
  return glob_match(pattern.substr(0, colon), e.system) && glob_match(pattern.substr(colon + 1), e.name);
}

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

void append_trace_value(std::string& out, FieldFormat format, const TraceValue& v, std::string_view for_nothing) {
  auto to = std::back_inserter(out);
  switch (format) {
    case Hex: fmt::format_to(to, "0x{:x}", v.number); break;
    case BareHex: fmt::format_to(to, "{:x}", v.number); break;
    case Unsigned: fmt::format_to(to, "{}", v.number); break;
    case Signed: fmt::format_to(to, "{}", static_cast<int64_t>(v.number)); break;
    case Device: fmt::format_to(to, "{}:{}", device_major(v.number), device_minor(v.number)); break;
    case BlockDevice: fmt::format_to(to, "{},{}", device_major(v.number), device_minor(v.number)); break;
    case Word: out += v.text.empty() ? for_nothing : v.text; break;
    case Quoted: out += '"', out += v.text, out += '"'; break;
  }
}

void append_trace_line(std::string& out, const TraceRecord& record, const TraceEventSpec& spec) {
  const uint64_t us = record.time.value() / 1000;
  auto to = std::back_inserter(out);
  fmt::format_to(to, "{:>16}-{:<7} [{:03}] ..... {:5}.{:06}: {}:", record.pid.value() == 0 ? "<idle>" : record.comm, record.pid.value(), record.cpu, us / 1000000, us % 1000000, spec.name);
  for (size_t i = 0; i < spec.fields.size() && i < record.values.size(); ++i) {
    const TraceField& field = spec.fields[i];
    const TraceValue& v = record.values[i];
    if (field.before) out += field.before;
    else fmt::format_to(to, " {}=", field.name);
    append_trace_value(out, field.format, v, "-");
    out += field.after;
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
    // A group goes before a system of the same name, which may have more.
    bool matched = false;
    for (const auto matches : {&named, &in_system}) {
      if (matched) break;
      for (size_t i = 0; i < kEventCount; ++i)
        if (matches(pattern, kEvents[i])) enabled_.set(i), matched = true;
    }
    if (!matched) {
      std::string groups;
      for (const TraceEventSpec& e : kEvents)
        if (groups.find(e.group) == std::string::npos) groups += groups.empty() ? e.group : std::string(", ") + e.group;
      return fail(UserError{fmt::format("no trace event matches '{}'", pattern), "known: " + groups + ", an event's own name, or Linux's SYSTEM:EVENT; * and ? match"});
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
