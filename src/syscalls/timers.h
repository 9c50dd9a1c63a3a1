// POSIX timers (timer_create): per process, counted down by the machine's clock.
#pragma once

#include <map>
#include <optional>

#include "vitro/syscalls/table.h"

namespace vitro::syscalls {

class PosixTimers {
 public:
  struct Timer {
    int id = 0;
    int clock = 0;
    int notify = 0;              // SIGEV_SIGNAL 0, SIGEV_NONE 1, SIGEV_THREAD_ID 4
    int signal = 0;
    Pid thread{0};
    uint64_t value = 0;
    Nanoseconds interval{0};
    std::optional<Nanoseconds> expires;  // monotonic; absent: not armed
    hw::Clock::EventId event = 0;
    int overrun = 0;
  };
  Timer& create(Pid process);
  Timer* find(Pid process, int id);
  bool remove(kernel::Kernel& kernel, Pid process, int id);
  void remove_all(kernel::Kernel& kernel, Pid process);
  void arm(kernel::Kernel& kernel, Pid process, Timer& t, std::optional<Nanoseconds> expires, Nanoseconds interval);

 private:
  void fire(kernel::Kernel& kernel, Pid process, int id);
  struct Owner {
    int next_id = 0;
    std::map<int, Timer> timers;
  };
  std::map<Pid, Owner> owners_;
};

}  // namespace vitro::syscalls
