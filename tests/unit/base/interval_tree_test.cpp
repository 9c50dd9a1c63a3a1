// IntervalTree against a plain list, and the balance of the tree below it.
#include "vitro/base/interval_tree.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <memory>
#include <vector>

#include "vitro/base/rng.h"

namespace vitro {
namespace {

struct Item {
  Item(uint64_t from, uint64_t to, int n) : first(from), last(to), number(n) {}
  uint64_t first, last;
  int number;
  IntervalLink<Item> link;
};
struct ItemInterval {
  static IntervalLink<Item>& link(Item& i) { return i.link; }
  static uint64_t first(const Item& i) { return i.first; }
  static uint64_t last(const Item& i) { return i.last; }
};
using Tree = IntervalTree<Item, ItemInterval>;

std::vector<int> numbers(const Tree& tree, uint64_t first, uint64_t last) {
  std::vector<int> result;
  for (const Item& i : tree.overlapping(first, last)) result.push_back(i.number);
  return result;
}
void verify(const Tree& tree) { tree.verify([](const Item&) {}); }

// The same by looking at all of them: in order, equals as they were put in.
class List {
 public:
  void insert(Item& n) {
    items_.insert(std::upper_bound(items_.begin(), items_.end(), n.first, [](uint64_t first, const Item* i) { return first < i->first; }), &n);
  }
  void insert_after(Item& n, Item& previous) { items_.insert(std::find(items_.begin(), items_.end(), &previous) + 1, &n); }
  void erase(Item& n) { std::erase(items_, &n); }
  size_t size() const { return items_.size(); }
  Item& at(size_t i) { return *items_[i]; }
  std::vector<int> numbers(uint64_t first, uint64_t last) const {
    std::vector<int> result;
    for (const Item* i : items_)
      if (i->first <= last && i->last >= first) result.push_back(i->number);
    return result;
  }

