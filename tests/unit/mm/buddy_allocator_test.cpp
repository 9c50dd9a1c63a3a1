#include "vitro/mm/buddy_allocator.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "vitro/base/rng.h"

namespace vitro::mm {
namespace {

// A zone of its own, with all frames from `first` on free.
struct TinyZone {
  explicit TinyZone(uint64_t end, uint64_t first = 0) : frames(Pages{end}), buddy(frames, 0, Pfn{first}, Pfn{end}) {
    buddy.add_range(Pfn{first}, Pfn{end});
  }
  std::vector<uint64_t> by_order() const {
    std::vector<uint64_t> n;
    for (uint8_t o = 0; o < kOrders; ++o) n.push_back(buddy.free_blocks(Order{o}));
    return n;
  }
  // Writes all descriptors of a block, as PageAllocator does.
  void mark(Pfn first, Order order, FrameState state) {
    for (uint64_t i = 0; i < order.pages().value(); ++i) {
      Frame& f = frames[first + Pages{i}];
      f.state = state;
      if (i) f.order = 0;
    }
  }
  FrameTable frames;
  BuddyAllocator buddy;
};

using Counts = std::vector<uint64_t>;

TEST(BuddyAllocator, StartsAsTheLargestAlignedBlocks) {
  TinyZone z(64);
  EXPECT_EQ(z.by_order(), (Counts{0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}));
  TinyZone odd(4097, 255);  // 255, 256..511, 512..1023, 1024.., 2048.., 3072.., 4096
  EXPECT_EQ(odd.by_order(), (Counts{2, 0, 0, 0, 0, 0, 0, 0, 1, 1, 3}));
  odd.buddy.verify();
  EXPECT_EQ(odd.buddy.free_frames(), Pages{4097 - 255});
}

TEST(BuddyAllocator, SplitsTheSmallestSufficientBlock) {
  TinyZone z(64);
  EXPECT_EQ(z.buddy.allocate(Order{0}, MigrateType::Movable), Pfn{0});
  EXPECT_EQ(z.by_order(), (Counts{1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0}));
  EXPECT_EQ(z.buddy.allocate(Order{2}, MigrateType::Movable), Pfn{4});
  EXPECT_EQ(z.by_order(), (Counts{1, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0}));
  z.buddy.verify();
}

TEST(BuddyAllocator, MergesBuddiesUpToMaxOrder) {
  TinyZone z(2048);
  std::vector<Pfn> all;
  while (auto f = z.buddy.allocate(Order{0}, MigrateType::Movable)) all.push_back(*f);
  EXPECT_EQ(all.size(), 2048u);
  EXPECT_EQ(z.buddy.free_frames(), Pages{0});
  for (Pfn f : all) z.mark(f, Order{0}, FrameState::Allocated);
  for (Pfn f : all) z.buddy.free(f, Order{0});
  EXPECT_EQ(z.by_order(), (Counts{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}));
  z.buddy.verify();
}

TEST(BuddyAllocator, DoesNotMergeNeighboursThatAreNoBuddies) {
  TinyZone z(8);
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(z.buddy.allocate(Order{0}, MigrateType::Movable));
  z.buddy.free(Pfn{1}, Order{0});
  z.buddy.free(Pfn{2}, Order{0});
  EXPECT_EQ(z.buddy.free_blocks(Order{0}), 2u);
  z.buddy.free(Pfn{3}, Order{0});
  EXPECT_EQ(z.by_order(), (Counts{1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  z.buddy.verify();
}

TEST(BuddyAllocator, LeavesReservedFramesAlone) {
  TinyZone z(64, 13);  // 0..12 reserved
  std::vector<bool> seen(64);
  while (auto f = z.buddy.allocate(Order{0}, MigrateType::Movable)) seen[f->value()] = true;
  for (uint64_t i = 0; i < 64; ++i) EXPECT_EQ(seen[i], i >= 13) << i;
}

TEST(BuddyAllocator, RefusesWhatNoBlockIsLargeEnoughFor) {
  TinyZone z(64);
  EXPECT_FALSE(z.buddy.allocate(Order{7}, MigrateType::Movable));
  EXPECT_TRUE(z.buddy.allocate(Order{6}, MigrateType::Movable));
  EXPECT_FALSE(z.buddy.allocate(Order{0}, MigrateType::Movable));
}

TEST(BuddyAllocator, TouchesOnlyTheFirstFrameOfABlock) {
  TinyZone z(1024);
  EXPECT_EQ(z.frames[Pfn{1}].state, FrameState::Reserved);  // inside the free block of order 10: never written
  EXPECT_EQ(z.frames[Pfn{0}].state, FrameState::Free);
  EXPECT_EQ(z.frames[Pfn{0}].order, 10);
}

TEST(BuddyAllocator, ABlockThatIsLikelyToMergeSoonIsTakenLast) {
  TinyZone z(8);
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(z.buddy.allocate(Order{0}, MigrateType::Movable));
  z.buddy.free(Pfn{6}, Order{0});
  z.buddy.free(Pfn{7}, Order{0});
  z.buddy.free(Pfn{0}, Order{0});  // ordinary: goes to the head of the list
  z.buddy.free(Pfn{4}, Order{0});  // 6..7 is free, so 4..7 will be when 5 comes back: goes to the tail
  EXPECT_EQ(z.buddy.allocate(Order{0}, MigrateType::Movable), Pfn{0});
  EXPECT_EQ(z.buddy.allocate(Order{0}, MigrateType::Movable), Pfn{4});
}

TEST(BuddyAllocator, AnUnmovableRequestClaimsWholePageblocks) {
  TinyZone z(2048);
  ASSERT_TRUE(z.buddy.allocate(Order{0}, MigrateType::Unmovable));
  // Two pageblocks of the stolen order-10 block changed type.
  EXPECT_EQ(z.buddy.pageblocks(MigrateType::Unmovable), 2u);
  EXPECT_EQ(z.buddy.pageblocks(MigrateType::Movable), 2u);
  EXPECT_EQ(z.buddy.free_blocks(Order{9}, MigrateType::Unmovable), 1u);
  EXPECT_EQ(z.buddy.free_blocks(Order{10}, MigrateType::Movable), 1u);
  EXPECT_FALSE(z.buddy.take_fragmentation_event());
  z.buddy.verify();
}

TEST(BuddyAllocator, PrefersReclaimableOverMovableForUnmovable) {
  TinyZone z(2048);
  ASSERT_TRUE(z.buddy.allocate(Order{0}, MigrateType::Reclaimable));
  ASSERT_TRUE(z.buddy.allocate(Order{9}, MigrateType::Unmovable));
  // The largest block decides first: order 10 is Movable, and only that one is.
  EXPECT_EQ(z.buddy.pageblocks(MigrateType::Unmovable), 2u);
  EXPECT_EQ(z.buddy.pageblocks(MigrateType::Reclaimable), 2u);
  ASSERT_TRUE(z.buddy.allocate(Order{9}, MigrateType::Unmovable));
  // Now there is one free block of order 9, a reclaimable one.
  ASSERT_TRUE(z.buddy.allocate(Order{9}, MigrateType::Unmovable));
  EXPECT_EQ(z.buddy.pageblocks(MigrateType::Unmovable), 3u);
  z.buddy.verify();
}

TEST(BuddyAllocator, StealingHalfOfAPageblockClaimsIt) {
  TinyZone z(512);
  const auto half = z.buddy.allocate(Order{8}, MigrateType::Movable);
  ASSERT_TRUE(half);
  z.mark(*half, Order{8}, FrameState::Allocated);
  z.frames[*half].order = 8;
  ASSERT_TRUE(z.buddy.allocate(Order{0}, MigrateType::Unmovable));
  // 256 free frames are half of the block.
  EXPECT_EQ(z.buddy.pageblocks(MigrateType::Unmovable), 1u);
  EXPECT_TRUE(z.buddy.take_fragmentation_event());
  EXPECT_FALSE(z.buddy.take_fragmentation_event());
}

TEST(BuddyAllocator, MovableTakesTheSmallestBlockWhereItCannotClaim) {
  TinyZone z(512);
  // One unmovable frame leaves blocks of orders 0..8 on the Unmovable lists.
  ASSERT_TRUE(z.buddy.allocate(Order{0}, MigrateType::Unmovable));
  ASSERT_EQ(z.buddy.pageblocks(MigrateType::Unmovable), 1u);
  // Use up orders 4..8: a smaller block does not entitle a movable request to the pageblock.
  for (uint8_t o = 8; o >= 4; --o) {
    const auto b = z.buddy.allocate(Order{o}, MigrateType::Unmovable);
    ASSERT_TRUE(b);
    z.mark(*b, Order{o}, FrameState::Allocated);
    z.frames[*b].order = o;
  }
  EXPECT_EQ(z.buddy.allocate(Order{0}, MigrateType::Movable), Pfn{1});
  EXPECT_EQ(z.buddy.pageblocks(MigrateType::Unmovable), 1u);
  EXPECT_EQ(z.buddy.free_blocks(Order{3}, MigrateType::Unmovable), 1u);
  EXPECT_TRUE(z.buddy.take_fragmentation_event());
}

TEST(BuddyAllocator, AvoidingFragmentationTakesOnlyWholePageblocks) {
  TinyZone z(512);
  ASSERT_TRUE(z.buddy.allocate(Order{0}, MigrateType::Unmovable));
  EXPECT_FALSE(z.buddy.allocate(Order{0}, MigrateType::Movable, BuddyAllocator::Fragment::Avoid));
  EXPECT_TRUE(z.buddy.allocate(Order{0}, MigrateType::Movable, BuddyAllocator::Fragment::Allow));
}

TEST(BuddyAllocator, AReservedPageblockServesOnlyItself) {
  TinyZone z(1024);
  const auto f = z.buddy.allocate(Order{0}, MigrateType::Movable);
  ASSERT_TRUE(z.buddy.reserve_high_atomic(*f));
  EXPECT_FALSE(z.buddy.reserve_high_atomic(*f));
  EXPECT_EQ(z.buddy.pageblocks(MigrateType::HighAtomic), 1u);
  z.buddy.verify();
  // The other pageblock is left for everybody.
  uint64_t n = 0;
  while (z.buddy.allocate(Order{0}, MigrateType::Movable)) ++n;
  EXPECT_EQ(n, 512u);
  EXPECT_TRUE(z.buddy.has_block(Order{3}, true));
  EXPECT_FALSE(z.buddy.has_block(Order{0}, false));
  EXPECT_TRUE(z.buddy.allocate_from(Order{3}, MigrateType::HighAtomic));
  EXPECT_GT(z.buddy.unreserve_high_atomic(MigrateType::Movable).value(), 0u);
  EXPECT_EQ(z.buddy.pageblocks(MigrateType::HighAtomic), 0u);
  EXPECT_TRUE(z.buddy.allocate(Order{0}, MigrateType::Movable));
  z.buddy.verify();
}

TEST(BuddyAllocator, ReservedPageblocksDoNotMergeWithOthers) {
  TinyZone z(1024);
  const auto f = z.buddy.allocate(Order{0}, MigrateType::Movable);
  ASSERT_TRUE(z.buddy.reserve_high_atomic(*f));
  z.buddy.free(*f, Order{0});
  EXPECT_EQ(z.buddy.free_blocks(Order{9}), 2u);
  EXPECT_EQ(z.buddy.free_blocks(Order{10}), 0u);
  z.buddy.verify();
}

// What is free determines the blocks: every maximal aligned run. The model keeps one bit a frame and nothing else.
class Model {
 public:
  explicit Model(uint64_t frames) : free_(frames, true) {}
  void set(uint64_t first, uint64_t n, bool free) {
    for (uint64_t i = first; i < first + n; ++i) {
      ASSERT_NE(free_[i], free) << "frame " << i;
      free_[i] = free;
    }
  }
  Counts blocks() const {
    Counts n(kOrders);
    for (uint64_t at = 0; at < free_.size();) {
      unsigned order = kOrders;
      while (order > 0 && !run(at, order - 1)) --order;
      if (order == 0) {
        ++at;
      } else {
        ++n[order - 1];
        at += uint64_t{1} << (order - 1);
      }
    }
    return n;
  }

 private:
  bool run(uint64_t at, unsigned order) const {
    const uint64_t size = uint64_t{1} << order;
    if (at % size != 0 || at + size > free_.size()) return false;
    for (uint64_t i = at; i < at + size; ++i)
      if (!free_[i]) return false;
    return true;
  }
  std::vector<bool> free_;
};

void random_operations(uint64_t seed, uint64_t frames, unsigned operations, unsigned largest_order) {
  SCOPED_TRACE(testing::Message() << "seed " << seed << ", " << frames << " frames");
  TinyZone z(frames);
  const Counts initial = z.by_order();
  Model model(frames);
  Rng rng(seed);
  struct Block {
    Pfn first;
    Order order;
  };
  std::vector<Block> held;
  for (unsigned i = 0; i < operations; ++i) {
    // Swings between nearly full and nearly empty.
    const bool grow = rng.below(100) < (i / 2000 % 2 ? 35u : 65u);
    if (grow || held.empty()) {
      const Order order{static_cast<uint8_t>(rng.below(largest_order + 1))};
      const auto type = static_cast<MigrateType>(rng.below(kPcpTypes));
      const auto block = z.buddy.allocate(order, type);
      if (!block) {
        const Counts blocks = model.blocks();
        for (unsigned o = order.value(); o < kOrders; ++o) ASSERT_EQ(blocks[o], 0u) << "refused order " << int{order.value()} << " at step " << i;
        continue;
      }
      ASSERT_EQ(block->value() % order.pages().value(), 0u);
      ASSERT_NO_FATAL_FAILURE(model.set(block->value(), order.pages().value(), false)) << "step " << i;
      z.mark(*block, order, FrameState::Allocated);
      held.push_back({*block, order});
    } else {
      const size_t at = rng.below(held.size());
      const Block b = held[at];
      held[at] = held.back();
      held.pop_back();
      ASSERT_NO_FATAL_FAILURE(model.set(b.first.value(), b.order.pages().value(), true)) << "step " << i;
      z.mark(b.first, b.order, FrameState::Free);
      z.buddy.free(b.first, b.order);
    }
    if (i % 512 == 0) {
      ASSERT_EQ(z.by_order(), model.blocks()) << "step " << i;
      z.buddy.verify();
    }
  }
  for (const Block& b : held) {
    z.mark(b.first, b.order, FrameState::Free);
    z.buddy.free(b.first, b.order);
  }
  EXPECT_EQ(z.by_order(), initial);
  z.buddy.verify();
}

TEST(BuddyAllocatorProperty, AgreesWithABitMapOnTinyZones) {
  for (uint64_t seed = 1; seed <= 40; ++seed) random_operations(seed, 64, 2500, 6);
}
TEST(BuddyAllocatorProperty, AgreesWithABitMapOnSmallZones) {
  for (uint64_t seed = 100; seed < 110; ++seed) random_operations(seed, 1000 + seed, 20000, 7);
}
TEST(BuddyAllocatorProperty, AgreesWithABitMapOnLargerZones) {
  for (uint64_t seed = 200; seed < 204; ++seed) random_operations(seed, 4096, 40000, 9);
}

}  // namespace
}  // namespace vitro::mm
