// The buddy allocator of one zone: blocks of 2^0..2^10 frames, split on demand and merged again as soon as both halves are free.
//
//   BuddyAllocator buddy(frames, 0, Pfn{0}, Pfn{4096});
//   buddy.add_range(Pfn{256}, Pfn{4096});                             // what boot leaves over
//   auto block = buddy.allocate(Order{3}, MigrateType::Movable);      // eight frames, aligned to eight
//   buddy.free(*block, Order{3});                                     // merges with its free buddies
//
// Free blocks are kept in lists by order and migrate type, linked through their first Frame. Allocation and freeing read and write only the
// first frames of blocks: a never-split order-10 block costs one descriptor. Which blocks are free is also kept in a bit map for each order,
// two bits a frame together: most buddies that are looked at are not free, and their descriptors would all be cache misses.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "vitro/base/types.h"
#include "vitro/mm/frame.h"

namespace vitro::mm {

inline constexpr Order kMaxOrder{10};  // Linux 6.1: MAX_ORDER 11, orders 0..10
inline constexpr unsigned kOrders = 11;
inline constexpr Order kPageblockOrder{9};  // mobility is kept by 2 MiB
inline constexpr uint64_t kPageblockFrames = uint64_t{1} << kPageblockOrder.value();

// Can a frame's content be moved or thrown away? Frames of a kind are kept together, so that large blocks survive.
enum class MigrateType : uint8_t { Unmovable, Movable, Reclaimable, HighAtomic, Count };
inline constexpr unsigned kMigrateTypes = static_cast<unsigned>(MigrateType::Count);
inline constexpr unsigned kPcpTypes = 3;           // the first three have per-CPU lists and fall back to each other (MIGRATE_PCPTYPES)
std::string_view migrate_type_name(MigrateType t);  // "Unmovable", ...

class BuddyAllocator {
 public:
  // Manages [first, end), all of it reserved at first. `frames` must reach one maximal block beyond `end` or to the end of the table.
  BuddyAllocator(FrameTable& frames, unsigned zone, Pfn first, Pfn end);

  // Boot: frees reserved frames as the largest aligned blocks (mm/memblock.c: __free_pages_memory).
  void add_range(Pfn first, Pfn end);

  // Whether a block of another migrate type may be taken that is smaller than a pageblock (ALLOC_NOFRAGMENT forbids it).
  enum class Fragment : bool { Avoid, Allow };
  // A block of the smallest sufficient order, from the list of `type` or, by Linux's rule, stolen from another type's
  // (mm/page_alloc.c: __rmqueue, __rmqueue_fallback). Only the first Frame is written: state Allocated and its order.
  std::optional<Pfn> allocate(Order order, MigrateType type, Fragment fragment = Fragment::Allow) { return found(take(order, type, fragment)); }
  // The same from one type's lists only (__rmqueue_smallest).
  std::optional<Pfn> allocate_from(Order order, MigrateType type) { return found(take_smallest(order.value(), static_cast<unsigned>(type))); }
  // Gives a block back and merges it upwards (__free_one_page). The Frames of the block other than the first must not be in state PerCpu or
  // a handed-out one when somebody looks at them: the caller marks them Free first.
  void free(Pfn first, Order order);

  // The free block that `f` lies in: its first frame and order. Nullopt where `f` is not free here.
  std::optional<std::pair<Pfn, Order>> free_block_with(Pfn f) const;
  // Takes out exactly this free block, for compaction; from half a pageblock up its pageblocks become movable.
  void isolate(Pfn first, Order order);
  // Whether a request would find a block, its own type's or one that it may claim (mm/compaction.c: __compact_finished).
  bool could_take(Order order, MigrateType type) const;

  Pages free_frames() const { return Pages{free_}; }
  uint64_t free_blocks(Order order) const;                          // of all types: /proc/buddyinfo
  uint64_t free_blocks(Order order, MigrateType type) const { return counts_[order.value()][static_cast<unsigned>(type)]; }
  // Whether an order or a larger one has a free block of one of the first three types, or (third argument) of HighAtomic too.
  bool has_block(Order order, bool high_atomic) const;

  MigrateType pageblock_type(Pfn f) const { return static_cast<MigrateType>(block_types_[block_of(f)]); }
  uint64_t pageblocks(MigrateType type) const;  // in the zone: /proc/pagetypeinfo
  // Reserves the pageblock of `f` for high-order atomic allocations; returns false where it is not of a mergeable type.
  bool reserve_high_atomic(Pfn f);
  // Turns one reserved pageblock with free frames back to `type` and returns how many free frames it had; 0: there is none.
  Pages unreserve_high_atomic(MigrateType type);

  // True once after a block smaller than a pageblock was stolen from another type: the zone then boosts its watermarks.
  bool take_fragmentation_event() {
    const bool was = fragmented_;
    fragmented_ = false;
    return was;
  }

  Pfn first() const { return first_; }
  Pfn end() const { return end_; }
  // Recounts: alignment, links, counts, order and type of every free block; no block overlaps another; no free buddies left apart. CHECKs.
  void verify() const;

 private:
  struct List {
    uint32_t head = Frame::kNone, tail = Frame::kNone;
  };
  // Inside, a block is named by its first frame, or Frame::kNone: a returned optional would go through memory.
  static std::optional<Pfn> found(uint32_t pfn) {
    std::optional<Pfn> result;
    if (pfn != Frame::kNone) result = Pfn{pfn};
    return result;
  }
  uint64_t block_of(Pfn f) const { return (f.value() >> kPageblockOrder.value()) - first_block_; }
  // One bit for each block of an order, by its place in the zone; the maps of all orders lie one behind the other.
  uint64_t bit_of(uint64_t pfn, unsigned order) const { return map_starts_[order] + ((pfn - map_first_) >> order); }
  bool is_free_block(uint64_t pfn, unsigned order) const {
    const uint64_t bit = bit_of(pfn, order);
    return free_map_[bit >> 6] >> (bit & 63) & 1;
  }
  void flip_free(uint64_t pfn, unsigned order) {
    const uint64_t bit = bit_of(pfn, order);
    free_map_[bit >> 6] ^= uint64_t{1} << (bit & 63);
  }
  void link_head(uint32_t pfn, unsigned order, unsigned type);
  void link_tail(uint32_t pfn, unsigned order, unsigned type);
  void unlink(uint32_t pfn, unsigned order, unsigned type);
  void mark_free(uint32_t pfn, unsigned order, unsigned type);
  uint32_t take(Order order, MigrateType type, Fragment fragment);
  uint32_t take_smallest(unsigned order, unsigned type);
  bool steal(unsigned order, unsigned type, Fragment fragment);
  void steal_block(uint32_t pfn, unsigned block_order, unsigned type, bool whole);
  uint64_t move_free_blocks(uint64_t pageblock_frame, unsigned type, uint64_t* movable);
  void move_to(uint32_t pfn, unsigned order, unsigned type);

  Frame* frames_;
  uint8_t zone_;
  bool fragmented_ = false;
  uint64_t free_ = 0;
  std::array<uint32_t, kMigrateTypes> nonempty_{};  // bit o: the list of order o has a block
  std::array<std::array<List, kMigrateTypes>, kOrders> lists_{};
  std::array<std::array<uint32_t, kMigrateTypes>, kOrders> counts_{};
  Pfn first_, end_;
  uint64_t first_block_;
  std::vector<uint8_t> block_types_;
  uint64_t map_first_;  // aligned to the largest block
  std::array<uint64_t, kOrders + 1> map_starts_{};
  std::vector<uint64_t> free_map_;
};

}  // namespace vitro::mm
