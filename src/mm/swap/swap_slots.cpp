// Which slot a page gets, and when it is free again (mm/swapfile.c: scan_swap_map_slots; mm/swap_slots.c). For rotating disks: slots one after
// the other in clusters of 256, each searched from the start of the area, so that what was swapped together lies together.
#include <algorithm>

#include "mm/swap/swap_state.h"
#include "mm/space/virtual_memory_state.h"
#include "vitro/base/check.h"

namespace vitro::mm {

uint64_t SwapSpace::State::scan_map(SwapArea& a, uint64_t n, std::span<SwapSlot> to) {
  uint64_t got = 0, base = a.cluster_next, offset = base;
  const auto done = [&] {
    a.cluster_next = offset + 1;
    return got;
  };
  if (a.cluster_left-- == 0) {
    a.cluster_left = kSwapfileCluster - 1;
    if (a.pages - a.in_use >= kSwapfileCluster) {
      // The first run of 256 free slots, aligned or not.
      uint64_t last = a.lowest + kSwapfileCluster - 1;
      for (uint64_t at = a.lowest; last <= a.highest; ++at) {
        if (a.map[at]) {
          last = at + kSwapfileCluster;
        } else if (at == last) {
          base = offset = a.cluster_next = at - (kSwapfileCluster - 1);
          break;
        }
      }
    }
  }
  for (;;) {
    // checks:
    if (!a.writable || a.highest == 0) return got;
    if (offset > a.highest) base = offset = a.lowest;
    bool usable = a.map[offset] == 0;
    if (!usable && a.map[offset] == SwapArea::kHasCache && nearly_full()) {
      // Only the cache holds it, and slots are short.
      if (const auto f = find(SwapSlot{a.number, offset}); f && !frame(*f).has(FrameFlag::Locked)) {
        flush_returned();
        if (try_free(*f)) flush_returned();
        usable = a.map[offset] == 0;
      }
    }
    if (!usable) {
      if (got) return done();
      // scan: first free one from here on, then from the start.
      uint64_t at = offset;
      while (++at <= a.highest && a.map[at]) {}
      if (at > a.highest) {
        at = a.lowest;
        while (at < base && a.map[at]) ++at;
        if (at >= base) return got;
      }
      offset = at;
      continue;
    }
    a.map[offset] = SwapArea::kHasCache;
    if (offset == a.lowest) ++a.lowest;
    if (offset == a.highest) --a.highest;
    if (++a.in_use == a.pages) a.lowest = a.max, a.highest = 0;
    to[got++] = SwapSlot{a.number, offset};
    if (got == n || offset >= a.highest) return done();
    if (a.cluster_left && !a.map[offset + 1]) {
      ++offset;
      --a.cluster_left;
      continue;
    }
    if (a.cluster_left) ++offset;
    const uint64_t limit = offset < base ? base : a.highest;
    uint64_t at = offset;
    for (unsigned patience = 256; at <= limit && a.map[at] && patience > 0; ++at) --patience;
    if (at > limit || a.map[at]) return done();
    offset = at;
  }
}

uint64_t SwapSpace::State::take_slots(uint64_t n, std::span<SwapSlot> to) {
  if (free_slots <= 0) return 0;
  n = std::min({n, kSwapBatch, static_cast<uint64_t>(free_slots)});
  uint64_t got = 0;
  for (size_t i = 0; i < order.size() && got == 0; ++i) {
    SwapArea* a = order[i];
    if (!a->writable || a->highest == 0) continue;
    // Equals take turns (plist_requeue).
    size_t j = i;
    while (j + 1 < order.size() && order[j + 1]->priority == a->priority) std::swap(order[j], order[j + 1]), ++j;
    got = scan_map(*a, n, to);
  }
  free_slots -= static_cast<int64_t>(got);
  return got;
}

void SwapSpace::State::check_batching() {
  if (!batching) batching = free_slots > static_cast<int64_t>(5 * kSwapBatch);
  else if (free_slots < static_cast<int64_t>(2 * kSwapBatch)) drop_batches();
}

// Gives back what the batches hold (deactivate_swap_slots_cache).
void SwapSpace::State::drop_batches() {
  batching = false;
  for (; taken_at < taken_size; ++taken_at) return_slot(taken[taken_at]);
  taken_at = taken_size = 0;
  flush_returned();
}

SwapSlot SwapSpace::State::allocate() {
  check_batching();
  if (batching) {
    if (taken_at == taken_size) {
      taken_at = 0;
      taken_size = take_slots(kSwapBatch, taken);
    }
    if (taken_at < taken_size) return taken[taken_at++];
    return {};
  }
  SwapSlot one;
  if (take_slots(1, {&one, 1}) == 1) return one;
  // Full. Slots that wait in the batch are free in truth.
  flush_returned();
  return take_slots(1, {&one, 1}) == 1 ? one : SwapSlot{};
}

void SwapSpace::State::release(SwapSlot s, uint32_t use) {
  uint32_t& m = map(s);
  if (use == SwapArea::kHasCache) {
    CHECK(m & SwapArea::kHasCache, "slot {} of area {} is not cached", s.offset(), s.area());
    m &= ~SwapArea::kHasCache;
  } else {
    CHECK(m & SwapArea::kCount, "slot {} of area {} has no user", s.offset(), s.area());
    --m;
  }
  if (m == 0) {
    m = SwapArea::kHasCache;
    free_slot(s);
  }
}

void SwapSpace::State::free_slot(SwapSlot s) {
  if (!batching || !area(s).writable) return return_slot(s);
  if (returned_size == kSwapBatch) flush_returned();
  returned[returned_size++] = s;
}

void SwapSpace::State::flush_returned() {
  const size_t n = std::exchange(returned_size, 0);
  for (size_t i = 0; i < n; ++i) return_slot(returned[i]);
}

void SwapSpace::State::return_slot(SwapSlot s) {
  SwapArea& a = area(s);
  const uint64_t offset = s.offset();
  DCHECK(a.map[offset] == SwapArea::kHasCache, "slot {} is given back in use", offset);
  a.map[offset] = 0;
  a.lowest = std::min(a.lowest, offset);
  a.highest = std::max(a.highest, offset);
  --a.in_use;
  if (a.writable) ++free_slots;
  a.index_of(offset).erase_value(PageIndex{offset % kSwapAddressSpacePages});  // clear_shadow_from_swap_cache
}

void SwapSpace::State::free_entry(SwapSlot s) {
  const uint32_t left = map(s) - 1;
  release(s, 1);
  if (left != SwapArea::kHasCache) return;
  if (const auto f = find(s); f && !frame(*f).has(FrameFlag::Locked) && (frame(*f).mapcount == 0 || nearly_full())) try_free(*f);
}

}  // namespace vitro::mm
