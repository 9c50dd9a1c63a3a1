#include "vitro/hw/tlb_array.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <vector>

namespace vitro::hw {
namespace {

constexpr Pcid kPcid{1};
TlbKey key_of(uint64_t page, Pcid pcid = kPcid) { return TlbKey::of(VirtAddr{page << kPageShift}, PageSize::k4K, pcid); }
TlbData data_of(uint64_t page) { return TlbData{(page & 0xfffffff) << kPageShift | TlbData::kUser}; }

// A set as a textbook draws it: ways that hold a page or nothing, and per policy what is needed to name the next victim.
class NaiveSet {
 public:
  NaiveSet(unsigned ways, Replacement policy) : pages_(ways), policy_(policy) {
    unsigned leaves = 1;
    while (leaves < ways) leaves *= 2;
    if (leaves > 1) tree_ = std::make_unique<Node>(0, leaves);
  }
  int find(uint64_t page) const {
    for (size_t w = 0; w < pages_.size(); ++w)
      if (pages_[w] == page) return static_cast<int>(w);
    return -1;
  }
  bool hit(uint64_t page) {
    const int way = find(page);
    if (way < 0) return false;
    if (policy_ == Replacement::Lru) used(way);
    if (tree_) tree_->away_from(static_cast<unsigned>(way));
    return true;
  }
  // The evicted page, or 0.
  uint64_t insert(uint64_t page, Rng& rng) {
    int way = find(0);
    uint64_t evicted = 0;
    if (way < 0) {
      const auto ways = static_cast<unsigned>(pages_.size());
      if (policy_ == Replacement::Random)
        way = static_cast<int>(rng.below(ways));
      else if (policy_ == Replacement::TreePlru)
        way = tree_ ? static_cast<int>(tree_->victim(ways)) : 0;
      else
        way = order_.front();
      evicted = pages_[way];
    }
    pages_[way] = page;
    used(way);
    if (tree_) tree_->away_from(static_cast<unsigned>(way));
    return evicted;
  }
  bool remove(uint64_t page) {
    const int way = find(page);
    if (way < 0) return false;
    pages_[way] = 0;
    std::erase(order_, way);
    return true;
  }

