// Compaction: moving pages that are in use without anybody noticing, and the large blocks that come of it.
#include "vitro/mm/compaction.h"

#include "mm/physical/migrate.h"
#include "virtual_memory_rig.h"
#include "vitro/base/rng.h"

namespace vitro::mm::test {
namespace {

class CompactionTest : public VirtualMemoryRig {
 protected:
  CompactionTest() : VirtualMemoryRig(mib(64)) {}
  int64_t stat(VmItem i) const { return physical_->stat().get(i); }
  // Fills memory with one area and punches holes so that every second page of it is free.
  VirtAddr fragment(AddressSpace& s, Pages pages) {
    const VirtAddr a = map(s, pages.bytes());
    for (Pages i{0}; i < pages; ++i) poke(s, a + i, static_cast<uint8_t>(i.value() * 7 + 1));
    for (Pages i{0}; i < pages; i += Pages{2}) EXPECT_TRUE(s.madvise(a + i, Bytes{kPageSize}, 4));  // MADV_DONTNEED
    physical_->drain_per_cpu_lists();
    return a;
  }
  void poke(AddressSpace& s, VirtAddr a, uint8_t value) {
    const std::byte b{value};
    ASSERT_EQ(s.write_remote(a, {&b, 1}), 1u);
  }
  uint8_t peek(AddressSpace& s, VirtAddr a) {
    std::byte b{0};
    EXPECT_EQ(s.read_remote(a, {&b, 1}), 1u);
    return static_cast<uint8_t>(b);
  }
  VirtAddr map(AddressSpace& s, Bytes n) {
    MmapRequest r;
    r.length = n;
    r.protection = VmFlag::Read | VmFlag::Write;
    return *s.mmap(r);
  }
};

TEST_F(CompactionTest, MakesLargeBlocksAndKeepsEveryByte) {
  auto s = make_space();
  const Pages pages{physical_->allocator().free_frames().value() * 9 / 10};
  const VirtAddr a = fragment(*s, pages);
  const auto large = [this] {
    uint64_t n = 0;
    for (const Zone& z : physical_->zones()) n += z.buddy().free_blocks(Order{9}) + 2 * z.buddy().free_blocks(Order{10});
    return n;
  };
  const uint64_t before = large();
  EXPECT_GT(vm_->compaction().compact_all(), pages.value() / 8);
  EXPECT_GT(large(), before + 5);
  EXPECT_EQ(stat(VmItem::pgmigrate_success), static_cast<int64_t>(vm_->compaction().moved()));
  EXPECT_EQ(stat(VmItem::nr_isolated_anon), 0);
  EXPECT_GT(stat(VmItem::compact_migrate_scanned), 0);
  EXPECT_GT(stat(VmItem::compact_free_scanned), 0);
  for (Pages i{1}; i < pages; i += Pages{2}) ASSERT_EQ(peek(*s, a + i), static_cast<uint8_t>(i.value() * 7 + 1)) << i.value();
  verify();
}

TEST_F(CompactionTest, DirectCompactionServesARequestForAHugePage) {
  auto s = make_space();
  fragment(*s, Pages{physical_->allocator().free_frames().value() * 9 / 10});
  // Take what large blocks are left.
  std::vector<Pfn> taken;
  while (const auto block = physical_->allocator().allocate(Gfp::HighUserMovable & Gfp::HighMem, Order{9})) taken.push_back(*block);
  const int64_t stalls = stat(VmItem::compact_stall);
  const auto huge = physical_->allocator().allocate(Gfp::TransHuge, Order{9});
  EXPECT_TRUE(huge);
  EXPECT_GT(stat(VmItem::compact_stall), stalls);
  EXPECT_GE(stat(VmItem::compact_success), 1);
  if (huge) physical_->allocator().free(*huge, Order{9});
  for (Pfn f : taken) physical_->allocator().free(f, Order{9});
}

TEST_F(CompactionTest, SharedPagesMoveInEverySpace) {
  auto parent = make_space();
  const VirtAddr a = map(*parent, kib(64));
  for (Pages i{0}; i < Pages{16}; ++i) poke(*parent, a + i, static_cast<uint8_t>(i.value() + 1));
  auto child = std::move(*parent->fork());
  vm_->compaction().compact_all();
  for (Pages i{0}; i < Pages{16}; ++i) {
    EXPECT_EQ(peek(*child, a + i), i.value() + 1);
    EXPECT_EQ(parent->pagemap_entry((a + i).vpn()), child->pagemap_entry((a + i).vpn()));
  }
  poke(*child, a, 99);
  EXPECT_EQ(peek(*parent, a), 1u);
  verify();
}

TEST_F(CompactionTest, PageCachePagesMoveWithTheirFile) {
  FakeFile file(*vm_, kib(256));
  for (uint64_t i = 0; i < 64; ++i) ASSERT_TRUE(file.page_cache().get(PageIndex{i}));
  const Pfn from = *file.page_cache().find(PageIndex{5}), only = *file.page_cache().find(PageIndex{6});
  const Pfn to = *physical_->allocator().allocate(Gfp::HighUserMovable);
  physical_->frames()[to].zone = physical_->frames()[from].zone;
  ASSERT_TRUE(isolate_from_lru(*vm_, from));
  EXPECT_TRUE(migrate_frame(*vm_, from, to));
  EXPECT_EQ(*file.page_cache().find(PageIndex{5}), to);
  EXPECT_EQ(static_cast<uint8_t>(physical_->ram().read(to.address(), Bytes{1})[0]), FakeFile::pattern(5 * kPageSize));
  // One that somebody holds stays.
  const Pfn spare = *physical_->allocator().allocate(Gfp::HighUserMovable);
  vm_->get_page(only);
  ASSERT_TRUE(isolate_from_lru(*vm_, only));
  EXPECT_FALSE(migrate_frame(*vm_, only, spare));
  put_back_on_lru(*vm_, only);
  vm_->put_page(only);
  physical_->allocator().free(spare);
  EXPECT_EQ(stat(VmItem::nr_isolated_file), 0);
  verify();
}

TEST_F(CompactionTest, LockedPagesMoveOnlyWhereThatIsAllowed) {
  auto s = make_space();
  const VirtAddr a = fragment(*s, Pages{4096});
  s->limits.locked = ~0ull;
  ASSERT_TRUE(s->mlock(a, Pages{4096}.bytes()));
  vm_->compaction().unevictable_allowed = false;
  EXPECT_EQ(vm_->compaction().compact_all(), 0u);
  vm_->compaction().unevictable_allowed = true;
  ASSERT_TRUE(s->munlock(a, Pages{4096}.bytes()));
}

TEST_F(CompactionTest, IndexesSayWhyARequestWouldFail) {
  Zone& zone = physical_->zones()[kZoneDma];
  EXPECT_EQ(fragmentation_index(zone, Order{3}), -1000);
  EXPECT_EQ(unusable_free_index(zone, Order{0}), 0);
  const std::string text = extfrag_index_text(*physical_);
  EXPECT_EQ(text.substr(0, 32), "Node 0, zone      DMA -1.000 -1.");
  // Every second frame of a zone: plenty free, nothing in one piece.
  FrameTable frames(Pages{4096});
  VmStat stat;
  Zone small(frames, stat, kZoneNormal, Pfn{1024}, Pfn{2048}, Pages{1024}, 1);
  for (uint64_t f = 1024; f < 2048; f += 2) small.release(Pfn{f}, Pfn{f + 1});
  EXPECT_EQ(fragmentation_index(small, Order{1}), 1000 - (1000 + 512 * 1000 / 2) / 512);
  EXPECT_EQ(unusable_free_index(small, Order{1}), 1000);
  EXPECT_EQ(unusable_free_index(small, Order{0}), 0);
}

TEST_F(CompactionTest, FailureIsPutOffForLongerEachTime) {
  // Plenty free, nothing in one piece, and nothing that could be moved.
  std::vector<Pfn> held, kept;
  while (physical_->allocator().free_frames() > Pages{1024}) held.push_back(*physical_->allocator().allocate(Gfp::Kernel));
  for (const Pfn f : held) {
    if (f.value() % 2) kept.push_back(f);
    else physical_->allocator().free(f);
  }
  physical_->drain_per_cpu_lists();
  Compaction& c = vm_->compaction();
  unsigned deepest = 0, tried = 0;
  for (int i = 0; i < 300; ++i) {
    const CompactResult r = c.compact_directly(Gfp::Kernel, Order{10}, kAllocWmarkMin, kZoneNormal, CompactPriority::Light);
    tried += r >= CompactResult::NoSuitablePage;
    for (unsigned z = 0; z < kPopulatedZones; ++z) deepest = std::max(deepest, c.deferral(z).shift);
  }
  EXPECT_EQ(deepest, 6u);
  EXPECT_LT(tried, 30u);
  for (const Pfn f : kept) physical_->allocator().free(f);
}

}  // namespace
}  // namespace vitro::mm::test
