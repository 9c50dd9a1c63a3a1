// One line at the bottom of a terminal while a program runs long: virtual time, free memory, faults. It is gone before anything else is printed there.
//
//   auto progress = Progress::create(machine);   // null where standard error is no terminal
#pragma once

#include <memory>

#include "vitro/machine/machine.h"

namespace vitro::report {

class Progress {
 public:
  // Null where standard error is no terminal. Must be gone before the machine is. Driven by watches of virtual time and throttled by the host's clock, of
  // which the guest sees nothing.
  static std::unique_ptr<Progress> create(machine::Machine& machine);
  ~Progress();
  Progress(const Progress&) = delete;

 private:
  struct State;
  explicit Progress(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// "vitro: 16.0 s of virtual time, 901.2 of 976.4 MiB free, 25622 faults (5 major)", cut to `width` columns.
std::string progress_text(Nanoseconds time, Pages free, Pages total, uint64_t faults, uint64_t major, size_t width);

}  // namespace vitro::report
