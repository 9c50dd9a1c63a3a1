// The countable part of the memory manager's state, and the difference between two of them in words: what a step changed.
//
//   Snapshot before = Snapshot::take(physical);
//   ...
//   for (const std::string& line : Snapshot::take(physical).changes_since(before)) print(line);
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "vitro/mm/physical_memory.h"
#include "vitro/mm/slab_allocator.h"

namespace vitro::lab {

class Snapshot {
 public:
  static Snapshot take(mm::PhysicalMemory& physical);
  // "buddy DMA32: order 10 -1, order 9 +1", "kmalloc-128: objects in use 0 -> 1, slabs 0 -> 1" ...; empty where nothing changed.
  std::vector<std::string> changes_since(const Snapshot& before) const;

 private:
  struct ZoneState {
    std::string name;
    std::array<uint64_t, mm::kOrders> blocks{};
    std::array<uint64_t, mm::kMigrateTypes> pageblocks{};
    uint64_t per_cpu = 0, min = 0, boost = 0;
  };
  struct CacheState {
    const mm::SlabCache* cache;  // which cache it was; never followed
    std::string name;
    mm::SlabCache::Counts counts;
  };
  std::vector<ZoneState> zones_;
  std::vector<CacheState> caches_;
  std::array<uint64_t, static_cast<size_t>(mm::FrameState::Count)> states_{};
};

}  // namespace vitro::lab
