// Process numbers: the next free one after the last, from 300 again when they run out (kernel/pid.c: alloc_pid, RESERVED_PIDS).
#pragma once

#include <optional>

#include "vitro/base/types.h"

namespace vitro::kernel {

class PidAllocator {
 public:
  static constexpr int kMaximum = 32768;  // pid_max: one more than the largest
  static constexpr int kReserved = 300;

  // Nullopt when every number is in use. `in_use(Pid)`: a task, process group or session has it.
  template <class InUse>
  std::optional<Pid> allocate(InUse&& in_use) {
    for (int tries = 0; tries < kMaximum; ++tries) {
      last_ = last_ + 1 < kMaximum ? last_ + 1 : kReserved;
      if (!in_use(Pid{last_})) return Pid{last_};
    }
    return std::nullopt;
  }
  Pid last() const { return Pid{last_}; }

 private:
  int last_ = 0;
};

}  // namespace vitro::kernel
