// The reverse map: whatever happened to the areas, a frame leads to every entry that maps it, and in Linux's order.
#include "vitro/mm/rmap.h"

#include <algorithm>

#include "mm/space/rmap_walk.h"
#include "unit/mm/virtual_memory_rig.h"
#include "vitro/base/rng.h"

namespace vitro::mm::test {
namespace {

constexpr VirtAddr kAt{0x7f0000000000};
constexpr Bytes kPage{kPageSize};

class ReverseMap : public VirtualMemoryRig {
 protected:
  using Place = std::pair<AddressSpace*, VirtAddr>;

  ReverseMap() : parent_(make_space()) { load(*parent_); }
  std::unique_ptr<AddressSpace> fork(AddressSpace& from) {
    auto child = std::move(*from.fork());
    child->set_pcid(hw::Pcid{++next_pcid_});
    return child;
  }
  std::vector<Place> mappers(Pfn f) {
    std::vector<Place> found;
    rmap_for_each(*vm_, f, [&](AddressSpace& s, VirtAddr a) { found.emplace_back(&s, a); });
    return found;
  }
  std::vector<Place> mappers(AddressSpace& s, VirtAddr a) { return mappers(entry(s, a).pfn()); }
  // Areas that are looked at for one page, whether they map it or not.
  static size_t candidates(const Vma& v, VirtAddr a) {
    size_t n = 0;
    for ([[maybe_unused]] const AnonVmaChain& c : v.anon_vma->chains.overlapping(v.index_of(a).value(), v.index_of(a).value())) ++n;
    return n;
  }
  void touch_all(AddressSpace& s, VirtAddr at, uint64_t pages) {
    for (uint64_t i = 0; i < pages; ++i) poke(s, at + Pages{i}, static_cast<uint8_t>(i + 1));
  }
  // Everything the tables of `spaces` say, compared with what the reverse map finds.
  void compare(const std::vector<AddressSpace*>& spaces) {
    std::map<uint64_t, std::vector<Place>> expected;
    for (AddressSpace* s : spaces)
      s->state().tables.for_each(VirtAddr{0}, kUserEnd, [&](VirtAddr a, PhysAddr, Pte pte) {
        if (holds_frame(pte) && pte.pfn() != physical_->zero_frame()) expected[pte.pfn().value()].emplace_back(s, a);
      });
    for (auto& [pfn, places] : expected) {
      auto found = mappers(Pfn{pfn});
      std::ranges::sort(found);
      std::ranges::sort(places);
      ASSERT_EQ(found, places) << "pfn " << pfn;
    }
  }