 private:
  std::vector<Item*> items_;
};

TEST(IntervalTree, FindsWhatTouchesARangeInOrder) {
  Item a{10, 19, 1}, b{0, 100, 2}, c{15, 15, 3}, d{20, 29, 4};
  Tree tree;
  EXPECT_EQ(numbers(tree, 0, UINT64_MAX), (std::vector<int>{}));
  for (Item* i : {&a, &b, &c, &d}) tree.insert(*i);
  EXPECT_EQ(numbers(tree, 0, UINT64_MAX), (std::vector{2, 1, 3, 4}));
  EXPECT_EQ(numbers(tree, 15, 15), (std::vector{2, 1, 3}));
  EXPECT_EQ(numbers(tree, 19, 20), (std::vector{2, 1, 4}));
  EXPECT_EQ(numbers(tree, 30, 99), (std::vector{2}));
  EXPECT_EQ(numbers(tree, 100, 100), (std::vector{2}));
  EXPECT_EQ(numbers(tree, 101, UINT64_MAX), (std::vector<int>{}));
  verify(tree);
  for (Item* i : {&b, &d, &a, &c}) tree.erase(*i);
  EXPECT_TRUE(tree.empty());
  EXPECT_FALSE(a.link.linked());
}

TEST(IntervalTree, OfEqualStartsTheEarlierComesFirstWhereNobodySaysOtherwise) {
  std::vector<std::unique_ptr<Item>> items;
  Tree tree;
  for (int i = 0; i < 100; ++i) {
    items.push_back(std::make_unique<Item>(7, 7 + static_cast<uint64_t>(i * 37 % 100), i));
    tree.insert(*items.back());
  }
  std::vector<int> expected(100);
  for (int i = 0; i < 100; ++i) expected[static_cast<size_t>(i)] = i;
  EXPECT_EQ(numbers(tree, 0, 7), expected);
  // One that is put back comes last; one beside another directly after it.
  tree.erase(*items[0]);
  tree.insert(*items[0]);
  tree.erase(*items[99]);
  tree.insert_after(*items[99], *items[50]);
  const std::vector<int> found = numbers(tree, 7, 7);
  EXPECT_EQ(found.back(), 0);
  EXPECT_EQ(*(std::ranges::find(found, 50) + 1), 99);
  verify(tree);
  for (const auto& i : items) tree.erase(*i);
}

TEST(IntervalTree, WholeRangeOfNumbers) {
  Item all{0, UINT64_MAX, 1}, end{UINT64_MAX, UINT64_MAX, 2};
  Tree tree;
  tree.insert(all);
  tree.insert(end);
  EXPECT_EQ(numbers(tree, UINT64_MAX, UINT64_MAX), (std::vector{1, 2}));
  EXPECT_EQ(numbers(tree, 0, 0), (std::vector{1}));
  tree.erase(all);
  tree.erase(end);
}

TEST(IntervalTree, AgreesWithAListAtEveryStep) {
  for (uint64_t seed = 1; seed <= 24; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed);
    // Few starts and many equals, or many starts; short intervals or long ones.
    const uint64_t starts = seed % 3 == 0 ? 8 : 1000, longest = seed % 2 == 0 ? 4 : 400;
    Tree tree;
    List model;
    std::vector<std::unique_ptr<Item>> all;
    for (int step = 0; step < 1500; ++step) {
      // Grows, shrinks, and grows again.
      const bool grow = rng.below(10) < (step / 500 == 1 ? 3u : 7u);
      if (grow || model.size() == 0) {
        auto item = std::make_unique<Item>(rng.below(starts), 0, step);
        item->last = item->first + rng.below(longest);
        if (model.size() > 0 && rng.below(5) == 0) {
          Item& beside = model.at(rng.below(model.size()));
          item->first = beside.first;
          item->last = beside.first + rng.below(longest);
          tree.insert_after(*item, beside);
          model.insert_after(*item, beside);
        } else {
          tree.insert(*item);
          model.insert(*item);
        }
        all.push_back(std::move(item));
      } else {
        Item& gone = model.at(rng.below(model.size()));
        ASSERT_TRUE(tree.holds(gone));
        tree.erase(gone);
        model.erase(gone);
        ASSERT_FALSE(gone.link.linked());
      }
      ASSERT_EQ(tree.size(), model.size());
      verify(tree);
      const uint64_t first = rng.below(starts + longest), last = first + rng.below(rng.below(4) == 0 ? 500 : 3);
      ASSERT_EQ(numbers(tree, first, last), model.numbers(first, last)) << "step " << step << ", [" << first << ", " << last << "]";
    }
    ASSERT_EQ(numbers(tree, 0, UINT64_MAX), model.numbers(0, UINT64_MAX));
    while (model.size() > 0) {
      Item& gone = model.at(rng.below(model.size()));
      tree.erase(gone);
      model.erase(gone);
      verify(tree);
    }
  }
}

struct Counted {
  explicit Counted(uint64_t k) : key(k) {}
  uint64_t key, below = 0, contribution = 1;  // below: contributions of the subtree
  TreeLink<Counted> link;
};
struct Sum {
  static TreeLink<Counted>& link(Counted& n) { return n.link; }
  static bool update(Counted& n, const Counted* left, const Counted* right) {
    const uint64_t now = n.contribution + (left ? left->below : 0) + (right ? right->below : 0);
    const bool changed = now != n.below;
    n.below = now;
    return changed;
  }
};
using CountedTree = BalancedTree<Counted, Sum>;

TEST(BalancedTree, StaysShallowAndKeepsWhatNodesKnowOfTheirSubtrees) {
  CountedTree tree;
  std::vector<std::unique_ptr<Counted>> nodes;
  constexpr uint64_t kNodes = 4096;
  for (uint64_t i = 0; i < kNodes; ++i) {
    nodes.push_back(std::make_unique<Counted>(i));  // in order: the worst for a tree that is not balanced
    tree.insert(*nodes.back(), [](const Counted& a, const Counted& b) { return a.key < b.key; });
  }
  tree.verify([](const Counted&) {});
  EXPECT_EQ(tree.root()->below, kNodes);
  int deepest = 0;
  for (const auto& n : nodes) {
    int depth = 1;
    for (const Counted* at = n.get(); CountedTree::parent(*at); at = CountedTree::parent(*at)) ++depth;
    deepest = std::max(deepest, depth);
  }
  EXPECT_LE(deepest, std::bit_width(kNodes) * 3 / 2);
  nodes[1234]->contribution = 100;
  CountedTree::changed(*nodes[1234]);
  EXPECT_EQ(tree.root()->below, kNodes + 99);
  tree.verify([](const Counted&) {});

  Rng rng(1);
  for (uint64_t left = kNodes; left > 0; --left) {
    const uint64_t i = rng.below(left);
    tree.erase(*nodes[i]);
    std::swap(nodes[i], nodes[left - 1]);
    if (left % 64 == 0) tree.verify([](const Counted&) {});
  }
  EXPECT_TRUE(tree.empty());
}

TEST(BalancedTree, NoticesAStaleValueAndAForeignElement) {
  CountedTree tree, other;
  Counted a{1}, b{2}, c{3};
  const auto by_key = [](const Counted& x, const Counted& y) { return x.key < y.key; };
  tree.insert(a, by_key);
  tree.insert(b, by_key);
  other.insert(c, by_key);
  EXPECT_TRUE(tree.holds(a));
  EXPECT_FALSE(tree.holds(c));
  b.contribution = 5;
  EXPECT_DEATH(tree.verify([](const Counted&) {}), "stale");
  CountedTree::changed(b);
  tree.verify([](const Counted&) {});
  tree.erase(a);
  tree.erase(b);
  other.erase(c);
}

}  // namespace
}  // namespace vitro
