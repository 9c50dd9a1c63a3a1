// RunStatistics for people: what happened, in one screen.
#include <fmt/format.h>

#include <iterator>

#include "vitro/report/statistics.h"

namespace vitro::report {
namespace {

using mm::FaultKind;

// 1234567 -> "1,234,567".
std::string grouped(uint64_t n) {
  const std::string digits = fmt::format("{}", n);
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i != 0 && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

std::string percent(uint64_t part, uint64_t whole) {
  return whole == 0 ? std::string("-") : fmt::format("{:.2f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

// 4 KiB frames as a size: "12.3 MiB".
std::string frames_size(uint64_t frames) {
  return frames < 256 ? fmt::format("{} KiB", frames * 4) : fmt::format("{:.1f} MiB", static_cast<double>(frames) / 256);
}

}  // namespace

std::string to_text(const RunStatistics& s) {
  std::string out;
  auto to = std::back_inserter(out);
  const auto exit = s.exit_signal ? fmt::format("killed by signal {}", s.exit_signal) : fmt::format("exit status {}", s.exit_status);
  fmt::format_to(to, "{}, {} instructions, {:.6f} s of virtual time\n\n", exit, grouped(s.instructions),
                 static_cast<double>(s.virtual_time.value()) / 1e9);

  fmt::format_to(to, "page faults   {:>15} minor {:>15} major\n", grouped(s.minor_faults), grouped(s.major_faults));
  for (size_t k = 0; k < s.faults_by_kind.size(); ++k)
    if (s.faults_by_kind[k])
      fmt::format_to(to, "  {:<11} {:>15}\n", mm::fault_kind_name(static_cast<FaultKind>(k)), grouped(s.faults_by_kind[k]));

  if (s.translation) {
    const auto& t = *s.translation;
    fmt::format_to(to, "\n{:<13} {:>15} {:>15} {:>15} {:>9}\n", "TLB", "accesses", "hits", "misses", "missed");
    const auto line = [&](const char* name, const RunStatistics::TlbLevel& l) {
      fmt::format_to(to, "  {:<11} {:>15} {:>15} {:>15} {:>9}\n", name, grouped(l.accesses), grouped(l.hits), grouped(l.misses),
                     percent(l.misses, l.accesses));
    };
    line("L1 data", t.l1d);
    line("L1 code", t.l1i);
    line("L2", t.l2);
    fmt::format_to(to, "  {:<11} {:>15} completed, {} entries read; {} ended in a fault\n", "page walks", grouped(t.walks),
                   grouped(t.walk_references), grouped(t.faulting_walks));
    if (s.isolation_switches) fmt::format_to(to, "  {:<11} {:>15} between user mode's tables and the kernel's\n", "CR3 writes", grouped(*s.isolation_switches));
    fmt::format_to(to, "  {:<11} {:>15} in L2 hits, {} in walks\n", "cycles", grouped(t.l2_hit_cycles), grouped(t.walk_cycles));
  } else {
    fmt::format_to(to, "\nTLB           not counted in fast mode\n");
  }

  uint64_t total = 0;
  for (const auto& [state, count] : s.frames) total += count;
  fmt::format_to(to, "\n{:<17} {:>11} {:>12} {:>9}\n", "frames", "count", "size", "of RAM");
  for (const auto& [state, count] : s.frames)
    if (count) fmt::format_to(to, "  {:<15} {:>11} {:>12} {:>9}\n", state, grouped(count), frames_size(count), percent(count, total));
  fmt::format_to(to, "  {:<15} {:>11} {:>12}\n", "RAM", grouped(total), frames_size(total));
  return out;
}

}  // namespace vitro::report
