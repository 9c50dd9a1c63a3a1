// Collects the counters of every layer into one snapshot.
#include <algorithm>
#include <sstream>

#include "vitro/fs/process_view.h"
#include "vitro/mm/kmap.h"
#include "vitro/mm/physical_memory.h"
#include "vitro/report/statistics.h"

namespace vitro::report {
namespace {

RunStatistics::TlbLevel level(const hw::MmuCounters::Level& l) { return {l.accesses, l.hits, l.misses, l.misses_by_size, l.misses_by_access}; }

}  // namespace

RunStatistics capture(mm::VirtualMemory& vm, const hw::Mmu& mmu, const hw::Clock& clock, hw::MmuMode mode) {
  RunStatistics s;
  const mm::VmStat& stat = vm.physical().stat();
  s.major_faults = vm.major_faults;
  s.minor_faults = static_cast<uint64_t>(std::max<int64_t>(stat.get(mm::VmItem::pgfault), 0)) - vm.major_faults;
  s.faults_by_kind = vm.faults_by_kind;
  if (mode != hw::MmuMode::Fast) {
    const hw::MmuCounters& c = mmu.counters();
    s.translation = RunStatistics::Translation{level(c.l1d),
                                               level(c.l1i),
                                               level(c.l2),
                                               c.walks,
                                               c.walk_references,
                                               c.faulting_walks,
                                               c.faulting_walk_references,
                                               c.l2.hits * vm.timing().cycles_l2_tlb_hit,
                                               c.walk_cycles,
                                               c.cold_walks,
                                               c.dirty_walks,
                                               c.flushes};
  }
  s.cycles_l2_hit = vm.timing().cycles_l2_tlb_hit;
  s.cycles_walk_reference = vm.timing().cycles_walk_reference;
  if (vm.isolated()) s.isolation_switches = mmu.counters().isolation_switches;
  if (vm.physical().high_start() < Pfn{vm.physical().ram().frames().value()}) {
    const mm::Kmap::Counters& k = vm.kmap().counters();
    s.kmaps = RunStatistics::Kmaps{k.maps, k.reused, k.flushes, k.atomic_maps, k.cost};
  }
  s.instructions = clock.instructions();
  s.virtual_time = clock.now();
  std::istringstream lines(fs::vmstat_text(vm));
  std::string name;
  for (int64_t value = 0; lines >> name >> value;) s.vmstat.emplace_back(name, value);
  const auto frames = vm.physical().frames_by_state();
  for (size_t i = 0; i < frames.size(); ++i) s.frames.emplace_back(mm::frame_state_name(static_cast<mm::FrameState>(i)), frames[i]);
  return s;
}

}  // namespace vitro::report
