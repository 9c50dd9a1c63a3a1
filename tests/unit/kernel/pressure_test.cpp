// Pressure stall information: who counts as held up, times, and averages by the formula of kernel/sched/psi.c, computed here with floating point.
#include "kernel/pressure.h"

#include <gtest/gtest.h>

#include <cmath>

namespace vitro::kernel {
namespace {

constexpr Nanoseconds kPeriod{2'004'000'000};
Pressure::Load load(uint64_t runnable, uint64_t waiting, uint64_t stalled, uint64_t stalled_runnable, bool busy) {
  return {runnable, waiting, stalled, stalled_runnable, busy, false};
}
double average(const fs::PressureView::Line& l, size_t i) { return static_cast<double>(l.averages[i]) / 2048; }

TEST(Pressure, WhatIsHeldUp) {
  Pressure p;
  p.set(Nanoseconds{0}, load(2, 0, 0, 0, true));          // one runs, one waits for the CPU
  p.set(Nanoseconds{1'000'000}, load(1, 1, 1, 0, true));  // one runs, one waits for memory on the disk
  p.set(Nanoseconds{3'000'000}, load(0, 1, 1, 0, false));  // nobody runs
  p.set(Nanoseconds{7'000'000}, load(1, 0, 1, 1, true));  // the only one that runs reclaims
  p.set(Nanoseconds{15'000'000}, load(1, 0, 0, 0, true));
  const fs::PressureView v = p.read(Nanoseconds{20'000'000});
  EXPECT_EQ(v.cpu.some.total_us, 1000u);
  EXPECT_EQ(v.io.some.total_us, 6000u);
  EXPECT_EQ(v.io.full.total_us, 4000u);
  EXPECT_EQ(v.memory.some.total_us, 14000u);
  EXPECT_EQ(v.memory.full.total_us, 12000u);
  EXPECT_EQ(v.memory.some.averages[0], 0u) << "no period is over";
}

TEST(Pressure, AveragesDecay) {
  Pressure p;
  p.set(Nanoseconds{0}, load(0, 1, 0, 0, false));
  p.set(kPeriod * 10, load(0, 0, 0, 0, false));
  fs::PressureView v = p.read(kPeriod * 10);
  constexpr std::array kSeconds{10.0, 60.0, 300.0};
  for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(average(v.io.full, i), 100 * (1 - std::exp(-10 * 2 / kSeconds[i])), 1) << i;
  // Asked in the middle of nothing or at its end: the same.
  Pressure q = p;
  for (uint64_t k = 11; k <= 40; ++k) (void)q.read(kPeriod * k);
  v = p.read(kPeriod * 40);
  const fs::PressureView w = q.read(kPeriod * 40);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(average(v.io.full, i), 100 * (1 - std::exp(-10 * 2 / kSeconds[i])) * std::exp(-30 * 2 / kSeconds[i]), 1) << i;
    EXPECT_NEAR(average(v.io.full, i), average(w.io.full, i), 0.1) << i;
  }
  EXPECT_EQ(v.io.full.total_us, 20'040'000u);
}

TEST(Pressure, HalfOfTheTimeIsFiftyPerCent) {
  Pressure p;
  Nanoseconds now{0};
  for (int i = 0; i < 3000; ++i) {
    p.set(now, load(0, 0, 1, 0, false));
    now += Nanoseconds{100'000'000};
    p.set(now, load(1, 0, 0, 0, true));
    now += Nanoseconds{100'000'000};
  }
  const fs::PressureView v = p.read(now);
  EXPECT_NEAR(average(v.memory.full, 0), 50, 3);
  EXPECT_NEAR(average(v.memory.some, 1), 50, 3);
}

}  // namespace
}  // namespace vitro::kernel
