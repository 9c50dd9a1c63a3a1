#include "vitro/mm/slab.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "memory_rig.h"
#include "vitro/base/rng.h"

namespace vitro::mm {
namespace {

SlabCache& make(MemoryRig& m, SlabCacheSpec spec) { return **m.slabs.create(std::move(spec)); }
std::span<std::byte> bytes(MemoryRig& m, VirtAddr at, Bytes n) { return m.ram->write(direct_map_physical(at), n); }

TEST(SlabOrder, FollowsLinux) {
  // Object size, order and objects per slab of Linux 6.1's own caches, on one CPU.
  struct Row {
    uint64_t size;
    unsigned pages, objects;
  };
  for (const Row& r : {Row{8, 1, 512}, Row{96, 1, 42}, Row{192, 1, 21}, Row{512, 1, 8}, Row{584, 2, 14}, Row{640, 2, 12}, Row{704, 2, 11},
                       Row{712, 2, 11}, Row{784, 2, 10}, Row{832, 4, 19}, Row{960, 2, 8}, Row{968, 2, 8}, Row{1024, 2, 8}, Row{1152, 4, 14},
                       Row{1192, 4, 13}, Row{1344, 4, 12}, Row{1600, 4, 10}, Row{1984, 4, 8}, Row{2048, 4, 8}, Row{2112, 8, 15}, Row{2304, 8, 14},
                       Row{4096, 8, 8}, Row{4480, 8, 7}, Row{8192, 8, 4}, Row{8448, 8, 3}}) {
    const Order order = slab_order(Bytes{r.size}, 1);
    EXPECT_EQ(order.pages().value(), r.pages) << r.size;
    EXPECT_EQ(order.pages().bytes().value() / r.size, r.objects) << r.size;
  }
  // More CPUs want more objects: kmalloc-256 takes two pages on 4 CPUs, as on any such machine.
  EXPECT_EQ(slab_order(Bytes{256}, 4), Order{0});
  EXPECT_EQ(slab_order(Bytes{512}, 4), Order{1});
  EXPECT_EQ(slab_order(Bytes{1024}, 16), Order{3});
}

TEST(SlabCache, ObjectsLieInGuestRamAndDoNotOverlap) {
  MemoryRig m;
  SlabCache& cache = make(m, {.name = "objects", .object_size = Bytes{200}});
  std::set<uint64_t> seen;
  for (int i = 0; i < 100; ++i) {
    const VirtAddr o = *cache.allocate(Gfp::Kernel);
    ASSERT_TRUE(m.ram->contains(direct_map_physical(o), Bytes{200}));
    EXPECT_EQ(o.value() % 8, 0u);
    EXPECT_EQ(m.frame(direct_map_physical(o).pfn()).state, FrameState::Slab);
    EXPECT_EQ(m.slabs.cache_of(o), &cache);
    const auto next = seen.lower_bound(o.value());
    EXPECT_TRUE(next == seen.end() || *next >= o.value() + 200);
    EXPECT_TRUE(next == seen.begin() || *std::prev(next) + 200 <= o.value());
    seen.insert(o.value());
  }
  EXPECT_EQ(cache.counts().allocated, 100u);
  m.memory->verify(Verify::Full);
}

TEST(SlabCache, AlignsToCacheLinesOnRequest) {
  MemoryRig m;
  EXPECT_EQ(make(m, {.name = "a", .object_size = Bytes{100}, .flags = SlabFlag::HwCacheAlign}).size(), Bytes{128});
  // Small objects share a line, but never straddle one.
  EXPECT_EQ(make(m, {.name = "b", .object_size = Bytes{20}, .flags = SlabFlag::HwCacheAlign}).size(), Bytes{32});
  EXPECT_EQ(make(m, {.name = "c", .object_size = Bytes{100}}).size(), Bytes{104});
  EXPECT_EQ(make(m, {.name = "d", .object_size = Bytes{100}, .align = Bytes{256}}).size(), Bytes{256});
}

TEST(SlabCache, RunsTheConstructorOncePerObject) {
  MemoryRig m;
  int runs = 0;
  SlabCache& cache = make(m, {.name = "constructed", .object_size = Bytes{512}, .constructor = [&](std::span<std::byte> o) {
                                ++runs;
                                std::ranges::fill(o, std::byte{0x11});
                              }});
  EXPECT_EQ(cache.size(), Bytes{520});  // the free pointer must not touch the object
  const VirtAddr o = *cache.allocate(Gfp::Kernel);
  EXPECT_EQ(runs, static_cast<int>(cache.objects_per_slab()));
  for (std::byte b : bytes(m, o, Bytes{512})) ASSERT_EQ(b, std::byte{0x11});
  bytes(m, o, Bytes{512})[7] = std::byte{0x22};
  cache.free(o);
  const VirtAddr again = *cache.allocate(Gfp::Kernel);
  EXPECT_EQ(again, o);
  EXPECT_EQ(bytes(m, again, Bytes{512})[7], std::byte{0x22});  // not run again: the object keeps its state
  EXPECT_EQ(runs, static_cast<int>(cache.objects_per_slab()));
}

TEST(SlabCache, ClearsOnRequest) {
  MemoryRig m;
  SlabCache& cache = make(m, {.name = "cleared", .object_size = Bytes{64}});
  const VirtAddr o = *cache.allocate(Gfp::Kernel);
  std::ranges::fill(bytes(m, o, Bytes{64}), std::byte{0x5a});
  cache.free(o);
  ASSERT_EQ(cache.allocate(Gfp::Kernel | Gfp::Zero), o);
  for (std::byte b : bytes(m, o, Bytes{64})) ASSERT_EQ(b, std::byte{0});
}

TEST(SlabCache, FreePointerLiesInsideTheObject) {
  MemoryRig m;
  SlabCache& cache = make(m, {.name = "linked", .object_size = Bytes{128}});
  const VirtAddr a = *cache.allocate(Gfp::Kernel), b = *cache.allocate(Gfp::Kernel);
  cache.free(a);
  cache.free(b);
  EXPECT_EQ(cache.free_pointer_offset(), Bytes{64});
  EXPECT_EQ(m.ram->at<uint64_t>(direct_map_physical(b + Bytes{64})), a.value());
}

TEST(SlabCache, GoesThroughFullPartialAndEmpty) {
  MemoryRig m;
  SlabCache& cache = make(m, {.name = "states", .object_size = Bytes{512}});  // 8 to a slab
  std::vector<VirtAddr> all;
  for (int i = 0; i < 24; ++i) all.push_back(*cache.allocate(Gfp::Kernel));
  auto c = cache.counts();
  EXPECT_EQ(c.slabs, 3u);
  EXPECT_EQ(c.full_slabs + c.cpu_slabs, 3u);
  EXPECT_EQ(c.active_objects, 24u);
  cache.free(all[0]);  // the full first slab becomes a CPU partial one
  c = cache.counts();
  EXPECT_EQ(c.cpu_slabs, 2u);
  EXPECT_EQ(c.full_slabs, 1u);
  EXPECT_EQ(c.active_objects, 24u);  // as slabinfo counts: a CPU's free objects are active
  EXPECT_EQ(c.allocated, 23u);
  for (size_t i = 1; i < all.size(); ++i) cache.free(all[i]);
  EXPECT_EQ(cache.counts().allocated, 0u);
  m.memory->verify(Verify::Full);
  EXPECT_EQ(cache.shrink(), Pages{3});
  EXPECT_EQ(cache.counts().slabs, 0u);
  m.memory->verify(Verify::Full);
}

TEST(SlabCache, KeepsAtMostMinPartialEmptySlabs) {
  MemoryRig m(mib(64));
  SlabCache& cache = make(m, {.name = "empties", .object_size = Bytes{512}});
  EXPECT_EQ(cache.min_partial(), 5u);
  std::vector<VirtAddr> all;
  for (int i = 0; i < 8 * 100; ++i) all.push_back(*cache.allocate(Gfp::Kernel));
  for (VirtAddr o : all) cache.free(o);
  const auto c = cache.counts();
  EXPECT_LE(c.partial_slabs, 5u);
  EXPECT_LE(c.cpu_slabs, 1u + cache.cpu_partial_slabs());
  EXPECT_LT(c.slabs, 30u);
  m.memory->verify(Verify::Full);
}

TEST(SlabCache, CountsReclaimableSlabsApart) {
  MemoryRig m;
  const int64_t reclaimable = m.stat(VmItem::nr_slab_reclaimable), other = m.stat(VmItem::nr_slab_unreclaimable);
  SlabCache& r = make(m, {.name = "r", .object_size = Bytes{1000}, .flags = SlabFlag::ReclaimAccount});
  SlabCache& u = make(m, {.name = "u", .object_size = Bytes{4000}});
  (void)r.allocate(Gfp::Kernel);
  (void)u.allocate(Gfp::Kernel);
  EXPECT_EQ(m.stat(VmItem::nr_slab_reclaimable) - reclaimable, 2);
  EXPECT_GE(m.stat(VmItem::nr_slab_unreclaimable) - other, 8);
  m.memory->verify(Verify::Full);
}

TEST(SlabCache, FallsBackToSmallSlabsWhenMemoryIsFragmented) {
  MemoryRig m;
  SlabCache& cache = make(m, {.name = "large", .object_size = Bytes{2000}});  // order 2 by choice
  EXPECT_EQ(cache.order(), Order{2});
  std::vector<Pfn> all;
  while (auto f = m.pages.allocate(Gfp::Kernel | Gfp::MemAlloc)) all.push_back(*f);
  std::ranges::sort(all);
  for (size_t i = 0; i < all.size(); i += 2) m.pages.free(all[i]);  // no two neighbours are free
  const VirtAddr o = *cache.allocate(Gfp::Kernel);
  EXPECT_EQ(cache.counts().objects, 2u);
  m.memory->verify(Verify::Full);
  cache.free(o);
}

TEST(SlabCache, IsEmptyHandedWithoutMemory) {
  MemoryRig m;
  SlabCache& cache = make(m, {.name = "starved", .object_size = Bytes{4096}});
  std::vector<Pfn> all;
  while (auto f = m.pages.allocate(Gfp::Kernel | Gfp::MemAlloc)) all.push_back(*f);
  EXPECT_FALSE(cache.allocate(Gfp::Kernel));
  EXPECT_EQ(cache.counts().allocated, 0u);
  for (Pfn f : all) m.pages.free(f);
  EXPECT_TRUE(cache.allocate(Gfp::Kernel));
  m.memory->verify(Verify::Full);
}

TEST(SlabCache, SaysWhatIsWrongWithAnAddress) {
  MemoryRig m;
  SlabCache& cache = make(m, {.name = "mine", .object_size = Bytes{100}});
  SlabCache& other = make(m, {.name = "other", .object_size = Bytes{100}});
  const VirtAddr o = *cache.allocate(Gfp::Kernel), foreign = *other.allocate(Gfp::Kernel);
  const auto error = [&](VirtAddr a) { return cache.try_free(a).error(); };
  EXPECT_EQ(error(VirtAddr{0}), SlabError::NotAnObject);
  EXPECT_EQ(error(VirtAddr{0x1234}), SlabError::NotAnObject);
  EXPECT_EQ(error(VirtAddr{UINT64_MAX}), SlabError::NotAnObject);
  EXPECT_EQ(error(kDirectMapBase + m.ram->size()), SlabError::NotAnObject);
  EXPECT_EQ(error(direct_map(PhysAddr{0})), SlabError::NotAnObject);
  EXPECT_EQ(error(o + Bytes{8}), SlabError::NotAnObject);
  EXPECT_EQ(error(foreign), SlabError::ForeignCache);
  EXPECT_EQ(error(o + cache.size()), SlabError::DoubleFree);  // an object, but never handed out
  EXPECT_TRUE(cache.try_free(o));
  EXPECT_EQ(error(o), SlabError::DoubleFree);
  m.memory->verify(Verify::Full);
}

TEST(SlabCache, SurvivesAFreePointerThatWasOverwritten) {
  MemoryRig m;
  SlabCache& cache = make(m, {.name = "victim", .object_size = Bytes{128}});
  const VirtAddr a = *cache.allocate(Gfp::Kernel), b = *cache.allocate(Gfp::Kernel);
  cache.free(a);
  cache.free(b);
  for (uint64_t junk : {uint64_t{0xdeadbeef}, UINT64_MAX, kDirectMapBase.value() - 8, b.value() + 1}) {
    const VirtAddr o = *cache.allocate(Gfp::Kernel);
    cache.free(o);
    m.ram->at<uint64_t>(direct_map_physical(o + cache.free_pointer_offset())) = junk;
    for (int i = 0; i < 200; ++i) ASSERT_TRUE(cache.allocate(Gfp::Kernel));
  }
  // A pointer to itself is a pointer into the slab; lists of any length are survived too.
  const VirtAddr o = *cache.allocate(Gfp::Kernel);
  cache.free(o);
  m.ram->at<uint64_t>(direct_map_physical(o + cache.free_pointer_offset())) = o.value();
  (void)cache.shrink();
  (void)cache.check(o);
}

TEST(SlabCache, RedZonesAndPoisonShowOverruns) {
  MemoryRig m;
  SlabCache& cache = make(m, {.name = "guarded", .object_size = Bytes{100}, .flags = SlabFlag::RedZone | SlabFlag::Poison});
  EXPECT_TRUE(cache.is_debug());
  const VirtAddr o = *cache.allocate(Gfp::Kernel);
  EXPECT_EQ(bytes(m, o, Bytes{100})[0], std::byte{0x6b});
  EXPECT_EQ(bytes(m, o, Bytes{100})[99], std::byte{0xa5});
  std::ranges::fill(bytes(m, o, Bytes{100}), std::byte{0});
  EXPECT_TRUE(cache.check(o));
  bytes(m, o + Bytes{100}, Bytes{1})[0] = std::byte{0};
  EXPECT_EQ(cache.try_free(o).error(), SlabError::Overwritten);
  bytes(m, o + Bytes{100}, Bytes{1})[0] = std::byte{0xcc};
  bytes(m, o - Bytes{1}, Bytes{1})[0] = std::byte{0};
  EXPECT_EQ(cache.try_free(o).error(), SlabError::Overwritten);
  bytes(m, o - Bytes{1}, Bytes{1})[0] = std::byte{0xcc};
  EXPECT_TRUE(cache.try_free(o));
  m.memory->verify(Verify::Full);
  // A write after free: the slab is set aside, the next object comes from another one.
  bytes(m, o + Bytes{3}, Bytes{1})[0] = std::byte{1};
  const VirtAddr next = *cache.allocate(Gfp::Kernel);
  EXPECT_NE(direct_map_physical(next).pfn(), direct_map_physical(o).pfn());
}

TEST(SlabCache, DebugCachesFillAndEmptyToo) {
  MemoryRig m;
  SlabCache& cache = make(m, {.name = "debugged", .object_size = Bytes{500}, .flags = SlabFlag::RedZone | SlabFlag::Poison});
  std::vector<VirtAddr> all;
  for (int i = 0; i < 100; ++i) all.push_back(*cache.allocate(Gfp::Kernel));
  m.memory->verify(Verify::Full);
  for (VirtAddr o : all) cache.free(o);
  m.memory->verify(Verify::Full);
  EXPECT_TRUE(m.slabs.destroy(cache));
  m.memory->verify(Verify::Full);
}

TEST(SlabAllocator, DestroysOnlyEmptyCaches) {
  MemoryRig m;
  const uint64_t slabs_before = m.pages.frames_in_state(FrameState::Slab);
  SlabCache& cache = make(m, {.name = "short_lived", .object_size = Bytes{64}});
  const VirtAddr o = *cache.allocate(Gfp::Kernel);
  EXPECT_EQ(m.slabs.destroy(cache).error(), Errno::Busy);
  cache.free(o);
  EXPECT_TRUE(m.slabs.destroy(cache));
  EXPECT_EQ(m.slabs.find("short_lived"), nullptr);
  EXPECT_EQ(m.pages.frames_in_state(FrameState::Slab), slabs_before);
  m.memory->verify(Verify::Full);
}

TEST(SlabAllocator, RefusesImpossibleCaches) {
  MemoryRig m;
  EXPECT_EQ(m.slabs.create({.name = "zero"}).error(), Errno::Invalid);
  EXPECT_EQ(m.slabs.create({.name = "huge", .object_size = gib(1)}).error(), Errno::Invalid);
  EXPECT_EQ(m.slabs.create({.name = "endless", .object_size = Bytes{UINT64_MAX}}).error(), Errno::Invalid);
  EXPECT_EQ(m.slabs.create({.name = "odd", .object_size = Bytes{8}, .align = Bytes{24}}).error(), Errno::Invalid);
}

TEST(Kmalloc, ChoosesTheSmallestSufficientCache) {
  MemoryRig m;
  const auto name = [&](uint64_t n, Gfp flags = Gfp::Kernel) { return m.slabs.kmalloc_cache(Bytes{n}, flags)->name(); };
  EXPECT_EQ(name(100), "kmalloc-128");
  EXPECT_EQ(name(1), "kmalloc-8");
  EXPECT_EQ(name(8), "kmalloc-8");
  EXPECT_EQ(name(9), "kmalloc-16");
  EXPECT_EQ(name(65), "kmalloc-96");
  EXPECT_EQ(name(97), "kmalloc-128");
  EXPECT_EQ(name(129), "kmalloc-192");
  EXPECT_EQ(name(193), "kmalloc-256");
  EXPECT_EQ(name(1025), "kmalloc-2k");
  EXPECT_EQ(name(8192), "kmalloc-8k");
  EXPECT_EQ(m.slabs.kmalloc_cache(Bytes{8193}, Gfp::Kernel), nullptr);
  EXPECT_EQ(name(100, Gfp::KernelAccount), "kmalloc-cg-128");
  EXPECT_EQ(name(100, Gfp::Kernel | Gfp::Reclaimable), "kmalloc-rcl-128");
  EXPECT_EQ(name(100, Gfp::Kernel | Gfp::Dma), "dma-kmalloc-128");
}

TEST(Kmalloc, PowersOfTwoAreAlignedToTheirSize) {
  MemoryRig m;
  for (uint64_t n = 8; n <= 8192; n *= 2) EXPECT_EQ(m.slabs.kmalloc(Bytes{n}, Gfp::Kernel)->value() % n, 0u);
}

TEST(Kmalloc, LargeRequestsComeFromThePageAllocator) {
  MemoryRig m;
  const int64_t slab = m.stat(VmItem::nr_slab_unreclaimable);
  const VirtAddr a = *m.slabs.kzalloc(Bytes{20000}, Gfp::Kernel);
  EXPECT_EQ(m.frame(direct_map_physical(a).pfn()).state, FrameState::Kernel);
  EXPECT_EQ(m.slabs.usable_size(a), Bytes{32768});
  EXPECT_EQ(m.stat(VmItem::nr_slab_unreclaimable) - slab, 8);
  m.memory->verify(Verify::Full);
  m.slabs.kfree(a);
  EXPECT_EQ(m.stat(VmItem::nr_slab_unreclaimable), slab);
  EXPECT_FALSE(m.slabs.kmalloc(Bytes{0}, Gfp::Kernel));
  EXPECT_FALSE(m.slabs.kmalloc(mib(5), Gfp::Kernel));
  EXPECT_FALSE(m.slabs.kmalloc(Bytes{UINT64_MAX}, Gfp::Kernel));
  m.memory->verify(Verify::Full);
}

TEST(Kmalloc, ChecksWhatIsFreed) {
  MemoryRig m;
  const VirtAddr small = *m.slabs.kmalloc(Bytes{100}, Gfp::Kernel), large = *m.slabs.kmalloc(Bytes{10000}, Gfp::Kernel);
  EXPECT_EQ(m.slabs.try_kfree(small + Bytes{8}).error(), SlabError::NotAnObject);
  EXPECT_EQ(m.slabs.try_kfree(large + Bytes{4096}).error(), SlabError::NotAnObject);
  EXPECT_EQ(m.slabs.try_kfree(large + Bytes{8}).error(), SlabError::NotAnObject);
  EXPECT_TRUE(m.slabs.try_kfree(small));
  EXPECT_EQ(m.slabs.try_kfree(small).error(), SlabError::DoubleFree);
  EXPECT_TRUE(m.slabs.try_kfree(large));
  EXPECT_EQ(m.slabs.try_kfree(large).error(), SlabError::NotAnObject);
  SlabObject pid = *m.memory->caches().allocate(KernelCache::Pid);
  EXPECT_EQ(m.slabs.try_kfree(pid.address()).error(), SlabError::ForeignCache);
  const Pfn page = *m.pages.allocate(Gfp::Kernel, Order{2});
  m.pages.set_state(page, Order{2}, FrameState::Kernel);
  EXPECT_EQ(m.slabs.try_kfree(direct_map(page.address())).error(), SlabError::NotAnObject);
}

TEST(Kmalloc, DmaMemoryLiesBelow16MiB) {
  MemoryRig m(mib(64));
  EXPECT_LT(direct_map_physical(*m.slabs.kmalloc(Bytes{64}, Gfp::Kernel | Gfp::Dma)), PhysAddr{mib(16).value()});
  EXPECT_GE(direct_map_physical(*m.slabs.kmalloc(Bytes{64}, Gfp::Kernel)), PhysAddr{mib(16).value()});
}

TEST(Slab, TracesWithLinuxNames) {
  MemoryRig m;
  m.record("slab");
  const VirtAddr a = *m.slabs.kmalloc(Bytes{100}, Gfp::Kernel);
  m.slabs.kfree(a);
  { SlabObject d = *m.memory->caches().allocate(KernelCache::Dentry, Gfp::KernelAccount); }
  ASSERT_EQ(m.trace.size(), 4u);
  EXPECT_TRUE(m.trace[0].starts_with("kmalloc: ptr=0xffff8880")) << m.trace[0];
  EXPECT_TRUE(m.trace[0].ends_with("name=kmalloc-128 bytes_req=100 bytes_alloc=128 gfp_flags=GFP_KERNEL")) << m.trace[0];
  EXPECT_TRUE(m.trace[1].starts_with("kfree: ptr=0xffff8880")) << m.trace[1];
  EXPECT_TRUE(m.trace[2].ends_with("name=dentry bytes_req=192 bytes_alloc=192 gfp_flags=GFP_KERNEL_ACCOUNT")) << m.trace[2];
  EXPECT_TRUE(m.trace[3].starts_with("kmem_cache_free: ptr=")) << m.trace[3];
}

TEST(SlabObject, GivesItsMemoryBackOnce) {
  MemoryRig m;
  SlabCache& cache = *m.slabs.find("filp");
  {
    SlabObject a = *m.memory->caches().allocate(KernelCache::Filp);
    EXPECT_EQ(cache.allocated(), 1u);
    SlabObject b = std::move(a);
    EXPECT_FALSE(a);
    EXPECT_TRUE(b);
    EXPECT_EQ(cache.allocated(), 1u);
    a = std::move(b);
    a = *m.memory->caches().allocate(KernelCache::Filp);
    EXPECT_EQ(cache.allocated(), 1u);
    a.release();
    a.release();
    EXPECT_EQ(cache.allocated(), 0u);
  }
  EXPECT_EQ(cache.allocated(), 0u);
}

TEST(KernelCaches, ServeAnySize) {
  MemoryRig m;
  std::vector<SlabObject> all;
  for (uint64_t n : {1, 100, 8192, 8193, 40000, 1000000}) {
    auto o = m.memory->caches().allocate_bytes(Bytes{n});
    ASSERT_TRUE(o) << n;
    EXPECT_GE(m.slabs.usable_size(o->address()), Bytes{n});
    all.push_back(std::move(*o));
  }
  EXPECT_EQ(m.memory->caches().allocate_bytes(Bytes{0}).error(), Errno::Invalid);
  EXPECT_EQ(m.memory->caches().allocate_bytes(gib(1)).error(), Errno::Invalid);
  while (auto o = m.memory->caches().allocate_bytes(mib(1))) all.push_back(std::move(*o));
  EXPECT_EQ(m.memory->caches().allocate_bytes(mib(4)).error(), Errno::NoMemory);
  m.memory->verify(Verify::Full);
  all.clear();
  m.memory->verify(Verify::Full);
}

TEST(SlabDeath, DoubleFreeOfOurOwnObjectsIsABug) {
  MemoryRig m;
  m.memory->set_verify_level(Verify::Full);
  SlabCache& cache = make(m, {.name = "strict", .object_size = Bytes{64}});
  const VirtAddr o = *cache.allocate(Gfp::Kernel);
  cache.free(o);
  EXPECT_DEATH(cache.free(o), "freed twice");
  EXPECT_DEATH(cache.free(o + Bytes{4}), "not one of its objects");
  EXPECT_DEATH(m.slabs.kfree(VirtAddr{42}), "kfree");
}

// Random allocations and frees in several caches on two CPUs; each object is filled with its own number.
void random_objects(uint64_t seed, unsigned operations, SlabFlag flags) {
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  MemoryRig m(mib(24), {.cpus = 2});
  m.memory->set_verify_level(seed % 2 ? Verify::Full : Verify::Off);
  const uint64_t frames_before = m.pages.frames_in_state(FrameState::Slab);
  struct Cache {
    SlabCache* cache;
    uint64_t out = 0;
  };
  std::vector<Cache> caches;
  for (uint64_t size : {8, 24, 64, 100, 192, 700, 1500, 4000}) {
    SlabCacheSpec spec{.name = "c" + std::to_string(size), .object_size = Bytes{size}, .flags = flags};
    if (size == 192) spec.flags = spec.flags | SlabFlag::ReclaimAccount;
    caches.push_back({*m.slabs.create(std::move(spec))});
  }
  struct Object {
    size_t cache;
    VirtAddr at;
    uint8_t fill;
  };
  std::vector<Object> held;
  Rng rng(seed);
  for (unsigned i = 0; i < operations; ++i) {
    if (rng.below(50) == 0) m.memory->set_current_cpu(static_cast<unsigned>(rng.below(2)));
    if (rng.below(100) < (i / 3000 % 2 ? 40u : 60u)) {
      const size_t which = rng.below(caches.size());
      const auto o = caches[which].cache->allocate(Gfp::Kernel);
      if (!o) continue;
      const auto fill = static_cast<uint8_t>(rng.next());
      std::ranges::fill(bytes(m, *o, caches[which].cache->object_size()), std::byte{fill});
      held.push_back({which, *o, fill});
      ++caches[which].out;
    } else if (!held.empty()) {
      const size_t at = rng.below(held.size());
      const Object o = held[at];
      held[at] = held.back();
      held.pop_back();
      const auto content = bytes(m, o.at, caches[o.cache].cache->object_size());
      ASSERT_TRUE(std::ranges::all_of(content, [&](std::byte b) { return b == std::byte{o.fill}; })) << "step " << i;
      if (rng.below(2)) ASSERT_TRUE(caches[o.cache].cache->try_free(o.at));
      else caches[o.cache].cache->free(o.at);
      --caches[o.cache].out;
    }
    if (rng.below(5000) == 0) (void)caches[rng.below(caches.size())].cache->shrink();
    if (i % 4096 == 0) {
      m.memory->verify(Verify::Full);
      for (const Cache& c : caches) ASSERT_EQ(c.cache->counts().allocated, c.out);
    }
  }
  for (const Object& o : held) caches[o.cache].cache->free(o.at);
  m.memory->verify(Verify::Full);
  for (const Cache& c : caches) ASSERT_TRUE(m.slabs.destroy(*c.cache));
  (void)m.slabs.shrink_all();
  EXPECT_LE(m.pages.frames_in_state(FrameState::Slab), frames_before);
  m.memory->verify(Verify::Full);
}

TEST(SlabProperty, RandomObjectsKeepTheirBytes) {
  for (uint64_t seed = 1; seed <= 4; ++seed) random_objects(seed, 60000, SlabFlag::None);
}
TEST(SlabProperty, RandomObjectsWithRedZonesAndPoison) { random_objects(9, 40000, SlabFlag::RedZone | SlabFlag::Poison); }
TEST(SlabProperty, RandomObjectsOnCacheLines) { random_objects(10, 40000, SlabFlag::HwCacheAlign | SlabFlag::TypesafeByRcu); }

}  // namespace
}  // namespace vitro::mm