  std::unique_ptr<AddressSpace> parent_;
};

TEST_F(ReverseMap, FindsOnePageAmongTheAreasThatOneMappingWasSplitInto) {
  constexpr uint64_t kPages = 64;
  const VirtAddr at = must(parent_->mmap(anonymous(kPage * kPages, kAt)));
  touch_all(*parent_, at, kPages);
  for (uint64_t i = 1; i < kPages; i += 2) ASSERT_TRUE(parent_->mprotect(at + Pages{i}, kPage, VmFlag::Read));
  ASSERT_EQ(parent_->vma_count(), kPages);
  for (uint64_t i = 0; i < kPages; ++i) {
    const VirtAddr a = at + Pages{i};
    EXPECT_EQ(mappers(*parent_, a), (std::vector{Place{parent_.get(), a}}));
    EXPECT_EQ(candidates(*parent_->find(a), a), 1u);
  }
  verify();
  // Merged again from both ends and from the middle.
  for (const uint64_t i : {1ull, 63ull, 31ull, 33ull}) ASSERT_TRUE(parent_->mprotect(at + Pages{i}, kPage, VmFlag::Read | VmFlag::Write));
  verify();
  ASSERT_TRUE(parent_->mprotect(at, kPage * kPages, VmFlag::Read | VmFlag::Write));
  ASSERT_EQ(parent_->vma_count(), 1u);
  for (uint64_t i = 0; i < kPages; ++i) EXPECT_EQ(mappers(*parent_, at + Pages{i}), (std::vector{Place{parent_.get(), at + Pages{i}}}));
  // A hole in the middle, and a new mapping in it that shares their anon_vma.
  ASSERT_TRUE(parent_->munmap(at + Pages{20}, kPage * 4));
  touch_all(*parent_, must(parent_->mmap(anonymous(kPage * 4, at + Pages{20}))), 4);
  verify();
  compare({parent_.get()});
}

TEST_F(ReverseMap, FollowsMemoryThatMoves) {
  const VirtAddr at = must(parent_->mmap(anonymous(kPage * 8, kAt)));
  touch_all(*parent_, at, 8);
  const Pfn third = entry(*parent_, at + Pages{3}).pfn();
  // The middle moves; its pages keep the numbers that they have in their anon_vma.
  const VirtAddr to = kAt + gib(1);
  ASSERT_EQ(must(parent_->mremap(at + Pages{2}, kPage * 3, kPage * 3, 3, to)), to);
  EXPECT_EQ(mappers(third), (std::vector{Place{parent_.get(), to + Pages{1}}}));
  verify();
  // What is new in its old place has the same numbers in the same anon_vma, and is not mistaken for it.
  touch_all(*parent_, must(parent_->mmap(anonymous(kPage * 3, at + Pages{2}))), 3);
  EXPECT_EQ(mappers(third), (std::vector{Place{parent_.get(), to + Pages{1}}}));
  EXPECT_EQ(mappers(*parent_, at + Pages{3}), (std::vector{Place{parent_.get(), at + Pages{3}}}));
  // Grown where it is, shrunk, and moved back over it.
  ASSERT_EQ(must(parent_->mremap(to, kPage * 3, kPage * 6, 0, VirtAddr{0})), to);
  touch_all(*parent_, to, 6);
  verify();
  ASSERT_EQ(must(parent_->mremap(to, kPage * 6, kPage * 2, 0, VirtAddr{0})), to);
  verify();
  ASSERT_EQ(must(parent_->mremap(to, kPage * 2, kPage * 2, 3, at + Pages{2})), at + Pages{2});
  EXPECT_EQ(mappers(third), (std::vector{Place{parent_.get(), at + Pages{3}}}));
  compare({parent_.get()});
}

TEST_F(ReverseMap, FollowsAStackThatGrowsDown) {
  MmapRequest r = anonymous(kPage * 4, kAt);
  r.grows_down = true;
  const VirtAddr top = must(parent_->mmap(r)) + Pages{4};
  touch_all(*parent_, top - Pages{4}, 4);
  for (uint64_t below = 5; below <= 40; below += 7) {
    poke(*parent_, top - Pages{below}, 9);
    EXPECT_EQ(mappers(*parent_, top - Pages{below}), (std::vector{Place{parent_.get(), top - Pages{below}}}));
    verify();
  }
  EXPECT_EQ(mappers(*parent_, top - Pages{1}), (std::vector{Place{parent_.get(), top - Pages{1}}}));
}

TEST_F(ReverseMap, AForkOfAForkIsFoundWithItsAncestorsInTheOrderOfBirth) {
  const VirtAddr at = must(parent_->mmap(anonymous(kPage * 4, kAt)));
  touch_all(*parent_, at, 4);
  auto child = fork(*parent_), grandchild = fork(*child), second = fork(*parent_);
  const VirtAddr a = at + Pages{1};
  EXPECT_EQ(mappers(*parent_, a), (std::vector{Place{parent_.get(), a}, Place{child.get(), a}, Place{grandchild.get(), a}, Place{second.get(), a}}));
  // A page of the child's own is looked for among its own and its descendants only.
  load(*child);
  poke(*child, a, 77);
  EXPECT_EQ(mappers(*child, a), (std::vector{Place{child.get(), a}}));
  EXPECT_EQ(mappers(*parent_, a), (std::vector{Place{parent_.get(), a}, Place{grandchild.get(), a}, Place{second.get(), a}}));
  verify();
  // Whose area is cut is put back behind the others that start at the same page; those that start later come after all.
  load(*parent_);
  ASSERT_TRUE(parent_->mprotect(at + Pages{2}, kPage * 2, VmFlag::Read));
  EXPECT_EQ(mappers(*parent_, a), (std::vector{Place{grandchild.get(), a}, Place{second.get(), a}, Place{parent_.get(), a}}));
  const VirtAddr b = at + Pages{3};
  EXPECT_EQ(mappers(*grandchild, b), (std::vector{Place{child.get(), b}, Place{grandchild.get(), b}, Place{second.get(), b}, Place{parent_.get(), b}}));
  verify();
  // The middle generation goes, its pages stay.
  child.reset();
  verify();
  EXPECT_EQ(mappers(*grandchild, b), (std::vector{Place{grandchild.get(), b}, Place{second.get(), b}, Place{parent_.get(), b}}));
  parent_.reset();
  verify();
  EXPECT_EQ(mappers(*grandchild, b), (std::vector{Place{grandchild.get(), b}, Place{second.get(), b}}));
}

TEST_F(ReverseMap, AFilesMappersComeByTheirFirstPageAndAChildBesideItsParent) {
  make_file(kPage * 32);
  const auto map = [&](AddressSpace& s, uint64_t first, uint64_t pages, bool shared) {
    MmapRequest r = file_mapping(kPage * pages, shared);
    r.offset = kPage * first;
    const VirtAddr at = must(s.mmap(r));
    load(s);
    for (uint64_t i = 0; i < pages; ++i) look(s, at + Pages{i});
    return at;
  };
  auto other = make_space();
  const VirtAddr high = map(*parent_, 8, 8, true), whole = map(*other, 0, 32, true), low = map(*parent_, 4, 8, false), last = map(*other, 24, 8, true);
  const Pfn ten = entry(*other, whole + Pages{10}).pfn(), twenty_five = entry(*other, whole + Pages{25}).pfn();
  EXPECT_EQ(mappers(ten), (std::vector{Place{other.get(), whole + Pages{10}}, Place{parent_.get(), low + Pages{6}}, Place{parent_.get(), high + Pages{2}}}));
  EXPECT_EQ(mappers(twenty_five), (std::vector{Place{other.get(), whole + Pages{25}}, Place{other.get(), last + Pages{1}}}));
  EXPECT_TRUE(file_->page_cache().mapped_for_writing());
  verify();

  auto first = fork(*other), second = fork(*other);
  for (AddressSpace* s : {first.get(), second.get()}) {
    load(*s);
    look(*s, whole + Pages{25});
  }
  EXPECT_EQ(mappers(twenty_five), (std::vector{Place{other.get(), whole + Pages{25}}, Place{second.get(), whole + Pages{25}}, Place{first.get(), whole + Pages{25}},
                                               Place{other.get(), last + Pages{1}}}));
  verify();

  // Truncation takes the pages out of whoever maps them, and leaves the others alone.
  file_->page_cache().truncate(kPage * 9);
  EXPECT_EQ(entry(*parent_, high + Pages{1}).raw, 0u);
  EXPECT_NE(entry(*parent_, high).raw, 0u);
  EXPECT_NE(entry(*other, whole + Pages{8}).raw, 0u);
  EXPECT_EQ(entry(*other, whole + Pages{9}).raw, 0u);
  EXPECT_EQ(entry(*other, last).raw, 0u);
  verify();
  first.reset();
  second.reset();
  other.reset();
  ASSERT_TRUE(parent_->munmap(high, kPage * 8));
  EXPECT_FALSE(file_->page_cache().mapped_for_writing());  // the private mapping is left
  EXPECT_TRUE(file_->page_cache().mapped());
  verify();
}

TEST_F(ReverseMap, VerifyNoticesAnAreaThatChangedInsideATree) {
  const VirtAddr at = must(parent_->mmap(anonymous(kPage * 4, kAt)));
  touch_all(*parent_, at, 4);
  Vma& v = const_cast<Vma&>(*parent_->find(at));
  const PageIndex right = v.page_offset;
  v.page_offset = right + Pages{1};
  EXPECT_DEATH(verify(), "stale");
  v.page_offset = right;
}

TEST_F(ReverseMap, AgreesWithThePageTablesWhateverHappensToTheAreas) {
  constexpr uint64_t kSpan = 48;
  make_file(kPage * kSpan);
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed);
    std::vector<std::unique_ptr<AddressSpace>> spaces;
    spaces.push_back(make_space());
    for (int step = 0; step < 250; ++step) {
      const size_t who = rng.below(spaces.size());
      AddressSpace& s = *spaces[who];
      load(s);
      const uint64_t first = rng.below(kSpan), pages = 1 + rng.below(kSpan - first);
      const VirtAddr a = kAt + Pages{first};
      switch (rng.below(12)) {
        case 0:
        case 1: (void)s.mmap(anonymous(kPage * pages, a)); break;
        case 2:
        case 3: {
          MmapRequest r = file_mapping(kPage * pages, rng.below(2) == 0);
          r.hint = a, r.fixed = true, r.offset = kPage * rng.below(kSpan - pages + 1);
          (void)s.mmap(r);
          break;
        }
        case 4: (void)s.munmap(a, kPage * (1 + rng.below(6))); break;
        case 5:
        case 6: (void)s.mprotect(a, kPage * (1 + rng.below(4)), rng.below(2) ? VmFlag::Read : VmFlag::Read | VmFlag::Write); break;
        case 7: (void)s.mremap(a, kPage * (1 + rng.below(4)), kPage * (1 + rng.below(4)), 3, kAt + Pages{rng.below(kSpan)}); break;
        case 8:
          if (spaces.size() < 5) spaces.push_back(fork(s));
          break;
        case 9:
          if (spaces.size() > 1 && rng.below(3) == 0) spaces.erase(spaces.begin() + static_cast<std::ptrdiff_t>(who));
          break;
        default:
          for (uint64_t i = 0; i < pages; ++i) {
            const Vma* v = s.find(a + Pages{i});
            if (v && has(v->flags, VmFlag::Write)) poke(s, a + Pages{i}, 1);
          }
      }
      std::vector<AddressSpace*> all;
      for (const auto& space : spaces) all.push_back(space.get());
      verify();
      compare(all);
      if (HasFatalFailure()) FAIL() << "step " << step;
    }
  }
}

}  // namespace
}  // namespace vitro::mm::test
