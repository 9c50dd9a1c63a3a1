// madvise(2) (mm/madvise.c).
#include <algorithm>

#include "mm/space/address_space_state.h"
#include "mm/space/paged_work.h"
#include "mm/swap/swap_state.h"
#include "mm/space/virtual_memory_state.h"
#include "vitro/mm/page_cache.h"
#include "vitro/mm/rmap.h"

namespace vitro::mm {
namespace {

enum Advice : int {
  kNormal = 0, kRandom = 1, kSequential = 2, kWillNeed = 3, kDontNeed = 4, kFree = 8, kRemove = 9, kDontFork = 10, kDoFork = 11, kHugePage = 14,
  kNoHugePage = 15, kDontDump = 16, kDoDump = 17, kWipeOnFork = 18, kKeepOnFork = 19, kCold = 20, kPageOut = 21, kPopulateRead = 22,
  kPopulateWrite = 23, kDontNeedLocked = 24,
};

// The flags that a flag advice leads to; nullopt: no such advice.
Result<std::optional<VmFlag>> advised_flags(const Vma& v, int advice) {
  const VmFlag f = v.flags;
  switch (advice) {
    case kNormal: return f & ~(VmFlag::RandRead | VmFlag::SeqRead);
    case kSequential: return (f & ~VmFlag::RandRead) | VmFlag::SeqRead;
    case kRandom: return (f & ~VmFlag::SeqRead) | VmFlag::RandRead;
    case kDontFork: return f | VmFlag::DontCopy;
    case kDoFork:
      if (has(f, VmFlag::Io)) return fail(Errno::Invalid);
      return f & ~VmFlag::DontCopy;
    case kWipeOnFork:
      if (v.file || v.shared()) return fail(Errno::Invalid);
      return f | VmFlag::WipeOnFork;
    case kKeepOnFork: return f & ~VmFlag::WipeOnFork;
    case kDontDump: return f | VmFlag::DontDump;
    case kDoDump:
      if (has(f, VmFlag::DontExpand)) return fail(Errno::Invalid);
      return f & ~VmFlag::DontDump;
    case kHugePage:  // mm/khugepaged.c: hugepage_madvise
      return (f & ~VmFlag::NoHugePage) | VmFlag::HugePage;
    case kNoHugePage: return (f & ~VmFlag::HugePage) | VmFlag::NoHugePage;
    default: return std::optional<VmFlag>{};
  }
}

bool known(int advice) {
  switch (advice) {
    case kNormal: case kRandom: case kSequential: case kWillNeed: case kDontNeed: case kFree: case kRemove: case kDontFork: case kDoFork:
    case kHugePage: case kNoHugePage: case kDontDump: case kDoDump: case kWipeOnFork: case kKeepOnFork: case kCold: case kPageOut:
    case kPopulateRead: case kPopulateWrite: case kDontNeedLocked: return true;
    default: return false;
  }
}

// MADV_FREE: the contents may go as long as the page is not written again; until then it stays (madvise_free_pte_range).
void mark_lazily_freeable(AddressSpace::State& s, Vma& v, VirtAddr start, VirtAddr end) {
  TlbGather tlb = s.gather();
  s.tables.for_each(start, end, [&](VirtAddr a, PhysAddr entry, Pte pte) {
    if (is_swap(pte)) {
      s.tables.change(a, entry, Pte{}, tlb);
      --s.usage.swapents;
      s.vm.swap().state().free_entry(slot_of(pte));
      return;
    }
    if (!pte.present() || pte.pfn() == s.vm.physical().zero_frame()) return;
    Frame& f = s.frames()[pte.pfn()];
    if (f.has(FrameFlag::SwapCache) && f.mapcount == 1 && !f.has(FrameFlag::Locked)) s.vm.swap().state().try_free(pte.pfn());
    if (f.has(FrameFlag::SwapCache)) return;
    if (f.state != FrameState::Anonymous || f.mapcount != 1 || has(v.flags, VmFlag::Locked)) return;
    f.clear(FrameFlag::Dirty);
    if (pte.accessed() || pte.dirty()) s.tables.change(a, entry, pte.without(Pte::kAccessed | Pte::kDirty), tlb);
    if (f.has(FrameFlag::SwapBacked)) {
      s.vm.lru().set_swap_backed(pte.pfn(), false);
      s.vm.physical().stat().add(VmItem::pglazyfree);
    }
  });
}

// MADV_COLD: pages look unused, so that reclaim takes them first.
void make_cold(AddressSpace::State& s, VirtAddr start, VirtAddr end) {
  TlbGather tlb = s.gather();
  s.tables.for_each(start, end, [&](VirtAddr a, PhysAddr entry, Pte pte) {
    if (!pte.present() || pte.pfn() == s.vm.physical().zero_frame()) return;
    Frame& f = s.frames()[pte.pfn()];
    if (f.mapcount != 1) return;
    if (pte.accessed()) s.tables.change(a, entry, pte.without(Pte::kAccessed), tlb);
    f.clear(FrameFlag::Referenced);
    s.vm.lru().deactivate(pte.pfn());
  });
}

// MADV_PAGEOUT: pages of this space alone are reclaimed at once, whether they were used or not (madvise_cold_or_pageout_pte_range, reclaim_pages).
void page_out(AddressSpace::State& s, VirtAddr start, VirtAddr end) {
  std::vector<Pfn> pages;
  {
    TlbGather tlb = s.gather();
    s.tables.for_each(start, end, [&](VirtAddr a, PhysAddr entry, Pte pte) {
      if (!pte.present() || pte.pfn() == s.vm.physical().zero_frame()) return;
      Frame& f = s.frames()[pte.pfn()];
      if (f.mapcount != 1 || !f.has(FrameFlag::Lru) || f.has(FrameFlag::Unevictable)) return;
      if (pte.accessed()) s.tables.change(a, entry, pte.without(Pte::kAccessed), tlb);
      f.clear(FrameFlag::Referenced);
      f.clear(FrameFlag::Workingset);
      s.vm.get_page(pte.pfn());  // until its turn: the others' may wait
      pages.push_back(pte.pfn());
    });
  }
  s.vm.reclaimer().reclaim_pages(pages);
}

// MADV_WILLNEED: begins to read what is swapped out (swapin_walk_pmd_entry).
void read_swapped(AddressSpace::State& s, VirtAddr start, VirtAddr end) {
  SwapSpace::State& swap = s.vm.swap().state();
  std::vector<SwapSlot> slots;
  s.tables.for_each(start, end, [&](VirtAddr, PhysAddr, Pte pte) {
    if (is_swap(pte)) slots.push_back(slot_of(pte));
  });
  for (const SwapSlot slot : slots) {
    bool started = false;
    if (!swap.read_async(slot, Gfp::HighUserMovable, started)) continue;
  }
  swap.send(swap.reads, false);
}

}  // namespace

Status AddressSpace::madvise(VirtAddr start, Bytes length, int advice) {
  State& s = *state_;
  if (!known(advice) || !start.page_aligned()) return fail(Errno::Invalid);
  const Bytes aligned{(length.value() + kPageOffsetMask) & ~kPageOffsetMask};
  if (length.value() != 0 && aligned.value() == 0) return fail(Errno::Invalid);
  const VirtAddr end = start + aligned;
  if (end < start) return fail(Errno::Invalid);
  if (end == start) return {};

  bool hole = false;
  for (VirtAddr at = start; at < end;) {
    MmapLock lock(s);
    Vma* v = s.vmas.find_ending_after(at);
    if (!v) return fail(Errno::NoMemory);
    if (v->start > at) {
      hole = true;
      at = v->start;
      if (at >= end) break;
    }
    const VirtAddr from = at, to = std::min(end, v->end);
    at = to;
    if (const auto flags = TRY(advised_flags(*v, advice))) {
      if (*flags == v->flags) continue;
      const Status changed = s.change_range(from, to, [&s, &flags](Vma& part) -> Status { return s.set_flags(part, *flags), Status{}; });
      if (!changed) return fail(changed.error() == Errno::NoMemory ? Errno::Again : changed.error());
      continue;
    }
    switch (advice) {
      case kDontNeed:
      case kDontNeedLocked: {
        if ((advice == kDontNeed && has(v->flags, VmFlag::Locked)) || has(v->flags, VmFlag::PfnMap)) return fail(Errno::Invalid);  // can_madv_lru_vma
        TlbGather tlb = s.gather();
        s.zap(*v, from, to, tlb, false, MayYield::Yes);
        break;
      }
      case kFree:
        if (!v->anonymous() || has(v->flags, VmFlag::Locked)) return fail(Errno::Invalid);
        mark_lazily_freeable(s, *v, from, to);
        break;
      case kCold:
        if (has_any(v->flags, VmFlag::Locked | VmFlag::PfnMap)) return fail(Errno::Invalid);
        make_cold(s, from, to);
        break;
      case kPageOut:
        if (has_any(v->flags, VmFlag::Locked | VmFlag::PfnMap)) return fail(Errno::Invalid);
        page_out(s, from, to);
        break;
      case kWillNeed: {
        if (!v->file) {
          read_swapped(s, from, to);
          break;
        }
        const auto file = v->file;
        const PageIndex first = v->index_of(from);
        lock.release();
        file->page_cache().read_ahead(first, (to - from).pages_up(), file->readahead_window());  // madvise_willneed: vfs_fadvise
        break;
      }
      case kRemove: {
        if (has(v->flags, VmFlag::Locked) || !v->file) return fail(Errno::Invalid);
        if ((v->flags & (VmFlag::Shared | VmFlag::Write)) != (VmFlag::Shared | VmFlag::Write)) return fail(Errno::Access);
        // vfs_fallocate(PUNCH_HOLE); only shared memory knows holes here.
        if (v->file->page_cache().state() != FrameState::Shmem) return fail(Errno::NotSupported);
        const auto file = v->file;
        const PageIndex first = v->index_of(from);
        lock.release();
        file->page_cache().drop_range(first, (to - from).pages_down());
        break;
      }
      case kPopulateRead:
      case kPopulateWrite: {
        if (!has_any(v->flags, advice == kPopulateWrite ? VmFlag::Write : VmFlag::Read | VmFlag::Write | VmFlag::Exec)) return fail(Errno::Invalid);
        lock.release();
        TRY(s.populate(from, to, advice == kPopulateWrite ? State::Populate::Write : State::Populate::Read));
        break;
      }
      default: break;
    }
  }
  if (hole) return fail(Errno::NoMemory);
  return {};
}

}  // namespace vitro::mm
