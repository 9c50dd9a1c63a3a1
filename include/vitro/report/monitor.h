// The monitor: stops a run where a person asked for it and shows page tables, frames, memory, registers, TLBs, counters (docs/monitor.md).
//
//   auto monitor = TRY(Monitor::create({.commands = "walk main; tlb l2", .stops = {TRY(parse_monitor_stop("fault=100"))}}));
//   monitor->attach(*machine);
//   machine->run(program, [&] { monitor->at_exit(); });
//
// Looking changes nothing: with and without a monitor a run has the same output, counters, traces and virtual times.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "vitro/base/result.h"
#include "vitro/base/types.h"
#include "vitro/machine/machine.h"

namespace vitro::report {

struct MonitorStop {
  enum class Kind : uint8_t {
    Exit,     // the first program has ended, and its memory is still there
    Start,    // before its first instruction
    Fault,    // the `number`-th page fault of user mode was handled
    Time,     // the virtual time has come
    Syscall,  // before the first system call of this number
  };
  Kind kind = Kind::Exit;
  uint64_t number = 0;
  Nanoseconds time{0};
};
// "exit", "start", "fault=100", "time=1.5" (seconds), "syscall=mmap". Errors: anything else; a system call that does not exist.
Result<MonitorStop, UserError> parse_monitor_stop(std::string_view text);

struct MonitorOptions {
  std::string commands;            // separated by ';' or line ends, run at each stop; "-": a person types them
  std::vector<MonitorStop> stops;  // none: at exit, and where a person types at the start too
};

class Monitor {
 public:
  // Errors: a command that does not exist or is wrongly written.
  static Result<std::unique_ptr<Monitor>, UserError> create(const MonitorOptions& options);
  ~Monitor();
  Monitor(const Monitor&) = delete;

  // Before the machine runs. The monitor must not outlive the machine's run, nor end before it.
  void attach(machine::Machine& machine);
  // When the first program has ended, before its memory is freed.
  void at_exit();

 private:
  struct State;
  explicit Monitor(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace vitro::report
