#include "kernel/load_average.h"

namespace vitro::kernel {
namespace {

// 2048 / exp(5 s / 1, 5, 15 min).
constexpr std::array<uint64_t, 3> kDecay{1884, 2014, 2037};

uint64_t power(uint64_t x, unsigned shift, uint64_t n) {
  uint64_t result = uint64_t{1} << shift;
  while (n) {
    if (n & 1) result = (result * x + (uint64_t{1} << (shift - 1))) >> shift;
    n >>= 1;
    if (n) x = (x * x + (uint64_t{1} << (shift - 1))) >> shift;
  }
  return result;
}

}  // namespace

void LoadAverage::catch_up(Nanoseconds now) {
  const uint64_t samples = (now - next_sample_) / kInterval + 1;
  next_sample_ += kInterval * samples;
  const uint64_t active = active_ << kShift;
  for (size_t i = 0; i < averages_.size(); ++i) {
    const uint64_t decay = power(kDecay[i], kShift, samples);
    uint64_t sum = averages_[i] * decay + active * (kOne - decay);
    if (active >= averages_[i]) sum += kOne - 1;  // rounds up while it rises
    averages_[i] = sum >> kShift;
  }
}

std::array<uint64_t, 3> LoadAverage::read_fixed(Nanoseconds now) {
  set_active(now, active_);
  std::array<uint64_t, 3> result;
  for (size_t i = 0; i < result.size(); ++i) result[i] = averages_[i] << (16 - kShift);
  return result;
}

std::array<double, 3> LoadAverage::read(Nanoseconds now) {
  set_active(now, active_);
  std::array<double, 3> result;
  // /proc/loadavg adds half a hundredth before it cuts off (fs/proc/loadavg.c: FIXED_1/200).
  for (size_t i = 0; i < result.size(); ++i) {
    const uint64_t v = averages_[i] + kOne / 200;
    result[i] = static_cast<double>(v >> kShift) + static_cast<double>(((v & (kOne - 1)) * 100) >> kShift) / 100.0;
  }
  return result;
}

}  // namespace vitro::kernel
