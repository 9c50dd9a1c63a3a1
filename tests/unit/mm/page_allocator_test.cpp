#include "vitro/mm/page_allocator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "memory_rig.h"
#include "vitro/base/rng.h"

namespace vitro::mm {
namespace {

std::vector<Pfn> take_all(PageAllocator& pages, Gfp flags, Order order = Order{0}) {
  std::vector<Pfn> all;
  while (auto f = pages.allocate(flags, order)) all.push_back(*f);
  return all;
}
void give_all(PageAllocator& pages, const std::vector<Pfn>& all, Order order = Order{0}) {
  for (Pfn f : all) pages.free(f, order);
}

TEST(PageAllocator, HandsOutAFrameWithOneReference) {
  MemoryRig m;
  const auto f = m.pages.allocate(Gfp::Kernel);
  ASSERT_TRUE(f);
  EXPECT_EQ(m.frame(*f).refcount, 1u);
  EXPECT_EQ(m.frame(*f).state, FrameState::Allocated);
  EXPECT_EQ(m.frame(*f).order, 0);
  EXPECT_EQ(m.frame(*f).next, Frame::kNone);
  m.memory->verify(Verify::Full);
  m.pages.free(*f);
  m.memory->verify(Verify::Full);
}

TEST(PageAllocator, LastReferenceFreesTheFrame) {
  MemoryRig m;
  const uint64_t reserved = m.pages.frames_in_state(FrameState::Allocated);
  const Pfn f = *m.pages.allocate(Gfp::HighUserMovable);
  m.pages.get(f);
  EXPECT_EQ(m.frame(f).refcount, 2u);
  EXPECT_FALSE(m.pages.put(f));
  EXPECT_TRUE(m.pages.put(f));
  EXPECT_EQ(m.memory->state_of(f), FrameState::PerCpu);
  EXPECT_EQ(m.pages.frames_in_state(FrameState::Allocated), reserved);
}

TEST(PageAllocator, CompoundBlocksKnowTheirHead) {
  MemoryRig m;
  const Pfn f = *m.pages.allocate(Gfp::Kernel | Gfp::Comp, Order{4});
  EXPECT_TRUE(m.frame(f).has(FrameFlag::Head));
  EXPECT_EQ(m.frame(f).order, 4);
  for (uint64_t i = 1; i < 16; ++i) EXPECT_EQ(m.memory->frames().head_of(f + Pages{i}), f);
  m.memory->verify(Verify::Full);
  EXPECT_TRUE(m.pages.put(f));
  m.memory->verify(Verify::Full);
}

TEST(PageAllocator, SplitBlocksAreFreedFrameByFrame) {
  MemoryRig m;
  const std::string before = (m.memory->drain_per_cpu_lists(), m.memory->buddyinfo());
  const Pfn f = *m.pages.allocate(Gfp::Kernel | Gfp::Comp, Order{3});
  m.pages.set_state(f, Order{3}, FrameState::Anonymous);
  m.pages.split(f, Order{3});
  for (uint64_t i = 0; i < 8; ++i) {
    EXPECT_EQ(m.frame(f + Pages{i}).refcount, 1u);
    EXPECT_FALSE(m.frame(f + Pages{i}).is_tail());
    EXPECT_EQ(m.frame(f + Pages{i}).state, FrameState::Anonymous);
  }
  m.memory->verify(Verify::Full);
  for (uint64_t i = 0; i < 8; ++i) m.pages.free(f + Pages{(i * 5) % 8});
  m.memory->drain_per_cpu_lists();
  EXPECT_EQ(m.memory->buddyinfo(), before);
}

TEST(PageAllocator, ZeroesOnRequest) {
  MemoryRig m;
  const Pfn f = *m.pages.allocate(Gfp::Kernel);
  std::ranges::fill(m.ram->write(f.address(), Bytes{kPageSize}), std::byte{0x55});
  m.pages.free(f);
  const Pfn again = *m.pages.allocate(Gfp::Kernel);
  ASSERT_EQ(again, f);
  EXPECT_EQ(m.ram->read(f.address(), Bytes{1})[0], std::byte{0x55});  // nobody asked
  m.pages.free(f);
  ASSERT_EQ(m.pages.allocate(Gfp::Kernel | Gfp::Zero), f);
  for (std::byte b : m.ram->read(f.address(), Bytes{kPageSize})) ASSERT_EQ(b, std::byte{0});
}

TEST(PageAllocator, PrefersHighZonesAndFallsBackDownwards) {
  MemoryRig m(mib(256));
  EXPECT_GE(m.pages.allocate(Gfp::Kernel)->value(), 4096u);
  EXPECT_GE(m.pages.allocate(Gfp::Kernel | Gfp::Dma32)->value(), 4096u);
  EXPECT_LT(m.pages.allocate(Gfp::Kernel | Gfp::Dma)->value(), 4096u);
  const auto all = take_all(m.pages, Gfp::HighUserMovable);
  EXPECT_TRUE(std::ranges::any_of(all, [](Pfn f) { return f.value() < 4096; }));
  // The DMA zone keeps lowmem_reserve and its minimum from those who could have used DMA32.
  const Zone& dma = m.memory->zones()[kZoneDma];
  EXPECT_LE(dma.free_frames(), dma.watermark(Watermark::Min) + dma.lowmem_reserve(kZoneMovable) + Pages{1});
  EXPECT_GT(dma.free_frames(), dma.lowmem_reserve(kZoneMovable));
  EXPECT_TRUE(m.pages.allocate(Gfp::Kernel | Gfp::Dma));
  give_all(m.pages, all);
  m.memory->verify(Verify::Full);
}

TEST(PageAllocator, UsesNormalAbove4GiB) {
  MemoryRig m(gib(5));
  const int64_t before = m.stat(VmItem::pgalloc_dma32);
  EXPECT_GE(m.pages.allocate(Gfp::Kernel)->value(), gib(4).pages_down().value());
  const Pfn low = *m.pages.allocate(Gfp::Kernel | Gfp::Dma32);
  EXPECT_LT(low.value(), gib(4).pages_down().value());
  EXPECT_GE(low.value(), 4096u);
  EXPECT_EQ(m.stat(VmItem::pgalloc_dma32), before + 1);
}

TEST(PageAllocator, AtomicMayGoDeeperThanKernelAndMemAllocToTheBottom) {
  MemoryRig m;
  Zone& dma = m.memory->zones()[kZoneDma];
  const Pages min = dma.watermark(Watermark::Min);
  ASSERT_GT(min.value(), 8u);
  const auto kernel = take_all(m.pages, Gfp::Kernel);
  const uint64_t after_kernel = dma.free_frames().value();
  EXPECT_LE(after_kernel, min.value());
  const auto high = take_all(m.pages, Gfp::Kernel | Gfp::High);
  const uint64_t after_high = dma.free_frames().value();
  EXPECT_LE(after_high, min.value() - min.value() / 2);
  const auto atomic = take_all(m.pages, Gfp::Atomic);
  const uint64_t after_atomic = dma.free_frames().value();
  EXPECT_LT(after_atomic, after_high);
  EXPECT_GT(after_atomic, 0u);
  const auto reserves = take_all(m.pages, Gfp::Kernel | Gfp::MemAlloc);
  EXPECT_EQ(dma.free_frames(), Pages{0});
  EXPECT_FALSE(m.pages.allocate(Gfp::Kernel | Gfp::MemAlloc | Gfp::NoMemAlloc));
  for (const auto* all : {&kernel, &high, &atomic, &reserves}) give_all(m.pages, *all);
  m.memory->verify(Verify::Full);
}

TEST(PageAllocator, RefusesOrdersBeyondTheLargest) {
  MemoryRig m;
  EXPECT_FALSE(m.pages.allocate(Gfp::Kernel, Order{11}));
  EXPECT_FALSE(m.pages.allocate(Gfp::Kernel, Order{255}));
}

TEST(PageAllocator, PerCpuListsMoveInBatches) {
  MemoryRig m(mib(256));
  const Zone& zone = m.memory->zones()[kZoneDma32];
  const PerCpuLists& lists = zone.per_cpu(0);
  m.memory->drain_per_cpu_lists();
  const int64_t free = m.stat(VmItem::nr_free_pages);
  const Pfn f = *m.pages.allocate(Gfp::HighUserMovable);
  EXPECT_EQ(lists.count(), lists.batch() - 1);
  EXPECT_EQ(m.stat(VmItem::nr_free_pages), free - lists.batch());
  EXPECT_EQ(m.pages.frames_in_state(FrameState::PerCpu), lists.count());
  m.pages.free(f);
  EXPECT_EQ(lists.count(), lists.batch());
  EXPECT_EQ(m.stat(VmItem::nr_free_pages), free - lists.batch());
}

TEST(PageAllocator, PerCpuListsDrainAboveTheirLimit) {
  MemoryRig m(mib(256));
  const PerCpuLists& lists = m.memory->zones()[kZoneDma32].per_cpu(0);
  std::vector<Pfn> all;
  for (int i = 0; i < 3000; ++i) all.push_back(*m.pages.allocate(Gfp::HighUserMovable));
  give_all(m.pages, all);
  EXPECT_LT(lists.count(), lists.high());
  EXPECT_GE(lists.count(), lists.batch());
  m.memory->verify(Verify::Full);
}

TEST(PageAllocator, ReclaimKeepsPerCpuListsShort) {
  MemoryRig m(mib(256));
  Zone& zone = m.memory->zones()[kZoneDma32];
  zone.set_reclaim_active(true);
  std::vector<Pfn> all;
  for (int i = 0; i < 1000; ++i) all.push_back(*m.pages.allocate(Gfp::HighUserMovable));
  give_all(m.pages, all);
  EXPECT_LE(zone.per_cpu(0).count(), zone.per_cpu(0).batch() * 4);
}

TEST(PageAllocator, EachCpuHasItsOwnLists) {
  MemoryRig m(mib(256), {.cpus = 2});
  const Zone& zone = m.memory->zones()[kZoneDma32];
  const Pfn f = *m.pages.allocate(Gfp::HighUserMovable);
  m.memory->set_current_cpu(1);
  const uint32_t before = zone.per_cpu(0).count();
  m.pages.free(f);
  EXPECT_EQ(zone.per_cpu(0).count(), before);
  EXPECT_EQ(zone.per_cpu(1).count(), 1u);
  m.memory->verify(Verify::Full);
}

TEST(PageAllocator, CountsEveryFrameByState) {
  MemoryRig m;
  const auto before = m.memory->frames_by_state();
  const Pfn table = *m.pages.allocate(Gfp::Kernel | Gfp::Zero);
  m.pages.set_state(table, Order{0}, FrameState::PageTable);
  const Pfn stack = *m.pages.allocate(Gfp::Kernel, Order{2});
  m.pages.set_state(stack, Order{2}, FrameState::KernelStack);
  auto now = m.memory->frames_by_state();
  EXPECT_EQ(now[static_cast<size_t>(FrameState::PageTable)], 1u);
  EXPECT_EQ(now[static_cast<size_t>(FrameState::KernelStack)], 4u);
  EXPECT_EQ(m.stat(VmItem::nr_kernel_stack), 16);  // in KiB
  uint64_t sum = 0;
  for (uint64_t n : now) sum += n;
  EXPECT_EQ(sum, m.ram->frames().value());
  m.memory->verify(Verify::Full);
  m.pages.free(table);
  m.pages.free(stack, Order{2});
  EXPECT_EQ(m.stat(VmItem::nr_kernel_stack), 0);
  now = m.memory->frames_by_state();
  EXPECT_EQ(now[static_cast<size_t>(FrameState::Allocated)], before[static_cast<size_t>(FrameState::Allocated)]);
}

TEST(PageAllocator, CountsEvents) {
  MemoryRig m(mib(256));
  const int64_t allocated = m.stat(VmItem::pgalloc_dma32), freed = m.stat(VmItem::pgfree), hits = m.stat(VmItem::numa_hit);
  const Pfn f = *m.pages.allocate(Gfp::Kernel, Order{3});
  m.pages.free(f, Order{3});
  EXPECT_EQ(m.stat(VmItem::pgalloc_dma32) - allocated, 8);
  EXPECT_EQ(m.stat(VmItem::pgfree) - freed, 8);
  EXPECT_EQ(m.stat(VmItem::numa_hit) - hits, 1);
  EXPECT_EQ(m.memory->stat().get_zone(kZoneDma32, VmItem::numa_local), m.memory->stat().get_zone(kZoneDma32, VmItem::numa_hit));
}

TEST(PageAllocator, TracesAllocationsAndFrees) {
  MemoryRig m;
  m.record("alloc");
  const Pfn f = *m.pages.allocate(Gfp::HighUserMovable | Gfp::Zero);
  m.pages.free(f);
  ASSERT_EQ(m.trace.size(), 2u);
  char expected[200];
  std::snprintf(expected, sizeof expected, "mm_page_alloc: page=%lx pfn=0x%lx order=0 migratetype=1 gfp_flags=GFP_HIGHUSER_MOVABLE|__GFP_ZERO", descriptor_address(f), f.value());
  EXPECT_EQ(m.trace[0], expected);
  std::snprintf(expected, sizeof expected, "mm_page_free: page=%lx pfn=0x%lx order=0", descriptor_address(f), f.value());
  EXPECT_EQ(m.trace[1], expected);
}

// What the reclaimer is asked, and a store of frames that it can give back.
class FakeReclaim : public ReclaimPort {
 public:
  explicit FakeReclaim(PageAllocator& pages) : pages_(pages) { pages.set_reclaim_port(this); }
  ~FakeReclaim() override { pages_.set_reclaim_port(nullptr); }
  void wake_reclaimer(unsigned zone, Order) override { ++wakes, woken_zone = zone; }
  Pages reclaim_directly(Gfp, Order) override {
    ++reclaims;
    return give(batch);
  }
  bool out_of_memory(Gfp, Order) override {
    ++kills;
    return give(per_kill).value() != 0;
  }
  AllocationContext context() const override { return who; }
  Pages give(size_t n) {
    n = std::min(n, store.size());
    for (size_t i = 0; i < n; ++i) {
      pages_.free(store.back());
      store.pop_back();
    }
    return Pages{n};
  }
  std::vector<Pfn> store;
  size_t batch = 0, per_kill = 0;
  int wakes = 0, reclaims = 0, kills = 0;
  unsigned woken_zone = 99;
  AllocationContext who;

