// The 1, 5 and 15 minute load averages (kernel/sched/loadavg.c): the number of runnable and uninterruptible tasks, sampled every five
// seconds of virtual time and decayed exponentially in fixed point. Computed when the number changes or someone asks, so that no event is
// needed.
#pragma once

#include <array>
#include <cstdint>

#include "vitro/base/types.h"

namespace vitro::kernel {

// An average of `value`, 11 fraction bits, after `samples` more samples of `active`, decayed by `decay`/2048 at each (calc_load_n).
uint64_t decayed_load(uint64_t value, uint64_t decay, uint64_t active, uint64_t samples);

class LoadAverage {
 public:
  static constexpr Nanoseconds kInterval{5'004'000'000};  // LOAD_FREQ: 5 s and a tick

  // From `now` on `active` tasks count.
  void set_active(Nanoseconds now, uint64_t active) {
    if (now >= next_sample_) catch_up(now);
    active_ = active;
  }
  std::array<double, 3> read(Nanoseconds now);
  // As sysinfo(2) wants them: 16 fraction bits.
  std::array<uint64_t, 3> read_fixed(Nanoseconds now);

 private:
  static constexpr unsigned kShift = 11;
  static constexpr uint64_t kOne = 1u << kShift;
  void catch_up(Nanoseconds now);
  std::array<uint64_t, 3> averages_{};
  uint64_t active_ = 0;
  Nanoseconds next_sample_ = kInterval;
};

}  // namespace vitro::kernel
