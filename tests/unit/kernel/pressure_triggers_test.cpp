// Triggers on pressure: when they fire, against the rules of kernel/sched/psi.c worked out by hand.
#include "kernel/pressure_triggers.h"

#include <gtest/gtest.h>

#include <vector>

namespace vitro::kernel {
namespace {

constexpr Nanoseconds kMs{1'000'000};

class PressureTriggersTest : public testing::Test {
 protected:
  hw::Clock clock{1000};
  Pressure pressure;
  PressureTriggers triggers{clock, pressure};
  std::vector<std::pair<std::unique_ptr<fs::PressureTrigger>, std::vector<uint64_t>>> watched;  // and when they fired, ms

  size_t add(std::string_view text, bool privileged = true) {
    auto t = triggers.add(fs::PressureResource::Memory, text, privileged);
    EXPECT_TRUE(t.has_value());
    watched.emplace_back(std::move(*t), std::vector<uint64_t>{});
    return watched.size() - 1;
  }
  // Time passes, with a memory stall on or off.
  void pass(uint64_t ms, bool stalled) {
    pressure.set(clock.now(), {.runnable = 1, .stalled = stalled, .stalled_runnable = 0, .busy = true});
    triggers.note_states();
    const Nanoseconds end = clock.now() + kMs * ms;
    while (clock.now() < end) {
      clock.idle_until(std::min(end, clock.next_event().value_or(end)));
      clock.run_due_events();
      for (auto& [trigger, times] : watched)
        if (trigger->take_event()) times.push_back(clock.now() / kMs);
    }
  }
};

TEST_F(PressureTriggersTest, NothingIsScheduledWhileNothingStalls) {
  add("some 100000 1000000");
  pass(20'000, false);
  EXPECT_FALSE(clock.next_event());
  EXPECT_TRUE(watched[0].second.empty());
}

TEST_F(PressureTriggersTest, FiresWhenTheThresholdIsPassedAndOnceInAWindow) {
  const size_t t = add("some 100000 1000000");
  pass(1002, false);
  pass(3000, true);
  // Looks begin a tick after the stall and come every 100 ms, rounded up to a tick and one more; the second finds 100 ms.
  ASSERT_GE(watched[t].second.size(), 3u);
  EXPECT_EQ(watched[t].second[0], 1004u + 104);
  for (size_t i = 1; i < watched[t].second.size(); ++i) {
    const uint64_t between = watched[t].second[i] - watched[t].second[i - 1];
    EXPECT_GE(between, 1000u);
    EXPECT_LE(between, 1108u);
  }
}

TEST_F(PressureTriggersTest, ShortStallsDoNotAddUpOverWindows) {
  const size_t t = add("some 100000 1000000");
  for (int i = 0; i < 50; ++i) pass(40, true), pass(1960, false);
  EXPECT_TRUE(watched[t].second.empty());
  for (int i = 0; i < 50; ++i) pass(40, true), pass(160, false);  // 200 ms in a second
  EXPECT_GE(watched[t].second.size(), 8u);
}

TEST_F(PressureTriggersTest, TheShortestWindowSetsThePace) {
  const size_t slow = add("some 4000000 10000000"), fast = add("some 50000 500000");
  pass(200, true);
  ASSERT_EQ(watched[fast].second.size(), 1u);
  EXPECT_LE(watched[fast].second[0], 120u);
  watched[fast].first.reset();
  watched.pop_back();
  pass(3700, true);
  EXPECT_EQ(watched[slow].second.size(), 0u);
  pass(1100, true);
  EXPECT_EQ(watched[slow].second.size(), 1u);
}

TEST_F(PressureTriggersTest, OthersThanRootAreToldWithTheAverages) {
  EXPECT_FALSE(triggers.add(fs::PressureResource::Memory, "some 100000 1000000", false).has_value());
  const size_t t = add("some 100000 2000000", false);
  pass(500, true);
  pass(1000, false);
  EXPECT_TRUE(watched[t].second.empty());
  pass(10'000, false);
  EXPECT_EQ(watched[t].second, std::vector<uint64_t>{2008});
  EXPECT_FALSE(clock.next_event());
}

TEST_F(PressureTriggersTest, MayOutliveTheMachine) {
  auto other = std::make_unique<PressureTriggers>(clock, pressure);
  auto t = other->add(fs::PressureResource::Io, "full 100000 1000000", true);
  ASSERT_TRUE(t.has_value());
  other.reset();
  EXPECT_FALSE((*t)->take_event());
}

}  // namespace
}  // namespace vitro::kernel