 private:
  struct Node {
    unsigned begin, end;
    bool right = false;
    std::unique_ptr<Node> children[2];
    Node(unsigned b, unsigned e) : begin(b), end(e) {
      if (e - b > 2) children[0] = std::make_unique<Node>(b, (b + e) / 2), children[1] = std::make_unique<Node>((b + e) / 2, e);
    }
    void away_from(unsigned way) {
      const bool in_right = way >= (begin + end) / 2;
      right = !in_right;
      if (children[in_right]) children[in_right]->away_from(way);
    }
    unsigned victim(unsigned ways) const {
      const bool go = right && (begin + end) / 2 < ways;
      if (children[go]) return children[go]->victim(ways);
      return begin + go;
    }
  };
  void used(int way) {
    std::erase(order_, way);
    order_.push_back(way);
  }
  std::vector<uint64_t> pages_;  // 0: free
  Replacement policy_;
  std::deque<int> order_;  // ways, the next victim of LRU and FIFO first
  std::unique_ptr<Node> tree_;
};

struct Shape {
  unsigned entries, ways;
};

class TlbArrayModel : public testing::TestWithParam<std::tuple<Shape, Replacement>> {};

TEST_P(TlbArrayModel, HitsAndEvictsAsTheNaiveModelDoes) {
  const auto [shape, policy] = GetParam();
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    TlbArray array({shape.entries, shape.ways, policy}, seed);
    Rng model_rng(seed), rng(seed * 1000);
    const unsigned sets = shape.entries / shape.ways;
    std::vector<NaiveSet> model;
    for (unsigned s = 0; s < sets; ++s) model.emplace_back(shape.ways, policy);
    const uint64_t pages = 1 + shape.entries * (1 + seed) / 2;
    for (int i = 0; i < 4000; ++i) {
      const uint64_t page = 1 + rng.below(pages);
      NaiveSet& set = model[page % sets];
      const auto context = testing::Message() << to_string(array.geometry()) << " seed " << seed << " step " << i << " page " << page;
      const uint32_t slot = array.find(key_of(page));
      if (rng.below(50) == 0) {
        ASSERT_EQ(slot != TlbArray::kNone, set.remove(page)) << context;
        if (slot != TlbArray::kNone) array.remove(slot);
      } else if (set.hit(page)) {
        ASSERT_NE(slot, TlbArray::kNone) << context;
        ASSERT_EQ(array.data(slot).frame().value(), page) << context;
        array.touch(slot);
      } else {
        ASSERT_EQ(slot, TlbArray::kNone) << context;
        const auto evicted = array.insert(key_of(page), data_of(page));
        ASSERT_EQ(evicted ? evicted->page().value() >> kPageShift : 0, set.insert(page, model_rng)) << context;
      }
      if (i % 512 == 0) array.verify();
    }
    array.verify();
  }
}

std::string parameter_name(const testing::TestParamInfo<std::tuple<Shape, Replacement>>& info) {
  const Shape shape = std::get<0>(info.param);
  return std::to_string(shape.entries) + "x" + std::to_string(shape.ways) + std::string(replacement_name(std::get<1>(info.param)));
}
constexpr Shape kShapes[] = {{1, 1}, {16, 1}, {2, 2}, {64, 4}, {64, 64}, {48, 12}, {12, 6}, {7, 7}, {24, 3}, {128, 8}};
constexpr Replacement kPolicies[] = {Replacement::Lru, Replacement::TreePlru, Replacement::Fifo, Replacement::Random};
INSTANTIATE_TEST_SUITE_P(Geometries, TlbArrayModel, testing::Combine(testing::ValuesIn(kShapes), testing::ValuesIn(kPolicies)),
                         parameter_name);

TEST(TlbArray, CyclicAccessBeyondTheCapacityAlwaysMissesUnderLru) {
  TlbArray array({64, 64, Replacement::Lru}, 1);
  size_t misses = 0;
  for (int i = 0; i < 65 * 10; ++i) {
    const TlbKey key = key_of(1 + i % 65);
    if (const uint32_t slot = array.find(key); slot != TlbArray::kNone)
      array.touch(slot);
    else
      array.insert(key, data_of(1)), ++misses;
  }
  EXPECT_EQ(misses, 650u);
}

TEST(TlbArray, PcidsKeepAddressSpacesApartAndGlobalPagesJoinThem) {
  TlbArray array({64, 4, Replacement::Lru}, 1);
  array.insert(key_of(5, Pcid{1}), data_of(10));
  EXPECT_EQ(array.find(key_of(5, Pcid{2})), TlbArray::kNone);
  array.insert(key_of(5, Pcid{2}), data_of(20));
  EXPECT_EQ(array.data(array.find(key_of(5, Pcid{1}))).frame(), Pfn{10});
  EXPECT_EQ(array.data(array.find(key_of(5, Pcid{2}))).frame(), Pfn{20});
  array.insert(key_of(6, Pcid{1}), TlbData{data_of(30).raw | TlbData::kGlobal});
  EXPECT_EQ(array.data(array.find(key_of(6, Pcid{4095}))).frame(), Pfn{30});
  array.remove_if([](const TlbArray::Entry& e) { return !e.global() && e.pcid() == Pcid{1}; });
  EXPECT_EQ(array.valid(), 2u);
  array.verify();
}

TEST(TlbArray, SizesShareAnArrayWithoutMixing) {
  TlbArray array({8, 8, Replacement::Lru}, 1);
  const VirtAddr a{0x40'0000};
  array.insert(TlbKey::of(a, PageSize::k2M, kPcid), data_of(512));
  EXPECT_EQ(array.find(TlbKey::of(a, PageSize::k4K, kPcid)), TlbArray::kNone);
  EXPECT_NE(array.find(TlbKey::of(a + Bytes{0x12345}, PageSize::k2M, kPcid)), TlbArray::kNone);
  EXPECT_EQ(array.valid(PageSize::k2M), 1u);
  EXPECT_EQ(array.valid(PageSize::k4K), 0u);
}

TEST(TlbArray, EntriesKnowTheirAddress) {
  TlbArray array({8, 8, Replacement::Lru}, 1);
  for (uint64_t a : {0x7fff'ffff'f000ull, 0xffff'ffff'8020'0000ull, 0x0ull}) {
    for (PageSize size : {PageSize::k4K, PageSize::k2M, PageSize::k1G}) {
      array.insert(TlbKey::of(VirtAddr{a}, size, Pcid{7}), {});
      const TlbArray::Entry e = array.at(array.find(TlbKey::of(VirtAddr{a}, size, Pcid{7})));
      EXPECT_EQ(e.page().value(), a & ~(bytes(size).value() - 1));
      EXPECT_EQ(e.size(), size);
      EXPECT_EQ(e.pcid(), Pcid{7});
    }
  }
}

}  // namespace
}  // namespace vitro::hw
