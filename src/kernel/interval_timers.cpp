// setitimer(2) and what builds on it: ITIMER_REAL by the event queue, ITIMER_VIRTUAL and ITIMER_PROF by the process's CPU time, which is
// looked at when a time slice ends; the slice ends no later than the timer (kernel/time/itimer.c, posix-cpu-timers.c). RLIMIT_CPU too.
#include <algorithm>

#include "kernel/state.h"

namespace vitro::kernel {
namespace {

constexpr int kReal = 0, kVirtual = 1;

Nanoseconds consumed(const Process& p, int which) {
  const ResourceUsage u = p.usage();
  return which == kVirtual ? u.user : u.user + u.system;
}

}  // namespace

void Kernel::State::arm_real_timer(Process& p) {
  Process::IntervalTimer& timer = p.timers[kReal];
  const Pid pid = p.pid;
  timer.event = clock.schedule(*timer.expires, [this, pid] {
    Process* p = find_process(pid);
    if (!p || p->zombie) return;
    Process::IntervalTimer& timer = p->timers[kReal];
    timer.event = 0;
    const Nanoseconds expired = *timer.expires;
    timer.expires.reset();
    if (timer.interval.value()) {
      // The next multiple that is still to come: a late event is not made up for.
      const Nanoseconds late = clock.now() - expired;
      timer.expires = expired + timer.interval * (late / timer.interval + 1);
      arm_real_timer(*p);
    }
    SignalInfo info;
    info.signal = kSigAlrm;
    info.code = kSiKernel;
    (void)send(*p, nullptr, info, false);
  });
}

void Kernel::State::cancel_timers(Process& p) {
  for (Process::IntervalTimer& timer : p.timers) {
    if (timer.event) clock.cancel(timer.event);
    timer = {};
  }
}

Kernel::TimerValue Kernel::interval_timer(Process& p, int which) {
  State& s = *state_;
  if (s.scheduler.current()) s.scheduler.account_system();
  const Process::IntervalTimer& timer = p.timers[static_cast<size_t>(which)];
  TimerValue v{timer.interval, Nanoseconds{0}};
  if (timer.expires) {
    const Nanoseconds now = which == kReal ? s.clock.now() : consumed(p, which);
    v.value = *timer.expires > now ? *timer.expires - now : microseconds(1);  // armed: never reported as off
  }
  return v;
}

Kernel::TimerValue Kernel::set_interval_timer(Process& p, int which, TimerValue v) {
  State& s = *state_;
  const TimerValue old = interval_timer(p, which);
  Process::IntervalTimer& timer = p.timers[static_cast<size_t>(which)];
  if (timer.event) s.clock.cancel(timer.event);
  timer = {};
  timer.interval = v.interval;
  if (v.value.value()) {
    timer.expires = (which == kReal ? s.clock.now() : consumed(p, which)) + v.value;
    if (which == kReal)
      s.arm_real_timer(p);
    else
      s.scheduler.limit_slice();
  }
  return old;
}

std::optional<Nanoseconds> Kernel::State::cpu_timer_remaining(const Task& t) const {
  const Process& p = *t.process;
  const bool limited = p.limits[kLimitCpu].soft != ~0ull;
  if (!p.timers[1].expires && !p.timers[2].expires && !limited) return std::nullopt;
  std::optional<Nanoseconds> least;
  auto consider = [&](Nanoseconds when, Nanoseconds used) {
    const Nanoseconds left = when > used ? when - used : Nanoseconds{0};
    least = least ? std::min(*least, left) : left;
  };
  for (int which : {1, 2})
    if (p.timers[static_cast<size_t>(which)].expires) consider(*p.timers[static_cast<size_t>(which)].expires, consumed(p, which));
  if (limited && p.limits[kLimitCpu].soft < UINT64_MAX / 1'000'000'000) consider(seconds(p.limits[kLimitCpu].soft), consumed(p, 2));
  return least;
}

void Kernel::State::check_cpu_timers(Task& t) {
  Process& p = *t.process;
  const bool limited = p.limits[kLimitCpu].soft != ~0ull;
  if (!p.timers[1].expires && !p.timers[2].expires && !limited) return;
  scheduler.account_system();
  for (int which : {1, 2}) {
    Process::IntervalTimer& timer = p.timers[static_cast<size_t>(which)];
    const Nanoseconds used = consumed(p, which);
    if (!timer.expires || used < *timer.expires) continue;
    const Nanoseconds late = used - *timer.expires;
    if (timer.interval.value())
      timer.expires = *timer.expires + timer.interval * (late / timer.interval + 1);
    else
      timer.expires.reset();
    SignalInfo info;
    info.signal = which == kVirtual ? kSigVtalrm : kSigProf;
    info.code = kSiKernel;
    (void)send(p, nullptr, info, false);
  }
  if (limited) {
    const uint64_t used = consumed(p, 2).value() / 1'000'000'000;
    ResourceLimit& limit = p.limits[kLimitCpu];
    SignalInfo info;
    info.code = kSiKernel;
    if (used >= limit.hard) {
      info.signal = kSigKill;
      (void)send(p, nullptr, info, true);
    } else if (used >= limit.soft) {
      limit.soft = used + 1;  // again every second
      info.signal = kSigXcpu;
      (void)send(p, nullptr, info, false);
    }
  }
}

}  // namespace vitro::kernel
