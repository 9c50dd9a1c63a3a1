#include "hw/access_recorder.h"

#include <algorithm>
#include <utility>

namespace vitro::hw {

void AccessRecorder::settle(bool reached) {
  const std::optional<uint64_t> address = std::exchange(second_page_, std::nullopt);
  settling_ = true;
  if (address && reached) count_data(*address, second_page_access_);
  settling_ = false;
}

// One access for each page that is fetched from in a row; a branch begins a new row. Where a run was interrupted, or where the emulator
// ended a block in the middle of straight code, makes no difference.
void AccessRecorder::count_fetches(uint64_t address, uint32_t size) {
  const uint64_t end = address + size;
  if (position_.behind_branch) {
    mmu_.count_access(VirtAddr{address}, Access::Fetch);
    position_.fetched_from = address;
  } else if (address < position_.fetched_from || address > position_.fetched_until) {
    mmu_.count_access(VirtAddr{address}, Access::Fetch);
    position_.fetched_from = address;
  } else {
    if (end <= position_.fetched_until) return;
    if (((position_.fetched_until - 1) ^ (end - 1)) >> kPageShift) mmu_.count_access(VirtAddr{end - 1}.page_floor(), Access::Fetch);
    position_.fetched_until = end;
    return;
  }
  if ((address ^ (end - 1)) >> kPageShift) [[unlikely]]
    mmu_.count_access(VirtAddr{end - 1}.page_floor(), Access::Fetch);
  position_.fetched_until = end;
}

// The first block after a faulted instruction begins with it: its first accesses are counted already.
void AccessRecorder::begin_or_end_repeats() {
  position_.repeating = !position_.repeating;
  if (!position_.repeating) position_.repeat_count = position_.repeats_seen = 0;
}

// Whether the access was counted before its instruction faulted.
bool AccessRecorder::repeated(uint64_t address) {
  if (position_.repeats[position_.repeats_seen] != address >> kPageShift) {
    begin_or_end_repeats();
    return false;
  }
  if (++position_.repeats_seen == position_.repeat_count) begin_or_end_repeats();
  recent_[data_in_block_++ % recent_.size()] = address >> kPageShift;
  return true;
}

// What the instruction accesses before its access to `page`: pages, in order, as the emulator does it, at most 8 bytes at once.
unsigned AccessRecorder::accesses_before(std::span<const MemoryAccess> accesses, uint64_t page, Access kind,
                                         std::array<uint64_t, Position::kMaximumRepeats>& before) {
  unsigned n = 0;
  for (const MemoryAccess& a : accesses) {
    for (uint64_t part = 0; part < a.size.value(); part += 8) {
      const uint64_t first = a.address.value() + part, last = first + std::min<uint64_t>(8, a.size.value() - part) - 1;
      for (const uint64_t byte : {first, last}) {
        if (byte != first && (first ^ last) >> kPageShift == 0) continue;
        if (a.access == kind && byte >> kPageShift == page >> kPageShift) return n;
        if (n == before.size()) return n;
        before[n++] = byte >> kPageShift;
      }
    }
  }
  return n;
}

void AccessRecorder::fault_unseen(std::span<const MemoryAccess> accesses, uint64_t page, Access kind) {
  position_.repeat_count = accesses_before(accesses, page, kind, position_.repeats);
  position_.repeats_seen = 0;
  position_.repeating = false;
  position_.faulted_page = page >> kPageShift;
  position_.faulted_access = kind;
}

// The instruction faulted at its first access to `page`. What it accessed before has been counted and will come again.
void AccessRecorder::fault(std::span<const MemoryAccess> accesses, uint64_t page, Access kind) {
  if (mode_ != MmuMode::Exact) {
    // Hits are not seen; what matters is a page that was read, is to be written, and will be filled for both again.
    const auto reads_page = [&](const MemoryAccess& a) {
      return a.access == Access::Read && a.address.vpn().value() <= page >> kPageShift &&
             (a.address + a.size - Bytes{1}).vpn().value() >= page >> kPageShift;
    };
    if (mode_ == MmuMode::Fast || kind != Access::Write || std::none_of(accesses.begin(), accesses.end(), reads_page)) return;
    position_.repeats[0] = page >> kPageShift;
    position_.repeat_count = 1;
    position_.repeats_seen = 0;
    position_.repeating = false;
    return;
  }
  std::array<uint64_t, Position::kMaximumRepeats> before;
  unsigned n = accesses_before(accesses, page, kind, before);
  // Only what was seen: the emulator may look up the second page of an access before it reports the first.
  for (; n > 0; --n) {
    bool seen = n <= std::min<uint64_t>(data_in_block_, recent_.size());
    for (unsigned i = 0; seen && i < n; ++i) seen = recent_[(data_in_block_ - n + i) % recent_.size()] == before[i];
    if (seen) break;
  }
  position_.repeats = before;
  position_.repeat_count = n;
  position_.repeats_seen = 0;
  position_.repeating = false;
}

}  // namespace vitro::hw
