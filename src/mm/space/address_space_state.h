// What an AddressSpace consists of, for the files that implement it.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "mm/space/page_table.h"
#include "mm/space/vma_tree.h"
#include "vitro/base/intrusive_list.h"
#include "vitro/base/wait_queue.h"
#include "vitro/mm/address_space.h"

namespace vitro::mm {

enum class MayYield : bool;

struct AddressSpace::State {
  State(VirtualMemory& machine, SlabObject object) : vm(machine), memory(std::move(object)), tables(machine.physical(), machine.isolated()) {}

  VirtualMemory& vm;
  AddressSpace* self = nullptr;
  uint64_t id = 0;
  uint64_t number = 0;  // never used twice
  SlabObject memory;  // its mm_struct
  hw::Pcid pcid{0};
  PageTable tables;
  VmaTree vmas;
  Usage usage;
  bool oom_skip = false;     // MMF_OOM_SKIP: killing it frees nothing more
  VmFlag lock_future = VmFlag::None;  // mlockall(MCL_FUTURE): what new areas get
  // mmap_lock. Held across waits for memory only, never across waits for storage: a fault gives it up and starts again.
  bool locked = false;
  WaitQueue lock_waiters;
  ListLink all_link;  // VirtualMemory's list

  KernelCaches& caches() { return vm.physical().caches(); }
  FrameTable& frames() { return vm.physical().frames(); }
  TlbGather gather() { return TlbGather(vm.mmu(), pcid); }

  // --- areas (vma_operations.cpp) ---
  // A new area that is in no tree yet. NoMemory.
  Result<Vma*> new_vma(VirtAddr start, VirtAddr end, VmFlag flags, std::shared_ptr<MappedFile> file, PageIndex page_offset);
  void link(Vma& v, Vma* copied_from = nullptr);  // into the tree and the file's mappings, there beside the one it is a copy of
  void unlink(Vma& v);  // out of both, and off its anon_vmas; destroys it
  // Moves the ends of `v`; each address keeps its page. The only way to change where an area lies that is linked or has anon_vmas.
  void resize(Vma& v, VirtAddr start, VirtAddr end);
  // Splits `v` at `at`, which lies inside: `v` keeps the lower part, the upper part is returned. NoMemory.
  Result<Vma*> split(Vma& v, VirtAddr at);
  // Merges `v` with its neighbours where Linux would. Returns the area that now covers v's start.
  Vma* merge_around(Vma& v);
  // Splits so that areas begin at `start` and end at `end`, applies `change` to each area between, and merges again. All of the range must
  // be covered, or the first hole ends it with NoMemory after the areas below it were changed.
  Status change_range(VirtAddr start, VirtAddr end, const std::function<Status(Vma&)>& change);
  // Sets the flags of one whole area and moves what is counted by flags with them.
  void set_flags(Vma& v, VmFlag flags);
  bool may_expand(VmFlag flags, Pages pages) const;  // mm/mmap.c: may_expand_vm
  void account(VmFlag flags, int64_t pages);         // vm_stat_account
  Status may_lock_more(VmFlag flags, Bytes length) const;  // mlock_future_check
  Result<VirtAddr> find_unmapped(VirtAddr hint, Bytes length, bool fixed, bool may_map_low) const;  // arch_get_unmapped_area_topdown
  // The same for a mapping of `file` (or none) from page `first` on (mm/huge_memory.c: thp_get_unmapped_area).
  Result<VirtAddr> find_unmapped_for(MappedFile* file, PageIndex first, VirtAddr hint, Bytes length, bool fixed, bool may_map_low) const;
  Status unmap(VirtAddr start, VirtAddr end);        // do_munmap, aligned and checked range

  // --- pages (zap.cpp) ---
  // Drops what [start, end) of `v` maps. `file_only`: private copies stay (truncation by hole punching). `may_yield`: the caller holds the
  // mmap_lock, or is the space's last owner, so that others may run meanwhile.
  void zap(Vma& v, VirtAddr start, VirtAddr end, TlbGather& gather, bool file_only = false, MayYield may_yield = MayYield{false});
  // Drops one entry's page: counters, rmap, reference. The entry itself was cleared by the caller.
  void drop_page(Vma& v, Pte pte);
  void free_tables_of(VirtAddr start, VirtAddr end, TlbGather& gather);  // after areas of the range left the tree
  uint64_t& rss_of(const Frame& f);
  void note_hiwater();

  // Page faults in what [start, end) covers, as touching it would (mm/gup.c: __mm_populate). Must not hold the lock. The first error.
  enum class Populate : uint8_t { AsMapped, Read, Write };
  Status populate(VirtAddr start, VirtAddr end, Populate how);
};

// Holds the mmap_lock for a scope.
class MmapLock {
 public:
  explicit MmapLock(AddressSpace::State& s) : space_(&s) {
    while (s.locked) wait(s);
    s.locked = true;
  }
  ~MmapLock() { release(); }
  MmapLock(const MmapLock&) = delete;
  MmapLock& operator=(const MmapLock&) = delete;
  void release() {
    if (!space_) return;
    space_->locked = false;
    if (!space_->lock_waiters.empty()) space_->lock_waiters.wake_all();
    space_ = nullptr;
  }

 private:
  static void wait(AddressSpace::State& s);
  AddressSpace::State* space_;
};

// The rights of `v`'s pages as an entry has them (mm/mmap.c: vm_get_page_prot); private memory and tracked shared files start read-only.
uint64_t entry_bits(const Vma& v);
// Whether a first write to a clean page of `v` must be noticed (mm/mmap.c: vma_wants_writenotify): shared, writable, with storage below.
bool wants_write_notify(const Vma& v);

}  // namespace vitro::mm
