// Shared memory in swap (mm/shmem.c: shmem_writepage, shmem_swapin_folio). A page that is out leaves its slot in the page cache's index.
#include "mm/cache/page_cache_state.h"
#include "mm/reclaim/reclaim_state.h"
#include "mm/swap/swap_state.h"
#include "vitro/base/check.h"

namespace vitro::mm {
namespace {

// A slot as a value of the index: never 0.
uint64_t value_of(SwapSlot s) { return s.value << 1 | 1; }
SwapSlot slot_of_value(uint64_t value) { return SwapSlot{value >> 1}; }

}  // namespace

// The page, dirty and mapped nowhere, goes to the swap cache and is written. False: it stays.
bool PageCache::State::swap_out(PageIndex index, Pfn pfn) {
  SwapSpace::State& swap = vm.swap().state();
  Frame& f = frame(pfn);
  if (!swap.add_to_swap(pfn)) return false;
  const SwapSlot slot = SwapSpace::State::slot_of(f);
  swap.duplicate(slot);  // swap_shmem_alloc
  ++swapped;
  pages.erase(index, value_of(slot));
  VmStat& stat = vm.physical().stat();
  stat.add(VmItem::nr_file_pages, -1);
  stat.add(VmItem::nr_shmem, -1);
  f.owner = nullptr;
  f.index = 0;
  vm.physical().allocator().set_state(pfn, Order{0}, FrameState::SwapCacheOnly);
  vm.physical().allocator().put(pfn);  // the page cache's reference
  swap.write(pfn);
  return true;
}

// The page of `index`, whose slot is in the index, back in the page cache. `*major`: it had to be read. May wait. Again after a wait: null.
Result<std::optional<Pfn>> PageCache::State::swap_in(PageIndex index, Gfp flags, bool& major) {
  SwapSpace::State& swap = vm.swap().state();
  const uint64_t value = pages.value(index);
  const SwapSlot slot = slot_of_value(value);
  if (!swap.valid(slot)) return fail(Errno::IoError);
  auto found = swap.lookup(slot);
  if (!found) {
    major = true;
    found = swap.read_cluster(slot, flags);
    if (pages.value(index) != value) return std::nullopt;
    if (!found) return fail(Errno::NoMemory);
  }
  const Pfn pfn = *found;
  if (frame(pfn).has(FrameFlag::Locked) || frame(pfn).has(FrameFlag::Writeback)) {
    swap.submit();
    if (!vm.blocking() || !vm.blocking()->may_wait()) return fail(Errno::NoMemory);
    PagePin pin(vm, pfn);
    while (frame(pfn).has(FrameFlag::Locked) || frame(pfn).has(FrameFlag::Writeback)) TRY(vm.blocking()->wait(swap.page_waiters, Interruptible::No));
    return std::nullopt;
  }
  Frame& f = frame(pfn);
  if (!f.has(FrameFlag::Uptodate)) return fail(Errno::IoError);
  PagePin pin(vm, pfn);
  TRY(pages.insert(index, pfn, Gfp::NoFs | Gfp::NoFail));  // the leaf is there: the value lies in it
  --swapped;
  vm.physical().allocator().get(pfn);
  swap.remove_from_cache(pfn, 0);
  swap.release(slot, 1);
  vm.physical().allocator().set_state(pfn, Order{0}, state);
  f.page_cache = &cache;
  f.index = index.value();
  f.set(FrameFlag::Dirty);
  VmStat& stat = vm.physical().stat();
  stat.add(VmItem::nr_file_pages);
  stat.add(VmItem::nr_shmem);
  return std::optional<Pfn>(pfn);
}

void PageCache::State::drop_values(PageIndex first, PageIndex last) {
  for (auto v = pages.next_value(first); v && v->index <= last; v = pages.next_value(v->index)) {
    pages.erase_value(v->index);
    if (has_storage()) continue;
    --swapped;
    if (!accounted_up_front) vm.uncommit(Pages{1});
    vm.swap().state().free_entry(slot_of_value(v->value));
  }
}

std::optional<SwapSlot> PageCache::State::swapped_to(PageIndex index) const {
  if (has_storage()) return std::nullopt;
  const uint64_t value = pages.value(index);
  if (!value) return std::nullopt;
  return slot_of_value(value);
}

}  // namespace vitro::mm
