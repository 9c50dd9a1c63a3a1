// What reclaim asks of the reverse map: was a frame used, and take it out of every page table (mm/rmap.c: folio_referenced, try_to_unmap).
#include "mm/reclaim/reclaim_state.h"
#include "mm/space/rmap_walk.h"
#include "mm/swap/swap_state.h"
#include "vitro/base/check.h"

namespace vitro::mm {

References take_references(VirtualMemory& vm, Pfn frame) {
  References result;
  uint32_t left = vm.physical().frames()[frame].mapcount;
  rmap_walk(vm, frame, [&](Vma& v, VirtAddr a, PhysAddr entry, Pte pte) {
    if (has(v.flags, VmFlag::Locked)) {
      Rmap::mlock(vm, frame);  // one that mlock missed
      result.flags = result.flags | VmFlag::Locked;
      return false;
    }
    if (pte.accessed()) {
      // Unlike x86 Linux the translation goes too, so that the next use is seen whatever the TLBs hold.
      AddressSpace::State& s = v.space->state();
      TlbGather tlb = s.gather();
      s.tables.change(a, entry, pte.without(Pte::kAccessed), tlb);
      // Reading in sequence says nothing about the future.
      if (!has(v.flags, VmFlag::SeqRead)) {
        ++result.areas;
        result.flags = result.flags | v.flags;
      }
    }
    return --left > 0;
  });
  return result;
}

bool unmap_everywhere(VirtualMemory& vm, Pfn frame) {
  Frame& f = vm.physical().frames()[frame];
  rmap_walk(vm, frame, [&](Vma& v, VirtAddr a, PhysAddr entry, Pte pte) {
    AddressSpace::State& s = v.space->state();
    s.note_hiwater();
    if (has(v.flags, VmFlag::Locked)) {
      Rmap::mlock(vm, frame);
      return false;
    }
    Pte left{};  // what stays in the entry
    if (f.state == FrameState::Anonymous) {
      // MADV_FREE: gone, unless it was written again or somebody else holds it.
      if (f.has(FrameFlag::SwapBacked)) {
        if (!f.has(FrameFlag::SwapCache)) return false;  // has no place to go
        if (pte.dirty()) f.set(FrameFlag::Dirty);
        const SwapSlot slot = SwapSpace::State::slot_of(f);
        vm.swap().state().duplicate(slot);
        left = swap_pte(slot, f.has(FrameFlag::AnonExclusive), pte.raw & kPteSoftDirty);
        f.clear(FrameFlag::AnonExclusive);
        ++s.usage.swapents;
      } else if (pte.dirty() || f.has(FrameFlag::Dirty) || f.refcount != 1 + f.mapcount) {
        if (pte.dirty()) f.set(FrameFlag::Dirty);
        f.set(FrameFlag::SwapBacked);
        return false;
      }
      --s.usage.rss_anon;
    } else {
      if (pte.dirty()) f.page_cache->internals().mark_dirty(PageIndex{f.index}, frame);
      --s.rss_of(f);
    }
    {
      TlbGather tlb = s.gather();
      s.tables.change(a, entry, left, tlb);
    }
    Rmap::remove(vm, frame, v);
    --f.refcount;  // the reclaimer holds another one
    return f.mapcount > 0;
  });
  return f.mapcount == 0;
}

}  // namespace vitro::mm
