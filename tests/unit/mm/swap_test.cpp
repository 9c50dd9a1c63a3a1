// Swap: slots, the swap cache, pages going out and coming back, and what fork, exclusive pages and shared memory make of it.
#include "vitro/mm/swap.h"

#include <gtest/gtest.h>

#include <map>

#include "unit/mm/reclaim_rig.h"
#include "vitro/base/rng.h"
#include "vitro/mm/shmem.h"

namespace vitro::mm::test {
namespace {

class Swap : public ReclaimRig {
 protected:
  Swap() { space_ = make_space(), load(*space_); }
  ~Swap() override { space_.reset(); }
  VirtAddr region(Bytes n) { return must(space_->mmap(anonymous(n))); }
  std::unique_ptr<AddressSpace> space_;
};

TEST_F(Swap, TheSignatureDecidesWhatIsASwapArea) {
  auto disk = hw::make_memory_disk("vdb", mib(4), clock_, timing_);
  const auto source = [&](uint64_t id) { return SwapSource{.path = "x", .disk = disk.get(), .extents = {{0, 1024, 0}}, .partition = true, .identity = id}; };
  std::vector<std::byte> header(kPageSize);
  EXPECT_EQ(error_of(vm_->swap().swap_on(source(1), header, std::nullopt)), Errno::Invalid);
  header = SwapSpace::make_header(Pages{2048});  // says it is larger than it is
  EXPECT_EQ(error_of(vm_->swap().swap_on(source(1), header, std::nullopt)), Errno::Invalid);
  header = SwapSpace::make_header(Pages{1024});
  ASSERT_TRUE(vm_->swap().swap_on(source(1), header, std::nullopt));
  EXPECT_EQ(error_of(vm_->swap().swap_on(source(1), header, std::nullopt)), Errno::Busy);
  EXPECT_EQ(vm_->swap().total().value(), 1023u);  // the first page is the header
  EXPECT_EQ(vm_->swap().areas().front().priority, -2);
  EXPECT_EQ(error_of(vm_->swap().swap_off(7)), Errno::Invalid);
  ASSERT_TRUE(vm_->swap().swap_off(1));
  EXPECT_EQ(vm_->swap().total().value(), 0u);
  EXPECT_TRUE(vm_->swap().areas().empty());
}

TEST_F(Swap, APageGoesOutAndComesBackAsItWas) {
  swap_on(mib(4));
  const VirtAddr a = region(kib(64));
  for (unsigned i = 0; i < 16; ++i) touch(*space_, a + Pages{i}), poke(*space_, a + Pages{i}, static_cast<uint8_t>(100 + i));
  page_out(*space_, a, kib(64));
  EXPECT_TRUE(swapped(*space_, a));
  EXPECT_EQ(space_->usage().swapents, 16u);
  EXPECT_EQ(space_->usage().rss_anon, 0u);
  EXPECT_EQ(stat(VmItem::pswpout), 16);
  verify();
  physical_->verify(Verify::Full);
  for (unsigned i = 0; i < 16; ++i) EXPECT_EQ(peek(*space_, a + Pages{i}), 100 + i);
  EXPECT_EQ(space_->usage().swapents, 0u);
  verify();
}

TEST_F(Swap, APageThatIsOnlyReadKeepsItsSlot) {
  swap_on(mib(4));
  const VirtAddr a = region(kib(4));
  touch(*space_, a);
  page_out(*space_, a, kib(4));
  const Pages free = vm_->swap().free_slots();
  EXPECT_EQ(look(*space_, a).kind, FaultKind::Swap);
  EXPECT_TRUE(frame(entry(*space_, a).pfn()).has(FrameFlag::SwapCache));
  EXPECT_EQ(vm_->swap().free_slots(), free);
  verify();
  // Going out again needs no write.
  const int64_t written = stat(VmItem::pswpout);
  page_out(*space_, a, kib(4));
  EXPECT_TRUE(swapped(*space_, a));
  EXPECT_EQ(stat(VmItem::pswpout), written);
  verify();
}

TEST_F(Swap, AWriterTakesThePageOutOfTheSwapCache) {
  swap_on(mib(4));
  const VirtAddr a = region(kib(4));
  poke(*space_, a, 42);
  page_out(*space_, a, kib(4));
  touch(*space_, a);
  const Frame& f = frame(entry(*space_, a).pfn());
  EXPECT_FALSE(f.has(FrameFlag::SwapCache));
  EXPECT_TRUE(f.has(FrameFlag::AnonExclusive));
  EXPECT_EQ(peek(*space_, a), 42);
  verify();
}

TEST_F(Swap, ForkSharesSlotsAndTheLastOneFreesThem) {
  swap_on(mib(4));
  const VirtAddr a = region(kib(32));
  for (unsigned i = 0; i < 8; ++i) poke(*space_, a + Pages{i}, static_cast<uint8_t>(i + 1));
  page_out(*space_, a, kib(32));
  auto child = std::move(*space_->fork());
  child->set_pcid(hw::Pcid{++next_pcid_});
  EXPECT_EQ(child->usage().swapents, 8u);
  EXPECT_EQ(vm_->swap().state().users(slot_of(entry(*space_, a))), 2u);
  verify();
  poke(*child, a, 200);
  EXPECT_EQ(peek(*space_, a), 1);
  EXPECT_EQ(peek(*child, a), 200);
  for (unsigned i = 1; i < 8; ++i) EXPECT_EQ(peek(*child, a + Pages{i}), i + 1);
  verify();
  child.reset();
  verify();
  ASSERT_TRUE(space_->munmap(a, kib(32)));
  vm_->swap().state().drop_batches();
  EXPECT_EQ(vm_->swap().free_slots(), vm_->swap().total());
  verify();
}

TEST_F(Swap, SharedMemoryGoesOutAndComesBack) {
  swap_on(mib(8));
  MmapRequest r = anonymous(kib(64));
  r.shared = true;
  const VirtAddr a = must(space_->mmap(r));
  for (unsigned i = 0; i < 16; ++i) poke(*space_, a + Pages{i}, static_cast<uint8_t>(i + 7));
  page_out(*space_, a, kib(64));
  EXPECT_EQ(stat(VmItem::nr_shmem), 0);
  EXPECT_EQ(vm_->swap().state().area(SwapSlot{0, 1}).in_use >= 16, true);
  verify();
  for (unsigned i = 0; i < 16; ++i) EXPECT_EQ(peek(*space_, a + Pages{i}), i + 7);
  verify();
  page_out(*space_, a, kib(64));
  ASSERT_TRUE(space_->munmap(a, kib(64)));
  vm_->swap().state().drop_batches();
  EXPECT_EQ(vm_->swap().free_slots(), vm_->swap().total());
  verify();
}

TEST_F(Swap, SwapoffBringsEverythingBack) {
  swap_on(mib(8));
  const VirtAddr a = region(mib(1));
  for (unsigned i = 0; i < 256; ++i) poke(*space_, a + Pages{i}, static_cast<uint8_t>(i));
  MmapRequest r = anonymous(kib(64));
  r.shared = true;
  const VirtAddr shared = must(space_->mmap(r));
  for (unsigned i = 0; i < 16; ++i) poke(*space_, shared + Pages{i}, static_cast<uint8_t>(i + 1));
  page_out(*space_, a, mib(1));
  page_out(*space_, shared, kib(64));
  ASSERT_TRUE(vm_->swap().swap_off(1));
  EXPECT_EQ(space_->usage().swapents, 0u);
  EXPECT_EQ(vm_->swap().cached().value(), 0u);
  for (unsigned i = 0; i < 256; ++i) EXPECT_EQ(peek(*space_, a + Pages{i}), static_cast<uint8_t>(i));
  for (unsigned i = 0; i < 16; ++i) EXPECT_EQ(peek(*space_, shared + Pages{i}), i + 1);
  verify();
}

TEST_F(Swap, TheHighestPriorityFillsFirstAndEqualsTakeTurns) {
  swap_on(kib(1024), 5);
  swap_on(kib(1024), 5);
  swap_on(kib(1024), 1);
  const VirtAddr a = region(mib(1));
  for (unsigned i = 0; i < 200; ++i) touch(*space_, a + Pages{i});
  page_out(*space_, a, mib(1));
  const auto areas = vm_->swap().areas();
  ASSERT_EQ(areas.size(), 3u);
  EXPECT_GT(areas[0].used.value(), 0u);
  EXPECT_GT(areas[1].used.value(), 0u);
  EXPECT_EQ(areas[2].used.value(), 0u);
  verify();
}

TEST_F(Swap, MoreMemoryThanRamFits) {
  swap_on(mib(64));
  const VirtAddr a = region(mib(24));
  const uint64_t pages = mib(24).pages_down().value();
  for (uint64_t i = 0; i < pages; ++i) {
    ASSERT_EQ(touch(*space_, a + Pages{i}).result, FaultOutcome::Result::Resolved) << i;
    poke(*space_, a + Pages{i}, static_cast<uint8_t>(i * 7));
  }
  verify();
  for (uint64_t i = 0; i < pages; ++i) ASSERT_EQ(peek(*space_, a + Pages{i}), static_cast<uint8_t>(i * 7)) << i;
  EXPECT_GT(stat(VmItem::pswpin), 0);
  EXPECT_GT(stat(VmItem::swap_ra), 0);
  verify();
  physical_->verify(Verify::Full);
}

// Random programs under pressure against a model of what they wrote.
class SwapProperty : public Swap, public ::testing::WithParamInterface<uint64_t> {};

TEST_P(SwapProperty, ContentsSurviveWhateverHappens) {
  const uint64_t seed = GetParam();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Rng rng(seed);
  const auto pick = [&rng](uint64_t n) { return rng.next() % n; };
  if (seed % 3 != 0) swap_on(mib(48));
  make_file(mib(2));
  struct Area {
    VirtAddr start;
    uint64_t pages;
    bool shared;
  };
  struct Program {
    std::unique_ptr<AddressSpace> space;
    std::vector<Area> areas;
    std::map<uint64_t, uint8_t> bytes;  // by page address
  };
  std::vector<Program> programs;
  programs.push_back({make_space(), {}, {}});
  const uint64_t most = seed % 3 != 0 ? 5000 : 1500;  // pages of all programs together
  uint64_t total = 0;
  for (unsigned step = 0; step < 3000; ++step) {
    Program& p = programs[pick(programs.size())];
    AddressSpace& s = *p.space;
    load(s);
    const uint64_t what = pick(100);
    if (p.areas.empty() || (what < 4 && total < most)) {
      const uint64_t pages = 1 + pick(400);
      if (total + pages > most) continue;
      MmapRequest r = anonymous(Pages{pages}.bytes());
      r.shared = false;
      p.areas.push_back({must(s.mmap(r)), pages, r.shared});
      total += pages;
      continue;
    }
    const size_t which = pick(p.areas.size());
    const Area a = p.areas[which];
    const VirtAddr page = a.start + Pages{pick(a.pages)};
    if (what < 50) {
      const auto value = static_cast<uint8_t>(rng.next());
      const VirtAddr last = a.start + Pages{a.pages};
      for (VirtAddr at = page; at < last && at < page + Pages{16}; at += Bytes{kPageSize}) {
        ASSERT_EQ(touch(s, at).result, FaultOutcome::Result::Resolved) << "step " << step;
        poke(s, at, value);
        p.bytes[at.value()] = value;
      }
    } else if (what < 80) {
      const auto it = p.bytes.find(page.value());
      ASSERT_EQ(peek(s, page), it == p.bytes.end() ? 0 : it->second) << "step " << step;
    } else if (what < 84 && programs.size() < 4) {
      auto child = s.fork();
      if (!child) continue;
      (*child)->set_pcid(hw::Pcid{++next_pcid_});
      uint64_t pages = 0;
      for (const Area& area : p.areas) pages += area.pages;
      total += pages;
      auto areas = p.areas;
      auto bytes = p.bytes;
      programs.push_back({std::move(*child), std::move(areas), std::move(bytes)});
    } else if (what < 87) {
      ASSERT_TRUE(s.munmap(a.start, Pages{a.pages}.bytes()));
      for (uint64_t i = 0; i < a.pages; ++i) p.bytes.erase((a.start + Pages{i}).value());
      p.areas.erase(p.areas.begin() + static_cast<ptrdiff_t>(which));
      total -= a.pages;
    } else if (what < 90) {
      (void)s.madvise(a.start, Pages{a.pages}.bytes(), pick(2) ? 20 : 21);  // locked memory stays
    } else if (what < 91) {
      if (s.madvise(page, Bytes{kPageSize}, 4)) p.bytes.erase(page.value());
    } else if (what < 93 && a.pages < 200) {
      (void)s.mlock(a.start, Pages{a.pages}.bytes());
    } else if (what < 95) {
      ASSERT_TRUE(s.munlock(a.start, Pages{a.pages}.bytes()));
    } else if (what < 97 && programs.size() > 1) {
      for (const Area& area : p.areas) total -= area.pages;
      std::swap(p, programs.back());
      programs.pop_back();
    } else if (what < 98) {
      std::vector<std::byte> out(32 * kPageSize);
      BufferSink sink(out);
      const uint64_t offset = pick(400) * kPageSize;
      ASSERT_TRUE(file_->page_cache().read(Bytes{offset}, out.size(), sink));
      EXPECT_EQ(static_cast<uint8_t>(out[5]), FakeFile::pattern(offset + 5));
    } else if (what < 99) {
      vm_->reclaimer().drop_caches(3);
    }
    if (step % 500 == 0) verify(), physical_->verify(Verify::Full);
  }
  verify();
  for (Program& p : programs)
    for (const auto& [at, value] : p.bytes) ASSERT_EQ(peek(*p.space, VirtAddr{at}), value) << std::hex << at;
  programs.clear();
  verify();
  vm_->swap().state().drop_batches();
  EXPECT_EQ(vm_->swap().free_slots(), vm_->swap().total());
  physical_->verify(Verify::Full);
  mmu_->load_cr3(vm_->kernel_page_table_root(), hw::Pcid{0}, hw::Mmu::KeepPcid::No);
}

INSTANTIATE_TEST_SUITE_P(Seeds, SwapProperty, ::testing::Range<uint64_t>(1, 7));

}  // namespace
}  // namespace vitro::mm::test
