#include "kernel/load_average.h"

#include <gtest/gtest.h>

#include <cmath>

namespace vitro::kernel {
namespace {

TEST(LoadAverage, RisesTowardsWhatRuns) {
  LoadAverage load;
  load.set_active(Nanoseconds{0}, 1);
  const auto minute = load.read(seconds(60));
  EXPECT_NEAR(minute[0], 1 - std::exp(-1.0), 0.05);
  EXPECT_NEAR(minute[1], 1 - std::exp(-1.0 / 5), 0.03);
  EXPECT_NEAR(load.read(seconds(3600))[0], 1.0, 0.01);
}

TEST(LoadAverage, DecaysWhenNothingRuns) {
  LoadAverage load;
  load.set_active(Nanoseconds{0}, 2);
  load.set_active(seconds(1800), 0);
  EXPECT_GT(load.read(seconds(1800))[0], 1.9);
  EXPECT_NEAR(load.read(seconds(1860))[0], 2 * std::exp(-1.0), 0.1);
  EXPECT_LT(load.read(seconds(1800 + 3600))[2], 0.1);
}

// Asking often or once gives nearly the same: the samples are the same, only the rounding of the power differs.
TEST(LoadAverage, DoesNotDependOnWhenItIsAsked) {
  LoadAverage often, once;
  often.set_active(Nanoseconds{0}, 3);
  once.set_active(Nanoseconds{0}, 3);
  for (uint64_t s = 1; s <= 300; ++s) often.read(seconds(s));
  for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(often.read(seconds(300))[i], once.read(seconds(300))[i], 0.03);
}

TEST(LoadAverage, LongIdleTimesAreCheap) {
  LoadAverage load;
  load.set_active(Nanoseconds{0}, 1);
  EXPECT_NEAR(load.read(seconds(1'000'000'000))[2], 1.0, 0.01);
}

}  // namespace
}  // namespace vitro::kernel
