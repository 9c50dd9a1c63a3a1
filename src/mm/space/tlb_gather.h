// Collects the range of pages whose present entries changed and drops it from the TLBs in one go (include/asm-generic/tlb.h: mmu_gather).
// Invariant: nothing of the guest runs, and nothing waits, between a change and the flush of the gather that recorded it.
#pragma once

#include <algorithm>

#include "vitro/base/types.h"
#include "vitro/hw/mmu.h"

namespace vitro::mm {

class TlbGather {
 public:
  // A longer range is dropped by a flush of the whole address space (arch/x86/mm/tlb.c: tlb_single_page_flush_ceiling).
  static constexpr Pages kSinglePageCeiling{33};

  TlbGather(hw::Mmu& mmu, hw::Pcid pcid) : mmu_(mmu), pcid_(pcid) {}
  ~TlbGather() { flush(); }
  TlbGather(const TlbGather&) = delete;
  TlbGather& operator=(const TlbGather&) = delete;

  void add(VirtAddr page) {
    low_ = std::min(low_, page);
    high_ = std::max(high_, page + Bytes{kPageSize});
  }
  void add_everything() { everything_ = true; }
  void flush() {
    const Pages range = high_ > low_ ? (high_ - low_).pages_down() : Pages{0};
    if (everything_ || range > kSinglePageCeiling) mmu_.flush_pcid(pcid_, hw::FlushReason::LocalMmShootdown);
    else if (range.value() > 0) mmu_.invalidate_pages(low_, range, pcid_, hw::FlushReason::LocalMmShootdown);
    everything_ = false;
    low_ = VirtAddr{~0ull};
    high_ = VirtAddr{0};
  }

 private:
  hw::Mmu& mmu_;
  hw::Pcid pcid_;
  bool everything_ = false;
  VirtAddr low_{~0ull}, high_{0};
};

}  // namespace vitro::mm
