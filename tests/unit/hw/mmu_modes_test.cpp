// `exact` and `trap` on the same random stream of accesses, faults, switches and invalidations: the same misses, the same tables.
#include <gtest/gtest.h>

#include "mmu_rig.h"

namespace vitro::hw {
namespace {

using test::MmuRig;
using test::Tables;

constexpr VirtAddr kSmall{0x7f00'0000'0000}, kTwo{0x4000'0000}, kOne{0x80'0000'0000};

// A CPU around the MMU: what the soft TLB answers is not asked again, and what faults is mapped and retried.
class Side {
 public:
  Side(const TlbConfig& config, bool trap) : rig_(config, gib(8)), trap_(trap) {
    rig_.mmu.set_soft_follows_l1d(trap);
    spaces_.push_back(rig_.tables);
    spaces_.push_back(Tables(*rig_.ram, Pfn{4096}));
  }
  void access(VirtAddr a, Access access, bool writable) {
    Mmu& mmu = rig_.mmu;
    if (access == Access::Fetch) {
      // The fill of a fetch gives no data rights; the block is counted in both modes.
      while (!mmu.resolve(a, access, Privilege::User)) map(a, writable);
      if (trap_) mmu.count_fill(a, access);
      mmu.count_access(a, access);
      return;
    }
    if (!rig_.soft.answers(a, access)) {
      while (true) {
        const auto t = mmu.resolve(a, access, Privilege::User);
        if (t) {
          if (trap_) {
            const Mmu::FillRights rights = mmu.count_fill(a, access);
            EXPECT_TRUE(rights.readable);
            EXPECT_TRUE(access != Access::Write || rights.writable);
            rig_.soft.fill(a, rights.writable);
          } else {
            rig_.soft.fill(a, t->writable && t->leaf.dirty());
          }
          break;
        }
        ++faults_;
        if (access == Access::Write && !writable) return;  // a real error: the program would die
        map(a, writable);
      }
    }
    if (!trap_) mmu.count_access(a, access);
  }
  void kernel_access(VirtAddr a, Access access) { (void)rig_.mmu.translate(a, access, Privilege::User); }
  void unmap(VirtAddr a, PageSize size) {
    current().unmap(a, size);
    rig_.mmu.invalidate_page(a, rig_.mmu.pcid(), FlushReason::LocalShootdown);
  }
  void switch_to(size_t space, bool keep) {
    space_ = space;
    rig_.mmu.load_cr3(current().root(), Pcid{static_cast<uint16_t>(space + 1)}, keep ? Mmu::KeepPcid::Yes : Mmu::KeepPcid::No);
  }
  void flush(uint64_t kind) {
    if (kind == 0)
      rig_.mmu.flush_all(FlushReason::RemoteShootdown);
    else
      rig_.mmu.flush_pcid(Pcid{static_cast<uint16_t>(kind)}, FlushReason::LocalMmShootdown);
  }
  // The law of `trap`: the soft TLB is never more generous than the simulated first level.
  void check() {
    rig_.mmu.verify();
    if (!trap_) return;
    const TlbHierarchy& tlbs = rig_.mmu.tlbs();
    const Pcid tag = tlbs.config().pcid ? rig_.mmu.pcid() : Pcid{0};
    for (const auto& [vpn, writable] : rig_.soft.pages) {
      const auto first = tlbs.peek_first(Vpn{vpn}.address(), Access::Read, tag);
      ASSERT_TRUE(first.has_value()) << std::hex << vpn;
      ASSERT_TRUE(!writable || first->has(TlbData::kWritable | TlbData::kDirty)) << std::hex << vpn;
    }
  }
  const MmuCounters& counters() const { return rig_.mmu.counters(); }
  uint64_t leaf(VirtAddr a) { return rig_.mmu.inspect(a).leaf.raw; }
  uint64_t faults() const { return faults_; }
  size_t soft_evictions() const { return rig_.soft.evictions; }

 private:
  Tables& current() { return spaces_[space_]; }
  // Where a page lies depends on its address only, so that both sides map alike.
  void map(VirtAddr a, bool writable) {
    const uint64_t flags = Pte::kPresent | Pte::kUser | (writable ? Pte::kWritable : 0);
    if (a >= kSmall)
      current().map(a, PhysAddr{gib(1).value()} + Bytes{(a - kSmall).value() & ~kPageOffsetMask}, flags);
    else if (a >= kOne)
      current().map(a, PhysAddr{gib(2).value()} + Bytes{(a - kOne).value() >> 30 << 30}, flags, PageSize::k1G);
    else
      current().map(a, PhysAddr{mib(256).value()} + Bytes{(a - kTwo).value() >> 21 << 21}, flags, PageSize::k2M);
  }
  MmuRig rig_;
  bool trap_;
  std::vector<Tables> spaces_;
  size_t space_ = 0;
  uint64_t faults_ = 0;
};

void expect_equal(const MmuCounters::Level& a, const MmuCounters::Level& b, const std::string& what) {
  EXPECT_EQ(a.misses, b.misses) << what;
  EXPECT_EQ(a.misses_by_size, b.misses_by_size) << what;
  EXPECT_EQ(a.misses_by_access, b.misses_by_access) << what;
}

void run_both(const TlbConfig& config, uint64_t seed, const std::string& name) {
  SCOPED_TRACE(name + " seed " + std::to_string(seed));
  Side exact(config, false), trap(config, true);
  Rng rng(seed);
  for (int i = 0; i < 12000; ++i) {
    VirtAddr a{0};
    PageSize size = PageSize::k4K;
    switch (rng.below(12)) {
      case 0:
        a = kOne + Bytes{rng.below(gib(5).value())}, size = PageSize::k1G;
        break;
      case 1:
      case 2:
      case 3:
        a = kTwo + Bytes{rng.below(mib(120).value())}, size = PageSize::k2M;
        break;
      default:
        a = kSmall + Pages{rng.below(rng.below(2) ? 40 : 300)} + Bytes{rng.below(4096)};
    }
    const bool writable = (a.value() >> 30 & 1) || (a.value() >> kPageShift) % 8 != 0;
    const auto access = static_cast<Access>(rng.below(3));
    const uint64_t what = rng.below(1000);
    const uint64_t r = rng.below(3);
    for (Side* side : {&exact, &trap}) {
      if (what < 4)
        side->switch_to(r % 2, what != 0);
      else if (what < 30)
        side->unmap(a, size);
      else if (what < 32)
        side->flush(r);
      else if (what < 80)
        side->kernel_access(a, access == Access::Fetch ? Access::Read : access);
      else
        side->access(a, access, writable);
    }
    ASSERT_EQ(exact.leaf(a), trap.leaf(a)) << "step " << i;
    if (i % 500 == 0) exact.check(), trap.check();
  }
  const MmuCounters &e = exact.counters(), &t = trap.counters();
  expect_equal(e.l1d, t.l1d, "l1d");
  expect_equal(e.l1i, t.l1i, "l1i");
  expect_equal(e.l2, t.l2, "l2");
  EXPECT_EQ(e.l2.hits, t.l2.hits);
  EXPECT_EQ(e.walks, t.walks);
  EXPECT_EQ(e.walk_references, t.walk_references);
  EXPECT_EQ(e.dirty_walks, t.dirty_walks);
  EXPECT_EQ(e.cold_walks, t.cold_walks);
  EXPECT_EQ(e.faulting_walks, t.faulting_walks);
  EXPECT_EQ(exact.faults(), trap.faults());
  EXPECT_TRUE(e.l1d_hits_known);
  EXPECT_FALSE(t.l1d_hits_known);
  EXPECT_GT(e.l1d.hits, 500u);
  EXPECT_GT(e.l2.hits, 500u);
  EXPECT_GT(e.walks, 500u);
  EXPECT_GT(trap.soft_evictions(), exact.soft_evictions());
}

TEST(MmuModes, TrapMissesWhereExactMissesUnderFifo) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    TlbConfig config;
    config.l1d_4k = {64, 4, Replacement::Fifo};
    config.l1d_2m = {32, 4, Replacement::Fifo};
    config.l1d_1g = {4, 4, Replacement::Fifo};
    run_both(config, seed, "64x4:fifo");
  }
}

TEST(MmuModes, TrapMissesWhereExactMissesUnderRandomReplacement) {
  TlbConfig config;
  config.l1d_4k = {16, 16, Replacement::Random};
  config.l1d_2m = {8, 2, Replacement::Random};
  config.l1d_1g = {1, 1, Replacement::Random};
  config.l2 = {128, 4, Replacement::TreePlru};
  run_both(config, 7, "16x16:random");
}

TEST(MmuModes, TrapMissesWhereExactMissesWithOneArrayForAllSizes) {
  TlbConfig config = find_tlb_preset("zen2")->config;
  config.l1d_4k = {64, 64, Replacement::Fifo};
  run_both(config, 11, "zen2, fifo");
}

TEST(MmuModes, TrapMissesWhereExactMissesWithPiecesOfLargePages) {
  TlbConfig config = find_tlb_preset("nehalem")->config;
  config.l1d_4k.policy = config.l1d_2m.policy = Replacement::Fifo;
  run_both(config, 13, "nehalem, fifo");
}

}  // namespace
}  // namespace vitro::hw
