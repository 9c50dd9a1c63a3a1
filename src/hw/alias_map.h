// Which page a physical address belongs to, when all the emulator reports of an access is its physical address.
//
// A frame that is mapped at one page is handed to the emulator at its own physical address; at a second page, at an alias: the same RAM
// once more, `stride` higher. Data is given an alias in any case: the emulator looks for code that a store may have overwritten at every store to
// memory that it may execute, and aliases are not executable. The zero frame, which may be mapped at very many pages, has a window of its own with one slot a page.
// Invariant: within an epoch (between two flushes of the soft TLB) no two live entries of the soft TLB share a slot.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "hw/lazy_array.h"
#include "vitro/base/types.h"

namespace vitro::hw {

class AliasMap {
 public:
  static constexpr unsigned kAliases = 8;                     // RAM itself and 7 more
  static constexpr uint64_t kZeroWindow = uint64_t{1} << 46;  // above all aliases of the largest RAM
  static constexpr uint64_t kZeroSlots = uint64_t{1} << 18;   // 1 GiB of address space

  explicit AliasMap(Bytes ram_size);

  uint64_t epoch() const { return epoch_; }
  // The soft TLB is empty: all slots are free.
  void start_epoch() {
    ++epoch_;
    zero_used_ = 0;
  }

  // Where an access of `page` to `frame` goes. Nullopt: every slot is taken by another page, so the soft TLB has to be flushed first.
  // `reusable(vpn)` says whether the page that holds a slot is known not to be in the soft TLB. From alias `lowest` to `highest`; 0 is the
  // frame itself.
  template <class Reusable>
  std::optional<uint64_t> place(Pfn frame, Vpn page, unsigned lowest, unsigned highest, Reusable reusable) {
    for (unsigned k = lowest; k <= highest; ++k) {
      if (slots_[k].empty()) slots_[k] = LazyArray<Slot>(frames_);
      Slot& slot = slots_[k][frame.value()];
      if (slot.epoch == epoch_ && slot.page != page.value() && !reusable(Vpn{slot.page})) continue;
      slot = {page.value(), epoch_};
      return (uint64_t{k} << stride_shift_) + frame.address().value();
    }
    return std::nullopt;
  }
  std::optional<uint64_t> place_zero(Vpn page) {
    if (zero_used_ == kZeroSlots) return std::nullopt;
    zero_pages_[zero_used_] = page.value();
    return kZeroWindow + (zero_used_++ << kPageShift);
  }

  // The page of an address that place() or place_zero() gave in this epoch.
  Vpn page_of(uint64_t physical) const {
    if (physical >= kZeroWindow) [[unlikely]]
      return Vpn{zero_pages_[(physical - kZeroWindow) >> kPageShift]};
    const uint64_t alias = physical >> stride_shift_;
    return Vpn{slots_[alias][(physical & stride_mask_) >> kPageShift].page};
  }
  // True if an alias other than the frame itself was handed out for it in this epoch.
  bool aliased(Pfn frame) const {
    for (unsigned k = 1; k < kAliases && !slots_[k].empty(); ++k)
      if (slots_[k][frame.value()].epoch == epoch_) return true;
    return false;
  }
  uint64_t alias_base(unsigned k) const { return uint64_t{k} << stride_shift_; }

 private:
  struct Slot {
    uint64_t page = 0;
    uint64_t epoch = 0;
  };
  uint64_t frames_;
  unsigned stride_shift_;
  uint64_t stride_mask_;
  uint64_t epoch_ = 1;
  uint64_t zero_used_ = 0;
  std::array<LazyArray<Slot>, kAliases> slots_;
  LazyArray<uint64_t> zero_pages_;
};

}  // namespace vitro::hw
