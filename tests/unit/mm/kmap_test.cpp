// High memory and the kernel's temporary mappings of it.
#include "vitro/mm/kmap.h"

#include "virtual_memory_rig.h"
#include "vitro/mm/kernel_stacks.h"
#include "vitro/mm/slab_allocator.h"
#include "vitro/mm/vmalloc.h"

namespace vitro::mm::test {
namespace {

class HighMemory : public VirtualMemoryRig {
 protected:
  HighMemory() : VirtualMemoryRig(mib(64), {.highmem_start = mib(32)}) {}
  Kmap& kmap() { return vm_->kmap(); }
  Pfn high() {
    const Pfn f = *physical_->allocator().allocate(Gfp::HighUser);
    EXPECT_TRUE(physical_->in_high_memory(f));
    return f;
  }
};

TEST_F(HighMemory, IsAZoneThatOnlyUserPagesAndVmallocUse) {
  const Zone& zone = physical_->zones()[kZoneHighMem];
  EXPECT_EQ(zone.first(), Pfn{mib(32).pages_down().value()});
  EXPECT_EQ(zone.managed(), mib(32).pages_down());
  EXPECT_NE(physical_->buddyinfo().find("zone  HighMem"), std::string::npos);
  EXPECT_NE(physical_->zoneinfo().find("zone  HighMem"), std::string::npos);
  for (const Gfp flags : {Gfp::Kernel, Gfp::User, Gfp::Kernel | Gfp::Zero}) {
    const Pfn f = *physical_->allocator().allocate(flags);
    EXPECT_FALSE(physical_->in_high_memory(f)) << gfp_text(flags);
    physical_->allocator().free(f);
  }
  for (const Gfp flags : {Gfp::HighUser, Gfp::HighUserMovable}) {
    const Pfn f = *physical_->allocator().allocate(flags);
    EXPECT_TRUE(physical_->in_high_memory(f)) << gfp_text(flags);
    physical_->allocator().free(f);
  }
  const VirtAddr v = *vm_->vmalloc().allocate(kib(64));
  EXPECT_TRUE(physical_->in_high_memory(*vm_->vmalloc().frame_of(v)));
  vm_->vmalloc().free(v);
  // The kernel runs out of low memory while high memory is free.
  std::vector<Pfn> all;
  while (const auto f = physical_->allocator().allocate(Gfp::Kernel)) all.push_back(*f);
  EXPECT_EQ(zone.free_frames() + zone.per_cpu_frames(), zone.managed());
  for (Pfn f : all) physical_->allocator().free(f);
}

TEST_F(HighMemory, IsNotInTheDirectMap) {
  auto s = make_space();
  load(*s);
  EXPECT_TRUE(mmu_->translate(kDirectMapBase + mib(32) - Bytes{1}, hw::Access::Read, hw::Privilege::Supervisor));
  EXPECT_FALSE(mmu_->translate(kDirectMapBase + mib(32), hw::Access::Read, hw::Privilege::Supervisor));
}

TEST_F(HighMemory, KmapSharesASlotAndKeepsItUntilTheSearchComesRound) {
  const Pfn f = high();
  const VirtAddr a = *kmap().map(f);
  EXPECT_EQ(*kmap().map(f), a);
  EXPECT_EQ(kmap().slots()[(a - Kmap::slot_address(0)).pages_down().value()].count, 3u);
  auto s = make_space();
  load(*s);
  EXPECT_EQ(mmu_->translate(a, hw::Access::Write, hw::Privilege::Supervisor)->address, f.address());
  ASSERT_TRUE(kmap().unmap(f));
  ASSERT_TRUE(kmap().unmap(f));
  EXPECT_EQ(kmap().unmap(f).error(), KmapError::NotMapped);
  EXPECT_EQ(*kmap().map(f), a);  // still there
  ASSERT_TRUE(kmap().unmap(f));
  // Once round: the unused slots are cleared with one flush.
  std::vector<Pfn> frames;
  for (unsigned i = 0; i < Kmap::kSlots; ++i) {
    frames.push_back(high());
    ASSERT_TRUE(kmap().map(frames.back()));
  }
  EXPECT_EQ(kmap().counters().flushes, 1u);
  EXPECT_FALSE(kmap().address_of(f));
  EXPECT_EQ(kmap().map(f).error(), KmapError::NoSlot);  // all in use, and nobody here can wait
  for (Pfn each : frames) EXPECT_TRUE(kmap().unmap(each));
  EXPECT_TRUE(kmap().map(f));
  EXPECT_TRUE(kmap().unmap(f));
  kmap().verify();
  for (Pfn each : frames) physical_->allocator().free(each);
  physical_->allocator().free(f);
}

TEST_F(HighMemory, AtomicSlotsAreAStack) {
  const Pfn f = high(), g = high();
  const VirtAddr a = *kmap().map_atomic(f), b = *kmap().map_atomic(g);
  EXPECT_EQ(b, a + Pages{1});
  EXPECT_EQ(kmap().unmap_atomic(a).error(), KmapError::WrongOrder);
  EXPECT_TRUE(kmap().unmap_atomic(b));
  EXPECT_TRUE(kmap().unmap_atomic(a));
  EXPECT_EQ(kmap().unmap_atomic(a).error(), KmapError::NotMapped);
  for (unsigned i = 0; i < Kmap::kAtomicSlots; ++i) ASSERT_TRUE(kmap().map_atomic(f));
  EXPECT_EQ(kmap().map_atomic(f).error(), KmapError::NoSlot);
  for (unsigned i = Kmap::kAtomicSlots; i-- > 0;) ASSERT_TRUE(kmap().unmap_atomic(Kmap::atomic_address(0, i)));
  kmap().verify();
  physical_->allocator().free(f);
  physical_->allocator().free(g);
}

TEST_F(HighMemory, LowFramesNeedNoSlot) {
  const Pfn f = *physical_->allocator().allocate(Gfp::Kernel);
  EXPECT_EQ(*kmap().map(f), direct_map(f.address()));
  EXPECT_EQ(*kmap().map_atomic(f), direct_map(f.address()));
  EXPECT_TRUE(kmap().unmap(f));
  EXPECT_EQ(kmap().counters().maps + kmap().counters().atomic_maps, 0u);
  physical_->allocator().free(f);
}

TEST_F(HighMemory, WhatTheKernelDoesToHighPagesHasItsCost) {
  Nanoseconds charged{0};
  vm_->set_charge([&](Nanoseconds n) { charged += n; });
  auto s = make_space();
  load(*s);
  const VirtAddr a = must(s->mmap(anonymous(kib(64))));
  for (Pages i{0}; i < Pages{16}; ++i) touch(*s, a + i);
  EXPECT_EQ(kmap().counters().atomic_maps, 16u);  // clear_highpage
  EXPECT_EQ(charged, timing_.kmap_atomic * 16);
  vm_->set_charge(nullptr);
}

// --- page-table isolation ---

class IsolatedTables : public VirtualMemoryRig {
 protected:
  IsolatedTables() : VirtualMemoryRig(mib(32), {}, Isolation::On) {}
  void enter_user(AddressSpace& s) {
    mmu_->switch_isolation(s.user_page_table_root(), hw::Pcid{static_cast<uint16_t>(s.pcid().value() | hw::Mmu::kUserPcidBit)});
  }
};

TEST_F(IsolatedTables, UserModeSeesItsOwnHalfAndTheEntryAreaOnly) {
  auto s = make_space();
  load(*s);
  EXPECT_EQ(s->user_page_table_root(), s->page_table_root() + Bytes{kPageSize});
  const VirtAddr a = must(s->mmap(anonymous(kib(64))));
  touch(*s, a);
  EXPECT_TRUE(mmu_->translate(kDirectMapBase, hw::Access::Read, hw::Privilege::Supervisor));
  // What user mode may execute, the kernel may not.
  ASSERT_TRUE(s->mprotect(a, kib(4), VmFlag::Read | VmFlag::Exec));
  look(*s, a);
  EXPECT_FALSE(mmu_->translate(a, hw::Access::Fetch, hw::Privilege::User));
  enter_user(*s);
  EXPECT_TRUE(mmu_->translate(a, hw::Access::Fetch, hw::Privilege::User));
  EXPECT_FALSE(mmu_->translate(kDirectMapBase, hw::Access::Read, hw::Privilege::Supervisor));
  EXPECT_FALSE(mmu_->translate(kVmallocBase, hw::Access::Read, hw::Privilege::Supervisor));
  EXPECT_TRUE(mmu_->translate(kCpuEntryArea, hw::Access::Read, hw::Privilege::Supervisor));
  EXPECT_FALSE(mmu_->translate(kCpuEntryArea, hw::Access::Write, hw::Privilege::Supervisor));
  EXPECT_FALSE(mmu_->translate(kCpuEntryArea, hw::Access::Read, hw::Privilege::User));
  EXPECT_TRUE(mmu_->translate(kCpuEntryArea + kib(4), hw::Access::Fetch, hw::Privilege::Supervisor));  // the trampoline
  verify();
  load(*s);
  verify();
}

TEST_F(IsolatedTables, EachSideHasItsOwnTranslationsAndBothAreDropped) {
  auto s = make_space();
  load(*s);
  const VirtAddr a = must(s->mmap(anonymous(kib(64))));
  touch(*s, a);
  enter_user(*s);
  const auto misses = [this] { return mmu_->counters().l1d.misses; };
  const uint64_t before = misses();
  EXPECT_TRUE(mmu_->translate(a, hw::Access::Write, hw::Privilege::User));
  EXPECT_EQ(misses(), before + 1);  // the kernel's translation is no use here
  EXPECT_TRUE(mmu_->translate(a, hw::Access::Write, hw::Privilege::User));
  EXPECT_EQ(misses(), before + 1);
  mmu_->switch_isolation(s->page_table_root(), s->pcid());
  EXPECT_TRUE(mmu_->translate(a, hw::Access::Write, hw::Privilege::User));
  EXPECT_EQ(misses(), before + 1);  // both are still there
  ASSERT_TRUE(s->munmap(a, kib(64)));
  EXPECT_FALSE(mmu_->translate(a, hw::Access::Read, hw::Privilege::User));
  enter_user(*s);
  EXPECT_FALSE(mmu_->translate(a, hw::Access::Read, hw::Privilege::User));
  EXPECT_EQ(mmu_->counters().isolation_switches, 3u);
  verify();
}

TEST_F(IsolatedTables, ProcessesCostAnotherTableAndGiveItBack) {
  const auto tables = [this] { return physical_->frames_by_state()[static_cast<size_t>(FrameState::PageTable)]; };
  const uint64_t before = tables();
  {
    auto s = make_space();
    EXPECT_EQ(tables(), before + 2);
    load(*s);
    touch(*s, must(s->mmap(anonymous(kib(4)))));
    auto child = std::move(*s->fork());
    EXPECT_EQ(tables(), before + 4 + 6);
    verify();
  }
  EXPECT_EQ(tables(), before);
}

}  // namespace
}  // namespace vitro::mm::test
