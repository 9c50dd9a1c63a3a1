// Compaction: makes large free blocks by moving used frames together (mm/compaction.c). A migration scanner goes up from the zone's start and
// takes movable frames; a free scanner comes down from its end and provides places for them; the zone is done when they meet.
//
//   vm.compaction().compact_all();                       // /proc/sys/vm/compact_memory
//   allocator.set_compaction_port(&vm.compaction());     // direct compaction in the allocator's slow path
//
// What is movable: frames on an LRU list whose every reference is known (entries that map them, the page cache), found through the reverse map.
// Pinned, locked, huge and kernel frames stay, and so do frames under writeback.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vitro/base/types.h"
#include "vitro/mm/page_allocator.h"
#include "vitro/mm/zone.h"

namespace vitro::mm {

class PhysicalMemory;
class VirtualMemory;

// Why a request for a block of `order` would fail (mm/vmstat.c), in thousandths: near 0 for lack of memory, near 1000 for fragmentation;
// -1000: it would not fail.
int fragmentation_index(const Zone& zone, Order order);
// How much of the free memory is no use to a request of `order`, in thousandths.
int unusable_free_index(const Zone& zone, Order order);
// /sys/kernel/debug/extfrag/extfrag_index and unusable_index.
std::string extfrag_index_text(PhysicalMemory& physical);
std::string unusable_index_text(PhysicalMemory& physical);

class Compaction final : public CompactionPort {
 public:
  explicit Compaction(VirtualMemory& vm);

  CompactResult compact_directly(Gfp flags, Order order, AllocFlags alloc_flags, unsigned highest, CompactPriority priority) override;
  bool suitable(Order order, AllocFlags alloc_flags, unsigned highest) override;
  void succeeded(unsigned zone, Order order) override;

  // Every zone from end to end, whatever there is to gain (compact_node). Returns how many frames were moved.
  uint64_t compact_all();

  unsigned extfrag_threshold = 500;       // vm.extfrag_threshold
  bool unevictable_allowed = true;        // vm.compact_unevictable_allowed: mlocked frames may be moved

  // How often compaction of a zone is put off after it failed (defer_compaction).
  struct Deferral {
    unsigned considered = 0, shift = 0;
    uint8_t order_failed = 0;
  };
  const Deferral& deferral(unsigned zone) const { return deferrals_[zone]; }
  uint64_t moved() const { return moved_; }

 private:
  struct Run;
  CompactResult compact_zone(Run& run);
  CompactResult suitability(const Zone& zone, Order order, AllocFlags alloc_flags, unsigned highest) const;
  CompactResult finished(Run& run);
  void isolate_movable(Run& run);
  uint64_t isolate_movable_in(Run& run, uint64_t pfn, uint64_t end);
  bool try_isolate(Run& run, Pfn f);
  void isolate_free(Run& run);
  void put_back(Run& run);
  void migrate(Run& run);
  bool deferred(unsigned zone, Order order);
  void defer(unsigned zone, Order order);

  VirtualMemory& vm_;
  std::array<Deferral, kPopulatedZones> deferrals_{};
  // Where the scanners go on: migration by asynchronous and synchronous runs, and the free scanner; 0: at the ends.
  struct Cached {
    uint64_t migrate_async = 0, migrate_sync = 0, free = 0;
  };
  std::array<Cached, kPopulatedZones> cached_{};
  uint64_t moved_ = 0;
  bool running_ = false;
};

}  // namespace vitro::mm
