#include "kernel/futex_table.h"

#include <gtest/gtest.h>

namespace vitro::kernel {
namespace {

class FutexTableTest : public testing::Test {
 protected:
  void wait(FutexWaiter& w, FutexKey key, uint32_t bitset = ~0u) {
    w.key = key;
    w.bitset = bitset;
    table.add(w);
  }
  int object = 0, other = 0;
  FutexKey a{&object, 0x1000}, b{&object, 0x1004}, c{&other, 0x1000};
  FutexTable table;
  FutexWaiter w[4];
};

TEST_F(FutexTableTest, WakesInArrivalOrderAndOnlyAsManyAsAsked) {
  for (FutexWaiter& x : w) wait(x, a);
  EXPECT_EQ(table.wake(a, 1), 1);
  EXPECT_TRUE(w[0].woken);
  EXPECT_FALSE(w[1].woken);
  EXPECT_EQ(table.wake(a, 2), 2);
  EXPECT_TRUE(w[1].woken && w[2].woken);
  EXPECT_EQ(table.wake(a, 100), 1);
  EXPECT_EQ(table.wake(a, 100), 0);
  EXPECT_TRUE(table.empty());
}

TEST_F(FutexTableTest, KeysAreApart) {
  wait(w[0], a);
  wait(w[1], b);
  wait(w[2], c);
  EXPECT_EQ(table.wake(b, 10), 1);
  EXPECT_TRUE(w[1].woken);
  EXPECT_FALSE(w[0].woken || w[2].woken);
  table.remove(w[0]);
  table.remove(w[2]);
  EXPECT_TRUE(table.empty());
}

TEST_F(FutexTableTest, BitsetsChoose) {
  wait(w[0], a, 1);
  wait(w[1], a, 2);
  wait(w[2], a, 3);
  EXPECT_EQ(table.wake(a, 10, 2), 2);
  EXPECT_FALSE(w[0].woken);
  EXPECT_TRUE(w[1].woken && w[2].woken);
  table.remove(w[0]);
}

TEST_F(FutexTableTest, RequeueWakesSomeAndMovesTheRest) {
  for (FutexWaiter& x : w) wait(x, a);
  const auto moved = table.requeue(a, b, 1, 2);
  EXPECT_EQ(moved.woken, 1);
  EXPECT_EQ(moved.moved, 2);
  EXPECT_EQ(table.waiting(a), 1u);
  EXPECT_EQ(table.waiting(b), 2u);
  EXPECT_EQ(table.wake(b, 10), 2);
  EXPECT_TRUE(w[1].woken && w[2].woken);
  table.remove(w[3]);  // by its own key
  EXPECT_TRUE(table.empty());
}

}  // namespace
}  // namespace vitro::kernel
