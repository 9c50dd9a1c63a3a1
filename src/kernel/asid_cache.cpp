#include "kernel/asid_cache.h"

namespace vitro::kernel {
namespace {

// PCID 0 is never used for user translations (kern_pcid(asid) = asid + 1), so a space that lost its number cannot hit another's.
constexpr hw::Pcid pcid_of_slot(size_t slot) { return hw::Pcid{static_cast<uint16_t>(slot + 1)}; }

}  // namespace

void AsidCache::activate(mm::AddressSpace& space) {
  if (loaded_ == &space) return;
  loaded_ = &space;
  for (size_t i = 0; i < slots_.size(); ++i)
    if (slots_[i] == &space) {
      mmu_.load_cr3(space.page_table_root(), pcid_of_slot(i), hw::Mmu::KeepPcid::Yes);
      return;
    }
  const size_t slot = next_;
  next_ = (next_ + 1) % slots_.size();
  if (slots_[slot]) slots_[slot]->set_pcid(hw::Pcid{0});
  slots_[slot] = &space;
  space.set_pcid(pcid_of_slot(slot));
  mmu_.load_cr3(space.page_table_root(), pcid_of_slot(slot), hw::Mmu::KeepPcid::No);
}

void AsidCache::enter_user() {
  if (!mmu_.isolated()) return;
  mmu_.switch_isolation(loaded_->user_page_table_root(), hw::Pcid{static_cast<uint16_t>(loaded_->pcid().value() | hw::Mmu::kUserPcidBit)});
}

void AsidCache::enter_kernel() {
  if (mmu_.isolated()) mmu_.switch_isolation(loaded_->page_table_root(), loaded_->pcid());
}

void AsidCache::forget(const mm::AddressSpace* space) {
  for (mm::AddressSpace*& slot : slots_)
    if (slot == space) slot = nullptr;
  if (loaded_ == space) loaded_ = nullptr;
}

}  // namespace vitro::kernel
