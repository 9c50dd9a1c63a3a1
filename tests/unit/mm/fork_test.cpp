// fork: what is shared, what is copied, and finding every mapper again.
#include "unit/mm/virtual_memory_rig.h"
#include "vitro/mm/rmap.h"

namespace vitro::mm::test {
namespace {

class Fork : public VirtualMemoryRig {
 protected:
  Fork() : parent_(make_space()) { load(*parent_); }
  std::unique_ptr<AddressSpace> fork(AddressSpace& from) {
    auto child = from.fork();
    EXPECT_TRUE(child.has_value());
    (*child)->set_pcid(hw::Pcid{++next_pcid_});
    return std::move(*child);
  }
  std::vector<std::pair<AddressSpace*, VirtAddr>> mappers(Pfn f) {
    std::vector<std::pair<AddressSpace*, VirtAddr>> found;
    rmap_for_each(*vm_, f, [&](AddressSpace& s, VirtAddr a) { found.emplace_back(&s, a); });
    return found;
  }
  std::unique_ptr<AddressSpace> parent_;
};

TEST_F(Fork, SharesFramesUntilOneSideWrites) {
  const VirtAddr a = must(parent_->mmap(anonymous(kib(16))));
  poke(*parent_, a, 100);
  const Pfn shared = entry(*parent_, a).pfn();
  auto child = fork(*parent_);
  EXPECT_EQ(entry(*child, a).pfn(), shared);
  EXPECT_EQ(frame(shared).refcount, 2u);
  EXPECT_EQ(frame(shared).mapcount, 2u);
  EXPECT_FALSE(entry(*parent_, a).writable());
  EXPECT_EQ(stat(VmItem::nr_anon_pages), 1);
  verify();

  load(*child);
  EXPECT_EQ(touch(*child, a).kind, FaultKind::Cow);
  poke(*child, a, 200);
  EXPECT_EQ(peek(*parent_, a), 100);
  EXPECT_EQ(peek(*child, a), 200);
  EXPECT_EQ(frame(shared).mapcount, 1u);
  verify();

  // The last owner writes without a copy.
  load(*parent_);
  const auto reused = stat(VmItem::pgreuse);
  EXPECT_EQ(touch(*parent_, a).kind, FaultKind::Cow);
  EXPECT_EQ(entry(*parent_, a).pfn(), shared);
  EXPECT_EQ(stat(VmItem::pgreuse), reused + 1);
  verify();
}

TEST_F(Fork, TheParentsTlbForgetsItsRightToWrite) {
  const VirtAddr a = must(parent_->mmap(anonymous(kib(4))));
  touch(*parent_, a);
  ASSERT_TRUE(mmu_->translate(a, hw::Access::Write, hw::Privilege::User));
  auto child = fork(*parent_);
  EXPECT_FALSE(mmu_->translate(a, hw::Access::Write, hw::Privilege::User));
  mmu_->verify();
}

TEST_F(Fork, SharedAnonymousMemoryIsSeenByBothSides) {
  MmapRequest r = anonymous(kib(8));
  r.shared = true;
  const VirtAddr a = must(parent_->mmap(r));
  EXPECT_EQ(vm_->committed().value(), 2u);
  poke(*parent_, a, 100);
  auto child = fork(*parent_);
  EXPECT_EQ(vm_->committed().value(), 2u);
  poke(*child, a, 200);
  EXPECT_EQ(peek(*parent_, a), 200);
  poke(*child, a + kib(4), 7);
  EXPECT_EQ(peek(*parent_, a + kib(4)), 7);
  EXPECT_EQ(stat(VmItem::nr_shmem), 2);
  EXPECT_EQ(parent_->find(a)->file->mapped_path(), "/dev/zero (deleted)");
  verify();
  child.reset();
  parent_.reset();
  EXPECT_EQ(stat(VmItem::nr_shmem), 0);
  EXPECT_EQ(vm_->committed().value(), 0u);
}

TEST_F(Fork, FindsEveryMapperAfterForkOfFork) {
  const VirtAddr a = must(parent_->mmap(anonymous(kib(8))));
  poke(*parent_, a, 1);
  const Pfn first = entry(*parent_, a).pfn();
  auto child = fork(*parent_);
  auto grandchild = fork(*child);
  EXPECT_EQ(mappers(first).size(), 3u);
  poke(*child, a + kib(4), 2);  // a page of the child's own, shared with nobody yet
  auto second = fork(*child);
  const Pfn own = entry(*child, a + kib(4)).pfn();
  EXPECT_EQ(mappers(own).size(), 2u);
  EXPECT_EQ(mappers(first).size(), 4u);
  verify();
  poke(*child, a, 3);
  EXPECT_EQ(mappers(first).size(), 3u);
  child.reset();
  verify();
  EXPECT_EQ(mappers(own).size(), 1u);
  parent_.reset();
  verify();
  EXPECT_EQ(peek(*grandchild, a), 1);
  EXPECT_EQ(peek(*second, a + kib(4)), 2);
}

TEST_F(Fork, HonoursAdviceOnForking) {
  const VirtAddr a = must(parent_->mmap(anonymous(kib(12))));
  for (int i = 0; i < 3; ++i) poke(*parent_, a + Pages{static_cast<uint64_t>(i)}, 5);
  ASSERT_TRUE(parent_->madvise(a, kib(4), 10));           // MADV_DONTFORK
  ASSERT_TRUE(parent_->madvise(a + kib(4), kib(4), 18));  // MADV_WIPEONFORK
  auto child = fork(*parent_);
  EXPECT_EQ(child->find(a), nullptr);
  EXPECT_EQ(peek(*child, a + kib(4)), 0);
  EXPECT_EQ(peek(*child, a + kib(8)), 5);
  verify();
}

TEST_F(Fork, DoesNotCopyTablesOfFileMappings) {
  make_file(kib(64));
  const VirtAddr a = must(parent_->mmap(file_mapping(kib(64), false, VmFlag::Read)));
  look(*parent_, a);
  auto child = fork(*parent_);
  EXPECT_EQ(child->usage().rss_file, 0u);
  EXPECT_EQ(child->usage().page_tables, 0u);
  EXPECT_EQ(peek(*child, a), FakeFile::pattern(0));
  verify();
}

TEST_F(Fork, WithoutMemoryFailsAndLeavesTheParentAsItWas) {
  const VirtAddr a = must(parent_->mmap(anonymous(mib(4))));
  for (VirtAddr at = a; at < a + mib(4); at += Bytes{kPageSize}) poke(*parent_, at, 9);
  std::vector<Pfn> taken;
  while (const auto f = physical_->allocator().allocate(Gfp::Kernel)) taken.push_back(*f);
  for (int i = 0; i < 4; ++i) physical_->allocator().free(taken.back()), taken.pop_back();
  auto child = parent_->fork();
  EXPECT_EQ(error_of(child), Errno::NoMemory);
  for (const Pfn f : taken) physical_->allocator().free(f);
  verify();
  EXPECT_EQ(peek(*parent_, a + mib(2)), 9);
  EXPECT_EQ(vm_->committed(), mib(4).pages_down());
}

}  // namespace
}  // namespace vitro::mm::test
