// Page faults by kind: what is mapped, counted and reported.
#include "unit/mm/virtual_memory_rig.h"

namespace vitro::mm::test {
namespace {

using Result = FaultOutcome::Result;

class PageFault : public VirtualMemoryRig {
 protected:
  PageFault() : space_(make_space()) { load(*space_); }
  VirtAddr map(Bytes n) { return must(space_->mmap(anonymous(n))); }
  std::unique_ptr<AddressSpace> space_;
};

TEST_F(PageFault, ReadingUntouchedMemoryMapsTheSharedZeroPage) {
  const VirtAddr a = map(kib(16));
  const auto before = stat(VmItem::pgfault);
  EXPECT_EQ(look(*space_, a).kind, FaultKind::Zero);
  EXPECT_EQ(entry(*space_, a).pfn(), physical_->zero_frame());
  EXPECT_FALSE(entry(*space_, a).writable());
  EXPECT_EQ(space_->usage().rss_anon, 0u);
  EXPECT_EQ(stat(VmItem::pgfault), before + 1);
  EXPECT_EQ(recorder_.reports.back().error_code, hw::FaultCode::kUser);
  EXPECT_EQ(recorder_.reports.back().cost, timing_.fault_entry + timing_.fault_zero_page);
  verify();
}

TEST_F(PageFault, WritingUntouchedMemoryMapsAClearedFrame) {
  const VirtAddr a = map(kib(16));
  EXPECT_EQ(touch(*space_, a + Bytes{5}).kind, FaultKind::Anon);
  const Pte pte = entry(*space_, a);
  EXPECT_TRUE(pte.writable() && pte.dirty() && pte.accessed() && pte.user() && pte.no_execute());
  EXPECT_EQ(frame(pte.pfn()).state, FrameState::Anonymous);
  EXPECT_EQ(frame(pte.pfn()).mapcount, 1u);
  EXPECT_EQ(space_->usage().rss_anon, 1u);
  EXPECT_EQ(stat(VmItem::nr_anon_pages), 1);
  EXPECT_EQ(stat(VmItem::nr_inactive_anon), 1);
  EXPECT_EQ(recorder_.reports.back().error_code, hw::FaultCode::kUser | hw::FaultCode::kWrite);
  EXPECT_EQ(recorder_.reports.back().pfn, pte.pfn());
  verify();
}

TEST_F(PageFault, WritingAfterReadingReplacesTheZeroPage) {
  const VirtAddr a = map(kib(4));
  look(*space_, a);
  EXPECT_EQ(touch(*space_, a).kind, FaultKind::Cow);
  EXPECT_EQ(recorder_.reports.back().error_code, hw::FaultCode::kUser | hw::FaultCode::kWrite | hw::FaultCode::kProtection);
  EXPECT_EQ(space_->usage().rss_anon, 1u);
  EXPECT_EQ(peek(*space_, a), 0);
  verify();
}

TEST_F(PageFault, RefusesWithTheRightReason) {
  MmapRequest r = anonymous(kib(4));
  r.protection = VmFlag::Read;
  const VirtAddr read_only = must(space_->mmap(r));
  EXPECT_EQ(touch(*space_, read_only).result, Result::SegvAccessError);
  EXPECT_EQ(access(*space_, read_only, hw::Access::Fetch).result, Result::SegvAccessError);
  r.protection = VmFlag::None;
  const VirtAddr none = must(space_->mmap(r));
  EXPECT_EQ(look(*space_, none).result, Result::SegvAccessError);
  EXPECT_EQ(look(*space_, VirtAddr{8}).result, Result::SegvMapError);
  EXPECT_EQ(look(*space_, kDirectMapBase).result, Result::SegvMapError);
  EXPECT_EQ(recorder_.reports.back().kind, FaultKind::Bad);
  EXPECT_EQ(recorder_.reports.back().error_code, hw::FaultCode::kUser | hw::FaultCode::kProtection);
  EXPECT_EQ(space_->handle_fault(VirtAddr{0x8000'0000'0000'0000}, hw::Access::Read, hw::Privilege::User, MayWait::Yes).result, Result::SegvMapError);
  EXPECT_EQ(stat(VmItem::pgfault), 0);
  EXPECT_EQ(vm_->faults_by_kind[static_cast<size_t>(FaultKind::Bad)], 6u);
}

TEST_F(PageFault, RightsTakenAwayAreTakenFromTheTlbToo) {
  const VirtAddr a = map(kib(8));
  touch(*space_, a);
  ASSERT_TRUE(space_->mprotect(a, kib(4), VmFlag::Read));
  EXPECT_EQ(touch(*space_, a).result, Result::SegvAccessError);
  EXPECT_EQ(recorder_.reports.back().error_code, hw::FaultCode::kUser | hw::FaultCode::kWrite | hw::FaultCode::kProtection);
  ASSERT_TRUE(space_->mprotect(a, kib(4), VmFlag::Read | VmFlag::Write));
  // The page is exclusive and dirty: it is writable again at once, as in Linux.
  EXPECT_TRUE(mmu_->translate(a, hw::Access::Write, hw::Privilege::User));
  ASSERT_TRUE(space_->munmap(a, kib(4)));
  EXPECT_EQ(look(*space_, a).result, Result::SegvMapError);
  verify();
}

TEST_F(PageFault, KeepsPagesOfInaccessibleMemory) {
  const VirtAddr a = map(kib(4));
  poke(*space_, a, 42);
  ASSERT_TRUE(space_->mprotect(a, kib(4), VmFlag::None));
  EXPECT_EQ(look(*space_, a).result, Result::SegvAccessError);
  EXPECT_EQ(space_->usage().rss_anon, 1u);
  verify();
  ASSERT_TRUE(space_->mprotect(a, kib(4), VmFlag::Read));
  EXPECT_EQ(peek(*space_, a), 42);
  verify();
}

TEST_F(PageFault, GrowsTheStackWithinItsLimit) {
  MmapRequest r = anonymous(kib(8), VirtAddr{0x7fff'0000'0000});
  r.grows_down = true;
  const VirtAddr stack = must(space_->mmap(r));
  space_->limits.stack = 256 << 10;
  EXPECT_EQ(touch(*space_, stack - kib(100)).kind, FaultKind::Stack);
  EXPECT_EQ(space_->find(stack)->start, (stack - kib(100)).page_floor());
  EXPECT_EQ(space_->usage().stack_vm, 27u);
  EXPECT_EQ(vm_->committed().value(), 27u);
  EXPECT_EQ(touch(*space_, stack - kib(300)).result, Result::SegvMapError);
  // Another mapping must keep its distance.
  const VirtAddr low = space_->find(stack)->start - mib(1);
  must(space_->mmap(anonymous(kib(4), low - kib(4))));
  space_->limits.stack = ~0ull;
  EXPECT_EQ(touch(*space_, low + kib(8)).result, Result::SegvMapError);
  verify();
}

TEST_F(PageFault, MapsCachedPagesAroundAReadFault) {
  make_file(kib(256));
  MmapRequest r = file_mapping(kib(256), false);
  r.hint = VirtAddr{0x10'0000'0000};
  const VirtAddr a = must(space_->mmap(r));
  const FaultOutcome first = look(*space_, a + kib(4));
  EXPECT_EQ(first.kind, FaultKind::File);
  EXPECT_TRUE(first.major);
  EXPECT_EQ(stat(VmItem::pgmajfault), 1);
  EXPECT_EQ(space_->usage().rss_file, 16u);  // the aligned 64 KiB
  EXPECT_EQ(stat(VmItem::nr_mapped), 16);
  EXPECT_TRUE(mmu_->translate(a + kib(60), hw::Access::Read, hw::Privilege::User));
  EXPECT_EQ(peek(*space_, a + kib(8)), FakeFile::pattern(kib(8).value()));
  EXPECT_EQ(file_->reads, 1u);
  const FaultOutcome second = look(*space_, a + kib(64));
  EXPECT_EQ(second.kind, FaultKind::File);
  EXPECT_FALSE(second.major);
  verify();
}

TEST_F(PageFault, OnlyAMissIsAMajorFaultOfTheMachine) {
  make_file(kib(256));
  const VirtAddr a = must(space_->mmap(file_mapping(kib(256), false)));
  look(*space_, a);
  EXPECT_EQ(stat(VmItem::pgmajfault), 1);
  // The page with the mark is there, but begins to read the next window without the lock: the task counts that as major, /proc/vmstat does not.
  EXPECT_TRUE(look(*space_, a + Pages{24}).major);
  EXPECT_EQ(stat(VmItem::pgmajfault), 1);
  EXPECT_EQ(vm_->major_faults, 2u);
  verify();
}

TEST_F(PageFault, PopulatingCountsNoMajorFaultsForTheTask) {
  make_file(kib(256));
  const VirtAddr a = must(space_->mmap(file_mapping(kib(256), false)));
  ASSERT_TRUE(space_->mlock(a, kib(256)));
  EXPECT_EQ(vm_->major_faults, 0u);
  EXPECT_EQ(stat(VmItem::pgmajfault), 1);
  verify();
}

TEST_F(PageFault, DoesNotReadAFileInsideTheFillHook) {
  make_file(kib(64));
  const VirtAddr a = must(space_->mmap(file_mapping(kib(64), false)));
  const auto reports = recorder_.reports.size();
  EXPECT_EQ(space_->handle_fault(a, hw::Access::Read, hw::Privilege::User, MayWait::No).result, Result::WouldWait);
  EXPECT_EQ(file_->reads, 0u);
  EXPECT_EQ(recorder_.reports.size(), reports);
  EXPECT_EQ(stat(VmItem::pgfault), 0);
  ASSERT_TRUE(file_->page_cache().get(PageIndex{0}));
  EXPECT_EQ(space_->handle_fault(a, hw::Access::Read, hw::Privilege::User, MayWait::No).result, Result::Resolved);
  verify();
}

TEST_F(PageFault, WritesToAPrivateFileMappingStayPrivate) {
  make_file(kib(16));
  const VirtAddr a = must(space_->mmap(file_mapping(kib(16), false)));
  EXPECT_EQ(touch(*space_, a).kind, FaultKind::Cow);
  poke(*space_, a, 200);
  EXPECT_EQ(peek(*space_, a), 200);
  EXPECT_EQ(static_cast<uint8_t>(file_->bytes[0]), FakeFile::pattern(0));
  // Read first, then written: the mapped page of the file is replaced.
  look(*space_, a + kib(4));
  EXPECT_EQ(touch(*space_, a + kib(4)).kind, FaultKind::Cow);
  EXPECT_EQ(space_->usage().rss_anon, 2u);
  EXPECT_EQ(stat(VmItem::nr_dirty), 0);
  verify();
}

TEST_F(PageFault, WritesToASharedFileMappingMakeThePageDirtyUntilItIsWrittenBack) {
  make_file(kib(16));
  const VirtAddr a = must(space_->mmap(file_mapping(kib(16), true)));
  look(*space_, a);
  EXPECT_FALSE(entry(*space_, a).writable());
  EXPECT_EQ(touch(*space_, a).kind, FaultKind::File);
  EXPECT_EQ(stat(VmItem::nr_dirty), 1);
  poke(*space_, a, 99);
  ASSERT_TRUE(space_->msync(a, kib(16), 4));
  EXPECT_EQ(static_cast<uint8_t>(file_->bytes[0]), 99);
  EXPECT_EQ(file_->writes, 1u);
  EXPECT_EQ(stat(VmItem::nr_dirty), 0);
  EXPECT_FALSE(entry(*space_, a).writable());
  verify();
  EXPECT_EQ(touch(*space_, a).kind, FaultKind::File);
  EXPECT_EQ(stat(VmItem::nr_dirty), 1);
  EXPECT_EQ(stat(VmItem::nr_dirtied), 2);
}

TEST_F(PageFault, BeyondTheEndOfTheFileIsABusError) {
  make_file(Bytes{kPageSize + 100});
  const VirtAddr a = must(space_->mmap(file_mapping(kib(16), false)));
  EXPECT_EQ(look(*space_, a + kib(4)).result, Result::Resolved);
  EXPECT_EQ(peek(*space_, a + kib(4) + Bytes{100}), 0);
  EXPECT_EQ(look(*space_, a + kib(8)).result, Result::BusError);
  file_->fail_reads = true;
  file_->page_cache().drop_range(PageIndex{0}, Pages{4});
  EXPECT_EQ(look(*space_, a).result, Result::BusError);
}

TEST_F(PageFault, RunningOutOfMemoryIsReportedAndLeavesNothingBehind) {
  Result last = Result::Resolved;
  VirtAddr refused;
  for (int i = 0; i < 3 && last == Result::Resolved; ++i) {
    const VirtAddr a = map(mib(8));
    for (VirtAddr at = a; at < a + mib(8) && last == Result::Resolved; at += Bytes{kPageSize}) last = touch(*space_, at).result, refused = at;
  }
  EXPECT_EQ(last, Result::OutOfMemory);
  verify();
  EXPECT_EQ(space_->handle_fault(refused, hw::Access::Write, hw::Privilege::User, MayWait::No).result, Result::WouldWait);
  space_.reset();
  verify();
  EXPECT_EQ(used(), free_at_start_);
}

TEST_F(PageFault, AMadvisedFreePageLooksCleanUntilItIsWritten) {
  const VirtAddr a = map(kib(4));
  poke(*space_, a, 7);
  ASSERT_TRUE(space_->madvise(a, kib(4), 8));
  EXPECT_EQ(space_->smaps(*space_->find(a)).lazy_free, kPageSize);
  EXPECT_EQ(stat(VmItem::pglazyfree), 1);
  EXPECT_EQ(peek(*space_, a), 7);
  verify();
  poke(*space_, a, 8);
  EXPECT_EQ(space_->smaps(*space_->find(a)).lazy_free, 0u);
  verify();
}

}  // namespace
}  // namespace vitro::mm::test
