// Tells the Mmu of the accesses that a CPU makes, so that the counts do not depend on how the CPU's runs are cut: an instruction that
// faulted is made once more from its start, and straight code may be cut into blocks anywhere, but each access counts once.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "vitro/hw/cpu.h"
#include "vitro/hw/disassembler.h"
#include "vitro/hw/mmu.h"

namespace vitro::hw {

// Where a run was interrupted, apart from the registers. Part of the context, so that a task which slept goes on as if it had not.
struct Position {
  // The next block begins behind a branch; and there the clock's limit has not been looked at yet.
  bool behind_branch = true, limit_unchecked = false;
  // The fetches of these bytes have been counted; a block that goes on inside or right behind them counts no more than new pages.
  uint64_t fetched_from = 0, fetched_until = 0;
  // Pages of the accesses that the interrupted instruction had made, and that are counted, before it faulted; it will make them again,
  // in the first block that runs (`repeating`).
  static constexpr unsigned kMaximumRepeats = 8;
  std::array<uint64_t, kMaximumRepeats> repeats{};
  unsigned repeat_count = 0, repeats_seen = 0;
  bool repeating = false;
  // The access that faulted ends the repeats, where hits are not seen.
  uint64_t faulted_page = 0;
  Access faulted_access = Access::Read;

  // At an instruction of the kernel's choice, as after a jump.
  void move() { *this = Position{}; }
  // In the middle of a block, or behind one that does not end in a branch.
  void interrupt() { behind_branch = limit_unchecked = false; }
};

class AccessRecorder {
 public:
  AccessRecorder(Mmu& mmu, MmuMode mode) : mmu_(mmu), mode_(mode) {}

  Position& position() { return position_; }
  // True where this emulator reports a load that crosses a page three times: whole, and then in two aligned parts.
  void set_loads_in_parts(bool yes) { loads_in_parts_ = yes; }

  // A block begins to run.
  void block(uint64_t address, uint32_t size) {
    if (mode_ == MmuMode::Fast) return;
    if (second_page_) [[unlikely]]
      settle(true);
    count_fetches(address, size);
    if (position_.repeat_count != 0) [[unlikely]]
      begin_or_end_repeats();
    data_in_block_ = 0;
  }
  // A data access of `size` bytes, which may cross into a second page. That page counts once it is known to have been reached.
  void data(uint64_t address, unsigned size, Access access) {
    if (second_page_) [[unlikely]]
      settle(true);
    if ((address & kPageOffsetMask) + size > kPageSize) [[unlikely]] {
      if (access == Access::Read && loads_in_parts_) return;
      second_page_ = (address | kPageOffsetMask) + 1;
      second_page_access_ = access;
    }
    count_data(address, access);
  }
  // The access that is being counted is the second page of one that was made before.
  bool settling() const { return settling_; }
  // The run ended; in a fault on the page of `refused` if that is given.
  void end_of_run(std::optional<VirtAddr> refused) {
    if (second_page_) settle(!refused || refused->vpn() != VirtAddr{*second_page_}.vpn());
  }
  // The instruction with these accesses faulted at its first access of kind `kind` to `page`.
  void fault(std::span<const MemoryAccess> accesses, uint64_t page, Access kind);
  // The same where hits are not seen and are counted with their block: what is to be left out is the accesses' effect on the TLBs.
  void fault_unseen(std::span<const MemoryAccess> accesses, uint64_t page, Access kind);
  // An access that is no plain hit: true if it was made before its instruction faulted, so that it must not change the TLBs once more.
  bool made_before(uint64_t vpn, Access access) {
    if (!position_.repeating) [[likely]] return false;
    if (vpn == position_.faulted_page && access == position_.faulted_access) {
      begin_or_end_repeats();
      return false;
    }
    for (unsigned i = 0; i < position_.repeat_count; ++i)
      if (position_.repeats[i] == vpn) return true;
    return false;
  }
  bool repeating() const { return position_.repeating; }
  // `trap`: a read of the page is about to be filled that was counted before the write of the same instruction faulted. True for the first
  // fill of the page only: the block may be long enough to lose the page and to read it once more.
  bool take_counted(uint64_t vpn, Access access) {
    if (!position_.repeating || position_.repeats[0] != vpn) return false;
    begin_or_end_repeats();
    return access == Access::Read;
  }

 private:
  static unsigned accesses_before(std::span<const MemoryAccess> accesses, uint64_t page, Access kind,
                                  std::array<uint64_t, Position::kMaximumRepeats>& before);
  void settle(bool reached);
  void count_fetches(uint64_t address, uint32_t size);
  void count_data(uint64_t address, Access access) {
    if (position_.repeating && repeated(address)) [[unlikely]]
      return;
    recent_[data_in_block_++ % recent_.size()] = address >> kPageShift;
    mmu_.count_access(VirtAddr{address}, access);
  }
  bool repeated(uint64_t address);
  void begin_or_end_repeats();

  Mmu& mmu_;
  const MmuMode mode_;
  bool loads_in_parts_ = false;
  Position position_;
  // Pages of the data accesses since the block began: the last of them, at their number modulo the size.
  std::array<uint64_t, Position::kMaximumRepeats> recent_{};
  uint64_t data_in_block_ = 0;
  std::optional<uint64_t> second_page_;
  Access second_page_access_ = Access::Read;
  bool settling_ = false;
};

}  // namespace vitro::hw
