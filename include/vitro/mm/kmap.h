// Temporary kernel mappings of high memory, which the direct map does not reach (mm/highmem.c, as 32-bit x86 uses it).
//
//   VirtAddr a = *kmap.map(frame);        // a slot of the pkmap range; stays until unmap(), may wait for a free slot
//   VirtAddr b = *kmap.map_atomic(frame); // one of this CPU's few slots, given back in reverse order
//   kmap.unmap_atomic(b), kmap.unmap(frame);
//
// Frames of low memory need none of it: both return their place in the direct map. A pkmap slot that nobody uses any more keeps its mapping,
// and the next map() of the same frame finds it there; all such slots are cleared together, with one flush, when the search for a free slot
// has come round.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "vitro/base/result.h"
#include "vitro/base/types.h"
#include "vitro/base/wait_queue.h"
#include "vitro/hw/mmu.h"
#include "vitro/hw/timing_model.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::mm {

class KernelPageTable;

enum class KmapError : uint8_t { NotMapped, WrongOrder, NoSlot };  // NoSlot: all are in use and nobody can wait
const char* kmap_error_text(KmapError e);

class Kmap {
 public:
  static constexpr unsigned kSlots = 512;        // LAST_PKMAP with 64-bit entries: one table
  static constexpr unsigned kAtomicSlots = 16;   // KM_MAX_IDX: per CPU

  struct Counters {
    uint64_t maps = 0;         // map() of a high frame
    uint64_t reused = 0;       // of these: the frame had a slot already
    uint64_t flushes = 0;      // flush_all_zero_pkmaps with something to clear
    uint64_t waits = 0;        // no slot was free
    uint64_t atomic_maps = 0;  // map_atomic() of a high frame
    Nanoseconds cost{0};       // of all that, by the timing table
  };
  // One slot: count 0 is free, 1 is mapped and unused, n + 1 is in use n times.
  struct Slot {
    unsigned count = 0;
    Pfn frame{0};
  };

  Kmap(PhysicalMemory& physical, KernelPageTable& tables, hw::Mmu& mmu, const hw::TimingModel& timing);
  ~Kmap();
  Kmap(const Kmap&) = delete;
  Kmap& operator=(const Kmap&) = delete;

  // kmap. Waits for a slot where `blocking` is given and all are in use. Errors: NoSlot, or no memory for the table on first use (also NoSlot).
  Result<VirtAddr, KmapError> map(Pfn frame, Blocking* blocking = nullptr);
  // kunmap: NotMapped.
  Result<void, KmapError> unmap(Pfn frame);
  // kmap_atomic, kmap_local_page: NoSlot when this CPU's slots are used up.
  Result<VirtAddr, KmapError> map_atomic(Pfn frame);
  // kunmap_atomic, kunmap_local: WrongOrder unless it is the last one mapped; NotMapped for what is none.
  Result<void, KmapError> unmap_atomic(VirtAddr a);

  // Brackets one access of the kernel to a frame: counts and pays for map_atomic and unmap_atomic where the frame is high, without writing the
  // entry, as nothing can look at it in between. Costs one comparison for low frames.
  void touch(Pfn frame) {
    if (physical_.in_high_memory(frame)) [[unlikely]] touch_high();
  }

  // Where the cost goes; none by default.
  void set_charge(std::function<void(Nanoseconds)> charge) { charge_ = std::move(charge); }
  // The address that a frame has in the pkmap range (page_address); nullopt: none.
  std::optional<VirtAddr> address_of(Pfn frame) const;
  std::array<Slot, kSlots> const& slots() const { return slots_; }
  // Of one CPU, oldest first.
  const std::vector<Pfn>& atomic_slots(unsigned cpu) const { return atomic_[cpu]; }
  const Counters& counters() const { return counters_; }
  static VirtAddr slot_address(unsigned slot) { return kPkmapBase + Pages{slot}; }
  static VirtAddr atomic_address(unsigned cpu, unsigned index) { return kPkmapBase + Pages{kSlots + cpu * kAtomicSlots + index}; }
  void verify() const;

 private:
  void pay(Nanoseconds n);
  void touch_high();
  void flush_unused();
  bool high(Pfn f) const { return physical_.in_high_memory(f); }

  PhysicalMemory& physical_;
  KernelPageTable& tables_;
  hw::Mmu& mmu_;
  const hw::TimingModel& timing_;
  std::function<void(Nanoseconds)> charge_;
  Counters counters_;
  unsigned last_ = 0;
  std::array<Slot, kSlots> slots_{};
  std::unordered_map<uint64_t, unsigned> by_frame_;  // looked up only
  std::vector<std::vector<Pfn>> atomic_;
  WaitQueue free_slot_;
};

}  // namespace vitro::mm
