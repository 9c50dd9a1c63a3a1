// tlb, counters and ps.
#include <fmt/format.h>

#include <iterator>
#include <sstream>

#include "report/monitor_view.h"
#include "vitro/fs/process_view.h"
#include "vitro/report/statistics.h"

namespace vitro::report {
namespace {

constexpr const char* kPageSizes[] = {"4K", "2M", "1G"};

std::string rights_text(hw::TlbData d) {
  using D = hw::TlbData;
  return fmt::format("{}{}{} {}{}{}", 'r', d.has(D::kWritable) ? 'w' : '-', d.has(D::kExecutable) ? 'x' : '-', d.has(D::kUser) ? "user" : "kernel",
                     d.has(D::kDirty) ? " dirty" : "", d.has(D::kPiece) ? " piece" : "");
}

bool selected(std::string_view name, std::string_view pattern) {
  if (pattern.find_first_of("*?") != std::string_view::npos) return glob_match(pattern, name);
  return name.find(pattern) != std::string_view::npos;
}

}  // namespace

MonitorText MonitorView::tlb(std::string_view wanted) const {
  if (!machine_.mmu().tlb_modelled()) return fail(UserError{"fast mode models no TLB", "run with --mmu exact"});
  const hw::TlbHierarchy& tlbs = machine_.mmu().tlbs();
  std::string out, names;
  for (const auto& array : tlbs.arrays()) {
    (names += names.empty() ? "" : ", ") += array.name;
    if (!wanted.empty() && array.name != wanted) continue;
    const bool structures = array.name.starts_with("psc-");
    fmt::format_to(std::back_inserter(out), "{} {}: {} of {} valid\n", array.name, hw::to_string(array.geometry), array.valid, array.geometry.entries);
    tlbs.visit([&](const hw::TlbHierarchy::Slot& s) {
      if (s.array != array.name) return;
      fmt::format_to(std::back_inserter(out), "  set {:>3} way {:>2}  page {:#014x} {}  {}  {} {:#x}  {}  age {}\n", s.set, s.way, s.page.value(),
                     structures ? "--" : kPageSizes[static_cast<size_t>(s.size)], s.global ? "global " : fmt::format("pcid {:>2}", s.pcid.value()),
                     structures ? "table" : "frame", s.data.frame().value(), rights_text(s.data), s.age);
    });
  }
  if (out.empty()) return fail(UserError{fmt::format("there is no TLB array '{}'", wanted), names});
  return out;
}

MonitorText MonitorView::counters(std::string_view name) {
  const RunStatistics s = capture(machine_.vm(), machine_.mmu(), machine_.clock(), machine_.cpu().mode());
  std::string out;
  const auto line = [&](std::string_view counter, auto value) {
    if (selected(counter, name)) fmt::format_to(std::back_inserter(out), "{} {}\n", counter, value);
  };
  for (const auto& [counter, value] : s.vmstat) line(counter, value);
  if (s.translation) {
    const auto& t = *s.translation;
    const std::pair<const char*, const RunStatistics::TlbLevel*> levels[] = {{"l1d", &t.l1d}, {"l1i", &t.l1i}, {"l2", &t.l2}};
    for (const auto& [level, l] : levels) {
      line(fmt::format("tlb.{}.accesses", level), l->accesses);
      line(fmt::format("tlb.{}.hits", level), l->hits);
      line(fmt::format("tlb.{}.misses", level), l->misses);
    }
    line("walks.count", t.walks);
    line("walks.references", t.walk_references);
    line("walks.faulting", t.faulting_walks);
    line("cycles.l2_tlb_hits", t.l2_hit_cycles);
    line("cycles.walks", t.walk_cycles);
  }
  line("faults.minor", s.minor_faults);
  line("faults.major", s.major_faults);
  for (const auto& [state, count] : s.frames) line(fmt::format("frames.{}", state), count);
  line("instructions", s.instructions);
  line("virtual_ns", s.virtual_time.value());
  if (out.empty()) return fail(UserError{fmt::format("no counter matches '{}'", name), "counters alone lists them"});
  return out;
}

std::string MonitorView::tasks() {
  std::string out = fmt::format("  {:>5} {:>5} {:>5} {} {:>9} {:>9} {:>8} {:>6} {:>12}  {}\n", "PID", "TID", "PPID", "S", "VSZ", "RSS", "MINFLT", "MAJFLT", "CPU ms", "COMMAND");
  kernel::Kernel& kernel = machine_.kernel();
  for (const Pid process : kernel.processes())
    for (const Pid thread : kernel.threads(process)) {
      const auto v = kernel.view(thread);
      if (!v) continue;
      uint64_t vsz = 0, rss = 0;
      if (v->space) {
        const auto& usage = v->space->usage();
        vsz = usage.total_vm * 4, rss = (usage.rss_anon + usage.rss_file + usage.rss_shmem) * 4;
      }
      fmt::format_to(std::back_inserter(out), "{} {:>5} {:>5} {:>5} {} {:>9} {:>9} {:>8} {:>6} {:>12.3f}  {}\n", thread == task_.tid ? '*' : ' ', process.value(), thread.value(),
                     v->ppid.value(), v->state, vsz, rss, v->min_flt, v->maj_flt, static_cast<double>((v->user_time + v->system_time).value()) / 1e6,
                     v->kernel_thread ? fmt::format("[{}]", v->comm) : v->comm);
    }
  return out;
}

}  // namespace vitro::report