 private:
  PageAllocator& pages_;
};

TEST(PageAllocatorSlowPath, WakesTheReclaimerBelowLow) {
  MemoryRig m;
  FakeReclaim reclaim(m.pages);
  const Zone& dma = m.memory->zones()[kZoneDma];
  while (reclaim.wakes == 0) {
    ASSERT_TRUE(m.pages.allocate(Gfp::HighUserMovable));
  }
  EXPECT_LE(dma.free_frames(), dma.watermark(Watermark::Low));
  EXPECT_GE(dma.free_frames().value() + dma.per_cpu(0).batch(), dma.watermark(Watermark::Low).value());
  EXPECT_EQ(reclaim.woken_zone, kZoneNormal);  // the highest zone that the request allows
  EXPECT_EQ(reclaim.reclaims, 0);
}

TEST(PageAllocatorSlowPath, ReclaimsAndTriesAgain) {
  MemoryRig m;
  FakeReclaim reclaim(m.pages);
  reclaim.store = take_all(m.pages, Gfp::NoWait);
  reclaim.batch = 32;
  const int64_t stalls = m.stat(VmItem::allocstall_movable);
  EXPECT_TRUE(m.pages.allocate(Gfp::HighUserMovable));
  EXPECT_EQ(reclaim.reclaims, 1);
  EXPECT_EQ(reclaim.kills, 0);
  EXPECT_EQ(m.stat(VmItem::allocstall_movable) - stalls, 1);
  EXPECT_GT(reclaim.wakes, 0);
}

TEST(PageAllocatorSlowPath, NoWaitDoesNotReclaim) {
  MemoryRig m;
  FakeReclaim reclaim(m.pages);
  reclaim.store = take_all(m.pages, Gfp::Atomic);
  reclaim.batch = 32;
  EXPECT_FALSE(m.pages.allocate(Gfp::NoWait));
  EXPECT_FALSE(m.pages.allocate(Gfp::None));
  EXPECT_EQ(reclaim.reclaims, 0);
}

TEST(PageAllocatorSlowPath, KillsWhenReclaimIsHopeless) {
  MemoryRig m;
  FakeReclaim reclaim(m.pages);
  reclaim.store = take_all(m.pages, Gfp::NoWait);
  reclaim.per_kill = 1000;  // more than stays on the per-CPU lists
  EXPECT_TRUE(m.pages.allocate(Gfp::Kernel));
  EXPECT_EQ(reclaim.kills, 1);
  EXPECT_EQ(reclaim.reclaims, 1);  // nothing on the LRU lists: no point in trying again
  EXPECT_EQ(m.stat(VmItem::allocstall_normal), 1);
}

TEST(PageAllocatorSlowPath, TriesSixteenTimesWhileSomethingLooksReclaimable) {
  MemoryRig m;
  FakeReclaim reclaim(m.pages);
  reclaim.store = take_all(m.pages, Gfp::NoWait);
  reclaim.per_kill = 1000;
  m.memory->stat().add_zone(kZoneDma, VmItem::nr_zone_inactive_file, 1000);
  EXPECT_TRUE(m.pages.allocate(Gfp::Kernel));
  EXPECT_EQ(reclaim.reclaims, 17);
  EXPECT_EQ(reclaim.kills, 1);
}

TEST(PageAllocatorSlowPath, FailsWhenNobodyCanBeKilled) {
  MemoryRig m;
  FakeReclaim reclaim(m.pages);
  reclaim.store = take_all(m.pages, Gfp::NoWait);
  EXPECT_FALSE(m.pages.allocate(Gfp::Kernel));
  EXPECT_EQ(reclaim.kills, 1);
}

TEST(PageAllocatorSlowPath, DoesNotKillForDmaLargeBlocksOrThosWhoMayFail) {
  MemoryRig m;
  FakeReclaim reclaim(m.pages);
  reclaim.store = take_all(m.pages, Gfp::NoWait);
  reclaim.per_kill = 100;
  EXPECT_FALSE(m.pages.allocate(Gfp::Kernel | Gfp::Dma));
  EXPECT_FALSE(m.pages.allocate(Gfp::Kernel, Order{4}));
  EXPECT_FALSE(m.pages.allocate(Gfp::Kernel | Gfp::RetryMayFail));
  EXPECT_FALSE(m.pages.allocate(Gfp::Kernel | Gfp::NoRetry));
  EXPECT_EQ(reclaim.kills, 0);
}

TEST(PageAllocatorSlowPath, NoFailUsesTheReserves) {
  MemoryRig m;
  FakeReclaim reclaim(m.pages);
  reclaim.store = take_all(m.pages, Gfp::NoWait);
  const uint64_t free = m.pages.free_frames().value();
  for (uint64_t i = 0; i < free / 2; ++i) ASSERT_TRUE(m.pages.allocate(Gfp::Kernel | Gfp::NoFail));
  m.memory->verify(Verify::Full);
}

TEST(PageAllocatorSlowPath, AReclaimerMayUseAllReservesAndDoesNotReclaim) {
  MemoryRig m;
  FakeReclaim reclaim(m.pages);
  reclaim.store = take_all(m.pages, Gfp::NoWait);
  reclaim.who.reclaiming = true;
  const auto rest = take_all(m.pages, Gfp::Kernel);
  EXPECT_GT(rest.size(), 0u);
  EXPECT_EQ(m.pages.free_frames(), Pages{0});
  EXPECT_EQ(reclaim.reclaims, 0);
}

TEST(PageAllocatorSlowPath, AnOomVictimMayUseHalfOfTheReserves) {
  MemoryRig m;
  FakeReclaim reclaim(m.pages);
  reclaim.store = take_all(m.pages, Gfp::NoWait);
  reclaim.who.oom_victim = true;
  const auto rest = take_all(m.pages, Gfp::Kernel);
  const Zone& dma = m.memory->zones()[kZoneDma];
  EXPECT_GT(rest.size(), 0u);
  EXPECT_GT(dma.free_frames(), Pages{0});
  EXPECT_LE(dma.free_frames(), dma.watermark(Watermark::Min) - dma.watermark(Watermark::Min) / 2);
}

TEST(PageAllocatorSlowPath, FragmentationBoostsTheWatermarksForAWhile) {
  MemoryRig m(mib(64));
  m.memory->watermarks().set_watermark_boost_factor(15000);
  FakeReclaim reclaim(m.pages);
  Zone& zone = m.memory->zones()[kZoneDma32];
  const Pages low = zone.watermark(Watermark::Low);
  EXPECT_EQ(zone.boost(), Pages{0});
  // Movable frames everywhere, then unmovable ones: they have to be taken out of movable pageblocks.
  std::vector<Pfn> held;
  while (zone.free_frames().value() > 4000) held.push_back(*m.pages.allocate(Gfp::HighUserMovable));
  while (zone.boost().value() == 0) {
    const auto frame = m.pages.allocate(Gfp::Kernel);
    ASSERT_TRUE(frame) << m.memory->pagetypeinfo();
    held.push_back(*frame);
  }
  EXPECT_GT(reclaim.wakes, 0);
  EXPECT_EQ(reclaim.woken_zone, kZoneDma32);
  EXPECT_EQ(zone.watermark(Watermark::Low), low + zone.boost());
  EXPECT_LE(zone.boost().value(), std::max<uint64_t>(512, (zone.watermark(Watermark::High) - zone.boost()).value() * 3 / 2));
  zone.release_boost(Pages{1'000'000});
  EXPECT_EQ(zone.watermark(Watermark::Low), low);
  give_all(m.pages, held);
  m.memory->verify(Verify::Full);
}

TEST(PageAllocatorSlowPath, HighOrderAtomicRequestsReserveAPageblock) {
  MemoryRig m(mib(64));
  Zone& zone = m.memory->zones()[kZoneDma32];
  // Down to where only the reserves are left.
  const auto all = take_all(m.pages, Gfp::NoWait | Gfp::Movable);
  // Free one pageblock's worth, so that blocks of some order exist at all, in the upper zone.
  std::vector<Pfn> sorted = all;
  std::ranges::sort(sorted);
  size_t given = 0;
  for (Pfn& f : sorted)
    if (f.value() >= 8192 && f.value() < 8192 + 300) m.pages.free(f), ++given;
  ASSERT_EQ(given, 300u);
  m.memory->drain_per_cpu_lists();
  // Free memory is below low but above the atomic minimum now or after a few more requests.
  while (zone.free_frames() > zone.watermark(Watermark::Low)) ASSERT_TRUE(m.pages.allocate(Gfp::NoWait));
  ASSERT_TRUE(m.pages.allocate(Gfp::Atomic, Order{1}));
  EXPECT_EQ(m.memory->zones()[kZoneDma].reserved_high_atomic() + zone.reserved_high_atomic(), Pages{512});
  m.memory->verify(Verify::Full);
}

TEST(PageAllocatorDeath, DoubleFreeIsFound) {
  MemoryRig m;
  const Pfn f = *m.pages.allocate(Gfp::Kernel);
  m.pages.free(f);
  EXPECT_DEATH(m.pages.free(f), "freeing pfn");
}
TEST(PageAllocatorDeath, WrongOrderIsFound) {
  MemoryRig m;
  const Pfn f = *m.pages.allocate(Gfp::Kernel, Order{1});
  EXPECT_DEATH(m.pages.free(f, Order{0}), "order 1");
}
TEST(PageAllocatorDeath, FreeingAMappedFrameIsFound) {
  MemoryRig m;
  const Pfn f = *m.pages.allocate(Gfp::Kernel);
  m.frame(f).mapcount = 1;
  EXPECT_DEATH(m.pages.free(f), "mapcount 1");
}
TEST(PageAllocatorDeath, FreeingAReservedFrameIsFound) {
  MemoryRig m;
  EXPECT_DEATH(m.pages.free(Pfn{5}), "reserved");
}
TEST(PageAllocatorDeath, PutWithoutReferenceIsFound) {
  MemoryRig m;
  const Pfn f = *m.pages.allocate(Gfp::Kernel);
  m.pages.put(f);
  EXPECT_DEATH(m.pages.put(f), "one reference too many");
}
TEST(PageAllocatorDeath, WritingToAFreedFrameIsFound) {
  MemoryRig m;
  m.memory->set_verify_level(Verify::Full);
  const Pfn f = *m.pages.allocate(Gfp::Kernel);
  m.pages.free(f);
  EXPECT_EQ(m.ram->read(f.address(), Bytes{1})[0], std::byte{kFramePoison});
  m.memory->verify(Verify::Full);
  m.ram->write(f.address() + Bytes{100}, Bytes{1})[0] = std::byte{1};
  EXPECT_DEATH((void)m.pages.allocate(Gfp::Kernel), "written to after it was freed");
  EXPECT_DEATH(m.memory->verify(Verify::Full), "written to while it is free");
}

// Random requests of all kinds against a list of who has what; everything is given back in the end.
void random_requests(uint64_t seed, Bytes size, unsigned operations, Verify level) {
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  MemoryRig m(size, {.cpus = 2});
  m.memory->set_verify_level(level);
  const uint64_t others = m.memory->frames().size().value() - m.pages.frames_in_state(FrameState::Free) - m.pages.frames_in_state(FrameState::PerCpu);
  m.memory->drain_per_cpu_lists();
  const std::string initial = m.memory->buddyinfo();
  constexpr Gfp kFlags[] = {Gfp::Kernel, Gfp::HighUserMovable, Gfp::Kernel | Gfp::Reclaimable, Gfp::Atomic, Gfp::Kernel | Gfp::Dma,
                            Gfp::HighUserMovable | Gfp::Zero, Gfp::NoWait, Gfp::Kernel | Gfp::Comp, Gfp::Kernel | Gfp::MemAlloc};
  constexpr FrameState kStates[] = {FrameState::PageTable, FrameState::Anonymous, FrameState::FileCache, FrameState::KernelStack, FrameState::Kernel};
  struct Block {
    Order order;
    FrameState state;
  };
  std::map<uint64_t, Block> held;  // by first frame
  std::vector<uint64_t> firsts;
  uint64_t out = 0;
  Rng rng(seed);
  for (unsigned i = 0; i < operations; ++i) {
    if (rng.below(64) == 0) m.memory->set_current_cpu(static_cast<unsigned>(rng.below(2)));
    if (rng.below(100) < (i / 4000 % 2 ? 40u : 60u)) {
      const Order order{static_cast<uint8_t>(rng.below(8) ? rng.below(3) : rng.below(11))};
      const Gfp flags = kFlags[rng.below(std::size(kFlags))];
      const auto block = m.pages.allocate(flags, order);
      if (!block) continue;
      const uint64_t first = block->value(), pages = order.pages().value();
      ASSERT_EQ(first % pages, 0u);
      const auto next = held.lower_bound(first);
      ASSERT_TRUE(next == held.end() || next->first >= first + pages) << "step " << i;
      ASSERT_TRUE(next == held.begin() || std::prev(next)->first + std::prev(next)->second.order.pages().value() <= first) << "step " << i;
      if (has(flags, Gfp::Zero)) {
        for (std::byte b : m.ram->read(block->address(), order.pages().bytes())) ASSERT_EQ(b, std::byte{0});
      }
      const FrameState state = kStates[rng.below(std::size(kStates))];
      m.pages.set_state(*block, order, state);
      m.ram->write(block->address() + Bytes{rng.below(pages * kPageSize)}, Bytes{1})[0] = std::byte{0x77};
      held[first] = {order, state};
      firsts.push_back(first);
      out += pages;
    } else if (!firsts.empty()) {
      const size_t at = rng.below(firsts.size());
      const uint64_t first = firsts[at];
      firsts[at] = firsts.back();
      firsts.pop_back();
      const Block b = held[first];
      held.erase(first);
      out -= b.order.pages().value();
      if (rng.below(4) == 0 && b.order.value() != 0) {
        m.pages.split(Pfn{first}, b.order);
        for (uint64_t f = 0; f < b.order.pages().value(); ++f) m.pages.put(Pfn{first + f});
      } else {
        m.pages.free(Pfn{first}, b.order);
      }
    }
    if (i % 4096 == 0) {
      m.memory->verify(Verify::Full);
      ASSERT_EQ(m.pages.frames_in_state(FrameState::Free) + m.pages.frames_in_state(FrameState::PerCpu) + out + others,
                m.ram->frames().value());
    }
  }
  for (uint64_t first : firsts) m.pages.free(Pfn{first}, held[first].order);
  m.memory->drain_per_cpu_lists();
  m.memory->verify(Verify::Full);
  // Reserved pageblocks may keep two maximal blocks apart; everything else has merged again.
  bool high_atomic = false;
  for (const Zone& z : m.memory->zones()) high_atomic |= z.reserved_high_atomic().value() != 0;
  if (!high_atomic) {
    EXPECT_EQ(m.memory->buddyinfo(), initial);
  }
}

TEST(PageAllocatorProperty, RandomRequestsLeaveNoTrace) {
  for (uint64_t seed = 1; seed <= 3; ++seed) random_requests(seed, mib(16), 30000, Verify::Cheap);
}
TEST(PageAllocatorProperty, RandomRequestsOnTwoZones) { random_requests(77, mib(64), 40000, Verify::Cheap); }
TEST(PageAllocatorProperty, NobodyWritesToFreedFrames) { random_requests(5, mib(16), 8000, Verify::Full); }

}  // namespace
}  // namespace vitro::mm
