// Which 4 KiB pages of large pages the soft TLB was given. The soft TLB holds a large page only in 4 KiB pieces, so that dropping the large
// page means dropping each piece that was filled; without this record every one would cost a flush.
#pragma once

#include <bitset>
#include <cstdint>
#include <unordered_map>
#include <unordered_set>

#include "vitro/hw/mmu.h"

namespace vitro::hw {

class LargePageFills {
 public:
  // The soft TLB may hold the 4 KiB page of `address` from now on, which is part of a larger page.
  void add(VirtAddr address, PageSize size);
  // Evicts what was filled of the 2 MiB around `address`, or flushes where that is cheaper or the page was larger. Returns false where
  // nothing of a large page was filled.
  bool evict(VirtAddr address, SoftTlb& soft);
  // The data rights of what was filled of the 2 MiB around `address`.
  void evict_data(VirtAddr address, SoftTlb& soft);
  void clear() {
    regions_.clear();
    gigabytes_.clear();
  }

 private:
  static constexpr size_t kMostEvictions = 64;              // beyond this a flush is cheaper
  std::unordered_map<uint64_t, std::bitset<512>> regions_;  // of 2 MiB pages, by address >> 21; looked up only, never listed
  std::unordered_set<uint64_t> gigabytes_;                  // 1 GiB pages of which anything was filled, by address >> 30
};

}  // namespace vitro::hw
