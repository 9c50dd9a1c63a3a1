#include "vitro/hw/page_walker.h"

#include <cstring>
#include <map>
#include <vector>

#include "test_tables.h"
#include "vitro/base/rng.h"

namespace vitro::hw {
namespace {

using test::make_ram;
using test::Tables;

constexpr VirtAddr kAddress{0x7f12'3456'7000};
constexpr uint32_t P = FaultCode::kProtection, W = FaultCode::kWrite, U = FaultCode::kUser, R = FaultCode::kReserved, I = FaultCode::kFetch;

struct PageWalker : testing::Test {
  std::unique_ptr<Ram> ram = make_ram(gib(4));
  Tables tables{*ram};
  WalkResult look(VirtAddr a, Access access = Access::Read, Privilege p = Privilege::User, SetAccessedDirty set = SetAccessedDirty::Yes) {
    return walk(*ram, tables.root(), a, access, p, set);
  }
};

TEST_F(PageWalker, TranslatesThroughFourLevels) {
  tables.map(kAddress, PhysAddr{0x5000});
  const WalkResult w = look(kAddress + Bytes{0x123});
  ASSERT_TRUE(w.ok);
  EXPECT_EQ(w.address, PhysAddr{0x5123});
  EXPECT_EQ(w.size, PageSize::k4K);
  EXPECT_EQ(w.references, 4u);
  for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(w.steps[i].level, 4 - i);
  EXPECT_TRUE(w.writable && w.executable && w.user);
}

TEST_F(PageWalker, TranslatesLargePages) {
  tables.map(VirtAddr{0x4020'0000}, PhysAddr{0x60'0000}, Tables::kAll, PageSize::k2M);
  tables.map(VirtAddr{0x80'0000'0000}, PhysAddr{0x4000'0000}, Tables::kAll, PageSize::k1G);
  const WalkResult two = look(VirtAddr{0x4031'2345});
  ASSERT_TRUE(two.ok);
  EXPECT_EQ(two.address, PhysAddr{0x71'2345});
  EXPECT_EQ(two.size, PageSize::k2M);
  EXPECT_EQ(two.references, 3u);
  const WalkResult one = look(VirtAddr{0x80'2345'6789});
  ASSERT_TRUE(one.ok);
  EXPECT_EQ(one.address, PhysAddr{0x6345'6789});
  EXPECT_EQ(one.size, PageSize::k1G);
  EXPECT_EQ(one.references, 2u);
}

TEST_F(PageWalker, NonCanonicalIsAGeneralProtectionFault) {
  for (uint64_t a : {0x0000'8000'0000'0000ull, 0xffff'7fff'ffff'ffffull, 0x8000'0000'0000'0000ull}) {
    const WalkResult w = look(VirtAddr{a});
    EXPECT_FALSE(w.ok);
    EXPECT_TRUE(w.fault.general_protection);
    EXPECT_EQ(w.fault.error_code, 0u);
    EXPECT_EQ(w.references, 0u);
  }
  EXPECT_FALSE(look(VirtAddr{0xffff'8000'0000'0000}).fault.general_protection);
}

TEST_F(PageWalker, NotPresentSaysWhoAsked) {
  EXPECT_EQ(look(kAddress, Access::Read).fault.error_code, U);
  EXPECT_EQ(look(kAddress, Access::Write).fault.error_code, U | W);
  EXPECT_EQ(look(kAddress, Access::Fetch).fault.error_code, U | I);
  EXPECT_EQ(look(kAddress, Access::Write, Privilege::Supervisor).fault.error_code, W);
  EXPECT_EQ(look(kAddress).references, 1u);
  EXPECT_EQ(look(kAddress).fault.address, kAddress);
}

TEST_F(PageWalker, RightsOfAllLevelsTogether) {
  tables.map(kAddress, PhysAddr{0x5000});
  for (Level level = 1; level <= 4; ++level) {
    const uint64_t before = tables.entry(kAddress, level);
    tables.entry(kAddress, level) = before & ~Pte::kWritable;
    EXPECT_EQ(look(kAddress, Access::Write).fault.error_code, P | U | W) << level;
    EXPECT_EQ(look(kAddress, Access::Write, Privilege::Supervisor).fault.error_code, P | W) << "CR0.WP, level " << level;
    EXPECT_TRUE(look(kAddress, Access::Read).ok);
    tables.entry(kAddress, level) = before & ~Pte::kUser;
    EXPECT_EQ(look(kAddress, Access::Read).fault.error_code, P | U) << level;
    EXPECT_TRUE(look(kAddress, Access::Write, Privilege::Supervisor).ok);
    tables.entry(kAddress, level) = before | Pte::kNoExecute;
    EXPECT_EQ(look(kAddress, Access::Fetch).fault.error_code, P | U | I) << level;
    EXPECT_TRUE(look(kAddress, Access::Write).ok);
    tables.entry(kAddress, level) = before;
  }
}

TEST_F(PageWalker, ReservedBitsAreRefusedAtEveryLevel) {
  tables.map(kAddress, PhysAddr{0x5000});
  for (Level level = 1; level <= 4; ++level)
    for (unsigned bit = kPhysicalBits; bit < 52; ++bit) {
      uint64_t& entry = tables.entry(kAddress, level);
      entry |= uint64_t{1} << bit;
      EXPECT_EQ(look(kAddress).fault.error_code, P | R | U) << "level " << level << " bit " << bit;
      entry &= ~(uint64_t{1} << bit);
    }
  for (unsigned bit = 52; bit < 63; ++bit) tables.entry(kAddress) |= uint64_t{1} << bit;  // ignored bits
  EXPECT_TRUE(look(kAddress).ok);
  tables.entry(kAddress, 4) |= Pte::kLarge;
  EXPECT_EQ(look(kAddress, Access::Write).fault.error_code, P | R | U | W);
}

TEST_F(PageWalker, AddressBitsInsideALargePageAreReserved) {
  const VirtAddr two{0x4000'0000}, one{0x80'0000'0000};
  for (unsigned bit = 13; bit < 30; ++bit) {
    tables.map(one, PhysAddr{0x4000'0000}, Tables::kAll | uint64_t{1} << bit, PageSize::k1G);
    EXPECT_EQ(look(one).fault.error_code, P | R | U) << bit;
    if (bit > 20) continue;
    tables.map(two, PhysAddr{0x60'0000}, Tables::kAll | uint64_t{1} << bit, PageSize::k2M);
    EXPECT_EQ(look(two).fault.error_code, P | R | U) << bit;
  }
  tables.map(two, PhysAddr{0x60'0000}, Tables::kAll | uint64_t{1} << 12, PageSize::k2M);  // PAT
  EXPECT_TRUE(look(two).ok);
}

TEST_F(PageWalker, TablesAndFramesBeyondRamAreReservedBitFaults) {
  tables.map(kAddress, PhysAddr{gib(4).value()});
  EXPECT_EQ(look(kAddress).fault.error_code, P | R | U);
  tables.map(kAddress, PhysAddr{gib(4).value() - kPageSize});
  EXPECT_TRUE(look(kAddress).ok);
  tables.map(VirtAddr{0x4000'0000}, PhysAddr{gib(4).value()}, Tables::kAll, PageSize::k2M);
  EXPECT_EQ(look(VirtAddr{0x4000'0000}).fault.error_code, P | R | U);
  tables.entry(kAddress, 2) = make_pte(Pfn{gib(1024).value() / kPageSize - 1}, Tables::kAll).raw;
  EXPECT_EQ(look(kAddress).fault.error_code, P | R | U);
  EXPECT_EQ(walk(*ram, PhysAddr{gib(900).value()}, kAddress, Access::Read, Privilege::Supervisor, SetAccessedDirty::Yes).fault.error_code,
            P | R);
}

TEST_F(PageWalker, SetsAccessedOnTheWayAndDirtyOnWrites) {
  tables.map(kAddress, PhysAddr{0x5000});
  look(kAddress, Access::Read, Privilege::User, SetAccessedDirty::No);
  for (Level level = 1; level <= 4; ++level) EXPECT_FALSE(Pte{tables.entry(kAddress, level)}.accessed());
  EXPECT_TRUE(look(kAddress).leaf.accessed());
  for (Level level = 1; level <= 4; ++level) EXPECT_TRUE(Pte{tables.entry(kAddress, level)}.accessed()) << level;
  EXPECT_FALSE(Pte{tables.entry(kAddress)}.dirty());
  EXPECT_TRUE(look(kAddress, Access::Write).leaf.dirty());
  EXPECT_TRUE(Pte{tables.entry(kAddress)}.dirty());
  for (Level level = 2; level <= 4; ++level) EXPECT_FALSE(Pte{tables.entry(kAddress, level)}.dirty()) << level;
}

TEST_F(PageWalker, ARefusedWriteTouchesTheUpperLevelsOnly) {
  tables.map(kAddress, PhysAddr{0x5000}, Pte::kPresent | Pte::kUser);
  EXPECT_FALSE(look(kAddress, Access::Write).ok);
  EXPECT_TRUE(Pte{tables.entry(kAddress, 2)}.accessed());
  EXPECT_FALSE(Pte{tables.entry(kAddress)}.accessed());
  EXPECT_FALSE(Pte{tables.entry(kAddress)}.dirty());
}

TEST_F(PageWalker, StartsBelowTheTopWithTheRightsOfTheSkippedLevels) {
  tables.map(kAddress, PhysAddr{0x5000});
  const PhysAddr table = Pte{tables.entry(kAddress, 2)}.pfn().address();
  const WalkResult w = walk(*ram, table, kAddress, Access::Read, Privilege::User, SetAccessedDirty::No, 1);
  ASSERT_TRUE(w.ok);
  EXPECT_EQ(w.references, 1u);
  EXPECT_EQ(w.address, PhysAddr{0x5000});
  const UpperRights read_only{.writable = false};
  EXPECT_EQ(walk(*ram, table, kAddress, Access::Write, Privilege::User, SetAccessedDirty::No, 1, read_only).fault.error_code, P | U | W);
}

// A second walker, written from the SDM in another style: recursion over levels on plain integers.
struct Expected {
  bool ok = false;
  uint64_t physical = 0;
  unsigned span_bits = 12, references = 0;
  uint32_t code = 0;
  bool w = true, u = true, x = true;
  std::vector<std::pair<uint64_t, uint64_t>> stores;  // address of an entry, bits set in it
};

void reference_walk(const Ram& ram, uint64_t table, unsigned shift, uint64_t va, Access access, bool user, Expected& e) {
  const uint32_t asked = (access == Access::Write ? 2 : 0) | (user ? 4 : 0) | (access == Access::Fetch ? 16 : 0);
  const uint64_t where = table + ((va >> shift) % 512) * 8;
  const uint64_t ram_end = ram.size().value();
  if (where + 8 > ram_end) {
    e.code = 9 | asked;
    return;
  }
  uint64_t entry;
  std::memcpy(&entry, ram.host_base() + where, 8);
  ++e.references;
  if (entry % 2 == 0) {
    e.code = asked;
    return;
  }
  const bool ps = entry >> 7 & 1, leaf = shift == 12 || (ps && shift != 39);
  bool reserved = ((entry >> 40) & 0xfff) != 0 || (shift == 39 && ps);
  if (leaf && shift > 12) reserved = reserved || ((entry >> 13) & ((1ull << (shift - 13)) - 1)) != 0;
  const uint64_t target = entry & 0xff'ffff'f000;
  const uint64_t page = target >> shift << shift;
  if (!reserved && leaf && page + (1ull << shift) > ram_end) {
    e.w = e.w && (entry >> 1 & 1), e.u = e.u && (entry >> 2 & 1), e.x = e.x && !(entry >> 63);
    e.code = 9 | asked;
    return;
  }
  if (reserved) {
    e.code = 9 | asked;
    return;
  }
  e.w = e.w && (entry >> 1 & 1);
  e.u = e.u && (entry >> 2 & 1);
  e.x = e.x && !(entry >> 63);
  if (!leaf) {
    e.stores.push_back({where, 0x20});
    return reference_walk(ram, target, shift - 9, va, access, user, e);
  }
  if ((user && !e.u) || (access == Access::Write && !e.w) || (access == Access::Fetch && !e.x)) {
    e.code = 1 | asked;
    return;
  }
  e.ok = true;
  e.span_bits = shift;
  e.physical = page | (va & ((1ull << shift) - 1));
  e.stores.push_back({where, access == Access::Write ? 0x60 : 0x20});
}

TEST(PageWalkerProperty, AgreesWithASecondWalkerOnRandomTables) {
  constexpr uint64_t kSeed = 20240611;
  Rng rng(kSeed);
  auto ram = make_ram(mib(2048));
  // 24 frames of random entries that mostly point at one another: any frame serves as a table of any level.
  constexpr uint64_t kTables = 24, kBase = 1 << 20;
  const auto random_entry = [&] {
    if (rng.below(12) == 0) return rng.next();
    uint64_t e = kBase + rng.below(kTables) * kPageSize;
    e |= (rng.below(16) ? 1 : 0) | (rng.below(6) ? 2 : 0) | (rng.below(6) ? 4 : 0) | (rng.next() & 0xf68);
    if (rng.below(6) == 0) e |= 1ull << 63;
    if (rng.below(4) == 0) e = (e & ~0xff'ffff'f000ull) | 0x80 | (rng.below(3) << 30) | (rng.below(3) ? 0 : rng.below(512) << 21);
    if (rng.below(40) == 0) e |= 1ull << (40 + rng.below(12));
    if (rng.below(40) == 0) e |= 1ull << (12 + rng.below(28));
    return e;
  };
  size_t ok[3] = {}, refused = 0;
  for (int round = 0; round < 20; ++round) {
    for (uint64_t at = kBase; at < kBase + kTables * kPageSize; at += 8) ram->at<uint64_t>(PhysAddr{at}) = random_entry();
    for (int i = 0; i < 2000; ++i) {
      const uint64_t root = kBase + rng.below(kTables) * kPageSize;
      const uint64_t va = static_cast<uint64_t>(static_cast<int64_t>(rng.next() << 16) >> 16);
      const auto access = static_cast<Access>(rng.below(3));
      const bool user = rng.below(2);
      const bool set = rng.below(4) != 0;
      Expected e;
      reference_walk(*ram, root, 39, va, access, user, e);
      std::vector<std::pair<uint64_t, uint64_t>> after;  // an entry may be used at two levels of one walk: apply in order
      for (auto [where, bits] : e.stores) after.push_back({where, ram->at<uint64_t>(PhysAddr{where}) | (set ? bits : 0)});
      std::map<uint64_t, uint64_t> final_values;
      for (size_t k = 0; k < after.size(); ++k) final_values[after[k].first] |= after[k].second;

      const WalkResult w = walk(*ram, PhysAddr{root}, VirtAddr{va}, access, user ? Privilege::User : Privilege::Supervisor,
                                set ? SetAccessedDirty::Yes : SetAccessedDirty::No);
      const auto context = testing::Message() << "seed " << kSeed << " round " << round << " access " << i << " va " << std::hex << va;
      ASSERT_EQ(w.ok, e.ok) << context;
      ASSERT_EQ(w.references, e.references) << context;
      if (e.ok) {
        ASSERT_EQ(w.address.value(), e.physical) << context;
        ASSERT_EQ(bytes(w.size).value(), 1ull << e.span_bits) << context;
        ASSERT_TRUE(w.writable == e.w && w.user == e.u && w.executable == e.x) << context;
        ++ok[static_cast<size_t>(w.size)];
      } else {
        ASSERT_EQ(w.fault.error_code, e.code) << context;
        ASSERT_EQ(w.fault.address.value(), va) << context;
        ASSERT_FALSE(w.fault.general_protection) << context;
        ++refused;
      }
      for (auto [where, value] : final_values) ASSERT_EQ(ram->at<uint64_t>(PhysAddr{where}), value) << context << " entry at " << where;
    }
  }
  EXPECT_GT(ok[0], 1000u);
  EXPECT_GT(ok[1], 1000u);
  EXPECT_GT(ok[2], 1000u);
  EXPECT_GT(refused, 1000u);
}

}  // namespace
}  // namespace vitro::hw
