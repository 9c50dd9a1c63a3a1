// VmaTree against a plain ordered map.
#include "mm/space/vma_tree.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>

#include "vitro/base/rng.h"

namespace vitro::mm {
namespace {

constexpr uint64_t kSpan = 4096;  // pages

VirtAddr page(uint64_t n) { return VirtAddr{n << kPageShift}; }

struct Model {
  std::map<uint64_t, std::unique_ptr<Vma>> areas;

  Vma* find_ending_after(uint64_t p) const {
    for (const auto& [start, v] : areas)
      if (v->end > page(p)) return v.get();
    return nullptr;
  }
  bool is_free(uint64_t first, uint64_t n) const {
    uint64_t previous_end = 0;
    for (const auto& [start, v] : areas) {
      const uint64_t low = std::max(start_with_guard(*v).vpn().value(), std::min(previous_end, start));
      previous_end = v->end.vpn().value();
      if (first < v->end.vpn().value() && first + n > low) return false;
    }
    return true;
  }
  std::optional<uint64_t> highest(uint64_t n, uint64_t low, uint64_t high) const {
    for (uint64_t at = high >= n ? high - n + 1 : 0; at-- > low;)
      if (is_free(at, n)) return at;
    return std::nullopt;
  }
  std::optional<uint64_t> lowest(uint64_t n, uint64_t low, uint64_t high) const {
    for (uint64_t at = low; at + n <= high; ++at)
      if (is_free(at, n)) return at;
    return std::nullopt;
  }
};

std::optional<uint64_t> number(std::optional<VirtAddr> a) { return a ? std::optional(a->vpn().value()) : std::nullopt; }

TEST(VmaTree, AgreesWithAnOrderedMapAtEveryStep) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed);
    VmaTree tree;
    Model model;
    for (int step = 0; step < 800; ++step) {
      const uint64_t at = rng.below(kSpan), n = 1 + rng.below(24);
      Vma* next = model.find_ending_after(at);
      if (rng.below(5) < 3) {
        if (!next || next->start >= page(at + n)) {
          auto v = std::make_unique<Vma>();
          v->start = page(at);
          v->end = page(at + n);
          if (rng.below(40) == 0) v->flags = VmFlag::GrowsDown;
          tree.insert(*v);
          model.areas.emplace(at, std::move(v));
        }
      } else if (next && rng.below(3) == 0 && next->pages().value() > 2) {
        auto node = model.areas.extract(next->start.vpn().value());
        tree.resize(*next, next->start + Pages{1}, next->end - Pages{1});
        node.key() = next->start.vpn().value();
        model.areas.insert(std::move(node));
      } else if (next) {
        const uint64_t key = next->start.vpn().value();
        tree.remove(*next);
        model.areas.erase(key);
      }
      tree.verify();
      ASSERT_EQ(tree.size(), model.areas.size());
      const uint64_t probe = rng.below(kSpan + 10);
      ASSERT_EQ(tree.find_ending_after(page(probe)), model.find_ending_after(probe));
      const Vma* hit = model.find_ending_after(probe);
      ASSERT_EQ(tree.find(page(probe)), hit && hit->start <= page(probe) ? hit : nullptr);
      if (step % 8 == 0) {
        const uint64_t low = rng.below(kSpan), high = low + rng.below(kSpan), length = 1 + rng.below(40);
        ASSERT_EQ(number(tree.find_gap_top_down(Pages{length}.bytes(), page(low), page(high))), model.highest(length, low, high));
        ASSERT_EQ(number(tree.find_gap_bottom_up(Pages{length}.bytes(), page(low), page(high))), model.lowest(length, low, high));
      }
    }
    while (tree.first()) tree.remove(*tree.first());
  }
}

TEST(VmaTree, LeavesAGuardGapBelowAStack) {
  VmaTree tree;
  Vma stack;
  stack.start = page(2000);
  stack.end = page(2010);
  stack.flags = VmFlag::GrowsDown;
  tree.insert(stack);
  EXPECT_EQ(tree.find_gap_top_down(Bytes{kPageSize}, page(16), page(2010)), page(2000 - 256 - 1));
  tree.remove(stack);
}

TEST(VmaTree, RefusesAHoleThatWouldNotFitTheBounds) {
  VmaTree tree;
  EXPECT_FALSE(tree.find_gap_top_down(Bytes{kPageSize * 5}, page(4), page(8)));
  EXPECT_EQ(tree.find_gap_top_down(Bytes{kPageSize * 4}, page(4), page(8)), page(4));
  EXPECT_FALSE(tree.find_gap_bottom_up(Bytes{kPageSize}, page(8), page(4)));
  EXPECT_FALSE(tree.find_gap_top_down(Bytes{~kPageOffsetMask}, page(4), page(8)));
}

}  // namespace
}  // namespace vitro::mm
