// A million random operations each on the buddy allocator, the page allocator and the slabs, against models that only remember who has what.
// No frame is ever in two hands, and when everything is given back, memory is as it was.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <vector>

#include "memory_rig.h"
#include "vitro/base/rng.h"
#include "vitro/mm/buddy_allocator.h"

namespace vitro::mm {
namespace {

constexpr unsigned kOperations = 1'000'000;
constexpr unsigned kChecks = 20;  // verify() so often

std::array<uint64_t, kOrders> free_blocks(const BuddyAllocator& buddy) {
  std::array<uint64_t, kOrders> n{};
  for (uint8_t order = 0; order < kOrders; ++order) n[order] = buddy.free_blocks(Order{order});
  return n;
}

// What is held, as a bag: blocks leave in random order. `owned` has a mark for each frame.
struct Held {
  struct Block {
    Pfn first;
    Order order;
  };
  std::vector<Block> blocks;
  std::vector<uint8_t> owned;
  uint64_t frames = 0;

  void take(Pfn first, Order order) {
    ASSERT_EQ(first.value() % order.pages().value(), 0u);
    for (uint64_t i = 0; i < order.pages().value(); ++i) {
      ASSERT_EQ(owned[first.value() + i], 0) << "pfn " << first.value() + i << " was handed out twice";
      owned[first.value() + i] = 1;
    }
    frames += order.pages().value();
    blocks.push_back({first, order});
  }
  Block drop(size_t i) {
    const Block b = blocks[i];
    blocks[i] = blocks.back();
    blocks.pop_back();
    for (uint64_t k = 0; k < b.order.pages().value(); ++k) owned[b.first.value() + k] = 0;
    frames -= b.order.pages().value();
    return b;
  }
};

TEST(MillionOperations, OnTheBuddyAllocator) {
  const uint64_t seed = 8101;
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  constexpr uint64_t kFrames = 32768;
  FrameTable frames{Pages{kFrames}};
  BuddyAllocator buddy(frames, 0, Pfn{0}, Pfn{kFrames});
  buddy.add_range(Pfn{3}, Pfn{kFrames - 5});
  const auto at_start = free_blocks(buddy);
  const uint64_t total = buddy.free_frames().value();
  Held held;
  held.owned.resize(kFrames);
  Rng rng(seed);
  unsigned refused = 0;
  for (unsigned step = 0; step < kOperations; ++step) {
    // How full it is goes up and down: 30 to 95 per cent.
    const uint64_t target = total * (30 + (step / 5000) % 14 * 5) / 100;
    if (held.blocks.empty() || held.frames < target) {
      const Order order{static_cast<uint8_t>(std::min(rng.below(11), rng.below(11)))};
      const auto block = buddy.allocate(order, static_cast<MigrateType>(rng.below(3)));
      if (block) held.take(*block, order);
      else ++refused;
    } else {
      const Held::Block b = held.drop(rng.below(held.blocks.size()));
      for (uint64_t i = 0; i < b.order.pages().value(); ++i) frames[b.first + Pages{i}].state = FrameState::Free;
      buddy.free(b.first, b.order);
    }
    if (step % (kOperations / kChecks) == 0) {
      buddy.verify();
      ASSERT_EQ(buddy.free_frames().value() + held.frames, total);
    }
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(refused, 0u);
  while (!held.blocks.empty()) {
    const Held::Block b = held.drop(held.blocks.size() - 1);
    buddy.free(b.first, b.order);
  }
  buddy.verify();
  EXPECT_EQ(free_blocks(buddy), at_start);
}

TEST(MillionOperations, OnThePageAllocator) {
  const uint64_t seed = 8102;
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  MemoryRig m(mib(96), {.cpus = 2, .highmem_start = mib(64)});
  m.memory->drain_per_cpu_lists();
  const std::string at_start = m.memory->buddyinfo();
  // No Gfp::Atomic: it sets pageblocks aside, which stay so and do not merge with their neighbours.
  constexpr Gfp kFlags[] = {Gfp::Kernel, Gfp::NoWait, Gfp::HighUserMovable, Gfp::Kernel | Gfp::Reclaimable, Gfp::Dma, Gfp::HighUser | Gfp::Comp, Gfp::Kernel | Gfp::Zero};
  constexpr FrameState kStates[] = {FrameState::Anonymous, FrameState::PageTable, FrameState::Kernel, FrameState::FileCache};
  Held held;
  held.owned.resize(m.ram->frames().value());
  auto by_state = m.memory->frames_by_state();  // some are the kernel's from boot on
  std::map<uint64_t, FrameState> states;
  Rng rng(seed);
  const uint64_t managed = m.pages.managed_frames().value();
  for (unsigned step = 0; step < kOperations; ++step) {
    if (rng.below(64) == 0) m.memory->set_current_cpu(static_cast<unsigned>(rng.below(2)));
    const uint64_t target = managed * (20 + (step / 20000) % 8 * 11) / 100;
    if (held.blocks.empty() || held.frames < target) {
      const Order order{static_cast<uint8_t>(rng.below(10) < 7 ? 0 : rng.below(6))};
      const auto block = m.pages.allocate(kFlags[rng.below(std::size(kFlags))], order);
      if (block) {
        held.take(*block, order);
        const FrameState state = kStates[rng.below(std::size(kStates))];
        m.pages.set_state(*block, order, state);
        by_state[static_cast<size_t>(state)] += order.pages().value();
        states[block->value()] = state;
      }
    } else {
      const Held::Block b = held.drop(rng.below(held.blocks.size()));
      const auto state = states.find(b.first.value());
      by_state[static_cast<size_t>(state->second)] -= b.order.pages().value();
      states.erase(state);
      m.pages.free(b.first, b.order);
    }
    if (step % (kOperations / kChecks) == 0) {
      m.memory->verify(Verify::Full);
      const auto now = m.memory->frames_by_state();
      for (const FrameState s : kStates) ASSERT_EQ(now[static_cast<size_t>(s)], by_state[static_cast<size_t>(s)]) << frame_state_name(s);
    }
    if (HasFatalFailure()) return;
  }
  while (!held.blocks.empty()) {
    const Held::Block b = held.drop(held.blocks.size() - 1);
    m.pages.free(b.first, b.order);
  }
  m.memory->drain_per_cpu_lists();
  m.memory->verify(Verify::Full);
  EXPECT_EQ(m.memory->buddyinfo(), at_start);
}

TEST(MillionOperations, OnTheSlabs) {
  const uint64_t seed = 8103;
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  MemoryRig m(mib(64), {.cpus = 2});
  const auto settle = [&] {
    m.slabs.shrink_all();
    m.memory->drain_per_cpu_lists();
    return m.stat(VmItem::nr_slab_reclaimable) + m.stat(VmItem::nr_slab_unreclaimable);
  };
  std::vector<SlabCache*> caches;
  for (const uint64_t size : {24, 104, 192, 632, 1184}) {
    SlabCacheSpec spec;
    spec.name = fmt::format("test-{}", size);
    spec.object_size = Bytes{size};
    if (size > 500) spec.flags = SlabFlag::ReclaimAccount;
    caches.push_back(*m.slabs.create(spec));
  }
  const int64_t slabs_at_start = settle();
  const std::string buddy_at_start = m.memory->buddyinfo();
  struct Object {
    VirtAddr at;
    SlabCache* cache;  // null: kmalloc
    uint64_t size, mark;
  };
  std::vector<Object> held;
  Rng rng(seed);
  const auto word = [&](VirtAddr a) -> uint64_t& { return m.ram->at<uint64_t>(direct_map_physical(a)); };
  for (unsigned step = 0; step < kOperations; ++step) {
    if (rng.below(64) == 0) m.memory->set_current_cpu(static_cast<unsigned>(rng.below(2)));
    const size_t target = 2000 + (step / 50000) % 7 * 3000;
    if (held.size() < target) {
      SlabCache* cache = rng.below(3) ? caches[rng.below(caches.size())] : nullptr;
      const uint64_t size = cache ? cache->object_size().value() : 16 + rng.below(rng.below(20) == 0 ? 12000 : 600);
      const auto object = cache ? cache->allocate(Gfp::Kernel) : m.slabs.kmalloc(Bytes{size}, Gfp::Kernel);
      if (object) {
        held.push_back({*object, cache, size, step * 2654435761u + 1});
        word(*object) = held.back().mark;
        word(VirtAddr{(object->value() + size - 8) & ~uint64_t{7}}) = held.back().mark;
      }
    } else {
      const size_t i = rng.below(held.size());
      const Object o = held[i];
      held[i] = held.back();
      held.pop_back();
      ASSERT_EQ(word(o.at), o.mark) << "step " << step << ", object of " << o.size << " bytes";
      ASSERT_EQ(word(VirtAddr{(o.at.value() + o.size - 8) & ~uint64_t{7}}), o.mark) << "step " << step << ", object of " << o.size << " bytes";
      if (o.cache) o.cache->free(o.at);
      else m.slabs.kfree(o.at);
    }
    if (step % (kOperations / kChecks) == 0) m.memory->verify(Verify::Full);
    if (HasFatalFailure()) return;
  }
  for (const Object& o : held) {
    if (o.cache) o.cache->free(o.at);
    else m.slabs.kfree(o.at);
  }
  m.memory->verify(Verify::Full);
  EXPECT_EQ(settle(), slabs_at_start);
  EXPECT_EQ(m.memory->buddyinfo(), buddy_at_start);
  for (SlabCache* c : caches) EXPECT_TRUE(m.slabs.destroy(*c));
}

}  // namespace
}  // namespace vitro::mm
