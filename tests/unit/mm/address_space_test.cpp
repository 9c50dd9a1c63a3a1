// The memory calls: error codes, merging and splitting, accounting; and a random history against a naive model.
#include "unit/mm/virtual_memory_rig.h"
#include "vitro/base/rng.h"

namespace vitro::mm::test {
namespace {

constexpr VmFlag kReadWrite = VmFlag::Read | VmFlag::Write;

class AddressSpaceCalls : public VirtualMemoryRig {
 protected:
  AddressSpaceCalls() : space_(make_space()) { load(*space_); }
  VirtAddr map(Bytes n) { return must(space_->mmap(anonymous(n))); }
  VirtAddr map_at(VirtAddr a, Bytes n) { return must(space_->mmap(anonymous(n, a))); }
  std::unique_ptr<AddressSpace> space_;
  const VirtAddr base_{0x10'0000'0000};
};

TEST_F(AddressSpaceCalls, MapsTopDownAndExtendsTheNeighbour) {
  const VirtAddr a = map(kib(8));
  EXPECT_EQ(a + kib(8), space_->layout.mmap_base);
  const VirtAddr b = map(kib(4));
  EXPECT_EQ(b + kib(4), a);
  EXPECT_EQ(space_->vma_count(), 1u);
  EXPECT_EQ(space_->usage().total_vm, 3u);
  EXPECT_EQ(space_->usage().data_vm, 3u);
  EXPECT_EQ(vm_->committed().value(), 3u);
  ASSERT_TRUE(space_->munmap(b + kib(4), kib(4)));  // the middle
  EXPECT_EQ(space_->vma_count(), 2u);
  EXPECT_EQ(map_at(b + kib(4), kib(4)), b + kib(4));
  EXPECT_EQ(space_->vma_count(), 1u);
}

TEST_F(AddressSpaceCalls, MmapRefusesAsLinuxDoes) {
  const auto call = [&](auto change) {
    MmapRequest r = anonymous(kib(4));
    change(r);
    return error_of(space_->mmap(r));
  };
  EXPECT_EQ(call([](MmapRequest& r) { r.length = Bytes{0}; }), Errno::Invalid);
  EXPECT_EQ(call([](MmapRequest& r) { r.length = Bytes{~0ull}; }), Errno::NoMemory);
  EXPECT_EQ(call([](MmapRequest& r) { r.length = Bytes{1ull << 47}; }), Errno::NoMemory);
  EXPECT_EQ(call([](MmapRequest& r) { r.offset = Bytes{1}; }), Errno::Invalid);
  EXPECT_EQ(call([](MmapRequest& r) { r.fixed = true, r.hint = VirtAddr{0x100001}; }), Errno::Invalid);
  EXPECT_EQ(call([](MmapRequest& r) { r.fixed = true, r.hint = VirtAddr{0}; }), Errno::NotPermitted);
  EXPECT_EQ(call([](MmapRequest& r) { r.fixed = true, r.hint = kUserEnd; }), Errno::NoMemory);
  EXPECT_EQ(call([](MmapRequest& r) { r.fixed = true, r.hint = VirtAddr{~0ull << kPageShift}; }), Errno::NoMemory);
  EXPECT_EQ(call([](MmapRequest& r) { r.shared = r.grows_down = true; }), Errno::Invalid);
  EXPECT_EQ(call([](MmapRequest& r) { r.length = gib(1); }), Errno::NoMemory);  // more than RAM, overcommit 0
  EXPECT_EQ(call([](MmapRequest& r) { r.length = gib(1), r.no_reserve = true; }), Errno{});
  const VirtAddr a = map(kib(4));
  EXPECT_EQ(call([a](MmapRequest& r) { r.fixed_noreplace = true, r.hint = a; }), Errno::Exists);
  make_file(kib(8));
  file_->writable = false;
  EXPECT_EQ(error_of(space_->mmap(file_mapping(kib(4), true))), Errno::Access);
  EXPECT_EQ(error_of(space_->mmap(file_mapping(kib(4), false))), Errno{});
  MmapRequest far = file_mapping(kib(4), false);
  far.offset = Bytes{~kPageOffsetMask};
  EXPECT_EQ(error_of(space_->mmap(far)), Errno::Overflow);
  file_->readable = false;
  EXPECT_EQ(error_of(space_->mmap(file_mapping(kib(4), false))), Errno::Access);
  space_->limits.address_space = mib(2).value();
  EXPECT_EQ(call([](MmapRequest& r) { r.length = mib(4); }), Errno::NoMemory);
  verify();
}

TEST_F(AddressSpaceCalls, AHintIsUsedWhereItIsFree) {
  MmapRequest r = anonymous(kib(4));
  r.hint = VirtAddr{0x1234'5678};
  EXPECT_EQ(must(space_->mmap(r)), VirtAddr{0x1234'5000});
  EXPECT_NE(must(space_->mmap(r)), VirtAddr{0x1234'5000});
  r.hint = VirtAddr{1};
  EXPECT_GE(must(space_->mmap(r)), VirtAddr{65536});
}

TEST_F(AddressSpaceCalls, OtherCallsRefuseAsLinuxDoes) {
  const VirtAddr a = map_at(base_, kib(16));
  EXPECT_EQ(error_of(space_->munmap(a + Bytes{1}, kib(4))), Errno::Invalid);
  EXPECT_EQ(error_of(space_->munmap(a, Bytes{0})), Errno::Invalid);
  EXPECT_EQ(error_of(space_->munmap(a, Bytes{~0ull})), Errno::Invalid);
  EXPECT_EQ(error_of(space_->munmap(kUserEnd, kib(4))), Errno::Invalid);
  EXPECT_EQ(error_of(space_->munmap(a + gib(1), kib(4))), Errno{});
  EXPECT_EQ(error_of(space_->mprotect(a + Bytes{1}, kib(4), VmFlag::Read)), Errno::Invalid);
  EXPECT_EQ(error_of(space_->mprotect(a, Bytes{0}, VmFlag::Read)), Errno{});
  EXPECT_EQ(error_of(space_->mprotect(a, Bytes{~0ull}, VmFlag::Read)), Errno::NoMemory);
  EXPECT_EQ(error_of(space_->mprotect(a + kib(12), kib(8), VmFlag::Read)), Errno::NoMemory);
  EXPECT_FALSE(has(space_->find(a + kib(12))->flags, VmFlag::Write));  // what is there was changed
  EXPECT_EQ(error_of(space_->madvise(a, kib(4), 12345)), Errno::Invalid);
  EXPECT_EQ(error_of(space_->madvise(a + Bytes{1}, kib(4), 4)), Errno::Invalid);
  EXPECT_EQ(error_of(space_->madvise(a, Bytes{~0ull}, 4)), Errno::Invalid);
  EXPECT_EQ(error_of(space_->madvise(a + kib(8), kib(64), 4)), Errno::NoMemory);
  EXPECT_EQ(error_of(space_->msync(a, kib(4), 8)), Errno::Invalid);
  EXPECT_EQ(error_of(space_->msync(a, kib(4), 5)), Errno::Invalid);
  EXPECT_EQ(error_of(space_->msync(a, kib(64), 4)), Errno::NoMemory);
  std::vector<uint8_t> residency;
  EXPECT_EQ(error_of(space_->mincore(a, kib(64), residency)), Errno::NoMemory);
  touch(*space_, a);
  EXPECT_TRUE(space_->mincore(a, kib(8), residency));
  EXPECT_EQ(residency, (std::vector<uint8_t>{1, 0}));
  const auto remap = [&](VirtAddr from, Bytes n, Bytes m, unsigned flags, VirtAddr to = VirtAddr{0}) { return error_of(space_->mremap(from, n, m, flags, to)); };
  EXPECT_EQ(remap(a, kib(4), Bytes{0}, 1), Errno::Invalid);
  EXPECT_EQ(remap(a + Bytes{1}, kib(4), kib(4), 1), Errno::Invalid);
  EXPECT_EQ(remap(a, kib(4), kib(4), 8), Errno::Invalid);
  EXPECT_EQ(remap(a, kib(4), kib(4), 2), Errno::Invalid);
  EXPECT_EQ(remap(a + gib(1), kib(4), kib(8), 1), Errno::Fault);
  EXPECT_EQ(remap(a, kib(64), kib(128), 1), Errno::Fault);
  EXPECT_EQ(remap(a, Bytes{0}, kib(8), 1), Errno::Invalid);
  EXPECT_EQ(remap(a, kib(8), kib(8), 3, a + kib(4)), Errno::Invalid);
  EXPECT_EQ(remap(a, kib(4), kib(32), 0), Errno::NoMemory);  // cannot grow in place
  EXPECT_EQ(remap(a, kib(4), kib(8), 3, VirtAddr{~0ull << kPageShift}), Errno::Invalid);
  verify();
}

TEST_F(AddressSpaceCalls, MprotectSplitsAndMergesAgain) {
  const VirtAddr a = map_at(base_, kib(16));
  touch(*space_, a + kib(8));
  ASSERT_TRUE(space_->mprotect(a + kib(4), kib(4), VmFlag::Read));
  EXPECT_EQ(space_->vma_count(), 3u);
  verify();
  ASSERT_TRUE(space_->mprotect(a + kib(4), kib(4), kReadWrite));
  EXPECT_EQ(space_->vma_count(), 1u);
  EXPECT_EQ(vm_->committed().value(), 4u);
  vm_->max_map_count = 1;
  EXPECT_EQ(error_of(space_->mprotect(a + kib(4), kib(4), VmFlag::Read)), Errno::NoMemory);
  EXPECT_EQ(error_of(space_->munmap(a + kib(4), kib(4))), Errno::NoMemory);
  EXPECT_EQ(space_->vma_count(), 1u);
  vm_->max_map_count = 65530;
}

TEST_F(AddressSpaceCalls, SharedMappingsOfAReadOnlyFileNeverBecomeWritable) {
  make_file(kib(4));
  file_->writable = false;
  const VirtAddr a = must(space_->mmap(file_mapping(kib(4), true, VmFlag::Read)));
  EXPECT_EQ(error_of(space_->mprotect(a, kib(4), kReadWrite)), Errno::Access);
}

TEST_F(AddressSpaceCalls, BrkGrowsAndShrinksTheHeap) {
  space_->layout.start_brk = space_->layout.brk = VirtAddr{0x60'0000} + Bytes{0x123};
  EXPECT_EQ(space_->brk(VirtAddr{0}), space_->layout.start_brk);
  const VirtAddr top = space_->layout.start_brk + kib(100);
  EXPECT_EQ(space_->brk(top), top);
  EXPECT_EQ(space_->vma_count(), 1u);
  poke(*space_, top - Bytes{1}, 3);
  EXPECT_EQ(space_->brk(top - kib(50)), top - kib(50));
  EXPECT_EQ(space_->brk(top), top);
  EXPECT_EQ(space_->vma_count(), 1u);
  EXPECT_EQ(peek(*space_, top - Bytes{1}), 0);
  map_at(top.page_ceil() + kib(8), kib(4));
  EXPECT_EQ(space_->brk(top + kib(64)), top);
  EXPECT_EQ(space_->brk(VirtAddr{~0ull}), top);
  verify();
}

TEST_F(AddressSpaceCalls, MremapMovesPagesAndWhatTheyHold) {
  const VirtAddr a = map_at(base_, kib(16));
  poke(*space_, a + kib(4), 44);
  map_at(a + kib(16), kib(4));  // in the way, but it merges
  ASSERT_TRUE(space_->mprotect(a + kib(16), kib(4), VmFlag::Read));
  const VirtAddr b = must(space_->mremap(a, kib(16), kib(64), 1, VirtAddr{0}));
  EXPECT_NE(a, b);
  EXPECT_EQ(peek(*space_, b + kib(4)), 44);
  EXPECT_EQ(space_->find(a), nullptr);
  EXPECT_EQ(vm_->committed().value(), 17u);
  verify();
  const VirtAddr c = must(space_->mremap(b, kib(64), kib(64), 3, base_ + gib(2)));
  EXPECT_EQ(c, base_ + gib(2));
  EXPECT_EQ(peek(*space_, c + kib(4)), 44);
  EXPECT_EQ(must(space_->mremap(c, kib(64), kib(8), 0, VirtAddr{0})), c);
  EXPECT_EQ(space_->find(c)->length(), kib(8));
  EXPECT_EQ(must(space_->mremap(c, kib(8), kib(32), 0, VirtAddr{0})), c);
  verify();
}

TEST_F(AddressSpaceCalls, TablesGoWithTheLastPageThatNeededThem) {
  const auto tables = [&] { return space_->usage().page_tables; };
  const VirtAddr a = map_at(base_, kib(4));
  touch(*space_, a);
  EXPECT_EQ(tables(), 3u);
  const VirtAddr far = map_at(base_ + gib(3), kib(4));
  touch(*space_, far);
  EXPECT_EQ(tables(), 5u);  // the same PUD table, its own PMD and PTE tables
  const VirtAddr near = map_at(base_ + kib(64), kib(4));
  touch(*space_, near);
  EXPECT_EQ(tables(), 5u);
  ASSERT_TRUE(space_->munmap(near, kib(4)));
  EXPECT_EQ(tables(), 5u);
  ASSERT_TRUE(space_->munmap(a, kib(4)));
  EXPECT_EQ(tables(), 3u);
  ASSERT_TRUE(space_->munmap(far, kib(4)));
  EXPECT_EQ(tables(), 0u);
  verify();
}

TEST_F(AddressSpaceCalls, LockedPagesAreUnevictableUntilUnlocked) {
  const VirtAddr a = map_at(base_, kib(16));
  ASSERT_TRUE(space_->mlock(a + Bytes{1}, kib(8)));
  EXPECT_EQ(space_->usage().locked_vm, 3u);
  EXPECT_EQ(space_->usage().rss_anon, 3u);
  EXPECT_EQ(stat(VmItem::nr_mlock), 3);
  EXPECT_EQ(stat(VmItem::nr_unevictable), 3);
  EXPECT_EQ(stat(VmItem::unevictable_pgs_culled), 3);
  verify();
  EXPECT_EQ(error_of(space_->madvise(a, kib(4), 4)), Errno::Invalid);
  ASSERT_TRUE(space_->munlock(a, kib(4)));
  EXPECT_EQ(stat(VmItem::nr_mlock), 2);
  EXPECT_EQ(stat(VmItem::unevictable_pgs_rescued), 1);
  // Faulting them in was a use: reclaim does not take them at its first look.
  const auto translation = mmu_->translate(a, hw::Access::Read, hw::Privilege::User);
  ASSERT_TRUE(translation);
  EXPECT_TRUE(physical_->frames()[translation->address.pfn()].has(FrameFlag::Referenced));
  ASSERT_TRUE(space_->munmap(a, kib(16)));
  EXPECT_EQ(stat(VmItem::nr_mlock), 0);
  EXPECT_EQ(stat(VmItem::unevictable_pgs_rescued), 3);
  space_->limits.locked = kib(8).value();
  map_at(base_, kib(64));
  EXPECT_EQ(error_of(space_->mlock(a, kib(64))), Errno::NoMemory);
  EXPECT_EQ(error_of(space_->mlock(base_ + gib(1), kib(4))), Errno::NoMemory);
  verify();
}

TEST_F(AddressSpaceCalls, OvercommitModeTwoKeepsItsPromises) {
  EXPECT_LE(vm_->user_reserve_kbytes, physical_->allocator().managed_frames().value() * 4 / 32);
  EXPECT_GT(vm_->user_reserve_kbytes, 0u);
  vm_->overcommit_memory = 2;
  vm_->overcommit_ratio = 50;
  const Pages limit = vm_->commit_limit();
  EXPECT_EQ(error_of(space_->mmap(anonymous(limit.bytes() + kib(4)))), Errno::NoMemory);
  const VirtAddr a = must(space_->mmap(anonymous((limit - Pages{16}).bytes())));
  EXPECT_EQ(error_of(space_->mmap(anonymous(mib(1)))), Errno::NoMemory);
  EXPECT_EQ(error_of(space_->fork()), Errno::NoMemory);
  ASSERT_TRUE(space_->munmap(a, limit.bytes()));
  EXPECT_EQ(vm_->committed().value(), 0u);
}

TEST_F(AddressSpaceCalls, SmapsAndPagemapFollowTheTables) {
  const VirtAddr a = map_at(base_, kib(16));
  poke(*space_, a, 1);
  poke(*space_, a + kib(4), 1);
  look(*space_, a + kib(8));
  auto child = std::move(*space_->fork());
  poke(*space_, a, 2);
  const auto e = space_->smaps(*space_->find(a));
  EXPECT_EQ(e.rss, kib(8).value());
  EXPECT_EQ(e.private_dirty, kib(4).value());
  EXPECT_EQ(e.shared_dirty, kib(4).value());
  EXPECT_EQ(e.pss_shifted >> 12, kib(6).value());
  EXPECT_EQ(e.anonymous, kib(8).value());
  EXPECT_EQ(e.referenced, kib(8).value());
  const uint64_t word = space_->pagemap_entry(a.vpn());
  EXPECT_EQ(word & 0x7f'ffff'ffff'ffff, entry(*space_, a).pfn().value());
  EXPECT_TRUE(word >> 63 & 1);
  EXPECT_TRUE(word >> 56 & 1);
  EXPECT_FALSE(space_->pagemap_entry((a + kib(4)).vpn()) >> 56 & 1);
  EXPECT_EQ(space_->pagemap_entry((a + kib(12)).vpn()) >> 63, 0u);
  space_->clear_references(AddressSpace::References::All);
  EXPECT_EQ(space_->smaps(*space_->find(a)).referenced, 0u);
  look(*space_, a);
  EXPECT_EQ(space_->smaps(*space_->find(a)).referenced, kib(4).value());
  verify();
}

TEST_F(AddressSpaceCalls, TheKernelReachesUserMemoryWithTheUsersRights) {
  const VirtAddr a = map_at(base_, kib(8));
  UserAccess user(*space_);
  const std::string text = "hello across a page";
  const VirtAddr at = a + kib(4) - Bytes{7};
  ASSERT_TRUE(user.copy_out(at, std::as_bytes(std::span{text.c_str(), text.size() + 1})));
  EXPECT_EQ(user.string_in(at, 100).value(), text);
  EXPECT_EQ(error_of(user.string_in(at, 5)), Errno::NameTooLong);
  EXPECT_EQ(user.string_in(at, text.size()).value(), text);
  EXPECT_TRUE(entry(*space_, a).dirty());
  EXPECT_EQ(recorder_.reports.back().privilege, hw::Privilege::Supervisor);
  std::vector<std::byte> buffer(100);
  EXPECT_EQ(user.copy_in_partial(a + kib(8) - Bytes{10}, buffer), 10u);
  EXPECT_EQ(error_of(user.copy_in(a + kib(8) - Bytes{10}, buffer)), Errno::Fault);
  EXPECT_EQ(error_of(user.copy_in(kDirectMapBase, buffer)), Errno::Fault);
  EXPECT_EQ(error_of(user.copy_in(VirtAddr{~0ull - 5}, buffer)), Errno::Fault);
  EXPECT_EQ(user.compare_exchange(a, 0, 5).value(), 0u);
  EXPECT_EQ(user.compare_exchange(a, 0, 6).value(), 5u);
  EXPECT_EQ(error_of(user.compare_exchange(a + Bytes{2}, 0, 6)), Errno::Invalid);
  ASSERT_TRUE(user.clear(at, 3));
  EXPECT_EQ(user.string_in(at + Bytes{3}, 100).value(), text.substr(3));
  ASSERT_TRUE(space_->mprotect(a, kib(4), VmFlag::Read));
  EXPECT_EQ(user.copy_out_partial(a, buffer), 0u);
  ASSERT_TRUE(space_->mprotect(a, kib(4), VmFlag::None));
  EXPECT_EQ(user.copy_in_partial(a, buffer), 0u);
  verify();
}

TEST_F(AddressSpaceCalls, TheKernelHalfIsTheSameEverywhere) {
  for (const uint64_t p : {uint64_t{0}, mib(1).value() + 5, mib(16).value() - 1}) {
    const auto t = mmu_->translate(kDirectMapBase + Bytes{p}, hw::Access::Write, hw::Privilege::Supervisor);
    ASSERT_TRUE(t);
    EXPECT_EQ(t->address, PhysAddr{p});
    EXPECT_FALSE(t->user);
    EXPECT_FALSE(t->executable);
  }
  EXPECT_FALSE(mmu_->translate(kDirectMapBase + mib(16), hw::Access::Read, hw::Privilege::Supervisor));
  EXPECT_FALSE(mmu_->translate(kDirectMapBase, hw::Access::Read, hw::Privilege::User));
  const auto f = physical_->allocator().allocate(Gfp::Kernel);
  const Pfn frames[] = {*f};
  const auto area = vm_->vmalloc().map(frames);
  ASSERT_TRUE(area);
  auto other = make_space();
  load(*other);
  EXPECT_EQ(mmu_->translate(*area, hw::Access::Read, hw::Privilege::Supervisor)->address, f->address());
  EXPECT_FALSE(mmu_->translate(*area + kib(4), hw::Access::Read, hw::Privilege::Supervisor));  // the guard page
  EXPECT_FALSE(mmu_->translate(*area, hw::Access::Read, hw::Privilege::User));
  vm_->vmalloc().unmap(*area);
  EXPECT_FALSE(mmu_->translate(*area, hw::Access::Read, hw::Privilege::Supervisor));
  physical_->allocator().free(*f);
}

// --- a random history ---

// What a byte of memory should be, page by page: the first byte of each page only, which every operation either keeps, moves or clears.
struct ModelPage {
  VmFlag rights;
  uint8_t value = 0;
  std::shared_ptr<uint8_t> shared;  // shared anonymous memory: the same cell in every space
  uint8_t get() const { return shared ? *shared : value; }
  void set(uint8_t v) { (shared ? *shared : value) = v; }
};
using Model = std::map<uint64_t, ModelPage>;  // by page number

class History : public VirtualMemoryRig {
 protected:
  static constexpr uint64_t kFirst = 0x10'0000, kPages = 96;  // page numbers

  struct Process {
    std::unique_ptr<AddressSpace> space;
    Model model;
  };

  void step(Rng& rng) {
    Process& p = processes_[rng.below(processes_.size())];
    const uint64_t first = kFirst + rng.below(kPages), n = 1 + rng.below(std::min<uint64_t>(12, kFirst + kPages - first));
    const VirtAddr a = Vpn{first}.address();
    const Bytes length = Pages{n}.bytes();
    switch (rng.below(10)) {
      case 0:
      case 1: map(p, rng, first, n); break;
      case 2:
        ASSERT_TRUE(p.space->munmap(a, length));
        for (uint64_t i = 0; i < n; ++i) p.model.erase(first + i);
        break;
      case 3: {
        const VmFlag rights[] = {VmFlag::None, VmFlag::Read, VmFlag::Read | VmFlag::Write, VmFlag::Read | VmFlag::Exec};
        const VmFlag r = rights[rng.below(4)];
        const bool ok = p.space->mprotect(a, length, r).has_value();
        bool whole = true;
        for (uint64_t i = 0; i < n && whole; ++i) {
          const auto it = p.model.find(first + i);
          whole = it != p.model.end();
          if (whole) it->second.rights = r;
        }
        ASSERT_EQ(ok, whole);
        break;
      }
      case 4: move(p, rng, first, n); break;
      case 5: {
        if (processes_.size() > 1 && rng.below(2)) {
          processes_.erase(processes_.begin() + static_cast<long>(rng.below(processes_.size())));
          break;
        }
        if (processes_.size() >= 4) break;
        auto child = p.space->fork();
        ASSERT_TRUE(child.has_value());
        (*child)->set_pcid(hw::Pcid{++next_pcid_});
        processes_.push_back({std::move(*child), p.model});
        break;
      }
      case 6: {
        (void)p.space->madvise(a, length, 4);  // MADV_DONTNEED
        for (uint64_t i = 0; i < n; ++i)
          if (const auto it = p.model.find(first + i); it != p.model.end() && !it->second.shared) it->second.value = 0;
        break;
      }
      default:
        for (int i = 0; i < 8; ++i) touch_one(p, rng);
    }
  }

  void map(Process& p, Rng& rng, uint64_t first, uint64_t n) {
    MmapRequest r = anonymous(Pages{n}.bytes(), Vpn{first}.address());
    r.shared = rng.below(4) == 0;
    must(p.space->mmap(r));
    for (uint64_t i = 0; i < n; ++i) {
      p.model.insert_or_assign(first + i, ModelPage{r.protection, 0, r.shared ? std::make_shared<uint8_t>(uint8_t{0}) : nullptr});
    }
  }

  void move(Process& p, Rng& rng, uint64_t first, uint64_t n) {
    const uint64_t to = kFirst + rng.below(kPages - 12);
    if (to < first + n && to + n > first) return;
    const auto moved = p.space->mremap(Vpn{first}.address(), Pages{n}.bytes(), Pages{n}.bytes(), 3, Vpn{to}.address());
    // The target is unmapped before the source is looked at.
    if (error_of(moved) == Errno::Invalid) return;
    const Model before = p.model;
    if (before.find(first) == before.end()) {
      ASSERT_EQ(error_of(moved), Errno::Fault);
      return;
    }
    for (uint64_t i = 0; i < n; ++i) p.model.erase(to + i);
    if (!moved) return;
    for (uint64_t i = 0; i < n; ++i) {
      p.model.insert_or_assign(to + i, before.at(first + i));
      p.model.erase(first + i);
    }
  }

  void touch_one(Process& p, Rng& rng) {
    const uint64_t number = kFirst + rng.below(kPages);
    const VirtAddr a = Vpn{number}.address();
    const auto it = p.model.find(number);
    const VmFlag rights = it == p.model.end() ? VmFlag::None : it->second.rights;
    load(*p.space);
    UserAccess user(*p.space);
    const auto value = static_cast<uint8_t>(1 + rng.below(255));
    if (rng.below(2)) {
      ASSERT_EQ(user.put(a, value).has_value(), has(rights, VmFlag::Write)) << "page " << number - kFirst;
      if (has(rights, VmFlag::Write)) it->second.set(value);
    } else {
      const auto got = user.get<uint8_t>(a);
      ASSERT_EQ(got.has_value(), rights != VmFlag::None) << "page " << number - kFirst;
      if (got) {
        ASSERT_EQ(*got, it->second.get()) << "page " << number - kFirst;
      }
    }
  }

  void compare() {
    for (Process& p : processes_)
      for (uint64_t n = kFirst; n < kFirst + kPages; ++n) {
        const auto it = p.model.find(n);
        const Vma* v = p.space->find(Vpn{n}.address());
        ASSERT_EQ(v != nullptr, it != p.model.end()) << "page " << n - kFirst;
        if (!v) continue;
        ASSERT_EQ(v->flags & (VmFlag::Read | VmFlag::Write | VmFlag::Exec), it->second.rights) << "page " << n - kFirst;
        const Pte pte = entry(*p.space, Vpn{n}.address());
        if (holds_frame(pte)) {
          ASSERT_EQ(static_cast<uint8_t>(ram_->read(pte.pfn().address(), Bytes{1})[0]), it->second.get()) << "page " << n - kFirst;
        } else if (!it->second.shared) {
          ASSERT_EQ(it->second.get(), 0) << "page " << n - kFirst;
        }
      }
  }

  std::vector<Process> processes_;
};

TEST_F(History, AgreesWithANaiveModelAtEveryStep) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed);
    processes_.clear();
    processes_.push_back({make_space(), {}});
    for (int i = 0; i < 400; ++i) {
      SCOPED_TRACE(testing::Message() << "step " << i);
      step(rng);
      if (HasFatalFailure()) return;
      load(*processes_.front().space);
      verify();
      compare();
      if (HasFatalFailure()) return;
    }
    mmu_->load_cr3(vm_->kernel_page_table_root(), hw::Pcid{0}, hw::Mmu::KeepPcid::No);
    processes_.clear();
    verify();
    EXPECT_EQ(used(), free_at_start_);
    EXPECT_EQ(vm_->committed().value(), 0u);
  }
}

}  // namespace
}  // namespace vitro::mm::test
