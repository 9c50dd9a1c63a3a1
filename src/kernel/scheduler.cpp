#include "kernel/scheduler.h"

#include <algorithm>
#include <cstring>

#include "vitro/base/check.h"

namespace vitro::kernel {
namespace {

constexpr int kNormalPriority = 120;  // DEFAULT_PRIO

// kernel/sched/core.c: sched_prio_to_weight: each step of nice is about 10 % of CPU time.
constexpr std::array<uint64_t, 40> kWeights{88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100, 4904,
                                            3906,  3121,  2501,  1991,  1586,  1277,  1024,  820,   655,   526,   423,  335,  272,  215,
                                            172,   137,   110,   87,    70,    56,    45,    36,    29,    23,    18,   15};

const char* state_letter(const Task& t, bool preempted) {
  switch (t.state) {
    case TaskState::Running:
      return preempted ? "R+" : "R";
    case TaskState::Sleeping:
      return "S";
    case TaskState::DiskSleep:
      return "D";
    case TaskState::Stopped:
      return "T";
    case TaskState::Zombie:
      return "Z";
    case TaskState::Dead:
      return "X";
  }
  return "R";
}

}  // namespace

// One queue's record of a task that sleeps; lives on the sleeper's stack.
struct Scheduler::Sleeper final : Waiter {
  Sleeper(Scheduler& s, Task& t, bool& woken) : scheduler(s), task(t), woken(woken) {}
  void wake() override {
    woken = true;
    scheduler.wake(task);
  }
  Scheduler& scheduler;
  Task& task;
  bool& woken;
};

Scheduler::Scheduler(hw::Cpu& cpu, hw::Clock& clock, hw::Mmu& mmu, const hw::TimingModel& timing, Tracer& tracer, SchedulerPort& port)
    : cpu_(cpu), clock_(clock), timing_(timing), tracer_(tracer), port_(port), asids_(mmu) {}

uint64_t Scheduler::weight(int nice) { return kWeights[static_cast<size_t>(std::clamp(nice, -20, 19) + 20)]; }

void Scheduler::count_active() {
  const bool busy = current_ && current_->state == TaskState::Running;
  const uint64_t runnable = queue_.size() + busy;
  load_.set_active(clock_.now(), runnable + blocked_);
  pressure_.set(clock_.now(), {runnable, blocked_, stalled_, stalled_runnable_, busy, busy && current_->reclaim.stalled});
  pressure_triggers_.note_states();
}

void Scheduler::set_stalled(bool on) {
  if (!current_ || current_->reclaim.stalled == on) return;
  current_->reclaim.stalled = on;
  stalled_ += on ? 1 : -1;
  stalled_runnable_ += on ? 1 : -1;
  count_active();
}

// Sorted insertion from the back: most tasks that come back have run longest.
void Scheduler::enqueue(Task& t) {
  Task* position = nullptr;
  for (Task& other : queue_)
    if (other.scheduling.virtual_runtime > t.scheduling.virtual_runtime) {
      position = &other;
      break;
    }
  if (position)
    queue_.insert(*position, t);
  else
    queue_.push_back(t);
}

void Scheduler::update_current() {
  if (current_) {
    const Nanoseconds now = clock_.now();
    if (now > current_->scheduling.run_start) {
      current_->scheduling.virtual_runtime += (now - current_->scheduling.run_start).value() * 1024 / weight(current_->nice);
      current_->scheduling.run_start = now;
    }
  }
  uint64_t least = UINT64_MAX;
  if (current_ && current_->state == TaskState::Running) least = current_->scheduling.virtual_runtime;
  if (!queue_.empty()) least = std::min(least, queue_.front().scheduling.virtual_runtime);
  if (least != UINT64_MAX) min_virtual_runtime_ = std::max(min_virtual_runtime_, least);
}

void Scheduler::make_runnable(Task& t) {
  if (t.state == TaskState::DiskSleep) --blocked_;
  stalled_runnable_ += t.reclaim.stalled;
  t.state = TaskState::Running;
  t.wait_channel = "0";
  if (&t == current_) return;  // woken before it left the CPU
  update_current();
  enqueue(t);
  count_active();
  TRACE(tracer_, Event::SchedWakeup, t.comm, t.tid.value(), kNormalPriority + t.nice, 0);
  if (!current_ || t.scheduling.virtual_runtime + kWakeupGranularity.value() < current_->scheduling.virtual_runtime) {
    need_resched_ = true;
    // A fault that the CPU's fill hook resolves does not leave the CPU by itself.
    if (current_) clock_.set_slice_end(clock_.now());
  }
}

void Scheduler::start(Task& t, const Task* parent) {
  update_current();
  t.scheduling.order = next_order_++;
  // place_entity(initial): a new task starts one slice of a shared period behind, so that forking gains no time.
  const uint64_t from = parent ? parent->scheduling.virtual_runtime : min_virtual_runtime_;
  t.scheduling.virtual_runtime = std::max(from, min_virtual_runtime_) + kLatency.value() / 2;
  t.state = TaskState::Running;
  enqueue(t);
  count_active();
}

void Scheduler::wake(Task& t) {
  if (t.state != TaskState::Sleeping && t.state != TaskState::DiskSleep) return;
  const uint64_t credit = kLatency.value() / 2;
  const uint64_t floor = min_virtual_runtime_ > credit ? min_virtual_runtime_ - credit : 0;
  t.scheduling.virtual_runtime = std::max(t.scheduling.virtual_runtime, floor);
  make_runnable(t);
}

void Scheduler::wake_for_signal(Task& t, bool fatal) {
  if (t.state == TaskState::Sleeping || (t.state == TaskState::DiskSleep && fatal && t.scheduling.killable))
    wake(t);
  else if (t.state == TaskState::Stopped && fatal)
    wake_stopped(t);
}

void Scheduler::wake_stopped(Task& t) {
  if (t.state != TaskState::Stopped) return;
  t.scheduling.virtual_runtime = std::max(t.scheduling.virtual_runtime, min_virtual_runtime_);
  make_runnable(t);
}

void Scheduler::run_due_events() {
  ++in_event_;
  events_ += clock_.run_due_events();
  --in_event_;
}

// ---- Accounting ----
// Differences wrap: time can step back by what a cut-short block had been charged, and the sums stay right.

void Scheduler::account_user() {
  const Nanoseconds now = clock_.now();
  const Nanoseconds spent = now - account_mark_;
  account_mark_ = now;
  if (!current_) return;
  current_->usage.user += spent;
  totals_.user += spent;
}

void Scheduler::account_system() {
  const Nanoseconds now = clock_.now();
  const Nanoseconds spent = now - account_mark_;
  account_mark_ = now;
  if (!current_) return;
  current_->usage.system += spent;
  totals_.system += spent;
}

Scheduler::Totals Scheduler::totals() const {
  Totals t = totals_;
  t.idle = clock_.idle_time() - t.iowait;
  t.events = events_;
  t.running = queue_.size() + (current_ && current_->state == TaskState::Running);
  t.blocked = blocked_;
  return t;
}

// ---- Leaving and entering the CPU ----

void Scheduler::leave_cpu() {
  Task& me = *current_;
  CHECK(!in_event_, "a callback of the event queue waits");
  me.rseq_event = me.rseq_area != 0;
  account_system();
  update_current();
  last_.state = state_letter(me, me.state == TaskState::Running);
  if (me.context && cpu_owner_ == &me) {
    me.saved_instruction_pointer = cpu_.instruction_pointer();
    me.saved_stack_pointer = cpu_.stack_pointer();
  }
  Fibre::suspend();
  // Somebody chose us again: enter() has put everything back.
}

Status Scheduler::sleep(std::span<WaitQueue* const> queues, Sleep kind, std::optional<Nanoseconds> deadline) {
  CHECK(on_task() && !in_event_, "only a task on its own kernel stack can wait");
  Task& me = *current_;
  auto interrupted = [&] {
    return kind == Sleep::Interruptible ? port_.signal_pending(me) : kind == Sleep::Killable ? port_.fatal_signal_pending(me) : false;
  };
  if (interrupted()) return fail(Errno::RestartSys);
  if (deadline && *deadline <= clock_.now()) return fail(Errno::TimedOut);

  bool woken = false;
  std::deque<Sleeper> many;
  std::optional<Sleeper> one;
  if (queues.size() == 1)
    queues[0]->add(one.emplace(*this, me, woken));
  else
    for (WaitQueue* q : queues) q->add(many.emplace_back(*this, me, woken));
  bool timed_out = false;
  hw::Clock::EventId event = 0;
  if (deadline) {
    event = clock_.schedule(*deadline, [this, &me, &timed_out] {
      timed_out = true;
      wake(me);
    });
  }
  me.state = kind == Sleep::Interruptible ? TaskState::Sleeping : TaskState::DiskSleep;
  me.scheduling.killable = kind == Sleep::Killable;
  if (me.state == TaskState::DiskSleep) ++blocked_;
  stalled_runnable_ -= me.reclaim.stalled;
  ++me.usage.voluntary_switches;
  leave_cpu();
  if (one && one->queue_link.linked()) queues[0]->remove(*one);
  for (size_t i = 0; i < many.size(); ++i) queues[i]->remove(many[i]);
  if (event && !timed_out) clock_.cancel(event);
  if (woken) return {};
  if (timed_out) return fail(Errno::TimedOut);
  if (interrupted()) return fail(Errno::RestartSys);
  return {};
}

void Scheduler::stop() {
  Task& me = *current_;
  me.state = TaskState::Stopped;
  ++me.usage.voluntary_switches;
  leave_cpu();
}

// CFS's yield only skips the caller once; here it goes behind everybody who can run, so that a task that spins with sched_yield cannot
// starve the one it waits for.
void Scheduler::yield() {
  if (queue_.empty()) return;
  update_current();
  current_->scheduling.virtual_runtime = std::max(current_->scheduling.virtual_runtime, queue_.back().scheduling.virtual_runtime);
  ++current_->usage.voluntary_switches;
  enqueue(*current_);
  leave_cpu();
}

void Scheduler::give_way() {
  enqueue(*current_);
  leave_cpu();
}

void Scheduler::preempt_if_needed() {
  const Nanoseconds now = clock_.now();
  if (now >= slice_end_ && !queue_.empty()) {
    update_current();
    if (queue_.front().scheduling.virtual_runtime <= current_->scheduling.virtual_runtime) need_resched_ = true;
  }
  if (need_resched_ && !queue_.empty()) {
    ++current_->usage.involuntary_switches;
    update_current();
    enqueue(*current_);
    leave_cpu();
    return;
  }
  need_resched_ = false;
  slice_end_ = now + timing_.time_slice;
  if (auto timer = port_.cpu_timer_remaining(*current_)) slice_end_ = std::min(slice_end_, now + std::max(*timer, Nanoseconds{1}));
  clock_.set_slice_end(slice_end_);
}

void Scheduler::note_switch(const Task* next) {
  const uint64_t order = next ? next->scheduling.order : 0;
  if (order == last_.order) return;
  const std::string_view next_comm = next ? std::string_view(next->comm) : std::string_view("swapper/0");
  const Pid next_tid = next ? next->tid : Pid{0};
  ++totals_.context_switches;
  TRACE(tracer_, Event::SchedSwitch, last_.comm.data(), last_.tid.value(), kNormalPriority + last_.nice, last_.state, next_comm, next_tid.value(),
        kNormalPriority + (next ? next->nice : 0));
  tracer_.set_task(next_tid, next_comm);
  last_.order = order;
  if (!next) {
    last_.tid = Pid{0};
    last_.nice = 0;
    std::strcpy(last_.comm.data(), "swapper/0");
    last_.state = "R";
  }
}

void Scheduler::enter(Task& t) {
  account_mark_ = clock_.now();  // what passed since belongs to nobody: idle time, events
  const bool switched = t.scheduling.order != last_.order;
  note_switch(&t);
  current_ = &t;
  need_resched_ = false;
  if (switched) clock_.advance(timing_.context_switch);
  if (mm::AddressSpace* space = t.space()) asids_.activate(*space);
  if (t.context && cpu_owner_ != &t) {
    if (cpu_owner_) cpu_.save(*cpu_owner_->context);
    cpu_.restore(*t.context);
    cpu_owner_ = &t;
  }
  t.scheduling.run_start = clock_.now();
  slice_end_ = t.scheduling.run_start + timing_.time_slice;
  if (auto timer = port_.cpu_timer_remaining(t))
    slice_end_ = std::min(slice_end_, t.scheduling.run_start + std::max(*timer, Nanoseconds{1}));
  clock_.set_slice_end(slice_end_);
  t.fibre->resume();
  Task& back = *current_;
  const bool ended = back.fibre->ended();
  last_.tid = back.tid;
  last_.nice = back.nice;
  const size_t n = std::min<size_t>(back.comm.size(), last_.comm.size() - 1);
  std::memcpy(last_.comm.data(), back.comm.data(), n);
  last_.comm[n] = 0;
  if (ended) {
    account_system();
    last_.state = state_letter(back, false);
    if (cpu_owner_ == &back) cpu_owner_ = nullptr;
  }
  current_ = nullptr;
  clock_.set_slice_end(std::nullopt);
  count_active();
  if (ended) port_.task_ended(back);
}

void Scheduler::forget_cpu_state(Task& t) {
  if (cpu_owner_ == &t) cpu_owner_ = nullptr;
}

void Scheduler::idle() {
  note_switch(nullptr);
  const auto next = clock_.next_event();
  const Nanoseconds now = clock_.now();
  if (!next || *next <= now) return;
  if (port_.wait_for_host_until(*next - now)) return;
  clock_.idle_until(*next);
  if (blocked_) totals_.iowait += clock_.now() - now;
}

Scheduler::Ended Scheduler::run(const std::function<bool()>& done) {
  CHECK(!Fibre::inside(), "run() from a task");
  while (true) {
    run_due_events();
    if (done()) return Ended::Done;
    if (!port_.poll_host()) return Ended::HostAsked;
    if (Task* next = queue_.pop_front()) {
      enter(*next);
    } else if (clock_.next_event()) {
      idle();
    } else {
      note_switch(nullptr);
      if (!port_.wait_for_host() && queue_.empty()) return Ended::Deadlock;
    }
  }
}

void Scheduler::verify() const {
  uint64_t previous = 0;
  for (const Task& t : queue_) {
    CHECK(t.state == TaskState::Running, "task {} is queued but not runnable", t.tid.value());
    CHECK(t.scheduling.virtual_runtime >= previous, "the run queue is out of order at task {}", t.tid.value());
    previous = t.scheduling.virtual_runtime;
  }
}

}  // namespace vitro::kernel
