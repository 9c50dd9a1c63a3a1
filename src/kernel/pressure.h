// Pressure stall information (kernel/sched/psi.c): how much of the time some task, or every task that had something to do, waited for the disk, for memory
// or for the CPU. Times are integrated whenever the tasks' states change, so no event is needed; every two seconds of virtual time they are
// decayed into averages.
#pragma once

#include <array>
#include <cstdint>

#include "vitro/base/types.h"
#include "vitro/fs/process_view.h"

namespace vitro::kernel {

class Pressure {
 public:
  enum State : unsigned { IoSome, IoFull, MemorySome, MemoryFull, CpuSome, CpuFull, Count };
  static constexpr Nanoseconds kPeriod{2'004'000'000};  // PSI_FREQ: 2 s and a tick
  // How many tasks are in which state (psi_group_cpu.tasks).
  struct Load {
    uint64_t runnable = 0;          // the one on the CPU included
    uint64_t waiting = 0;           // for the disk (in_iowait)
    uint64_t stalled = 0;           // wait for memory, or free it (in_memstall), whether runnable or not
    uint64_t stalled_runnable = 0;
    bool busy = false;              // a task is on the CPU
    bool busy_stalled = false;      // and it is stalled
  };
  void set(Nanoseconds now, const Load& load) {
    const uint32_t states = states_of(load);
    if (states != states_) change(now, states);
  }
  fs::PressureView read(Nanoseconds now);
  uint32_t states() const { return states_; }  // bit s: state s is on
  // How long each state was on until `now`.
  std::array<Nanoseconds, Count> totals(Nanoseconds now);
  // When the averages are next brought up to date.
  Nanoseconds next_update() const { return next_update_; }

 private:
  static uint32_t states_of(const Load& load);
  void change(Nanoseconds now, uint32_t states);
  void accumulate(Nanoseconds until);
  void catch_up(Nanoseconds now);
  void update_averages(uint64_t missed_periods, Nanoseconds period);

  uint32_t states_ = 0;
  Nanoseconds since_{0}, next_update_ = kPeriod;
  struct Sum {
    Nanoseconds total{0}, averaged{0};
    std::array<uint64_t, 3> averages{};  // per cent, 11 fraction bits
  };
  std::array<Sum, Count> sums_{};
};

}  // namespace vitro::kernel
