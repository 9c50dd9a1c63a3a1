// One page fault on its way through the handler: what the classifier knows, and what each kind reports back.
#pragma once

#include "mm/space/address_space_state.h"
#include "mm/space/virtual_memory_state.h"

namespace vitro::mm {

// How one attempt ended. Again: the handler had to wait, so the areas may be others now; start over.
enum class Attempt : uint8_t { Done, Again, WouldWait, SegvMapError, SegvAccessError, BusError, OutOfMemory };

struct FaultContext {
  AddressSpace::State& space;
  MmapLock& lock;           // held; a kind that waits for storage gives it up and returns Again
  VirtAddr page;            // page-aligned
  bool write = false;
  MayWait may_wait = MayWait::No;
  Vma* vma = nullptr;
  Pte pte;                  // as it was found; raw 0 where nothing is mapped
  // Filled in by the kind:
  FaultKind kind = FaultKind::Bad;
  bool major = false;       // had to read, and kept the lock (VM_FAULT_MAJOR)
  bool tried = false;       // gave up the lock to wait (VM_FAULT_RETRY)
  Pfn pfn{0};
  Nanoseconds cost{0};      // beside the entry

  VirtualMemory& vm() const { return space.vm; }
  const hw::TimingModel& timing() const { return space.vm.timing(); }
  // GFP flags for user pages and for tables: inside the CPU's fill hook nothing may reclaim.
  Gfp user_flags() const { return may_wait == MayWait::Yes ? Gfp::HighUserMovable : without_waiting(Gfp::HighUserMovable) | Gfp::NoWarn; }
  Gfp kernel_flags() const { return may_wait == MayWait::Yes ? Gfp::KernelAccount : without_waiting(Gfp::KernelAccount) | Gfp::NoWarn; }
  Attempt no_memory() const { return may_wait == MayWait::Yes ? Attempt::OutOfMemory : Attempt::WouldWait; }

  static constexpr Gfp without_waiting(Gfp g) { return static_cast<Gfp>(static_cast<uint32_t>(g) & ~static_cast<uint32_t>(Gfp::DirectReclaim)); }
};

Attempt fault_anonymous(FaultContext& f);      // private memory without a file, nothing mapped yet
Attempt fault_file(FaultContext& f);           // a file mapping, nothing mapped yet
Attempt fault_special(FaultContext& f);        // a page of the kernel, nothing mapped yet
Attempt fault_swap(FaultContext& f);             // the entry names a swap slot
Attempt fault_write_protected(FaultContext& f);  // mapped read-only, written to
// Extends the stack above `f.page` down to it, where that is allowed.
Attempt expand_stack(FaultContext& f, Vma& stack);

// A writer through a shared mapping is slowed down like any other, before it gets its page (mm/memory.c: fault_dirty_shared_page). How the
// attempt ends where that takes time.
std::optional<Attempt> throttle_writer(FaultContext& f, PageCache::State& cache);

// A private frame, its contents undefined unless `flags` has Zero, and an anon_vma and a table to map it. Nullopt: no_memory().
struct PrivatePage {
  Pfn frame;
  PhysAddr entry;
};
std::optional<PrivatePage> prepare_private_page(FaultContext& f, Gfp extra);
// Maps a frame of prepare_private_page() writable (where the area is), young and dirty; counts it. The entry must be empty.
void map_private_page(FaultContext& f, const PrivatePage& p);
// The same for a first write to a page that is not private: the frame becomes a copy of `original` (do_cow_fault).
Attempt map_copy(FaultContext& f, const PrivatePage& p, Pfn original);

}  // namespace vitro::mm
