// Work that grows with the number of pages: what it costs, and where somebody more urgent gets the CPU meanwhile (cond_resched in the loops of
// mm/memory.c and mm/mremap.c).
//
//   PagedWork work(vm, tlb, MayYield::Yes);
//   for (...) { ...; work.did(vm.timing().zap_page); }
//
// Between two did() nothing may be half done: others may run and look at the tables.
#pragma once

#include "mm/space/tlb_gather.h"
#include "vitro/mm/address_space.h"
#include "vitro/mm/reclaim.h"

namespace vitro::mm {

enum class MayYield : bool { No, Yes };

class PagedWork {
 public:
  PagedWork(VirtualMemory& vm, TlbGather& tlb, MayYield may_yield) : vm_(vm), tlb_(tlb), may_yield_(may_yield) {}
  ~PagedWork() { vm_.charge(cost_); }
  PagedWork(const PagedWork&) = delete;
  PagedWork& operator=(const PagedWork&) = delete;

  void did(Nanoseconds cost) {
    cost_ += cost;
    if (may_yield_ == MayYield::Yes && ++pages_ == kBetweenLooks) breathe();
  }

 private:
  static constexpr unsigned kBetweenLooks = 32;

  void breathe() {
    pages_ = 0;
    ReclaimTasks* tasks = vm_.reclaimer().tasks();
    if (!tasks || !vm_.blocking() || !vm_.blocking()->may_wait()) return;
    tasks->checkpoint(std::exchange(cost_, Nanoseconds{0}), false);
    if (!tasks->should_yield()) return;
    tlb_.flush();  // whoever runs now must not see what is gone
    tasks->checkpoint(Nanoseconds{0}, true);
  }

  VirtualMemory& vm_;
  TlbGather& tlb_;
  const MayYield may_yield_;
  Nanoseconds cost_{0};
  unsigned pages_ = 0;
};

}  // namespace vitro::mm
