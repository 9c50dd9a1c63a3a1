// vmalloc: addresses, guard pages, lazy freeing, what it costs, and a random history against a naive model of the address range.
#include "vitro/mm/vmalloc.h"

#include <map>

#include "mm/space/tlb_gather.h"
#include "virtual_memory_rig.h"
#include "vitro/base/rng.h"
#include "vitro/mm/kernel_stacks.h"

namespace vitro::mm::test {
namespace {

class VmallocTest : public VirtualMemoryRig {
 protected:
  VmallocTest() : VirtualMemoryRig(mib(64)) {}
  Vmalloc& vmalloc() { return vm_->vmalloc(); }
  uint64_t in_state(FrameState s) const { return physical_->frames_by_state()[static_cast<size_t>(s)]; }
};

TEST_F(VmallocTest, TakesTheLowestHoleAndLeavesAGuardPage) {
  const auto a = vmalloc().allocate(kib(64)), b = vmalloc().allocate(kib(5));
  ASSERT_TRUE(a && b);
  EXPECT_EQ(*a, kVmallocBase);
  EXPECT_EQ(*b, kVmallocBase + kib(68));
  EXPECT_TRUE(vmalloc().frame_of(*a + kib(60)));
  EXPECT_FALSE(vmalloc().frame_of(*a + kib(64)));  // a write past the end faults
  EXPECT_EQ(vmalloc().find(*b)->pages, Pages{2});
  EXPECT_EQ(vmalloc().allocated(), Pages{18});
  EXPECT_EQ(in_state(FrameState::Vmalloc), 18u);
  vmalloc().verify();
  vmalloc().free(*a);
  vmalloc().free(*b);
  EXPECT_EQ(in_state(FrameState::Vmalloc), 0u);
}

TEST_F(VmallocTest, AFreedRangeComesBackWithThePurgeAndOneFlush) {
  const VirtAddr a = *vmalloc().allocate(kib(64));
  const VirtAddr keep = *vmalloc().allocate(kib(4));
  vmalloc().free(a);
  EXPECT_EQ(vmalloc().lazy(), Pages{17});
  EXPECT_NE(vmalloc().vmallocinfo().find("  69632 unpurged vm_area\n"), std::string::npos);
  const VirtAddr b = *vmalloc().allocate(kib(64));
  EXPECT_GT(b, keep);
  const auto flushes = [this] { return mmu_->counters().flushes[static_cast<size_t>(hw::FlushReason::LocalShootdown)]; };
  const uint64_t before = flushes();
  EXPECT_EQ(vmalloc().purge(), Pages{17});
  EXPECT_EQ(flushes(), before + 1);
  EXPECT_EQ(*vmalloc().allocate(kib(32)), a);
  vmalloc().verify();
  for (const Vmalloc::Area& area : vmalloc().areas()) vmalloc().free(area.start);
}

TEST_F(VmallocTest, PurgesByItselfBeyondLazyMax) {
  EXPECT_EQ(vmalloc().lazy_max(), mib(32).pages_down());
  uint64_t freed = 0;
  while (vmalloc().purges() == 0) {
    vmalloc().free(*vmalloc().allocate(mib(1)));
    freed += 257 + 1;  // and nothing else is lazily freed: an array of 256 pointers is kmalloc'd
    ASSERT_LE(freed, 2 * vmalloc().lazy_max().value());
  }
  EXPECT_EQ(vmalloc().lazy(), Pages{0});
}

TEST_F(VmallocTest, AlignsAndFindsAndRefuses) {
  const VirtAddr small = *vmalloc().allocate(kib(4));
  const VirtAddr aligned = *vmalloc().allocate(kib(16), {.align = mib(2)});
  EXPECT_EQ(aligned.value() % mib(2).value(), 0u);
  EXPECT_EQ(vmalloc().try_free(small + kib(4)).error(), VmallocError::NotAnArea);
  EXPECT_EQ(vmalloc().try_unmap(small).error(), VmallocError::WrongKind);
  EXPECT_EQ(vmalloc().allocate(Bytes{0}).error(), Errno::NoMemory);
  EXPECT_EQ(vmalloc().allocate(mib(65)).error(), Errno::NoMemory);
  vmalloc().free(small);
  EXPECT_EQ(vmalloc().try_free(small).error(), VmallocError::NotAnArea);
  vmalloc().free(aligned);
}

TEST_F(VmallocTest, LargeAreasKeepTheirPageArrayInVmalloc) {
  const VirtAddr a = *vmalloc().allocate(mib(4));
  EXPECT_EQ(vmalloc().areas().size(), 2u);
  EXPECT_NE(vmalloc().vmallocinfo().find("pages=1024 vmalloc vpages N0=1024\n"), std::string::npos);
  vmalloc().free(a);
  vmalloc().purge();
  EXPECT_TRUE(vmalloc().areas().empty());
}

TEST_F(VmallocTest, RunningOutGivesEverythingBack) {
  std::vector<VirtAddr> all;
  while (const auto a = vmalloc().allocate(mib(1))) all.push_back(*a);
  EXPECT_GT(all.size(), 20u);
  const uint64_t full = in_state(FrameState::Vmalloc);
  EXPECT_FALSE(vmalloc().allocate(mib(8)));
  EXPECT_EQ(in_state(FrameState::Vmalloc), full);
  vmalloc().verify();
  for (VirtAddr a : all) vmalloc().free(a);
  EXPECT_EQ(vmalloc().allocated(), Pages{0});
}

TEST_F(VmallocTest, VmapShowsFramesInTheGivenOrder) {
  const Pfn a = *physical_->allocator().allocate(Gfp::Kernel), b = *physical_->allocator().allocate(Gfp::Kernel);
  const Pfn frames[] = {b, a, b};
  const VirtAddr v = *vmalloc().map(frames);
  EXPECT_EQ(vmalloc().frame_of(v), b);
  EXPECT_EQ(vmalloc().frame_of(v + kib(4)), a);
  EXPECT_EQ(vmalloc().frame_of(v + kib(8)), b);
  EXPECT_EQ(vmalloc().allocated(), Pages{0});  // not vmalloc's own
  EXPECT_EQ(vmalloc().try_free(v).error(), VmallocError::WrongKind);
  vmalloc().unmap(v);
  physical_->allocator().free(a);
  physical_->allocator().free(b);
}

TEST_F(VmallocTest, StacksAreKeptForTheNextTask) {
  KernelStacks& stacks = vm_->kernel_stacks();
  std::vector<VirtAddr> all;
  for (int i = 0; i < 4; ++i) all.push_back(*stacks.allocate());
  for (VirtAddr s : all) EXPECT_EQ(s.value() % kKernelStackSize.value(), 0u);
  EXPECT_EQ(physical_->stat().get(VmItem::nr_kernel_stack), 64);
  for (VirtAddr s : all) stacks.free(s);
  EXPECT_EQ(stacks.cached(), 2u);
  EXPECT_EQ(physical_->stat().get(VmItem::nr_kernel_stack), 0);
  EXPECT_EQ(vmalloc().allocated(), Pages{8});
  const Pfn frame = *vmalloc().frame_of(all[0]);
  physical_->ram().at<uint64_t>(frame.address()) = 42;
  EXPECT_EQ(*stacks.allocate(), all[0]);
  EXPECT_EQ(physical_->ram().at<uint64_t>(frame.address()), 0u);
  stacks.free(all[0]);
  stacks.drop_cached();
  EXPECT_EQ(vmalloc().allocated(), Pages{0});
}

// The model: which pages of the range are taken, as a plain array; the lowest fit by looking at every page.
TEST_F(VmallocTest, RandomHistoryAgreesWithANaiveModel) {
  const uint64_t seed = 20261121;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  std::vector<bool> taken(8192);
  std::map<uint64_t, uint64_t> areas, lazy;  // first page -> pages with guard
  uint64_t held = 0;
  for (int step = 0; step < 20000; ++step) {
    const bool grow = held < 2500 && rng.below(100) < 55;
    if (grow) {
      const uint64_t pages = 1 + rng.below(12), whole = pages + 1;
      uint64_t at = 0;
      for (uint64_t run = 0; run < whole; ++at) run = taken[at] ? 0 : run + 1;
      at -= whole;
      const auto a = vmalloc().allocate(Pages{pages}.bytes());
      ASSERT_TRUE(a);
      ASSERT_EQ((*a - kVmallocBase).pages_down().value(), at) << step;
      for (uint64_t i = 0; i < whole; ++i) taken[at + i] = true;
      areas[at] = whole;
      held += pages;
    } else if (!areas.empty()) {
      auto victim = std::next(areas.begin(), static_cast<int64_t>(rng.below(areas.size())));
      vmalloc().free(kVmallocBase + Pages{victim->first});
      held -= victim->second - 1;
      lazy.insert(*victim);
      areas.erase(victim);
    }
    if (rng.below(40) == 0) {
      vmalloc().purge();
      for (const auto& [at, whole] : lazy)
        for (uint64_t i = 0; i < whole; ++i) taken[at + i] = false;
      lazy.clear();
    }
    if (step % 500 == 0) vmalloc().verify();
  }
  for (const auto& [at, whole] : areas) vmalloc().free(kVmallocBase + Pages{at});
  vmalloc().purge();
  EXPECT_EQ(vmalloc().largest_hole(), kVmallocSize);
}

}  // namespace
}  // namespace vitro::mm::test
