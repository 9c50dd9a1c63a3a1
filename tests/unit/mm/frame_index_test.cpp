// FrameIndex against an ordered map.
#include "mm/cache/frame_index.h"

#include "unit/mm/virtual_memory_rig.h"
#include "vitro/base/rng.h"

namespace vitro::mm::test {
namespace {

class FrameIndexTest : public VirtualMemoryRig {};

TEST_F(FrameIndexTest, AgreesWithAnOrderedMapAtEveryStep) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed);
    FrameIndex index(physical_->caches());
    std::map<uint64_t, std::pair<uint64_t, bool>> model;
    for (int step = 0; step < 3000; ++step) {
      // Near the beginning mostly, sometimes anywhere.
      const uint64_t spans[] = {8, 70, 5000, 1ull << 40};
      const uint64_t at = rng.below(spans[rng.below(4)]);
      const auto it = model.find(at);
      switch (rng.below(5)) {
        case 0:
        case 1: {
          const bool inserted = index.insert(PageIndex{at}, Pfn{at * 3 + 1}, Gfp::Kernel).has_value();
          ASSERT_EQ(inserted, it == model.end());
          if (inserted) model.emplace(at, std::pair{at * 3 + 1, false});
          break;
        }
        case 2:
          if (it != model.end()) index.erase(PageIndex{at}), model.erase(it);
          break;
        case 3:
          if (it != model.end()) it->second.second = rng.below(2), index.set_dirty(PageIndex{at}, it->second.second);
          break;
        default: {
          const auto next = index.next(PageIndex{at});
          const auto expected = model.lower_bound(at);
          ASSERT_EQ(next.has_value(), expected != model.end());
          if (next) {
            ASSERT_EQ(next->index.value(), expected->first);
          }
          auto dirty = expected;
          while (dirty != model.end() && !dirty->second.second) ++dirty;
          const auto next_dirty = index.next_dirty(PageIndex{at});
          ASSERT_EQ(next_dirty.has_value(), dirty != model.end());
          if (next_dirty) {
            ASSERT_EQ(next_dirty->frame.value(), dirty->second.first);
          }
        }
      }
      const auto found = index.find(PageIndex{at});
      const auto now = model.find(at);
      ASSERT_EQ(found.has_value(), now != model.end());
      if (found) {
            ASSERT_EQ(found->value(), now->second.first);
          }
      ASSERT_EQ(index.size(), model.size());
      if (step % 16 == 0) index.verify();
    }
  }
}

TEST_F(FrameIndexTest, AFileOfOnePageNeedsNoNode) {
  const auto slabs = [&] { return physical_->frames_by_state()[static_cast<size_t>(FrameState::Slab)]; };
  const auto before = slabs();
  FrameIndex index(physical_->caches());
  ASSERT_TRUE(index.insert(PageIndex{0}, Pfn{5}, Gfp::Kernel));
  EXPECT_EQ(slabs(), before);
  ASSERT_TRUE(index.insert(PageIndex{1}, Pfn{6}, Gfp::Kernel));
  EXPECT_GT(slabs(), before);
  EXPECT_EQ(index.insert(PageIndex{1}, Pfn{7}, Gfp::Kernel).error(), Errno::Exists);
}

TEST_F(FrameIndexTest, WithoutMemoryNothingChanges) {
  FrameIndex index(physical_->caches());
  std::vector<Pfn> taken;
  ASSERT_TRUE(index.insert(PageIndex{0}, Pfn{5}, Gfp::Kernel));
  while (const auto f = physical_->allocator().allocate(Gfp::Kernel)) taken.push_back(*f);
  uint64_t at = 1;
  while (index.insert(PageIndex{at << 30}, Pfn{6}, Gfp::Kernel)) ++at;
  index.verify();
  EXPECT_FALSE(index.find(PageIndex{at << 30}));
  EXPECT_EQ(index.find(PageIndex{0}), Pfn{5});
  for (const Pfn f : taken) physical_->allocator().free(f);
  EXPECT_TRUE(index.insert(PageIndex{at << 30}, Pfn{6}, Gfp::Kernel));
  index.verify();
}

}  // namespace
}  // namespace vitro::mm::test
