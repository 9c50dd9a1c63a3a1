// A page that was swapped out is touched (mm/memory.c: do_swap_page).
#include "mm/space/anon_vma.h"
#include "mm/fault/page_fault.h"
#include "mm/swap/swap_state.h"
#include "vitro/base/check.h"

namespace vitro::mm {

Pte map_swapped_page(VirtualMemory& vm, Vma& v, VirtAddr a, PhysAddr entry, Pte old, Pfn pfn, bool write, bool young) {
  SwapSpace::State& swap = vm.swap().state();
  AddressSpace::State& s = v.space->state();
  Frame& f = vm.physical().frames()[pfn];
  const bool exclusive = is_exclusive_swap(old);
  vm.physical().allocator().get(pfn);
  swap.release(slot_of(old), 1);
  // should_try_to_free_swap: a slot is kept for the case that the page stays clean, unless slots are short, or it is written to at once and is
  // likely to be ours alone.
  if (f.has(FrameFlag::SwapCache) && !f.has(FrameFlag::Locked) &&
      (swap.nearly_full() || has(v.flags, VmFlag::Locked) || f.has(FrameFlag::Mlocked) || (write && f.refcount == 2)))
    swap.try_free(pfn);
  ++s.usage.rss_anon;
  --s.usage.swapents;
  uint64_t bits = entry_bits(v);
  const bool alone = exclusive || f.refcount == 1;
  if (alone && write && has(v.flags, VmFlag::Write)) bits |= Pte::kWritable | Pte::kDirty | kPteSoftDirty;
  if (is_soft_dirty_swap(old)) bits |= kPteSoftDirty;
  if (!young) bits &= ~Pte::kAccessed;
  // page_add_anon_rmap.
  if (f.mapcount == 0) {
    vm.physical().allocator().set_state(pfn, Order{0}, FrameState::Anonymous);
    if (!f.anon_vma) {
      // A page that others may map too belongs to the oldest anon_vma, from where all of them are found.
      f.anon_vma = alone ? v.anon_vma : v.anon_vma->root;
      f.index = v.index_of(a).value();
    }
  }
  Rmap::add(vm, pfn);
  if (alone) f.set(FrameFlag::AnonExclusive);
  if (has(v.flags, VmFlag::Locked)) Rmap::mlock(vm, pfn);
  const Pte pte = hw::make_pte(pfn, bits);
  TlbGather tlb = s.gather();
  s.tables.change(a, entry, pte, tlb);
  return pte;
}

Attempt fault_swap(FaultContext& f) {
  AddressSpace::State& s = f.space;
  SwapSpace::State& swap = f.vm().swap().state();
  const SwapSlot slot = slot_of(f.pte);
  if (!swap.valid(slot)) return Attempt::BusError;
  auto frame = swap.lookup(slot);
  if (!frame) {
    if (f.may_wait == MayWait::No) return Attempt::WouldWait;
    f.tried = true;
    const Pte before = f.pte;
    frame = swap.read_cluster(slot, Gfp::HighUserMovable);
    if (frame) f.vm().physical().stat().add(VmItem::pgmajfault);
    // The allocation may have waited, and another thread may have been faster.
    const auto entry = s.tables.find_entry(f.page);
    if (!entry || s.tables.at(*entry) != before) return Attempt::Again;
    if (!frame) return Attempt::OutOfMemory;
  }
  if (s.frames()[*frame].has(FrameFlag::Locked)) {
    if (f.may_wait == MayWait::No) return Attempt::WouldWait;
    f.tried = true;
    f.lock.release();
    (void)swap.wait_for_page(*frame);
    return Attempt::Again;
  }
  if (!s.frames()[*frame].has(FrameFlag::Uptodate)) return Attempt::BusError;
  if (!f.vma->anon_vma && !prepare_anon_vma(s.caches(), *f.vma)) return f.no_memory();
  const auto entry = s.tables.find_entry(f.page);
  if (!entry || s.tables.at(*entry) != f.pte) return Attempt::Again;

  f.pte = map_swapped_page(f.vm(), *f.vma, f.page, *entry, f.pte, *frame, f.write, true);
  f.pfn = *frame;
  if (f.write && !f.pte.writable()) {
    const Attempt copied = fault_write_protected(f);
    f.kind = FaultKind::Swap;
    return copied;
  }
  f.kind = FaultKind::Swap;
  f.cost = f.timing().fault_map_page;
  return Attempt::Done;
}

}  // namespace vitro::mm
