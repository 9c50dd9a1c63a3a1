#include "fs/proc_status.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "fs/proc_text.h"

namespace vitro::fs {
namespace {

constexpr uint64_t kAllCapabilities = 0x1ff'ffff'ffff;  // CAP_LAST_CAP is 40
constexpr unsigned kLimitResident = 5;
constexpr unsigned kNodeMaskWords = 32;  // MAX_NUMNODES is 1024

std::string_view state_name(char state) {
  switch (state) {
    case 'R':
      return "running";
    case 'S':
      return "sleeping";
    case 'D':
      return "disk sleep";
    case 'T':
      return "stopped";
    case 't':
      return "tracing stop";
    case 'X':
      return "dead";
    case 'Z':
      return "zombie";
    case 'P':
      return "parked";
    default:
      return "idle";
  }
}

void memory_line(std::string& out, std::string_view label, uint64_t pages) {
  fmt::format_to(std::back_inserter(out), "{}:\t{:>8} kB\n", label, pages << (kPageShift - 10));
}

std::string node_mask() {
  std::string out;
  for (unsigned i = 1; i < kNodeMaskWords; ++i) out += "00000000,";
  return out + "00000001";
}

}  // namespace

MemorySizes memory_sizes(const mm::AddressSpace::Usage& u, const mm::AddressSpace::Layout& layout) {
  MemorySizes s;
  s.vm = u.total_vm, s.vm_peak = std::max(u.total_vm, u.hiwater_vm);
  s.anon = u.rss_anon, s.file = u.rss_file, s.shmem = u.rss_shmem;
  s.rss_peak = std::max(s.rss(), u.hiwater_rss);
  s.locked = u.locked_vm, s.data = u.data_vm, s.stack = u.stack_vm, s.page_tables = u.page_tables, s.swap = u.swapents;
  if (layout.end_code > layout.start_code) s.text = (layout.end_code.page_ceil() - layout.start_code.page_floor()).pages_down().value();
  s.library = u.exec_vm - std::min(u.exec_vm, s.text);
  return s;
}

std::string render_process_stat(const ProcessView& p, const MemorySizes* sizes, const mm::AddressSpace::Layout* layout,
                                const StatusContext& c) {
  const mm::AddressSpace::Layout none{};
  const bool addresses = c.permitted && layout != nullptr;
  const auto& l = addresses ? *layout : none;
  const uint64_t hidden = sizes ? 1 : 0;           // what stands for an address that the reader may not know
  constexpr uint64_t kShownSignals = 0x7fff'ffff;  // the first 31: what fitted a word once
  std::string out = fmt::format("{} ({}) {} {} {} {} {} {} {} {} {} {} {}", p.pid.value(), p.comm, p.state, p.ppid.value(), p.pgrp.value(),
                                p.session.value(), p.tty, p.tty_pgrp, p.flags, p.min_flt, c.whole_process ? p.children_min_flt : 0,
                                p.maj_flt, c.whole_process ? p.children_maj_flt : 0);
  fmt::format_to(std::back_inserter(out), " {} {} {} {} {} {} {} 0 {} {} {} {}", clock_ticks(p.user_time), clock_ticks(p.system_time),
                 c.whole_process ? clock_ticks(p.children_user_time) : 0, c.whole_process ? clock_ticks(p.children_system_time) : 0,
                 p.priority, p.nice, p.threads, clock_ticks(p.start_time), sizes ? sizes->vm << kPageShift : 0, sizes ? sizes->rss() : 0,
                 p.limits[kLimitResident].first);
  // kstkesp and kstkeip are shown of dying tasks only, so they are 0.
  fmt::format_to(std::back_inserter(out), " {} {} {} 0 0 {} {} {} {} {} 0 0 {} {} 0 0 0 0 0", addresses ? l.start_code.value() : hidden,
                 addresses ? l.end_code.value() : hidden, l.start_stack.value(), p.signals_pending & kShownSignals,
                 p.signals_blocked & kShownSignals, p.signals_ignored & kShownSignals, p.signals_caught & kShownSignals,
                 p.state == 'R' ? 0 : 1, p.exit_signal, p.cpu);
  fmt::format_to(std::back_inserter(out), " {} {} {} {} {} {} {} {}\n", l.start_data.value(), l.end_data.value(), l.start_brk.value(),
                 l.arg_start.value(), l.arg_end.value(), l.env_start.value(), l.env_end.value(), c.permitted ? p.exit_code : 0);
  return out;
}

std::string render_statm(const MemorySizes* s) {
  if (!s) return "0 0 0 0 0 0 0\n";
  return fmt::format("{} {} {} {} 0 {} 0\n", s->vm, s->rss(), s->file + s->shmem, s->text, s->data + s->stack);
}

std::string render_status(const ProcessView& p, const MemorySizes* s, const StatusContext& c) {
  const Credentials& cred = p.credentials;
  std::string out = fmt::format("Name:\t{}\n", escape(p.comm, "\n\\"));
  auto to = std::back_inserter(out);
  fmt::format_to(to, "Umask:\t{:04o}\nState:\t{} ({})\nTgid:\t{}\nNgid:\t0\nPid:\t{}\nPPid:\t{}\nTracerPid:\t{}\n", p.umask, p.state,
                 state_name(p.state), p.tgid.value(), p.pid.value(), p.ppid.value(), p.tracer.value());
  fmt::format_to(to, "Uid:\t{}\t{}\t{}\t{}\nGid:\t{}\t{}\t{}\t{}\nFDSize:\t{}\nGroups:\t", cred.uid, cred.euid, cred.suid, cred.fsuid,
                 cred.gid, cred.egid, cred.sgid, cred.fsgid, p.fd_size);
  for (size_t i = 0; i < cred.groups.size(); ++i) fmt::format_to(to, "{}{}", i ? " " : "", cred.groups[i]);
  fmt::format_to(to, " \nNStgid:\t{}\nNSpid:\t{}\nNSpgid:\t{}\nNSsid:\t{}\n", p.tgid.value(), p.pid.value(), p.pgrp.value(),
                 p.session.value());
  if (s) {
    memory_line(out, "VmPeak", s->vm_peak);
    memory_line(out, "VmSize", s->vm);
    memory_line(out, "VmLck", s->locked);
    memory_line(out, "VmPin", 0);
    memory_line(out, "VmHWM", s->rss_peak);
    memory_line(out, "VmRSS", s->rss());
    memory_line(out, "RssAnon", s->anon);
    memory_line(out, "RssFile", s->file);
    memory_line(out, "RssShmem", s->shmem);
    memory_line(out, "VmData", s->data);
    memory_line(out, "VmStk", s->stack);
    memory_line(out, "VmExe", s->text);
    memory_line(out, "VmLib", s->library);
    memory_line(out, "VmPTE", s->page_tables);
    memory_line(out, "VmSwap", s->swap);
    memory_line(out, "HugetlbPages", 0);
    fmt::format_to(to, "CoreDumping:\t0\nTHP_enabled:\t1\n");
  }
  fmt::format_to(to,
                 "Threads:\t{}\nSigQ:\t{}/{}\nSigPnd:\t{:016x}\nShdPnd:\t{:016x}\nSigBlk:\t{:016x}\nSigIgn:\t{:016x}\nSigCgt:\t{:016x}\n",
                 p.threads, p.signal_queue, p.signal_queue_limit, p.signals_pending, p.signals_shared_pending, p.signals_blocked,
                 p.signals_ignored, p.signals_caught);
  // Root has every capability and nobody else has one.
  fmt::format_to(to, "CapInh:\t{:016x}\nCapPrm:\t{:016x}\nCapEff:\t{:016x}\nCapBnd:\t{:016x}\nCapAmb:\t{:016x}\n", 0,
                 cred.uid == 0 || cred.euid == 0 || cred.suid == 0 ? kAllCapabilities : 0, cred.euid == 0 ? kAllCapabilities : 0,
                 kAllCapabilities, 0);
  fmt::format_to(to,
                 "NoNewPrivs:\t0\nSeccomp:\t0\nSeccomp_filters:\t0\nSpeculation_Store_Bypass:\tvulnerable\nSpeculationIndirectBranch:"
                 "\talways enabled\n"
                 "Cpus_allowed:\t{}\nCpus_allowed_list:\t{}\nMems_allowed:\t{}\nMems_allowed_list:\t0\nvoluntary_ctxt_switches:\t{}"
                 "\nnonvoluntary_ctxt_switches:\t{}\n",
                 cpu_mask(c.cpus), cpu_list(c.cpus), node_mask(), p.voluntary_switches, p.involuntary_switches);
  return out;
}

std::string render_limits(const ProcessView& p) {
  static constexpr struct {
    std::string_view name, unit;
  } kLimits[16] = {
      {"Max cpu time", "seconds"},     {"Max file size", "bytes"},     {"Max data size", "bytes"},     {"Max stack size", "bytes"},
      {"Max core file size", "bytes"}, {"Max resident set", "bytes"},  {"Max processes", "processes"}, {"Max open files", "files"},
      {"Max locked memory", "bytes"},  {"Max address space", "bytes"}, {"Max file locks", "locks"},    {"Max pending signals", "signals"},
      {"Max msgqueue size", "bytes"},  {"Max nice priority", ""},      {"Max realtime priority", ""},  {"Max realtime timeout", "us"}};
  const auto text = [](uint64_t v) { return v == ~uint64_t{0} ? std::string("unlimited") : fmt::format("{}", v); };
  std::string out = fmt::format("{:<25} {:<20} {:<20} {:<10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
  for (size_t i = 0; i < std::size(kLimits); ++i) {
    fmt::format_to(std::back_inserter(out), "{:<25} {:<20} {:<20} ", kLimits[i].name, text(p.limits[i].first), text(p.limits[i].second));
    if (!kLimits[i].unit.empty()) fmt::format_to(std::back_inserter(out), "{:<10}", kLimits[i].unit);
    out += '\n';
  }
  return out;
}

std::string render_io(const ProcessView::Io& io) {
  return fmt::format("rchar: {}\nwchar: {}\nsyscr: {}\nsyscw: {}\nread_bytes: {}\nwrite_bytes: {}\ncancelled_write_bytes: {}\n", io.rchar,
                     io.wchar, io.syscr, io.syscw, io.read_bytes, io.write_bytes, io.cancelled_write_bytes);
}

unsigned oom_score(const MemorySizes* s, int adj, uint64_t total) {
  if (!s || adj <= -1000 || total == 0) return 0;
  const int64_t points =
      static_cast<int64_t>(s->rss() + s->swap + s->page_tables) + static_cast<int64_t>(adj) * static_cast<int64_t>(total / 1000);
  return static_cast<unsigned>(std::max<int64_t>((1000 + points * 1000 / static_cast<int64_t>(total)) * 2 / 3, 0));
}

int oom_adj_from_score_adj(int score_adj) { return score_adj == 1000 ? 15 : score_adj * 17 / 1000; }
int score_adj_from_oom_adj(int adj) { return adj == 15 ? 1000 : adj * 1000 / 17; }

}  // namespace vitro::fs
