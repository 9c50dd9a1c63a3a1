#include "vitro/base/intrusive_list.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <memory>
#include <vector>

#include "vitro/base/rng.h"
#include "vitro/base/wait_queue.h"

namespace vitro {
namespace {

struct Item {
  explicit Item(int v) : value(v) {}
  int value;
  ListLink link;
};
using List = IntrusiveList<Item, &Item::link>;

std::vector<int> values(const List& list) {
  std::vector<int> result;
  for (const Item& item : list) result.push_back(item.value);
  return result;
}

TEST(IntrusiveList, KeepsOrderAndRemovesFromAnywhere) {
  Item a{1}, b{2}, c{3};
  List list;
  list.push_back(b), list.push_front(a), list.push_back(c);
  EXPECT_EQ(values(list), (std::vector{1, 2, 3}));
  list.remove(b);
  EXPECT_EQ(values(list), (std::vector{1, 3}));
  EXPECT_FALSE(b.link.linked());
  list.insert(c, b);
  EXPECT_EQ(values(list), (std::vector{1, 2, 3}));
  EXPECT_EQ(list.pop_front(), &a);
  EXPECT_EQ(list.size(), 2u);
}

TEST(IntrusiveList, AgreesWithStdListUnderRandomOperations) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng{seed};
    std::vector<std::unique_ptr<Item>> items;
    for (int i = 0; i < 32; ++i) items.push_back(std::make_unique<Item>(i));
    List list;
    std::list<int> model;
    for (int step = 0; step < 500; ++step) {
      Item& item = *items[rng.below(items.size())];
      if (item.link.linked()) list.remove(item), model.remove(item.value);
      else if (rng.below(2)) list.push_back(item), model.push_back(item.value);
      else list.push_front(item), model.push_front(item.value);
      ASSERT_EQ(values(list), std::vector<int>(model.begin(), model.end()));
      ASSERT_EQ(list.size(), model.size());
    }
  }
}

struct Sleeper final : Waiter {
  int woken = 0;
  void wake() override { ++woken; }
};

TEST(WaitQueue, WakesInArrivalOrderAndForgets) {
  WaitQueue queue;
  Sleeper a, b, c;
  queue.add(a), queue.add(b), queue.add(c);
  EXPECT_TRUE(queue.wake_one());
  EXPECT_EQ(a.woken, 1);
  queue.remove(b);
  EXPECT_EQ(queue.wake_all(), 1u);
  EXPECT_EQ(b.woken, 0);
  EXPECT_EQ(c.woken, 1);
  EXPECT_FALSE(queue.wake_one());
}

TEST(Rng, RepeatsForASeedAndStaysBelowItsBound) {
  Rng a{42}, b{42}, c{43};
  bool differs = false;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t x = a.next();
    EXPECT_EQ(x, b.next());
    differs |= x != c.next();
  }
  EXPECT_TRUE(differs);
  for (int i = 0; i < 1000; ++i) EXPECT_LT(a.below(7), 7u);
}

}  // namespace
}  // namespace vitro
