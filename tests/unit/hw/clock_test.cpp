#include "vitro/hw/clock.h"

#include <gtest/gtest.h>

#include <vector>

#include "vitro/base/rng.h"

namespace vitro::hw {
namespace {

TEST(Clock, TimeIsInstructionsAndCosts) {
  Clock c(400);
  c.count_instructions(5);
  EXPECT_EQ(c.now(), Nanoseconds{2});
  c.advance(Nanoseconds{100});
  EXPECT_EQ(c.now(), Nanoseconds{102});
  c.uncount_instructions(5);
  EXPECT_EQ(c.now(), Nanoseconds{100});
}

TEST(Clock, TheLimitIsTheFirstInstructionAtOrBehindTheNextEventOrTheSlice) {
  Clock c(400);
  c.schedule(Nanoseconds{10}, [] {});
  EXPECT_FALSE(c.count_instructions(24));
  EXPECT_EQ(c.now(), Nanoseconds{9});
  EXPECT_TRUE(c.count_instructions(1));
  EXPECT_EQ(c.now(), Nanoseconds{10});
  c.run_due_events();
  EXPECT_FALSE(c.limit_reached());
  c.set_slice_end(Nanoseconds{20});
  EXPECT_FALSE(c.limit_reached());
  c.advance(Nanoseconds{10});
  EXPECT_TRUE(c.limit_reached());
  c.set_slice_end(std::nullopt);
  EXPECT_FALSE(c.limit_reached());
}

TEST(Clock, EqualTimesRunInOrderOfSchedulingAndCancelledOnesNot) {
  Clock c(400);
  std::vector<int> ran;
  c.schedule(Nanoseconds{5}, [&] { ran.push_back(1); });
  const auto id = c.schedule(Nanoseconds{5}, [&] { ran.push_back(2); });
  c.schedule(Nanoseconds{5}, [&] { ran.push_back(3); });
  c.schedule(Nanoseconds{4}, [&] { ran.push_back(0); });
  EXPECT_TRUE(c.cancel(id));
  EXPECT_FALSE(c.cancel(id));
  EXPECT_EQ(c.run_due_events(), 0u);
  c.idle_until(Nanoseconds{5});
  EXPECT_EQ(c.run_due_events(), 3u);
  EXPECT_EQ(ran, (std::vector<int>{0, 1, 3}));
  EXPECT_EQ(c.idle_time(), Nanoseconds{5});
  EXPECT_FALSE(c.next_event().has_value());
}

TEST(Clock, CallbacksMayScheduleForNowAndCancelOthers) {
  Clock c(400);
  int ran = 0;
  Clock::EventId victim = 0;
  c.schedule(Nanoseconds{0}, [&] {
    ++ran;
    c.schedule(c.now(), [&] { ++ran; });
    EXPECT_TRUE(c.cancel(victim));
  });
  victim = c.schedule(Nanoseconds{0}, [&] { ran += 100; });
  EXPECT_EQ(c.run_due_events(), 2u);
  EXPECT_EQ(ran, 2);
}

TEST(Clock, TheLimitIsExactForAnyCostOfAnInstruction) {
  Rng rng(7);
  for (int i = 0; i < 2000; ++i) {
    Clock c(1 + rng.below(3000));
    c.advance(Nanoseconds{rng.below(1000)});
    c.count_instructions(rng.below(1000));
    const Nanoseconds end = c.now() + Nanoseconds{1 + rng.below(50)};
    c.set_slice_end(end);
    while (!c.limit_reached()) {
      ASSERT_LT(c.now(), end);
      c.count_instructions(1);
    }
    ASSERT_GE(c.now(), end);
  }
}

TEST(ClockWatch, IsSeenByNobodyElse) {
  Clock clock(1000);
  std::vector<uint64_t> at;
  clock.watch(Nanoseconds{50}, [&] { at.push_back(clock.now().value()); });
  EXPECT_FALSE(clock.next_event());
  clock.schedule(Nanoseconds{100}, [&] { at.push_back(1000 + clock.now().value()); });
  EXPECT_EQ(clock.next_event(), Nanoseconds{100});
  clock.idle_until(Nanoseconds{100});
  EXPECT_EQ(at, (std::vector<uint64_t>{50}));
  EXPECT_EQ(clock.idle_time(), Nanoseconds{100});
  EXPECT_EQ(clock.run_due_events(), 1u);
  EXPECT_EQ(at, (std::vector<uint64_t>{50, 1100}));
}

TEST(ClockWatch, StopsTheCpuAndLeavesTheLimitToOthers) {
  Clock clock(1000);
  bool seen = false;
  clock.set_slice_end(Nanoseconds{1000});
  clock.watch(Nanoseconds{300}, [&] { seen = true; });
  EXPECT_FALSE(clock.count_instructions(299));
  EXPECT_TRUE(clock.count_instructions(1));
  EXPECT_TRUE(clock.run_due_watches());
  EXPECT_TRUE(seen);
  EXPECT_FALSE(clock.limit_reached());
  EXPECT_FALSE(clock.run_due_watches());
  EXPECT_TRUE(clock.count_instructions(700));
}

TEST(ClockWatch, MayWatchAgainAndBeTakenBack) {
  Clock clock(1000);
  unsigned seen = 0;
  std::function<void()> again = [&] {
    if (++seen < 3) clock.watch(clock.now() + Nanoseconds{10}, again);
  };
  clock.watch(Nanoseconds{10}, again);
  const Clock::EventId never = clock.watch(Nanoseconds{15}, [] { FAIL(); });
  EXPECT_TRUE(clock.unwatch(never));
  EXPECT_FALSE(clock.unwatch(never));
  clock.idle_until(Nanoseconds{100});
  EXPECT_EQ(seen, 3u);
  EXPECT_EQ(clock.now(), Nanoseconds{100});
}

}  // namespace
}  // namespace vitro::hw
