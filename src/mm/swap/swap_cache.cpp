// Pages that are in memory and have a slot (mm/swap_state.c): found by slot, read in clusters around the one that is needed.
#include <algorithm>

#include "mm/reclaim/memory_stall.h"
#include "mm/reclaim/reclaim_state.h"
#include "mm/swap/swap_state.h"
#include "vitro/base/check.h"
#include "vitro/base/trace.h"

namespace vitro::mm {

Frame& SwapSpace::State::frame(Pfn f) const { return vm.physical().frames()[f]; }

std::optional<Pfn> SwapSpace::State::find(SwapSlot s) { return area(s).index_of(s.offset()).find(PageIndex{s.offset() % kSwapAddressSpacePages}); }

std::optional<Pfn> SwapSpace::State::lookup(SwapSlot s) {
  const auto f = find(s);
  if (f && frame(*f).has(FrameFlag::Readahead)) {
    frame(*f).clear(FrameFlag::Readahead);
    vm.physical().stat().add(VmItem::swap_ra_hit);
    ++readahead_hits;
  }
  return f;
}

Status SwapSpace::State::add_to_cache(Pfn f, SwapSlot s, Gfp flags, uint64_t* shadow) {
  Frame& descriptor = frame(f);
  DCHECK(!descriptor.has(FrameFlag::SwapCache) && descriptor.has(FrameFlag::SwapBacked), "pfn {}: flags {:#x}", f.value(), descriptor.flags);
  TRY(area(s).index_of(s.offset()).insert(PageIndex{s.offset() % kSwapAddressSpacePages}, f, flags, shadow));
  ++descriptor.refcount;
  descriptor.set(FrameFlag::SwapCache);
  descriptor.private_data = s.value;
  ++cached;
  VmStat& stat = vm.physical().stat();
  stat.add(VmItem::nr_file_pages);
  stat.add(VmItem::nr_swapcached);
  return {};
}

void SwapSpace::State::remove_from_cache(Pfn f, uint64_t shadow) {
  Frame& descriptor = frame(f);
  CHECK(descriptor.has(FrameFlag::SwapCache) && !descriptor.has(FrameFlag::Writeback), "pfn {}: flags {:#x}", f.value(), descriptor.flags);
  const SwapSlot s = slot_of(descriptor);
  area(s).index_of(s.offset()).erase(PageIndex{s.offset() % kSwapAddressSpacePages}, shadow);
  descriptor.clear(FrameFlag::SwapCache);
  descriptor.private_data = 0;
  --cached;
  VmStat& stat = vm.physical().stat();
  stat.add(VmItem::nr_file_pages, -1);
  stat.add(VmItem::nr_swapcached, -1);
  release(s, SwapArea::kHasCache);
  drop_reference(vm, f);
}

bool SwapSpace::State::add_to_swap(Pfn f) {
  const SwapSlot s = allocate();
  if (!s) return false;
  // Nodes of the index must not eat up the reserves that reclaim runs on.
  if (!add_to_cache(f, s, Gfp::High | Gfp::NoMemAlloc | Gfp::NoWarn, nullptr)) {
    free_slot(s);
    return false;
  }
  frame(f).set(FrameFlag::Dirty);
  return true;
}

bool SwapSpace::State::try_free(Pfn f) {
  Frame& descriptor = frame(f);
  if (!descriptor.has(FrameFlag::SwapCache) || descriptor.has(FrameFlag::Writeback)) return false;
  if (users(slot_of(descriptor)) != 0) return false;
  descriptor.set(FrameFlag::Dirty);  // the only copy from now on
  remove_from_cache(f, 0);
  return true;
}

std::optional<Pfn> SwapSpace::State::read_async(SwapSlot s, Gfp flags, bool& started) {
  started = false;
  for (;;) {
    if (!valid(s)) return std::nullopt;
    if (const auto f = find(s)) return f;
    if (users(s) == 0 || (map(s) & SwapArea::kBad)) return std::nullopt;
    const auto f = vm.physical().allocator().allocate(flags);
    if (!f) return std::nullopt;
    // The allocation may have waited: the slot may be free now, or its page may have come.
    if (!valid(s) || users(s) == 0 || (map(s) & SwapArea::kHasCache)) {
      vm.physical().allocator().free(*f);
      continue;
    }
    map(s) |= SwapArea::kHasCache;
    vm.physical().allocator().set_state(*f, Order{0}, FrameState::SwapCacheOnly);
    Frame& descriptor = frame(*f);
    descriptor.set(FrameFlag::Locked);
    descriptor.set(FrameFlag::SwapBacked);
    uint64_t shadow = 0;
    if (!add_to_cache(*f, s, without(flags, Gfp::Movable | Gfp::HighMem | Gfp::HardWall), &shadow)) {
      descriptor.flags = 0;
      release(s, SwapArea::kHasCache);
      vm.physical().allocator().free(*f);
      return std::nullopt;
    }
    if (shadow) refault(vm, *f, shadow);
    vm.lru().add(*f);
    --descriptor.refcount;  // the allocation's: the cache's is enough while it is locked
    reads.push_back({&area(s), s.offset(), *f});
    started = true;
    return f;
  }
}

// How many pages are worth reading: as many as were used of those read before (__swapin_nr_pages).
uint64_t SwapSpace::State::readahead_pages(uint64_t offset) {
  const uint64_t most = uint64_t{1} << self.page_cluster;
  if (most <= 1) return 1;
  const uint64_t hits = std::exchange(readahead_hits, 0);
  uint64_t pages = hits + 2;
  if (pages == 2) {
    if (offset != previous_offset + 1 && offset != previous_offset - 1) pages = 1;
  } else {
    uint64_t rounded = 4;
    while (rounded < pages) rounded <<= 1;
    pages = rounded;
  }
  pages = std::min(pages, most);
  pages = std::max(pages, last_readahead / 2);  // not too fast down
  if (hits == 0) previous_offset = offset;
  last_readahead = pages;
  return pages;
}

std::optional<Pfn> SwapSpace::State::read_cluster(SwapSlot s, Gfp flags) {
  bool started = false;
  const uint64_t mask = readahead_pages(s.offset()) - 1;
  if (mask) {
    // The aligned cluster around it, in the hope that neighbours in swap were neighbours in use.
    const uint64_t first = std::max<uint64_t>(s.offset() & ~mask, 1);
    const uint64_t last = std::min(s.offset() | mask, area(s).max - 1);
    for (uint64_t offset = first; offset <= last && valid(s); ++offset) {
      const auto f = read_async(SwapSlot{s.area(), offset}, flags, started);
      if (!f || !started || offset == s.offset()) continue;
      frame(*f).set(FrameFlag::Readahead);
      vm.physical().stat().add(VmItem::swap_ra);
    }
    send(reads, false);
  }
  const auto f = read_async(s, flags, started);
  send(reads, false);
  return f;
}

Status SwapSpace::State::wait_for_page(Pfn f) {
  Blocking* blocking = vm.blocking();
  CHECK(blocking && blocking->may_wait(), "pfn {} is being read, and nobody can wait for it", f.value());
  PagePin pin(vm, f);
  std::optional<MemoryStall> stall;
  if (MemoryStall::is_refault(frame(f))) stall.emplace(vm.reclaimer());
  while (frame(f).has(FrameFlag::Locked)) TRY(blocking->wait(page_waiters, Interruptible::No));
  return {};
}

}  // namespace vitro::mm
