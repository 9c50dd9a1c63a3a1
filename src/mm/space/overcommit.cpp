// What may be promised (mm/util.c: __vm_enough_memory, vm_commit_limit).
#include <algorithm>

#include "vitro/base/check.h"
#include "vitro/mm/address_space.h"

namespace vitro::mm {

Pages VirtualMemory::commit_limit() const {
  const uint64_t frames = physical_.allocator().managed_frames().value();
  const uint64_t allowed = overcommit_kbytes != 0 ? overcommit_kbytes >> (kPageShift - 10) : frames * static_cast<uint64_t>(std::max(overcommit_ratio, 0)) / 100;
  return Pages{allowed} + swap_total;
}

bool VirtualMemory::may_commit(Pages pages, Pages total_vm) {
  switch (overcommit_memory) {
    case 1: return true;
    case 0: return pages <= physical_.allocator().managed_frames() + swap_total;
    default: {
      uint64_t allowed = commit_limit().value();
      const uint64_t reserve = std::min(total_vm.value() / 32, user_reserve_kbytes >> (kPageShift - 10));
      allowed -= std::min(allowed, reserve);
      return committed_.value() + pages.value() >= pages.value() && committed_.value() + pages.value() < allowed;
    }
  }
}

void VirtualMemory::commit(Pages pages) { committed_ += pages; }

void VirtualMemory::uncommit(Pages pages) {
  CHECK(pages <= committed_, "uncommitting {} of {} pages", pages.value(), committed_.value());
  committed_ -= pages;
}

}  // namespace vitro::mm
