// Which PCID an address space uses (arch/x86/mm/tlb.c: choose_new_asid): a CPU keeps translations of the six spaces it ran last
// (TLB_NR_DYN_ASIDS); a seventh takes over the oldest number, whose translations are flushed. With page-table isolation each number stands for
// two, one of them for user mode (arch/x86/entry/calling.h: SWITCH_TO_USER_CR3, SWITCH_TO_KERNEL_CR3).
#pragma once

#include <array>

#include "vitro/hw/mmu.h"
#include "vitro/mm/address_space.h"

namespace vitro::kernel {

class AsidCache {
 public:
  static constexpr size_t kDynamicAsids = 6;

  explicit AsidCache(hw::Mmu& mmu) : mmu_(mmu) {}

  // Makes `space` the CPU's address space; nothing where it is already.
  void activate(mm::AddressSpace& space);
  // With page-table isolation: the loaded space's tables for user mode, and back. Nothing without it.
  void enter_user();
  void enter_kernel();
  // `space` has been destroyed (it is only compared): its number is free, and it is no longer loaded.
  void forget(const mm::AddressSpace* space);
  mm::AddressSpace* loaded() const { return loaded_; }

 private:
  hw::Mmu& mmu_;
  std::array<mm::AddressSpace*, kDynamicAsids> slots_{};
  size_t next_ = 0;
  mm::AddressSpace* loaded_ = nullptr;
};

}  // namespace vitro::kernel
