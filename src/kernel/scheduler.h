// Who runs: one logical CPU, shared by virtual run time, deterministically.
//
// The policy is a small CFS (kernel/sched/fair.c). Each task has a virtual run time that grows with the time it runs, divided by its weight
// (nice); the runnable task with the least runs next, at most one time slice long. A task that wakes up gets at most half a scheduling
// period of credit and preempts one that is a wake-up granularity ahead of it. Ties go to the one that came first, so the order never
// depends on anything else.
//
// Tasks run on fibres and leave them only here; run() itself stays on the host's stack.
#pragma once

#include <deque>
#include <functional>
#include <span>

#include "kernel/asid_cache.h"
#include "kernel/fibre.h"
#include "kernel/load_average.h"
#include "kernel/pressure.h"
#include "kernel/pressure_triggers.h"
#include "vitro/base/intrusive_list.h"
#include "vitro/base/trace.h"
#include "vitro/base/wait_queue.h"
#include "vitro/hw/clock.h"
#include "vitro/hw/cpu.h"
#include "vitro/hw/timing_model.h"
#include "vitro/kernel/task.h"

namespace vitro::kernel {

// What the scheduler asks of the rest of the kernel.
class SchedulerPort {
 public:
  virtual ~SchedulerPort() = default;
  virtual bool signal_pending(const Task& t) const = 0;        // ends an interruptible sleep
  virtual bool fatal_signal_pending(const Task& t) const = 0;  // ends a killable one
  // Between tasks. False: the run must end.
  virtual bool poll_host() = 0;
  // Idle with no event queued. False: nothing can ever happen.
  virtual bool wait_for_host() = 0;
  // Idle, and the next event is `until` away. True: something was woken.
  virtual bool wait_for_host_until(Nanoseconds until) = 0;
  // The task's fibre has ended.
  virtual void task_ended(Task& t) = 0;
  // How long the task may run until one of its CPU-time timers expires.
  virtual std::optional<Nanoseconds> cpu_timer_remaining(const Task& t) const = 0;
};

enum class Sleep : uint8_t { Interruptible, Killable, Uninterruptible };

class Scheduler {
 public:
  // kernel/sched/fair.c on one CPU: sysctl_sched_latency 6 ms, sysctl_sched_wakeup_granularity 1 ms.
  static constexpr Nanoseconds kLatency{6'000'000};
  static constexpr Nanoseconds kWakeupGranularity{1'000'000};

  Scheduler(hw::Cpu& cpu, hw::Clock& clock, hw::Mmu& mmu, const hw::TimingModel& timing, Tracer& tracer, SchedulerPort& port);

  // ---- From a task's kernel stack ----
  Task* current() const { return current_; }
  bool on_task() const { return current_ && Fibre::inside(); }
  // Sleeps on all `queues`. RestartSys, TimedOut as Blocking::wait says.
  Status sleep(std::span<WaitQueue* const> queues, Sleep kind, std::optional<Nanoseconds> deadline);
  // Job control: off the CPU until wake_stopped().
  void stop();
  void yield();
  // Off the CPU and at once runnable again: lets run() ask whether it is done.
  void give_way();
  // Gives the CPU away if the slice is over or somebody more urgent woke up; gives out a new slice. Call before returning to user mode.
  void preempt_if_needed();
  // The current task has a new CPU-time timer: its slice may have to end earlier.
  void limit_slice() { slice_end_ = Nanoseconds{0}; }
  bool preemption_pending() const { return need_resched_ || clock_.now() >= slice_end_; }

  // ---- From anywhere ----
  void start(Task& t, const Task* parent);    // first time
  void wake(Task& t);                         // ends any sleep, not a stop
  void wake_for_signal(Task& t, bool fatal);  // ends it only where that kind of sleep listens
  void wake_stopped(Task& t);
  // Runs what is due in the event queue, on the caller's stack; whatever runs there must not wait.
  void run_due_events();
  bool in_event() const { return in_event_ > 0; }

  // ---- From the host's stack ----
  enum class Ended : uint8_t { Done, HostAsked, Deadlock };
  Ended run(const std::function<bool()>& done);

  // Whether the CPU holds the task's registers.
  bool holds_registers_of(const Task& t) const { return cpu_owner_ == &t; }
  // The task's registers are in the CPU and it will never run again.
  void forget_cpu_state(Task& t);
  // User and kernel time of the current task since the last call. Called where the one turns into the other.
  void account_user();
  void account_system();

  struct Totals {
    Nanoseconds user{0}, system{0}, idle{0}, iowait{0};
    uint64_t context_switches = 0, events = 0;
    uint64_t running = 0, blocked = 0;
  };
  Totals totals() const;
  LoadAverage& load() { return load_; }
  Pressure& pressure() { return pressure_; }
  PressureTriggers& pressure_triggers() { return pressure_triggers_; }
  // The current task begins or ends to wait for memory, or to free it for others (psi_memstall_enter, _leave).
  void set_stalled(bool on);
  AsidCache& asids() { return asids_; }
  FibreStacks& stacks() { return stacks_; }
  void verify() const;

 private:
  struct Sleeper;
  void leave_cpu();  // current → the host's stack, and back when it runs again
  void enter(Task& t);
  void idle();
  void enqueue(Task& t);
  void update_current();
  void make_runnable(Task& t);
  void count_active();
  void note_switch(const Task* next);
  static uint64_t weight(int nice);

  hw::Cpu& cpu_;
  hw::Clock& clock_;
  const hw::TimingModel& timing_;
  Tracer& tracer_;
  SchedulerPort& port_;
  FibreStacks stacks_;
  AsidCache asids_;
  LoadAverage load_;
  Pressure pressure_;
  PressureTriggers pressure_triggers_{clock_, pressure_};
  IntrusiveList<Task, &Task::run_queue_link> queue_;  // runnable, not running; ascending by virtual run time
  Task* current_ = nullptr;
  Task* cpu_owner_ = nullptr;  // whose registers the CPU holds
  uint64_t min_virtual_runtime_ = 0;
  uint64_t next_order_ = 1;
  bool need_resched_ = false;
  int in_event_ = 0;
  Nanoseconds slice_end_{0};
  Nanoseconds account_mark_{0};
  uint64_t blocked_ = 0;  // tasks in DiskSleep
  uint64_t stalled_ = 0, stalled_runnable_ = 0;
  uint64_t events_ = 0;
  Totals totals_;
  // Who the CPU ran last: for the trace, since the task itself may be gone.
  struct Last {
    uint64_t order = 0;  // 0: idle
    Pid tid{0};
    int nice = 0;
    std::array<char, 16> comm{"swapper/0"};
    const char* state = "R";
  } last_;
};

}  // namespace vitro::kernel
