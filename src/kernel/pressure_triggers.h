// Triggers on pressure stall information (kernel/sched/psi.c): somebody is told when, within a window of time, tasks lost more than a threshold.
//
// Root's triggers are looked at ten times in the shortest window that is asked for, from the first stall on until a window passes without one
// (psi_rtpoll_work); other users' whenever the averages are brought up to date, every two seconds (psi_avgs_work). While nothing stalls,
// nothing is scheduled.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string_view>

#include "kernel/pressure.h"
#include "vitro/base/intrusive_list.h"
#include "vitro/base/result.h"
#include "vitro/base/wait_queue.h"
#include "vitro/hw/clock.h"

namespace vitro::kernel {

class PressureTriggers {
 public:
  PressureTriggers(hw::Clock& clock, Pressure& pressure) : clock_(clock), pressure_(pressure) {}
  // Triggers may outlive it; nothing happens to them any more.
  ~PressureTriggers();
  PressureTriggers(const PressureTriggers&) = delete;

  // As fs::ProcessTable::add_pressure_trigger.
  Result<std::unique_ptr<fs::PressureTrigger>> add(fs::PressureResource resource, std::string_view text, bool privileged);
  // After the pressure's states may have changed.
  void note_states() {
    const uint32_t on = pressure_.states();
    if (on & polled_.watched) [[unlikely]] schedule_poll(1);
    if (on & averaged_.watched) [[unlikely]] schedule_averaging();
  }

 private:
  using Totals = std::array<Nanoseconds, Pressure::Count>;
  class Trigger;
  struct Group;

  // How much of a total fell into the last `size` of time; the part of the window before is taken to have come evenly (struct psi_window).
  struct Window {
    Nanoseconds size{0}, start{0}, start_value{0}, previous_growth{0};
    void reset(Nanoseconds now, Nanoseconds value, Nanoseconds growth) { start = now, start_value = value, previous_growth = growth; }
    Nanoseconds update(Nanoseconds now, Nanoseconds value);
  };
  class Trigger final : public fs::PressureTrigger {
   public:
    ~Trigger() override;
    WaitQueue& happened() override { return queue; }
    bool take_event() override { return std::exchange(event, false); }

    PressureTriggers* owner = nullptr;
    Group* group = nullptr;
    ListLink link;
    Pressure::State state{};
    Nanoseconds threshold{0};
    Window window;
    bool event = false;    // happened, and nobody has taken it
    bool pending = false;  // the threshold was passed, but less than a window after the last event
    std::optional<Nanoseconds> last_event;
    WaitQueue queue;
  };
  struct Group {
    IntrusiveList<Trigger, &Trigger::link> triggers;
    uint32_t watched = 0;  // bit s: a trigger is on state s
    Nanoseconds period{UINT64_MAX};  // between two looks (rtpoll_min_period)
    Totals seen{};         // at the last look that found something new (rtpoll_total)
  };

  void remove(Trigger& trigger);
  void update(Group& group, Nanoseconds now, const Totals& totals);
  void schedule_poll(uint64_t ticks);
  void poll();
  void schedule_averaging();
  void average();
  static void note_triggers(Group& group);

  hw::Clock& clock_;
  Pressure& pressure_;
  Group polled_, averaged_;
  Nanoseconds poll_until_{0};      // looks go on until then, unless something stalls again (rtpoll_until)
  Nanoseconds next_poll_{UINT64_MAX};
  Totals polled_totals_{};         // at the last look
  std::optional<hw::Clock::EventId> poll_event_, averaging_event_;
};

}  // namespace vitro::kernel
