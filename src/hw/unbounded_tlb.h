// A TLB that never has to evict: only what is invalidated leaves it. What misses here would miss in a TLB of any size (a cold miss); every
// other miss is the real one's size or associativity. Asked at page walks only, so that hits cost nothing.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <unordered_map>

#include "vitro/hw/pte.h"
#include "vitro/hw/tlb_array.h"

namespace vitro::hw {

class UnboundedTlb {
 public:
  // True where the page was there already; it is from now on.
  bool insert(VirtAddr address, PageSize size, Pcid pcid, bool global);
  void invalidate_page(VirtAddr address, Pcid pcid);
  void flush_pcid(Pcid pcid);
  void flush_non_global();
  void flush_all();

 private:
  // The 512 pages of a size that share an address prefix: one bit each.
  struct Block {
    uint64_t generation = 0;
    std::bitset<512> pages;
  };
  static constexpr size_t kGlobalSpace = 4096;  // behind the PCIDs
  static uint64_t key(VirtAddr address, PageSize size, size_t space);
  void drop_dead_blocks();
  // The block of a key, made where there is none. Found again without a search as long as no block was dropped.
  Block& block(uint64_t key) {
    Recent& recent = recent_[(key >> 15) % recent_.size()];
    if (recent.block == nullptr || recent.key != key) [[unlikely]] recent = {key, &blocks_[key]};
    return *recent.block;
  }

  std::unordered_map<uint64_t, Block> blocks_;  // looked up only, never listed
  struct Recent {
    uint64_t key = 0;
    Block* block = nullptr;
  };
  std::array<Recent, 64> recent_{};
  // A flush makes all blocks of an address space old at once.
  std::array<uint64_t, kGlobalSpace + 1> generations_{};
  std::array<bool, 3> sizes_{};  // page sizes that were ever here
  bool global_ = false;          // global pages were ever here
  size_t flushes_ = 0;           // address spaces flushed since dead blocks were dropped
};

}  // namespace vitro::hw
