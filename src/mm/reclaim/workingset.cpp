// How far apart two uses of an evicted page were, in evictions and activations (mm/workingset.c). A page that would have stayed, had the
// active list been that much shorter, is activated at once.
#include "mm/reclaim/reclaim_state.h"

namespace vitro::mm {
namespace {

// A shadow is (age << 2 | was active once << 1 | 1): never 0.
constexpr unsigned kAgeShift = 2;
constexpr uint64_t kAgeMask = ~uint64_t{0} >> kAgeShift;

// The counters come in pairs: anonymous, file.
void count(VmStat& stat, VmItem anonymous, bool file) { stat.add(static_cast<VmItem>(static_cast<unsigned>(anonymous) + file)); }

}  // namespace

uint64_t evict_shadow(VirtualMemory& vm, Pfn frame) {
  Lru& lru = vm.lru();
  const uint64_t age = lru.nonresident_age();
  lru.age_nonresident(1);
  return (age & kAgeMask) << kAgeShift | (vm.physical().frames()[frame].has(FrameFlag::Workingset) ? 2u : 0u) | 1u;
}

void refault(VirtualMemory& vm, Pfn frame, uint64_t shadow) {
  Lru& lru = vm.lru();
  VmStat& stat = vm.physical().stat();
  Frame& f = vm.physical().frames()[frame];
  const bool file = !f.has(FrameFlag::SwapBacked), workingset = shadow & 2;
  const uint64_t distance = (lru.nonresident_age() - (shadow >> kAgeShift)) & kAgeMask;
  count(stat, VmItem::workingset_refault_anon, file);
  uint64_t size = lru.size(LruList::ActiveFile);
  if (!file) size += lru.size(LruList::InactiveFile);
  if (vm.reclaimer().can_swap()) {
    size += lru.size(LruList::ActiveAnon);
    if (file) size += lru.size(LruList::InactiveAnon);
  }
  if (distance > size) return;
  f.set(FrameFlag::Active);
  lru.age_nonresident(1);
  count(stat, VmItem::workingset_activate_anon, file);
  if (!workingset) return;
  f.set(FrameFlag::Workingset);
  lru.note_cost(file, 1);
  count(stat, VmItem::workingset_restore_anon, file);
}

}  // namespace vitro::mm
