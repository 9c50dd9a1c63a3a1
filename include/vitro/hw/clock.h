// Virtual time: instructions and modelled costs make it pass, nothing else does. The event queue holds what is to happen later.
//
// now = elapsed + instructions * instruction_ps. The CPU counts instructions here and stops at instruction_limit(), which the clock keeps
// at the earliest of the next event and the end of the time slice.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>

#include "vitro/base/types.h"

namespace vitro::hw {

class Clock {
 public:
  using EventId = uint64_t;

  explicit Clock(uint64_t instruction_ps) : instruction_ps_(instruction_ps) {}

  Nanoseconds now() const { return Nanoseconds{elapsed_ns_ + static_cast<uint64_t>((static_cast<unsigned __int128>(instructions_) * instruction_ps_) / 1000)}; }
  uint64_t instructions() const { return instructions_; }
  // Called by the CPU, a block at a time. True when the limit is reached and the CPU must stop before the next block.
  bool count_instructions(uint64_t n) { return (instructions_ += n) >= instruction_limit_; }
  // Takes back instructions of a block that a fault cut short.
  void uncount_instructions(uint64_t n) { instructions_ -= n; }
  uint64_t instruction_limit() const { return instruction_limit_; }
  bool limit_reached() const { return instructions_ >= instruction_limit_; }

  // Time passes without instructions: a page fault's cost, a system call's.
  void advance(Nanoseconds cost);
  // The CPU idles until `t`; no effect if `t` is past.
  void idle_until(Nanoseconds t);
  Nanoseconds idle_time() const { return Nanoseconds{idle_ns_}; }

  // Runs `callback` when now() >= when and run_due_events() is called. Equal times run in order of scheduling.
  EventId schedule(Nanoseconds when, std::function<void()> callback);
  // False if it ran already or is unknown.
  bool cancel(EventId id);
  std::optional<Nanoseconds> next_event() const;
  // Runs everything that is due, including what those callbacks schedule for now. Returns how many ran.
  size_t run_due_events();

  // Looking on: `callback` runs when now() >= when, before what else is due then, in run_due_events(), idle_until() or run_due_watches(). It must
  // change nothing of the machine, and neither next_event() nor idling knows of it: with and without watches, the same happens at the
  // same times. The CPU stops for a watch; where limit_reached() says afterwards that it was for nothing else, it simply goes on.
  EventId watch(Nanoseconds when, std::function<void()> callback);
  // False if it ran already or is unknown.
  bool unwatch(EventId id);
  // True where any ran.
  bool run_due_watches();

  // The time slice of the task that runs; the limit never lies beyond it. Nullopt: no slice.
  void set_slice_end(std::optional<Nanoseconds> end);
  std::optional<Nanoseconds> slice_end() const { return slice_end_; }

  static Nanoseconds read(const void* clock) { return static_cast<const Clock*>(clock)->now(); }

 private:
  void update_limit();
  uint64_t instruction_ps_;
  uint64_t instructions_ = 0;
  uint64_t instruction_limit_ = UINT64_MAX;
  uint64_t elapsed_ns_ = 0;
  uint64_t idle_ns_ = 0;
  std::optional<Nanoseconds> slice_end_;
  EventId next_id_ = 1, next_watch_ = 1;
  std::map<std::pair<Nanoseconds, EventId>, std::function<void()>> queue_;
  std::map<EventId, Nanoseconds> when_;
  std::map<std::pair<Nanoseconds, EventId>, std::function<void()>> watches_;
};

}  // namespace vitro::hw
