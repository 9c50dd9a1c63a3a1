// Shrinking the caches of kernel objects (mm/vmscan.c: do_shrink_slab, drop_slab; mm/workingset.c: shadow_lru_isolate), and
// /proc/sys/vm/drop_caches (fs/drop_caches.c).
#include <algorithm>

#include "mm/reclaim/reclaim_state.h"
#include "vitro/base/check.h"

namespace vitro::mm {

void Reclaimer::add_shrinker(Shrinker& s) { state_->shrinkers.push_back({&s}); }

void Reclaimer::remove_shrinker(Shrinker& s) {
  std::erase_if(state_->shrinkers, [&s](const State::Registered& r) { return r.shrinker == &s; });
}

uint64_t Reclaimer::State::shrink_one(Registered& r, Gfp gfp, int priority) {
  Shrinker& shrinker = *r.shrinker;
  const uint64_t freeable = shrinker.count(gfp);
  if (freeable == 0) return 0;
  const uint64_t deferred = std::exchange(r.deferred, 0);
  // As much of the objects as of the pages, weighed by what it costs to make them again.
  const uint64_t delta = shrinker.seeks() ? (freeable >> priority) * 4 / shrinker.seeks() : freeable / 2;
  uint64_t total = std::min((deferred >> priority) + delta, 2 * freeable);
  const uint64_t batch = shrinker.batch();
  const auto number = static_cast<uint64_t>(&r - shrinkers.data()) + 1;  // %p
  TRACE(vm.tracer(), Event::MmShrinkSlabStart, shrinker.name(), number, 0, deferred, gfp_text(gfp), freeable, delta, total, priority);
  uint64_t freed = 0, scanned = 0;
  // Not in small pieces, unless everything is to be looked at.
  while (total > 0 && (total >= batch || total >= freeable)) {
    const uint64_t n = std::min(batch, total);
    const auto result = shrinker.scan(n, gfp);
    if (!result) break;
    freed += *result;
    stat().add(VmItem::slabs_scanned, static_cast<int64_t>(n));
    work(vm.timing().reclaim_scan * n);
    total -= n;
    scanned += n;
  }
  r.deferred += std::min(deferred + delta - std::min(deferred + delta, scanned), 2 * freeable);
  TRACE(vm.tracer(), Event::MmShrinkSlabEnd, shrinker.name(), number, 0, deferred, r.deferred, total, freed);
  return freed;
}

// Returns how many frames the slab allocator gave back.
uint64_t Reclaimer::State::shrink_slab(Gfp gfp, int priority) {
  const auto slab_frames = [this] { return stat().get(VmItem::nr_slab_reclaimable) + stat().get(VmItem::nr_slab_unreclaimable); };
  const int64_t before = slab_frames();
  for (size_t i = 0; i < shrinkers.size(); ++i) shrink_one(shrinkers[i], gfp, priority);
  // mm/workingset.c: count_shadow_nodes. Nodes that only remember may take as much memory as remembers an eviction of all of it.
  ShadowNodes& shadows = vm.state().shadow_nodes;
  const uint64_t pages = vm.physical().allocator().managed_frames().value();
  const uint64_t allowed = pages >> 3;
  if (shadows.size() > allowed) {
    const uint64_t surplus = shadows.size() - allowed;
    uint64_t n = std::min(std::max<uint64_t>((surplus >> priority) * 4, 1), surplus);
    for (; n > 0 && shadows.reclaim_oldest(); --n) stat().add(VmItem::workingset_nodereclaim), stat().add(VmItem::slabs_scanned);
  }
  stat().set(VmItem::workingset_nodes, static_cast<int64_t>(shadows.size()));
  const int64_t freed = before - slab_frames();
  return freed > 0 ? static_cast<uint64_t>(freed) : 0;
}

namespace {

// invalidate_mapping_pages: clean pages that nobody uses, and what is remembered of others.
void invalidate(VirtualMemory& vm, PageCache::State& cache) {
  for (auto e = cache.pages.next(PageIndex{0}); e; e = cache.pages.next(e->index + Pages{1})) {
    Frame& f = cache.frame(e->frame);
    if (f.has(FrameFlag::Locked)) continue;
    if (f.refcount == 1 && !f.has(FrameFlag::Dirty) && !f.has(FrameFlag::Writeback)) {
      cache.remove(e->index, e->frame, 0);
      continue;
    }
    // deactivate_file_folio: it cannot go now, but soon.
    if (f.mapcount == 0 && f.has(FrameFlag::Lru) && !f.has(FrameFlag::Unevictable)) {
      f.clear(FrameFlag::Referenced);
      vm.lru().deactivate(e->frame);
      if (f.has(FrameFlag::Dirty) || f.has(FrameFlag::Writeback)) f.set(FrameFlag::Reclaim);
    }
  }
  for (auto v = cache.pages.next_value(PageIndex{0}); v; v = cache.pages.next_value(v->index + Pages{1})) cache.pages.erase_value(v->index);
}

}  // namespace

void Reclaimer::drop_caches(unsigned what) {
  State& s = *state_;
  if (what & 1) {
    for (PageCache::State& cache : vm_.state().caches)
      if (cache.has_storage()) invalidate(vm_, cache);
    s.stat().add(VmItem::drop_pagecache);
  }
  if (what & 2) {
    uint64_t freed = 0;
    unsigned shift = 0;
    do {
      freed = 0;
      for (State::Registered& r : s.shrinkers) freed += s.shrink_one(r, Gfp::Kernel, 0);
      s.checkpoint(true);
    } while ((freed >> shift++) > 1);
    s.stat().add(VmItem::drop_slab);
  }
}

}  // namespace vitro::mm
