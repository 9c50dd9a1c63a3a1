// A write to a page that is mapped read-only (mm/memory.c: do_wp_page): shared file pages become writable and dirty, private ones are copied
// unless nobody else holds the frame.
#include "mm/fault/page_fault.h"
#include "mm/swap/swap_state.h"
#include "vitro/base/check.h"
#include "vitro/mm/page_cache.h"

namespace vitro::mm {
namespace {

// Nobody else maps or caches it, so the last owner may write to it (page_move_anon_rmap, wp_page_reuse).
bool reusable(VirtualMemory& vm, Pfn pfn) {
  const Frame& f = vm.physical().frames()[pfn];
  if (f.state != FrameState::Anonymous) return false;
  if (f.has(FrameFlag::AnonExclusive)) return true;
  if (f.refcount > 1u + f.has(FrameFlag::SwapCache) || f.has(FrameFlag::Locked)) return false;
  if (f.has(FrameFlag::SwapCache)) vm.swap().state().try_free(pfn);
  return f.refcount == 1 && f.mapcount == 1;
}

Attempt make_writable(FaultContext& f, PhysAddr entry) {
  TlbGather tlb = f.space.gather();
  f.space.tables.change(f.page, entry, f.pte.with(Pte::kWritable | Pte::kDirty | kPteSoftDirty | Pte::kAccessed), tlb);
  f.pfn = f.pte.pfn();
  return Attempt::Done;
}

}  // namespace

Attempt map_copy(FaultContext& f, const PrivatePage& p, Pfn original) {
  f.vm().kmap().touch(original);
  f.vm().physical().ram().copy_frame(p.frame, original);
  map_private_page(f, p);
  f.kind = FaultKind::Cow;
  f.cost = f.timing().fault_copy;
  return Attempt::Done;
}

Attempt fault_write_protected(FaultContext& f) {
  AddressSpace::State& s = f.space;
  const auto entry = s.tables.find_entry(f.page);
  CHECK(entry, "no table for {:#x}", f.page.value());
  const Pfn old = f.pte.pfn();
  const Pfn zero = f.vm().physical().zero_frame();
  Frame& frame = s.frames()[old];

  if (f.vma->shared()) {
    // page_mkwrite: from here on the page is dirty until it is written back, which write-protects it again.
    if (frame.page_cache) {
      PageCache::State& cache = frame.page_cache->internals();
      if (const auto end = throttle_writer(f, cache)) return *end;
      if (cache.has_storage() && !cache.backing.reserve_page_of(PageIndex{frame.index})) return Attempt::BusError;
      cache.mark_dirty(PageIndex{frame.index}, old);
    }
    f.kind = FaultKind::File;
    f.cost = f.timing().fault_map_page;
    f.vm().physical().stat().add(VmItem::pgreuse);
    return make_writable(f, *entry);
  }
  if (old != zero && reusable(f.vm(), old)) {
    frame.anon_vma = f.vma->anon_vma;
    frame.set(FrameFlag::AnonExclusive);
    frame.set(FrameFlag::Dirty);
    f.vm().physical().stat().add(VmItem::pgreuse);
    f.kind = FaultKind::Cow;
    return make_writable(f, *entry);
  }

  // The old frame must not go away while the new one is allocated.
  std::optional<PagePin> pin;
  if (old != zero && f.may_wait == MayWait::Yes) pin.emplace(f.vm(), old);
  const auto page = prepare_private_page(f, old == zero ? Gfp::Zero : Gfp::None);
  if (!page) return f.no_memory();
  if (s.tables.at(page->entry) != f.pte) {
    f.vm().physical().allocator().free(page->frame);
    return Attempt::Again;
  }
  f.kind = FaultKind::Cow;
  if (old == zero) {
    f.cost = f.timing().fault_anonymous;  // nothing to copy: the frame came cleared
  } else {
    f.vm().kmap().touch(old);
    f.vm().physical().ram().copy_frame(page->frame, old);
    f.cost = f.timing().fault_copy;
  }
  {
    TlbGather tlb = s.gather();
    s.tables.change(f.page, page->entry, Pte{}, tlb);
    s.drop_page(*f.vma, f.pte);
    map_private_page(f, *page);
  }
  return Attempt::Done;
}

}  // namespace vitro::mm
