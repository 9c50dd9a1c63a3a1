// Bringing back what lies in an area that is taken away (mm/swapfile.c: try_to_unuse, unuse_mm; mm/shmem.c: shmem_unuse).
#include <algorithm>

#include "mm/space/anon_vma.h"
#include "mm/reclaim/reclaim_state.h"
#include "mm/swap/swap_state.h"
#include "vitro/base/check.h"

namespace vitro::mm {
namespace {

// Reading waits; the space may be gone afterwards, so it is found again by its number.
AddressSpace::State* space_by_number(VirtualMemory& vm, uint64_t number) {
  for (AddressSpace::State& s : vm.state().spaces)
    if (s.number == number) return &s;
  return nullptr;
}

std::vector<uint64_t> numbers_of_spaces(VirtualMemory& vm) {
  std::vector<uint64_t> numbers;
  for (const AddressSpace::State& s : vm.state().spaces)
    if (s.usage.swapents > 0) numbers.push_back(s.number);
  return numbers;
}

}  // namespace

// Every entry of one space that names the area. Once round; entries may be added behind us.
Status SwapSpace::State::bring_back_space(SwapArea& a, uint64_t number) {
  VirtAddr at{0};
  for (;;) {
    AddressSpace::State* s = space_by_number(vm, number);
    if (!s || s->usage.swapents == 0) return {};
    // The next entry from `at` on.
    Vma* v = s->vmas.find_ending_after(at);
    std::optional<VirtAddr> page;
    for (; v && !page; v = page ? v : v->tree.next)
      s->tables.for_each(std::max(at, v->start), v->end, [&](VirtAddr where, PhysAddr, Pte pte) {
        if (is_swap(pte) && mm::slot_of(pte).area() == a.number) page = where;
        return !page;
      });
    if (!page) return {};
    at = *page;
    v = s->vmas.find(at);
    const PhysAddr entry = *s->tables.find_entry(at);
    const Pte pte = s->tables.at(entry);
    const SwapSlot slot = mm::slot_of(pte);
    auto f = lookup(slot);
    if (!f) {
      f = read_cluster(slot, Gfp::HighUserMovable);
      if (!f && valid(slot) && users(slot)) return fail(Errno::NoMemory);
      if (vm.blocking() && vm.blocking()->may_wait() && f && frame(*f).has(FrameFlag::Locked)) TRY(wait_for_page(*f));
      continue;  // it waited: everything may be different
    }
    if (frame(*f).has(FrameFlag::Locked)) {
      TRY(wait_for_page(*f));
      continue;
    }
    if (!frame(*f).has(FrameFlag::Uptodate)) return fail(Errno::IoError);
    if (!v->anon_vma && !prepare_anon_vma(s->caches(), *v)) return fail(Errno::NoMemory);
    if (!s->tables.find_entry(at) || s->tables.at(*s->tables.find_entry(at)) != pte) continue;
    map_swapped_page(vm, *v, at, *s->tables.find_entry(at), pte, *f, false, false);
    at += Bytes{kPageSize};
  }
}

Status SwapSpace::State::bring_back(SwapArea& a) {
  ReclaimTasks* tasks = vm.reclaimer().tasks();
  while (a.in_use > 0) {
    if (tasks && tasks->current_is_dying()) return fail(Errno::Interrupted);
    // Shared memory, by the cache that holds the slot: after each page once more from the first cache on, but in that page's from the page on.
    // Caches are told apart by their inodes; where two have the same number, or a slot turns up behind us, the next round finds what was missed.
    std::optional<uint64_t> inode;
    PageIndex reached{0};
    for (bool again = true; again;) {
      again = false;
      for (PageCache::State& c : vm.state().caches) {
        if (c.has_storage() || c.swapped == 0) continue;
        const bool known = inode == c.inode_number;
        for (auto v = c.pages.next_value(known ? reached : PageIndex{0}); v; v = c.pages.next_value(v->index + Pages{1})) {
          if (c.swapped_to(v->index)->area() != a.number) continue;
          inode = c.inode_number;
          reached = v->index;
          bool major = false;
          const std::shared_ptr<void> keep = c.backing.hold();  // it may wait, and the file's last user go
          const auto back = c.swap_in(v->index, Gfp::HighUserMovable, major);
          if (!back) return fail(back.error());
          again = true;  // it may have waited: the caches may be others now
          break;
        }
        if (again) break;
        if (known) inode.reset();
      }
      if (tasks) tasks->checkpoint(vm.timing().reclaim_unmap, true);
    }
    for (const uint64_t number : numbers_of_spaces(vm)) {
      TRY(bring_back_space(a, number));
      if (tasks && tasks->current_is_dying()) return fail(Errno::Interrupted);
    }
    // Pages that nobody refers to any more but the cache.
    for (uint64_t i = 1; i < a.max && a.in_use > 0; ++i) {
      if (a.map[i] == 0 || (a.map[i] & SwapArea::kBad)) continue;
      const auto f = find(SwapSlot{a.number, i});
      if (!f) continue;
      while (frame(*f).has(FrameFlag::Writeback) || frame(*f).has(FrameFlag::Locked)) {
        if (!vm.blocking() || !vm.blocking()->may_wait()) return fail(Errno::Busy);
        PagePin pin(vm, *f);
        TRY(vm.blocking()->wait(page_waiters, Interruptible::No));
      }
      if (find(SwapSlot{a.number, i}) == f) try_free(*f);
    }
    flush_returned();
    if (tasks) tasks->checkpoint(Nanoseconds{1000}, true);
  }
  return {};
}

}  // namespace vitro::mm
