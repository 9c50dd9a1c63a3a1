// Unmapping pages (mm/memory.c: zap_pte_range).
#include "mm/space/address_space_state.h"
#include "mm/space/paged_work.h"
#include "mm/swap/swap_state.h"
#include "mm/space/virtual_memory_state.h"
#include "vitro/base/check.h"

namespace vitro::mm {

uint64_t& AddressSpace::State::rss_of(const Frame& f) {
  if (f.state == FrameState::Anonymous) return usage.rss_anon;
  return f.state == FrameState::Shmem ? usage.rss_shmem : usage.rss_file;
}

void AddressSpace::State::note_hiwater() {
  const uint64_t rss = usage.rss_anon + usage.rss_file + usage.rss_shmem;
  usage.hiwater_rss = std::max(usage.hiwater_rss, rss);
}

void AddressSpace::State::drop_page(Vma& v, Pte pte) {
  const Pfn pfn = pte.pfn();
  if (pfn == vm.physical().zero_frame()) return;
  Frame& f = frames()[pfn];
  if (f.state != FrameState::Anonymous) {
    // What the hardware noted in the entry goes to the page before the entry is forgotten.
    if (f.page_cache) {
      if (pte.dirty()) f.page_cache->internals().mark_dirty(PageIndex{f.index}, pfn);
      if (pte.accessed() && !has(v.flags, VmFlag::SeqRead)) vm.lru().mark_accessed(pfn);
    }
  }
  --rss_of(f);
  Rmap::remove(vm, pfn, v);
  // Nobody maps it any more: nobody needs its copy in swap (free_swap_cache).
  if (f.has(FrameFlag::SwapCache) && f.mapcount == 0 && !f.has(FrameFlag::Locked)) vm.swap().state().try_free(pfn);
  drop_reference(vm, pfn);
}

void AddressSpace::State::zap(Vma& v, VirtAddr start, VirtAddr end, TlbGather& gather, bool file_only, MayYield may_yield) {
  note_hiwater();
  PagedWork work(vm, gather, may_yield);
  const hw::TimingModel& timing = vm.timing();
  tables.for_each(std::max(start, v.start), std::min(end, v.end), [&](VirtAddr a, PhysAddr entry, Pte pte) {
    if (is_swap(pte)) {
      if (file_only) return;
      tables.change(a, entry, Pte{}, gather);
      --usage.swapents;
      vm.swap().state().free_entry(slot_of(pte));
      work.did(timing.zap_page);
      return;
    }
    if (file_only && (pte.pfn() == vm.physical().zero_frame() || frames()[pte.pfn()].state == FrameState::Anonymous)) return;
    tables.change(a, entry, Pte{}, gather);
    const bool last = pte.pfn() != vm.physical().zero_frame() && frames()[pte.pfn()].refcount == 1;
    drop_page(v, pte);
    work.did(last ? timing.zap_page + timing.free_page : timing.zap_page);
  });
}

}  // namespace vitro::mm
