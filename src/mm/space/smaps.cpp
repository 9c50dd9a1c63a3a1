// What the tables say about one area, for /proc/PID/smaps, pagemap and clear_refs (fs/proc/task_mmu.c).
#include "mm/space/address_space_state.h"
#include "mm/swap/swap_state.h"
#include "mm/space/virtual_memory_state.h"

namespace vitro::mm {

namespace {
constexpr unsigned kPssShift = 12;
}  // namespace

AddressSpace::SmapsEntry AddressSpace::smaps(const Vma& v) const {
  const State& s = *state_;
  SmapsEntry e;
  const Pfn zero = state_->vm.physical().zero_frame();
  const bool locked = has(v.flags, VmFlag::Locked);
  s.tables.for_each(v.start, v.end, [&](VirtAddr, PhysAddr, Pte pte) {
    if (is_swap(pte)) {
      const uint64_t users = std::max<uint64_t>(state_->vm.swap().state().users(slot_of(pte)), 1);
      e.swap += kPageSize;
      e.swap_pss_shifted += (kPageSize << kPssShift) / users;
      return;
    }
    if (!holds_frame(pte) || pte.pfn() == zero) return;
    const Frame& f = state_->frames()[pte.pfn()];
    // fs/proc/task_mmu.c: smaps_account.
    const bool dirty = pte.dirty() || f.has(FrameFlag::Dirty);
    const uint64_t pss = (kPageSize << kPssShift) / f.mapcount;
    e.rss += kPageSize;
    e.pss_shifted += pss;
    if (dirty) e.pss_dirty_shifted += pss;
    if (locked) e.locked_shifted += pss;
    if (f.state == FrameState::Anonymous) {
      e.anonymous += kPageSize;
      if (!f.has(FrameFlag::SwapBacked) && !dirty) e.lazy_free += kPageSize;
    }
    if (pte.accessed() || f.has(FrameFlag::Referenced)) e.referenced += kPageSize;
    if (f.mapcount > 1) (dirty ? e.shared_dirty : e.shared_clean) += kPageSize;
    else (dirty ? e.private_dirty : e.private_clean) += kPageSize;
  });
  // Pages of shared memory that lie in swap (shmem_swap_usage).
  if (v.file) {
    const PageCache::State& cache = v.file->page_cache().internals();
    for (auto at = cache.has_storage() ? std::nullopt : cache.pages.next_value(v.page_offset); at && at->index < v.page_offset + v.pages();
         at = cache.pages.next_value(at->index + Pages{1}))
      e.swap += kPageSize;
  }
  return e;
}

AddressSpace::NumaMapEntry AddressSpace::numa_map(const Vma& v) const {
  NumaMapEntry e;
  const Pfn zero = state_->vm.physical().zero_frame();
  state_->tables.for_each(v.start, v.end, [&](VirtAddr, PhysAddr, Pte pte) {
    if (!pte.present() || pte.pfn() == zero) return;
    const Frame& f = state_->frames()[pte.pfn()];
    if (f.state == FrameState::Kernel) return;
    ++e.pages;
    e.anonymous += f.state == FrameState::Anonymous;
    e.dirty += pte.dirty() || f.has(FrameFlag::Dirty);
    e.active += f.has(FrameFlag::Active) || f.has(FrameFlag::Unevictable);
    e.writeback += f.has(FrameFlag::Writeback);
    e.swap_cache += f.has(FrameFlag::SwapCache);
    e.most_mapped = std::max<uint64_t>(e.most_mapped, f.mapcount);
  });
  return e;
}

uint64_t AddressSpace::pagemap_entry(Vpn page) const {
  constexpr uint64_t kSoftDirty = 1ull << 55, kExclusive = 1ull << 56, kFile = 1ull << 61, kPresent = 1ull << 63;
  const VirtAddr a = page.address();
  if (a >= kUserEnd) return 0;
  const Vma* v = find(a);
  if (!v) return 0;
  uint64_t word = has(v->flags, VmFlag::SoftDirty) ? kSoftDirty : 0;
  const Pte pte = state_->tables.get(a);
  if (is_soft_dirty_swap(pte) || (holds_frame(pte) && (pte.raw & kPteSoftDirty))) word |= kSoftDirty;
  if (is_swap(pte)) {
    const SwapSlot slot = slot_of(pte);
    return word | 1ull << 62 | slot.area() | (slot.offset() & ((1ull << 50) - 1)) << 5;
  }
  if (!holds_frame(pte)) return word;
  const Pfn pfn = pte.pfn();
  word |= kPresent | pfn.value();
  if (pfn == state_->vm.physical().zero_frame()) return word;
  const Frame& f = state_->frames()[pfn];
  if (f.state != FrameState::Anonymous) word |= kFile;
  if (f.mapcount == 1) word |= kExclusive;
  return word;
}

void AddressSpace::clear_references(References which) {
  State& s = *state_;
  MmapLock lock(s);
  const Pfn zero = s.vm.physical().zero_frame();
  // Clearing Accessed always drops the translation, so that the next use is seen in every mode.
  TlbGather tlb = s.gather();
  for (Vma* v = s.vmas.first(); v; v = v->tree.next) {
    if (which == References::Anonymous ? v->file != nullptr : which == References::Mapped && !v->file) continue;
    s.tables.for_each(v->start, v->end, [&](VirtAddr a, PhysAddr entry, Pte pte) {
      if (!holds_frame(pte) || pte.pfn() == zero) return;
      if (pte.accessed()) s.tables.change(a, entry, pte.without(Pte::kAccessed), tlb);
      s.frames()[pte.pfn()].clear(FrameFlag::Referenced);
    });
  }
}

void AddressSpace::clear_soft_dirty() {
  State& s = *state_;
  MmapLock lock(s);
  TlbGather tlb = s.gather();
  for (Vma* v = s.vmas.first(); v; v = v->tree.next) {
    v->flags = v->flags & ~VmFlag::SoftDirty;
    // The next write faults, and is seen so.
    s.tables.for_each(v->start, v->end, [&](VirtAddr a, PhysAddr entry, Pte pte) {
      const Pte clean = pte.without(is_swap(pte) ? kPteSwapSoftDirty : Pte::kWritable | kPteSoftDirty);
      if (clean != pte) s.tables.change(a, entry, clean, tlb);
    });
  }
}

}  // namespace vitro::mm
