// Splitting, merging and stealing blocks (mm/page_alloc.c). Only the first Frame of a block is touched, except when a pageblock changes type.
//
// A block is free where its bit is set in the map of its order; a block in a list has it set, and no other.
#include "vitro/mm/buddy_allocator.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "vitro/base/check.h"

namespace vitro::mm {
namespace {

constexpr unsigned kHighAtomic = static_cast<unsigned>(MigrateType::HighAtomic);
constexpr unsigned kMovable = static_cast<unsigned>(MigrateType::Movable);
constexpr unsigned kReclaimable = static_cast<unsigned>(MigrateType::Reclaimable);
constexpr unsigned kUnmovable = static_cast<unsigned>(MigrateType::Unmovable);
constexpr unsigned kTop = kOrders - 1;
constexpr unsigned kPageblock = kPageblockOrder.value();

// Which types to steal from, best first (mm/page_alloc.c: fallbacks).
constexpr std::array<std::array<unsigned, 2>, kPcpTypes> kFallbacks{{
    {kReclaimable, kMovable},    // for Unmovable
    {kReclaimable, kUnmovable},  // for Movable
    {kUnmovable, kMovable},      // for Reclaimable
}};

// State, order and zone of a descriptor, as one word: they are its first three bytes.
uint32_t header(const Frame& f) {
  static_assert(offsetof(Frame, state) == 0 && offsetof(Frame, order) == 1 && offsetof(Frame, zone) == 2 && offsetof(Frame, migratetype) == 3);
  uint32_t word;
  std::memcpy(&word, &f, sizeof word);
  return word;
}
constexpr uint32_t header_of(FrameState state, unsigned order, unsigned zone, unsigned type) {
  return static_cast<uint32_t>(state) | order << 8 | zone << 16 | type << 24;
}
void set_header(Frame& f, FrameState state, unsigned order, unsigned zone, unsigned type) {
  const uint32_t word = header_of(state, order, zone, type);
  std::memcpy(static_cast<void*>(&f), &word, sizeof word);
}

constexpr bool mergeable(unsigned type) { return type < kPcpTypes; }

}  // namespace

std::string_view migrate_type_name(MigrateType t) {
  constexpr std::string_view kNames[] = {"Unmovable", "Movable", "Reclaimable", "HighAtomic"};
  return kNames[static_cast<size_t>(t)];
}

BuddyAllocator::BuddyAllocator(FrameTable& frames, unsigned zone, Pfn first, Pfn end)
    : frames_(&frames[Pfn{0}]), zone_(static_cast<uint8_t>(zone)), first_(first), end_(end),
      first_block_(first.value() >> kPageblock),
      block_types_(end.value() > first.value() ? ((end.value() - 1) >> kPageblock) - first_block_ + 1 : 0, static_cast<uint8_t>(kMovable)),
      map_first_(first.value() & ~((uint64_t{1} << kTop) - 1)) {
  // To the end of the last maximal block: buddies may lie beyond the zone's end.
  const uint64_t span = ((end.value() - map_first_) | ((uint64_t{1} << kTop) - 1)) + 1;
  for (unsigned order = 0; order < kOrders; ++order) map_starts_[order + 1] = map_starts_[order] + (span >> order);
  free_map_.resize(map_starts_[kOrders] / 64 + 1);
  CHECK(first <= end && end.value() <= frames.size().value(), "zone {}: frames {}..{} of {}", zone, first.value(), end.value(),
        frames.size().value());
  // A pageblock is marked movable where its first frame is set up (mm/page_alloc.c: memmap_init_range). One that begins before the zone keeps
  // what a cleared bitmap says: the block of the first megabyte, as the DMA zone begins at frame 1.
  if (!block_types_.empty() && first.value() % kPageblockFrames != 0) block_types_[0] = static_cast<uint8_t>(kUnmovable);
}

void BuddyAllocator::link_head(uint32_t pfn, unsigned order, unsigned type) {
  List& list = lists_[order][type];
  Frame& f = frames_[pfn];
  f.previous = Frame::kNone;
  f.next = list.head;
  if (list.head == Frame::kNone) {
    list.tail = pfn;
    nonempty_[type] |= 1u << order;
  } else {
    frames_[list.head].previous = pfn;
  }
  list.head = pfn;
  ++counts_[order][type];
  flip_free(pfn, order);
}

void BuddyAllocator::link_tail(uint32_t pfn, unsigned order, unsigned type) {
  List& list = lists_[order][type];
  Frame& f = frames_[pfn];
  f.next = Frame::kNone;
  f.previous = list.tail;
  if (list.tail == Frame::kNone) {
    list.head = pfn;
    nonempty_[type] |= 1u << order;
  } else {
    frames_[list.tail].next = pfn;
  }
  list.tail = pfn;
  ++counts_[order][type];
  flip_free(pfn, order);
}

void BuddyAllocator::unlink(uint32_t pfn, unsigned order, unsigned type) {
  List& list = lists_[order][type];
  const Frame& f = frames_[pfn];
  if (f.previous == Frame::kNone) list.head = f.next;
  else frames_[f.previous].next = f.next;
  if (f.next == Frame::kNone) list.tail = f.previous;
  else frames_[f.next].previous = f.previous;
  if (--counts_[order][type] == 0) nonempty_[type] &= ~(1u << order);
  flip_free(pfn, order);
}

void BuddyAllocator::mark_free(uint32_t pfn, unsigned order, unsigned type) { set_header(frames_[pfn], FrameState::Free, order, zone_, type); }

void BuddyAllocator::add_range(Pfn first, Pfn end) {
  CHECK(first >= first_ && end <= end_, "zone {}: frames {}..{}", zone_, first.value(), end.value());
  uint64_t pfn = first.value();
  while (pfn < end.value()) {
    unsigned order = std::min<unsigned>(kTop, pfn ? static_cast<unsigned>(std::countr_zero(pfn)) : kTop);
    while (pfn + (uint64_t{1} << order) > end.value()) --order;
    free(Pfn{pfn}, Order{static_cast<uint8_t>(order)});
    pfn += uint64_t{1} << order;
  }
}

uint32_t BuddyAllocator::take_smallest(unsigned order, unsigned type) {
  const uint32_t orders = nonempty_[type] >> order;
  if (orders == 0) return Frame::kNone;
  unsigned from = order + static_cast<unsigned>(std::countr_zero(orders));
  const uint32_t pfn = lists_[from][type].head;
  unlink(pfn, from, type);
  while (from > order) {
    --from;
    const uint32_t half = pfn + (1u << from);
    mark_free(half, from, type);
    link_head(half, from, type);
  }
  set_header(frames_[pfn], FrameState::Allocated, order, zone_, type);
  free_ -= uint64_t{1} << order;
  return pfn;
}

uint32_t BuddyAllocator::take(Order order, MigrateType type, Fragment fragment) {
  for (;;) {
    const uint32_t pfn = take_smallest(order.value(), static_cast<unsigned>(type));
    if (pfn != Frame::kNone) [[likely]] return pfn;
    if (!steal(order.value(), static_cast<unsigned>(type), fragment)) return Frame::kNone;
  }
}

void BuddyAllocator::free(Pfn first, Order block_order) {
  uint64_t pfn = first.value();
  unsigned order = block_order.value();
  DCHECK((pfn & ((uint64_t{1} << order) - 1)) == 0 && pfn >= first_.value() && pfn + (uint64_t{1} << order) <= end_.value(),
         "freeing pfn {} order {}", pfn, order);
  const unsigned type = block_types_[block_of(first)];
  frames_[pfn].state = FrameState::Free;  // where it ends up inside a larger block
  free_ += uint64_t{1} << order;
  uint64_t buddy = 0;
  for (; order < kTop; ++order) {
    buddy = pfn ^ (uint64_t{1} << order);
    if (!is_free_block(buddy, order)) break;
    // From the pageblock size up, reserved pageblocks do not merge with others.
    if (order >= kPageblock) [[unlikely]] {
      const unsigned other = block_types_[block_of(Pfn{buddy})];
      if (type != other && !(mergeable(type) && mergeable(other))) break;
    }
    unlink(static_cast<uint32_t>(buddy), order, frames_[buddy].migratetype);
    pfn &= buddy;
  }
  mark_free(static_cast<uint32_t>(pfn), order, type);
  // A block whose own buddy is still in use but whose parent's buddy is free is likely to merge soon: it goes to the end of the list, so
  // that it is not split up before that (buddy_merge_likely).
  bool merge_likely = false;
  if (order < kTop - 1) {
    const uint64_t parent = buddy & pfn;
    merge_likely = is_free_block(parent ^ (uint64_t{2} << order), order + 1);
  }
  if (merge_likely) link_tail(static_cast<uint32_t>(pfn), order, type);
  else link_head(static_cast<uint32_t>(pfn), order, type);
}

bool BuddyAllocator::steal(unsigned order, unsigned type, Fragment fragment) {
  if (type >= kPcpTypes) return false;
  const unsigned smallest = fragment == Fragment::Avoid && order < kPageblock ? kPageblock : order;
  auto fallback_at = [&](unsigned at) -> int {
    for (unsigned from : kFallbacks[type])
      if (lists_[at][from].head != Frame::kNone) return static_cast<int>(from);
    return -1;
  };
  // The largest block of another type: it stands for the pageblock with the most free frames.
  for (unsigned at = kTop + 1; at-- > smallest;) {
    int from = fallback_at(at);
    if (from < 0) continue;
    // Whole pageblocks may be claimed for unmovable and reclaimable requests, or where a half-way large block is taken (can_steal_fallback).
    const bool whole = at >= kPageblock / 2 || type == kReclaimable || type == kUnmovable;
    // A movable request that cannot claim the pageblock takes the smallest block instead: it does not fragment for good.
    if (!whole && type == kMovable && at > order) {
      for (at = order; (from = fallback_at(at)) < 0;) ++at;
    }
    steal_block(lists_[at][static_cast<unsigned>(from)].head, at, type, whole);
    return true;
  }
  return false;
}

void BuddyAllocator::move_to(uint32_t pfn, unsigned order, unsigned type) {
  unlink(pfn, order, frames_[pfn].migratetype);
  frames_[pfn].migratetype = static_cast<uint8_t>(type);
  link_tail(pfn, order, type);
}

// mm/page_alloc.c: steal_suitable_fallback.
void BuddyAllocator::steal_block(uint32_t pfn, unsigned block_order, unsigned type, bool whole) {
  const unsigned old_type = block_types_[block_of(Pfn{pfn})];
  if (old_type == kHighAtomic) return move_to(pfn, block_order, type);
  if (block_order >= kPageblock) {
    for (uint64_t f = pfn; f < pfn + (uint64_t{1} << block_order); f += kPageblockFrames) block_types_[block_of(Pfn{f})] = static_cast<uint8_t>(type);
    return move_to(pfn, block_order, type);
  }
  fragmented_ = true;
  if (!whole) return move_to(pfn, block_order, type);
  uint64_t movable = 0;
  const uint64_t moved = move_free_blocks(pfn, type, &movable);
  if (moved == 0) return move_to(pfn, block_order, type);
  // Frames in use whose kind suits the new type. Unmovable and reclaimable ones cannot be told apart.
  uint64_t alike = 0;
  if (type == kMovable) alike = movable;
  else if (old_type == kMovable) alike = kPageblockFrames - (moved + movable);
  if (moved + alike >= kPageblockFrames / 2) block_types_[block_of(Pfn{pfn})] = static_cast<uint8_t>(type);
}

// Moves the free blocks of one pageblock to another type's lists and counts their frames (move_freepages_block). `movable`: frames in use
// that are on an LRU list.
uint64_t BuddyAllocator::move_free_blocks(uint64_t pageblock_frame, unsigned type, uint64_t* movable) {
  uint64_t pfn = pageblock_frame & ~(kPageblockFrames - 1);
  const uint64_t end = pfn + kPageblockFrames;
  if (pfn < first_.value()) pfn = pageblock_frame;
  if (end > end_.value()) return 0;
  uint64_t moved = 0;
  while (pfn < end) {
    const Frame& f = frames_[pfn];
    const uint64_t size = uint64_t{1} << f.order;
    if (f.state == FrameState::Free) {
      move_to(static_cast<uint32_t>(pfn), f.order, type);
      moved += size;
    } else if (movable && f.has(FrameFlag::Lru)) {
      *movable += size;
    }
    pfn += size;
  }
  return moved;
}

std::optional<std::pair<Pfn, Order>> BuddyAllocator::free_block_with(Pfn f) const {
  // The largest one that reaches here: inside it there may be stale marks of smaller ones.
  for (unsigned order = kOrders; order-- > 0;) {
    const uint64_t first = f.value() & ~((uint64_t{1} << order) - 1);
    if (first >= first_.value() && first + (uint64_t{1} << order) <= end_.value() && is_free_block(first, order)) return std::pair{Pfn{first}, Order{static_cast<uint8_t>(order)}};
  }
  return std::nullopt;
}

void BuddyAllocator::isolate(Pfn first, Order order) {
  const auto pfn = static_cast<uint32_t>(first.value());
  CHECK(is_free_block(pfn, order.value()), "pfn {} is no free block of order {}", pfn, order.value());
  unlink(pfn, order.value(), frames_[pfn].migratetype);
  set_header(frames_[pfn], FrameState::Allocated, order.value(), zone_, frames_[pfn].migratetype);
  free_ -= order.pages().value();
  if (order.value() < kPageblock - 1) return;
  for (uint64_t f = pfn; f < pfn + order.pages().value(); f += kPageblockFrames)
    if (uint8_t& type = block_types_[block_of(Pfn{f})]; mergeable(type)) type = static_cast<uint8_t>(kMovable);
}

bool BuddyAllocator::could_take(Order order, MigrateType wanted) const {
  const auto type = static_cast<unsigned>(wanted);
  if (nonempty_[type] >> order.value()) return true;
  if (type >= kPcpTypes) return false;
  for (unsigned at = order.value(); at < kOrders; ++at) {
    if (at < kPageblock / 2 && type == kMovable) continue;  // can_steal_fallback
    for (unsigned from : kFallbacks[type])
      if (lists_[at][from].head != Frame::kNone) return true;
  }
  return false;
}

bool BuddyAllocator::reserve_high_atomic(Pfn f) {
  uint8_t& type = block_types_[block_of(f)];
  if (!mergeable(type)) return false;
  type = static_cast<uint8_t>(kHighAtomic);
  move_free_blocks(f.value(), kHighAtomic, nullptr);
  return true;
}

Pages BuddyAllocator::unreserve_high_atomic(MigrateType type) {
  for (unsigned order = 0; order < kOrders; ++order) {
    const uint32_t pfn = lists_[order][kHighAtomic].head;
    if (pfn == Frame::kNone) continue;
    for (uint64_t f = pfn; f < pfn + std::max<uint64_t>(uint64_t{1} << order, 1); f += kPageblockFrames)
      block_types_[block_of(Pfn{f})] = static_cast<uint8_t>(type);
    uint64_t moved = move_free_blocks(pfn, static_cast<unsigned>(type), nullptr);
    // A pageblock cut off by the zone's end is not walked: move what was found.
    if (moved == 0) move_to(pfn, order, static_cast<unsigned>(type)), moved = uint64_t{1} << order;
    return Pages{moved};
  }
  return Pages{0};
}

uint64_t BuddyAllocator::free_blocks(Order order) const {
  uint64_t n = 0;
  for (uint32_t count : counts_[order.value()]) n += count;
  return n;
}

bool BuddyAllocator::has_block(Order order, bool high_atomic) const {
  uint32_t orders = nonempty_[kUnmovable] | nonempty_[kMovable] | nonempty_[kReclaimable];
  if (high_atomic) orders |= nonempty_[kHighAtomic];
  return (orders >> order.value()) != 0;
}

uint64_t BuddyAllocator::pageblocks(MigrateType type) const {
  return static_cast<uint64_t>(std::count(block_types_.begin(), block_types_.end(), static_cast<uint8_t>(type)));
}

void BuddyAllocator::verify() const {
  uint64_t free = 0;
  std::vector<std::pair<uint64_t, unsigned>> blocks;
  for (unsigned order = 0; order < kOrders; ++order) {
    for (unsigned type = 0; type < kMigrateTypes; ++type) {
      const List& list = lists_[order][type];
      uint32_t previous = Frame::kNone;
      uint64_t n = 0;
      for (uint32_t pfn = list.head; pfn != Frame::kNone; pfn = frames_[pfn].next) {
        const Frame& f = frames_[pfn];
        const uint64_t size = uint64_t{1} << order;
        CHECK(pfn >= first_.value() && pfn + size <= end_.value(), "pfn {} order {} is outside of zone {}", pfn, order, zone_);
        CHECK((pfn & (size - 1)) == 0, "pfn {} order {} is not aligned", pfn, order);
        CHECK(header(f) == header_of(FrameState::Free, order, zone_, type), "pfn {} on the list of order {} type {}: header {:#x}", pfn, order,
              type, header(f));
        CHECK(is_free_block(pfn, order), "pfn {} order {} is on a list, and not in the map", pfn, order);
        CHECK(f.previous == previous, "pfn {}: previous {} should be {}", pfn, f.previous, previous);
        CHECK(f.refcount == 0 && f.mapcount == 0, "free pfn {} has references", pfn);
        if (order < kTop && is_free_block(pfn ^ size, order)) {
          const unsigned a = block_types_[block_of(Pfn{pfn})], b = block_types_[block_of(Pfn{pfn ^ size})];
          CHECK(order >= kPageblock && a != b && !(mergeable(a) && mergeable(b)), "pfn {} order {}: buddies are free and apart", pfn, order);
        }
        blocks.emplace_back(pfn, order);
        previous = pfn;
        CHECK(++n <= counts_[order][type], "order {} type {}: the list is longer than its count {}", order, type, counts_[order][type]);
        free += size;
      }
      CHECK(list.tail == previous, "order {} type {}: tail {} should be {}", order, type, list.tail, previous);
      CHECK(n == counts_[order][type], "order {} type {}: {} blocks counted, {} found", order, type, counts_[order][type], n);
      CHECK(((nonempty_[type] >> order) & 1) == (n != 0), "order {} type {}: wrong in the bit map", order, type);
    }
  }
  uint64_t mapped = 0;
  for (const uint64_t word : free_map_) mapped += static_cast<uint64_t>(std::popcount(word));
  CHECK(mapped == blocks.size(), "{} free blocks in the map, {} on lists", mapped, blocks.size());
  CHECK(free == free_, "zone {}: {} free frames counted, {} found", zone_, free_, free);
  std::sort(blocks.begin(), blocks.end());
  uint64_t end = 0;
  for (const auto& [pfn, order] : blocks) {
    CHECK(pfn >= end, "free pfn {} lies in another free block", pfn);
    end = pfn + (uint64_t{1} << order);
  }
}

}  // namespace vitro::mm
