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

constexpr unsigned kFractionBits = 11;
constexpr uint64_t kUnit = 1u << kFractionBits;

}  // namespace

uint64_t decayed_load(uint64_t value, uint64_t decay, uint64_t active, uint64_t samples) {
  active <<= kFractionBits;
  decay = power(decay, kFractionBits, samples);
  uint64_t sum = value * decay + active * (kUnit - decay);
  if (active >= value) sum += kUnit - 1;  // rounds up while it rises
  return sum >> kFractionBits;
}

void LoadAverage::catch_up(Nanoseconds now) {
  const uint64_t samples = (now - next_sample_) / kInterval + 1;
  next_sample_ += kInterval * samples;
  for (size_t i = 0; i < averages_.size(); ++i) averages_[i] = decayed_load(averages_[i], kDecay[i], active_, samples);
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
