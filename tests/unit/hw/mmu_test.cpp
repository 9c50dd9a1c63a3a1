#include "vitro/hw/mmu.h"

#include <deque>

#include "mmu_rig.h"

namespace vitro::hw {
namespace {

using test::MmuRig;
using test::Tables;

constexpr VirtAddr kBase{0x7f00'0000'0000};
constexpr VirtAddr page(uint64_t n) { return kBase + Pages{n}; }
constexpr uint64_t kReadOnly = Pte::kPresent | Pte::kUser;

void map_pages(MmuRig& rig, uint64_t n, uint64_t flags = Tables::kAll) {
  for (uint64_t i = 0; i < n; ++i) rig.tables.map(page(i), PhysAddr{mib(16).value()} + Pages{i}, flags);
}

TEST(Mmu, AFirstAccessMissesEverywhereAndTheSecondHits) {
  MmuRig rig;
  map_pages(rig, 1);
  ASSERT_TRUE(rig.touch(page(0)));
  ASSERT_TRUE(rig.touch(page(0) + Bytes{100}));
  const MmuCounters& c = rig.mmu.counters();
  EXPECT_EQ(c.l1d.accesses, 2u);
  EXPECT_EQ(c.l1d.hits, 1u);
  EXPECT_EQ(c.l1d.misses, 1u);
  EXPECT_EQ(c.l1d.misses_by_size[0], 1u);
  EXPECT_EQ(c.l1d.misses_by_access[static_cast<size_t>(Access::Read)], 1u);
  EXPECT_EQ(c.l2.misses, 1u);
  EXPECT_EQ(c.walks, 1u);
  EXPECT_EQ(c.walk_references, 4u);
  EXPECT_EQ(c.walk_cycles, 4 * rig.timing.cycles_walk_reference);
  EXPECT_EQ(c.cold_walks, 1u);
  EXPECT_EQ(c.l1i.accesses, 0u);
  rig.mmu.verify();
}

TEST(Mmu, FetchesUseTheInstructionSide) {
  MmuRig rig;
  map_pages(rig, 1);
  rig.mmu.count_access(page(0), Access::Fetch);
  rig.mmu.count_access(page(0), Access::Fetch);
  rig.mmu.count_access(page(0), Access::Read);
  const MmuCounters& c = rig.mmu.counters();
  EXPECT_EQ(c.l1i.misses, 1u);
  EXPECT_EQ(c.l1i.hits, 1u);
  EXPECT_EQ(c.l1d.misses, 1u);
  EXPECT_EQ(c.l2.hits, 1u) << "the second level is shared";
  EXPECT_EQ(c.walks, 1u);
}

TEST(Mmu, AFaultCountsOnlyAsAFaultingWalkUntilItIsRetried) {
  MmuRig rig;
  const auto fault = rig.mmu.translate(page(0), Access::Write, Privilege::User);
  ASSERT_FALSE(fault.has_value());
  EXPECT_EQ(fault.error().error_code, FaultCode::kWrite | FaultCode::kUser);
  EXPECT_EQ(rig.mmu.counters().l1d.accesses, 0u);
  EXPECT_EQ(rig.mmu.counters().faulting_walks, 1u);
  EXPECT_EQ(rig.mmu.counters().faulting_walk_references, 1u);
  map_pages(rig, 1);
  ASSERT_TRUE(rig.touch(page(0), Access::Write));
  EXPECT_EQ(rig.mmu.counters().l1d.accesses, 1u);
  EXPECT_EQ(rig.mmu.counters().walks, 1u);
  rig.mmu.verify();
}

TEST(Mmu, PagingStructureCachesShortenWalks) {
  MmuRig rig;
  map_pages(rig, 2);
  rig.tables.map(kBase + mib(4), PhysAddr{mib(20).value()});
  rig.tables.map(kBase + gib(3), PhysAddr{mib(21).value()});
  const auto references = [&](VirtAddr a) {
    const uint64_t before = rig.mmu.counters().walk_references;
    EXPECT_TRUE(rig.touch(a));
    return rig.mmu.counters().walk_references - before;
  };
  EXPECT_EQ(references(page(0)), 4u);
  EXPECT_EQ(references(page(1)), 1u) << "the PDE is cached";
  EXPECT_EQ(references(kBase + mib(4)), 2u) << "the PDPTE is cached";
  EXPECT_EQ(references(kBase + gib(3)), 3u) << "the PML4E is cached";
  rig.mmu.verify();

  TlbConfig without;
  without.psc_pde = without.psc_pdpte = without.psc_pml4e = 0;
  MmuRig plain(without);
  map_pages(plain, 2);
  plain.touch(page(0)), plain.touch(page(1));
  EXPECT_EQ(plain.mmu.counters().walk_references, 8u);
}

TEST(Mmu, InvalidatePageAlsoForgetsThePagingStructures) {
  MmuRig rig;
  map_pages(rig, 3);
  rig.touch(page(0));
  rig.mmu.invalidate_page(page(2), Pcid{1}, FlushReason::LocalShootdown);
  const uint64_t before = rig.mmu.counters().walk_references;
  rig.touch(page(1));
  EXPECT_EQ(rig.mmu.counters().walk_references - before, 4u);
  EXPECT_TRUE(rig.touch(page(0)));
  EXPECT_EQ(rig.mmu.counters().walks, 2u) << "the page itself stayed";
}

TEST(Mmu, InvalidatePageDropsItFromEveryLevelAndFromTheSoftTlb) {
  MmuRig rig;
  map_pages(rig, 2);
  for (uint64_t i = 0; i < 2; ++i) {
    rig.touch(page(i));
    rig.mmu.count_access(page(i), Access::Fetch);
    rig.soft.fill(page(i), false);
  }
  rig.tables.map(page(0), PhysAddr{mib(30).value()});
  rig.mmu.invalidate_page(page(0), Pcid{1}, FlushReason::LocalShootdown);
  rig.mmu.verify();
  EXPECT_FALSE(rig.soft.answers(page(0), Access::Read));
  EXPECT_TRUE(rig.soft.answers(page(1), Access::Read));
  EXPECT_EQ(rig.mmu.counters().flushes[static_cast<size_t>(FlushReason::LocalShootdown)], 1u);
  EXPECT_EQ(rig.mmu.translate(page(0), Access::Read, Privilege::User)->address, PhysAddr{mib(30).value()});
  EXPECT_EQ(rig.mmu.counters().walks, 3u);
  EXPECT_EQ(rig.mmu.counters().cold_walks, 3u) << "an invalidated page is cold again";
}

TEST(Mmu, AnotherAddressSpacesInvalidationLeavesTheSoftTlbAlone) {
  MmuRig rig;
  map_pages(rig, 1);
  rig.touch(page(0));
  rig.soft.fill(page(0), false);
  rig.mmu.invalidate_page(page(0), Pcid{2}, FlushReason::RemoteShootdown);
  rig.mmu.flush_pcid(Pcid{2}, FlushReason::RemoteShootdown);
  EXPECT_TRUE(rig.soft.answers(page(0), Access::Read));
  rig.touch(page(0));
  EXPECT_EQ(rig.mmu.counters().walks, 1u);
  rig.mmu.flush_pcid(Pcid{1}, FlushReason::LocalMmShootdown);
  EXPECT_FALSE(rig.soft.answers(page(0), Access::Read));
  rig.touch(page(0));
  EXPECT_EQ(rig.mmu.counters().walks, 2u);
}

TEST(Mmu, PcidsKeepTranslationsAcrossSwitches) {
  MmuRig rig;
  Tables other(*rig.ram, Pfn{2048});
  map_pages(rig, 1);
  other.map(page(0), PhysAddr{mib(40).value()});
  rig.touch(page(0));
  rig.soft.fill(page(0), false);
  rig.mmu.load_cr3(other.root(), Pcid{2}, Mmu::KeepPcid::Yes);
  EXPECT_TRUE(rig.soft.pages.empty()) << "the soft TLB knows no PCIDs";
  EXPECT_EQ(rig.mmu.translate(page(0), Access::Read, Privilege::User)->address, PhysAddr{mib(40).value()});
  EXPECT_EQ(rig.mmu.counters().walks, 2u);
  rig.mmu.verify();
  rig.mmu.load_cr3(rig.tables.root(), Pcid{1}, Mmu::KeepPcid::Yes);
  EXPECT_EQ(rig.mmu.translate(page(0), Access::Read, Privilege::User)->address, PhysAddr{mib(16).value()});
  EXPECT_EQ(rig.mmu.counters().walks, 2u) << "kept";
  rig.mmu.load_cr3(other.root(), Pcid{2}, Mmu::KeepPcid::No);
  rig.touch(page(0));
  EXPECT_EQ(rig.mmu.counters().walks, 3u) << "not kept";
  rig.mmu.load_cr3(rig.tables.root(), Pcid{1}, Mmu::KeepPcid::Yes);
  rig.touch(page(0));
  EXPECT_EQ(rig.mmu.counters().walks, 3u) << "the other address space's flush left this one alone";
  EXPECT_EQ(rig.mmu.counters().flushes[static_cast<size_t>(FlushReason::TaskSwitch)], 2u) << "the first load and the one without keep";
}

TEST(Mmu, WithoutPcidsEverySwitchFlushesAllButGlobalPages) {
  TlbConfig config;
  config.pcid = false;
  MmuRig rig(config);
  Tables other(*rig.ram, Pfn{2048});
  const VirtAddr kernel{0xffff'8880'0000'0000};
  map_pages(rig, 1);
  for (Tables* t : {&rig.tables, &other}) t->map(kernel, PhysAddr{mib(50).value()}, Pte::kPresent | Pte::kWritable | Pte::kGlobal);
  rig.touch(page(0));
  ASSERT_TRUE(rig.mmu.translate(kernel, Access::Read, Privilege::Supervisor).has_value());
  rig.mmu.load_cr3(other.root(), Pcid{2}, Mmu::KeepPcid::Yes);
  ASSERT_TRUE(rig.mmu.translate(kernel, Access::Read, Privilege::Supervisor).has_value());
  EXPECT_EQ(rig.mmu.counters().walks, 2u) << "global pages stay";
  EXPECT_FALSE(rig.touch(page(0)));
  rig.mmu.load_cr3(rig.tables.root(), Pcid{1}, Mmu::KeepPcid::Yes);
  rig.touch(page(0));
  EXPECT_EQ(rig.mmu.counters().walks, 3u);
  rig.mmu.verify();
}

TEST(Mmu, GlobalPagesSurviveAllButInvalidatePageAndFlushAll) {
  MmuRig rig;
  const VirtAddr kernel{0xffff'8880'0000'0000};
  rig.tables.map(kernel, PhysAddr{mib(50).value()}, Pte::kPresent | Pte::kGlobal);
  const auto walks_for_one_access = [&] {
    const uint64_t before = rig.mmu.counters().walks;
    EXPECT_TRUE(rig.mmu.translate(kernel, Access::Read, Privilege::Supervisor).has_value());
    return rig.mmu.counters().walks - before;
  };
  EXPECT_EQ(walks_for_one_access(), 1u);
  rig.mmu.load_cr3(rig.tables.root(), Pcid{9}, Mmu::KeepPcid::No);
  EXPECT_EQ(walks_for_one_access(), 0u);
  rig.mmu.flush_pcid(Pcid{9}, FlushReason::LocalMmShootdown);
  EXPECT_EQ(walks_for_one_access(), 0u);
  rig.mmu.invalidate_page(kernel, Pcid{3}, FlushReason::LocalShootdown);
  EXPECT_EQ(walks_for_one_access(), 1u);
  rig.mmu.flush_all(FlushReason::RemoteShootdown);
  EXPECT_EQ(walks_for_one_access(), 1u);
}

TEST(Mmu, AFirstWriteToACleanPageWalksToSetDirty) {
  MmuRig rig;
  map_pages(rig, 1);
  rig.touch(page(0));
  EXPECT_FALSE(Pte{rig.tables.entry(page(0))}.dirty());
  rig.touch(page(0), Access::Write);
  EXPECT_TRUE(Pte{rig.tables.entry(page(0))}.dirty());
  const MmuCounters& c = rig.mmu.counters();
  EXPECT_EQ(c.walks, 2u);
  EXPECT_EQ(c.dirty_walks, 1u);
  EXPECT_EQ(c.cold_walks, 1u);
  rig.touch(page(0), Access::Write);
  EXPECT_EQ(c.walks, 2u);
  EXPECT_EQ(c.l1d.hits, 1u);
  rig.mmu.verify();
}

TEST(Mmu, AnUpgradeOfRightsNeedsNoInvalidation) {
  MmuRig rig;
  map_pages(rig, 1, kReadOnly);
  rig.touch(page(0));
  EXPECT_FALSE(rig.touch(page(0), Access::Write));
  rig.tables.map(page(0), PhysAddr{mib(16).value()});
  EXPECT_TRUE(rig.touch(page(0), Access::Write));
  EXPECT_EQ(rig.mmu.counters().dirty_walks, 0u);
  EXPECT_EQ(rig.mmu.counters().walks, 2u);
  rig.mmu.verify();
}

TEST(Mmu, TheSecondLevelAnswersWhatTheFirstEvicted) {
  MmuRig rig;
  map_pages(rig, 128);
  for (int round = 0; round < 3; ++round)
    for (uint64_t i = 0; i < 128; ++i) rig.touch(page(i));
  const MmuCounters& c = rig.mmu.counters();
  EXPECT_EQ(c.l1d.misses, 384u) << "128 pages go round in 64 LRU entries";
  EXPECT_EQ(c.l2.hits, 256u);
  EXPECT_EQ(c.walks, 128u);
  EXPECT_EQ(c.l2_hit_cycles, 256 * rig.timing.cycles_l2_tlb_hit);
  rig.mmu.verify();
}

TEST(Mmu, LargePagesHaveTheirOwnArrays) {
  MmuRig rig({}, gib(4));
  const VirtAddr two{0x4000'0000}, one{0x80'0000'0000};
  for (uint64_t i = 0; i < 40; ++i) rig.tables.map(two + mib(2 * i), PhysAddr{mib(64 + 2 * i).value()}, Tables::kAll, PageSize::k2M);
  rig.tables.map(one, PhysAddr{gib(1).value()}, Tables::kAll, PageSize::k1G);
  for (int round = 0; round < 2; ++round) {
    for (uint64_t i = 0; i < 40; ++i) rig.touch(two + mib(2 * i) + Bytes{i * 4096});
    rig.touch(one + mib(100 * round));
  }
  const MmuCounters& c = rig.mmu.counters();
  EXPECT_EQ(c.l1d.misses_by_size[1], 80u) << "40 pages of 2 MiB go round in 32 entries of 8 sets";
  EXPECT_EQ(c.l1d.misses_by_size[2], 1u);
  EXPECT_EQ(c.l2.misses_by_size[1], 40u);
  EXPECT_EQ(c.l2.misses_by_size[2], 1u);
  EXPECT_EQ(rig.mmu.translate(one + Bytes{12345}, Access::Read, Privilege::User)->address, PhysAddr{gib(1).value() + 12345});
  rig.mmu.verify();
}

TEST(Mmu, WithoutAnArrayForLargePagesPiecesAreCachedAndGoTogether) {
  TlbConfig config = find_tlb_preset("nehalem")->config;
  config.l1d_2m = kNoTlb;
  MmuRig rig(config, gib(4));
  const VirtAddr one{0x80'0000'0000};
  rig.tables.map(one, PhysAddr{gib(1).value()}, Tables::kAll, PageSize::k1G);
  for (uint64_t i = 0; i < 4; ++i) rig.touch(one + mib(300 * i % 1000) + Bytes{i * 4096});
  EXPECT_EQ(rig.mmu.counters().walks, 4u) << "four pieces";
  rig.touch(one + Bytes{8});
  EXPECT_EQ(rig.mmu.counters().walks, 4u);
  rig.mmu.verify();
  rig.tables.unmap(one, PageSize::k1G);
  rig.mmu.invalidate_page(one + mib(700), Pcid{1}, FlushReason::LocalShootdown);
  rig.mmu.verify();
}

TEST(Mmu, InvalidatingALargePageEvictsItsFilledPiecesFromTheSoftTlb) {
  MmuRig rig({}, gib(4));
  const VirtAddr two{0x4000'0000}, one{0x80'0000'0000};
  rig.tables.map(two, PhysAddr{mib(64).value()}, Tables::kAll, PageSize::k2M);
  rig.tables.map(two + mib(2), PhysAddr{mib(66).value()}, Tables::kAll, PageSize::k2M);
  rig.tables.map(one, PhysAddr{gib(1).value()}, Tables::kAll, PageSize::k1G);
  const auto fill = [&](VirtAddr a) {
    ASSERT_TRUE(rig.mmu.resolve(a, Access::Read, Privilege::User).has_value());
    rig.soft.fill(a, false);
  };
  for (uint64_t i = 0; i < 20; ++i) fill(two + Pages{i * 7});
  fill(two + mib(2));
  const size_t flushes = rig.soft.flushes;
  rig.mmu.invalidate_page(two + Pages{500}, Pcid{1}, FlushReason::LocalShootdown);
  EXPECT_EQ(rig.soft.pages.size(), 1u);
  EXPECT_EQ(rig.soft.flushes, flushes);
  fill(one + mib(900));
  rig.mmu.invalidate_page(one, Pcid{1}, FlushReason::LocalShootdown);
  EXPECT_FALSE(rig.soft.answers(one + mib(900), Access::Read));
}

TEST(Mmu, CachedRightsIncludeThoseOfTheLevelsThatACacheSkipped) {
  MmuRig rig;
  map_pages(rig, 2);
  for (uint64_t right : {Pte::kWritable, Pte::kNoExecute, Pte::kUser}) {
    rig.tables.entry(page(0), 3) ^= right;
    rig.mmu.flush_all(FlushReason::LocalMmShootdown);
    for (uint64_t i = 0; i < 2; ++i) ASSERT_TRUE(rig.mmu.translate(page(i), Access::Read, Privilege::Supervisor).has_value());
    rig.mmu.verify();
    rig.tables.entry(page(0), 3) ^= right;
  }
}

TEST(Mmu, AFlushedPageIsColdAgain) {
  MmuRig rig;
  map_pages(rig, 200);
  const auto cold_walks_for_one_round = [&] {
    const uint64_t before = rig.mmu.counters().cold_walks;
    for (uint64_t i = 0; i < 200; ++i) rig.touch(page(i));
    return rig.mmu.counters().cold_walks - before;
  };
  EXPECT_EQ(cold_walks_for_one_round(), 200u);
  EXPECT_EQ(cold_walks_for_one_round(), 0u);
  rig.mmu.flush_pcid(Pcid{2}, FlushReason::LocalMmShootdown);
  EXPECT_EQ(cold_walks_for_one_round(), 0u);
  rig.mmu.flush_pcid(Pcid{1}, FlushReason::LocalMmShootdown);
  EXPECT_EQ(cold_walks_for_one_round(), 200u);
  rig.mmu.flush_all(FlushReason::LocalMmShootdown);
  EXPECT_EQ(cold_walks_for_one_round(), 200u);
}

TEST(Mmu, AFillThatCostsAFlushIsStillRemembered) {
  TlbConfig config;
  config.l1d_1g = {1, 1, Replacement::Fifo};
  MmuRig rig(config, gib(4));
  rig.mmu.set_soft_follows_l1d(true);
  const VirtAddr one{0x80'0000'0000};
  for (uint64_t i = 0; i < 2; ++i) {
    const VirtAddr a = one + gib(i) + mib(500);
    rig.tables.map(a, PhysAddr{gib(1 + i).value()}, Tables::kAll, PageSize::k1G);
    ASSERT_TRUE(rig.mmu.resolve(a, Access::Read, Privilege::User).has_value());
    ASSERT_TRUE(rig.mmu.count_fill(a, Access::Read).readable);
    rig.soft.fill(a, false);
  }
  EXPECT_EQ(rig.soft.pages.size(), 1u) << "the second page evicted the first";
  rig.mmu.invalidate_page(one + gib(1), Pcid{1}, FlushReason::LocalShootdown);
  EXPECT_TRUE(rig.soft.pages.empty());
}

TEST(Mmu, FastModeCountsFaultsAndFlushesOnly) {
  MmuRig rig;
  rig.mmu.set_tlb_modelled(false);
  map_pages(rig, 2);
  EXPECT_TRUE(rig.touch(page(0)));
  rig.mmu.count_access(page(1), Access::Read);
  EXPECT_FALSE(rig.touch(page(2)));
  EXPECT_EQ(rig.mmu.counters().l1d.accesses, 0u);
  EXPECT_EQ(rig.mmu.counters().walks, 0u);
  EXPECT_EQ(rig.mmu.counters().faulting_walks, 1u);
  rig.mmu.verify();
}

TEST(Mmu, TracesOneLineForEachFirstLevelMiss) {
  MmuRig rig;
  map_pages(rig, 1);
  auto& lines = rig.trace("tlb-miss,tlb-flush");
  rig.touch(page(0));
  rig.mmu.count_access(page(0), Access::Fetch);
  rig.touch(page(0));
  rig.mmu.invalidate_pages(page(0), Pages{3}, Pcid{1}, FlushReason::LocalShootdown);
  rig.mmu.flush_all(FlushReason::RemoteShootdown);
  EXPECT_EQ(lines, (std::vector<std::string>{"tlb_miss: level=l2 address=0x7f0000000000 page_size=4K refs=4",
                                             "tlb_miss: level=l1i address=0x7f0000000000 page_size=4K refs=0",
                                             "tlb_flush: pages:3 reason:local shootdown (2)", "tlb_flush: pages:-1 reason:remote shootdown (1)"}));
}

TEST(Mmu, InspectHasNoEffect) {
  MmuRig rig;
  map_pages(rig, 1);
  EXPECT_TRUE(rig.mmu.inspect(page(0)).ok);
  EXPECT_FALSE(rig.mmu.inspect(page(1)).ok);
  EXPECT_FALSE(Pte{rig.tables.entry(page(0))}.accessed());
  EXPECT_EQ(rig.mmu.counters().faulting_walks, 0u);
}

TEST(Mmu, ContentsCanBeListedSetBySet) {
  MmuRig rig;
  map_pages(rig, 40);
  for (uint64_t i = 0; i < 40; ++i) rig.touch(page(i));
  size_t l1d = 0, l2 = 0, pde = 0;
  rig.mmu.tlbs().visit([&](const TlbHierarchy::Slot& slot) {
    l1d += slot.array == "l1d-4k";
    l2 += slot.array == "l2";
    pde += slot.array == "psc-pde";
    EXPECT_TRUE(slot.array != "l1d-4k" || slot.set == slot.page.vpn().value() % 16);
    EXPECT_TRUE(slot.array != "psc-pde" || slot.page == kBase);
    EXPECT_EQ(slot.pcid, Pcid{1});
  });
  EXPECT_EQ(l1d, 40u);
  EXPECT_EQ(l2, 40u);
  EXPECT_EQ(pde, 1u);
  for (const auto& array : rig.mmu.tlbs().arrays()) EXPECT_TRUE(array.name != "l2" || array.valid == 40);
}

using MmuDeathTest = testing::Test;
TEST(MmuDeathTest, VerifyFindsATranslationThatTheTablesNoLongerHold) {
  MmuRig rig;
  map_pages(rig, 1);
  rig.touch(page(0));
  rig.tables.unmap(page(0));
  EXPECT_DEATH(rig.mmu.verify(), "which is not mapped");
}

// Two levels of LRU lists, as simple as can be.
struct NaiveLru {
  unsigned sets, ways;
  std::vector<std::deque<uint64_t>> lists = std::vector<std::deque<uint64_t>>(sets);
  bool hit(uint64_t page) {
    auto& list = lists[page % sets];
    const bool found = std::erase(list, page) != 0;
    list.push_back(page);
    if (list.size() > ways) list.pop_front();
    return found;
  }
};

TEST(MmuProperty, CountsAsTwoListsOfPagesDo) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    TlbConfig config;
    config.l1d_4k = {16, 4, Replacement::Lru};
    config.l2 = {64, 8, Replacement::Lru};
    MmuRig rig(config);
    map_pages(rig, 120);
    NaiveLru l1{4, 4}, l2{8, 8};
    uint64_t l1_misses = 0, l2_misses = 0;
    Rng rng(seed);
    for (int i = 0; i < 20000; ++i) {
      const uint64_t n = rng.below(10) < 7 ? rng.below(20) : rng.below(120);
      rig.mmu.count_access(page(n), Access::Read);
      const uint64_t vpn = page(n).vpn().value();
      if (l1.hit(vpn)) continue;
      ++l1_misses;
      l2_misses += !l2.hit(vpn);
    }
    EXPECT_EQ(rig.mmu.counters().l1d.misses, l1_misses) << "seed " << seed;
    EXPECT_EQ(rig.mmu.counters().l2.misses, l2_misses) << "seed " << seed;
    EXPECT_GT(l2_misses, 1000u);
    rig.mmu.verify();
  }
}

}  // namespace
}  // namespace vitro::hw
