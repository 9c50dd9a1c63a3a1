// Interval timers and POSIX timers.
#include "syscalls/timers.h"

#include "syscalls/arguments.h"
#include "syscalls/clocks.h"
#include "syscalls/handlers.h"
#include "syscalls/runtime.h"

namespace vitro::syscalls {

PosixTimers::Timer& PosixTimers::create(Pid process) {
  Owner& owner = owners_[process];
  const int id = owner.next_id++;
  Timer& t = owner.timers[id];
  t.id = id;
  return t;
}

PosixTimers::Timer* PosixTimers::find(Pid process, int id) {
  const auto owner = owners_.find(process);
  if (owner == owners_.end()) return nullptr;
  const auto it = owner->second.timers.find(id);
  return it == owner->second.timers.end() ? nullptr : &it->second;
}

bool PosixTimers::remove(kernel::Kernel& kernel, Pid process, int id) {
  Timer* t = find(process, id);
  if (!t) return false;
  if (t->expires) kernel.clock().cancel(t->event);
  owners_[process].timers.erase(id);
  return true;
}

void PosixTimers::remove_all(kernel::Kernel& kernel, Pid process) {
  const auto owner = owners_.find(process);
  if (owner == owners_.end()) return;
  for (auto& [id, t] : owner->second.timers)
    if (t.expires) kernel.clock().cancel(t.event);
  owners_.erase(owner);
}

void PosixTimers::arm(kernel::Kernel& kernel, Pid process, Timer& t, std::optional<Nanoseconds> expires, Nanoseconds interval) {
  if (t.expires) kernel.clock().cancel(t.event);
  t.expires = expires;
  t.interval = interval;
  if (expires) t.event = kernel.clock().schedule(*expires, [this, &kernel, process, id = t.id] { fire(kernel, process, id); });
}

void PosixTimers::fire(kernel::Kernel& kernel, Pid process, int id) {
  kernel::Process* p = kernel.find_process(process);
  Timer* t = find(process, id);
  if (!t) return;
  if (!p || p->zombie || p->group_exiting) return remove_all(kernel, process);
  const Nanoseconds due = *t->expires;
  t->expires.reset();
  if (t->interval.value() != 0) {
    // Periods that passed while nothing could run count as overruns.
    const uint64_t missed = kernel.now() > due ? (kernel.now() - due) / t->interval : 0;
    t->overrun = static_cast<int>(std::min<uint64_t>(missed, INT32_MAX));
    arm(kernel, process, *t, add_saturating(due, t->interval * (missed + 1)), t->interval);
  }
  if (t->notify == 1) return;
  kernel::SignalInfo info;
  info.signal = t->signal;
  info.code = -2;  // SI_TIMER
  info.timer_id = id;
  info.overrun = t->overrun;
  info.value = t->value;
  kernel::Task* thread = t->notify == 4 ? kernel.find_task(t->thread) : nullptr;
  if (thread) (void)kernel.send_signal_to_task(*thread, info);
  else (void)kernel.send_signal(*p, info);
}

namespace {

using TimerValue = kernel::Kernel::TimerValue;

UserItimerval user_itimer(const TimerValue& v) { return {timeval_of(v.interval), timeval_of(v.value)}; }

Result<PosixTimers::Timer*> timer_argument(Context& c) {
  PosixTimers::Timer* t = c.runtime.timers->find(c.task.process->pid, int_argument(c, 0));
  if (!t) return fail(Errno::Invalid);
  return t;
}

UserItimerspec timer_state(Context& c, const PosixTimers::Timer& t) {
  UserItimerspec out{};
  out.interval = timespec_of(t.interval);
  if (t.expires) {
    const Nanoseconds now = c.kernel.now();
    out.value = timespec_of(*t.expires > now ? *t.expires - now : Nanoseconds{1});  // armed: never zero
  }
  return out;
}

}  // namespace

Result<long> sys_alarm(Context& c) {
  const TimerValue old = c.kernel.set_interval_timer(*c.task.process, 0, {Nanoseconds{0}, seconds(unsigned_argument(c, 0))});
  // Rounded to the nearest second, but never to none (kernel/time/itimer.c: alarm_setitimer).
  const uint64_t ns = old.value.value();
  uint64_t left = ns / 1'000'000'000;
  if ((left == 0 && ns != 0) || ns % 1'000'000'000 >= 500'000'000) ++left;
  return static_cast<long>(left);
}

Result<long> sys_getitimer(Context& c) {
  const int which = int_argument(c, 0);
  if (which < 0 || which > 2) return fail(Errno::Invalid);
  return done(c.user.put(address_argument(c, 1), user_itimer(c.kernel.interval_timer(*c.task.process, which))));
}

Result<long> sys_setitimer(Context& c) {
  const int which = int_argument(c, 0);
  TimerValue value;
  if (c[1] != 0) {
    const auto u = TRY(c.user.get<UserItimerval>(address_argument(c, 1)));
    value = {TRY(duration_of(u.interval)), TRY(duration_of(u.value))};
  }
  if (which < 0 || which > 2) return fail(Errno::Invalid);
  const TimerValue old = c.kernel.set_interval_timer(*c.task.process, which, value);
  if (c[2] != 0) TRY(c.user.put(address_argument(c, 2), user_itimer(old)));
  return 0;
}

Result<long> sys_timer_create(Context& c) {
  constexpr int kSignal = 0, kNone = 1, kThreadId = 4;
  const int clock = int_argument(c, 0);
  TRY(clock_deadline(c, clock, Nanoseconds{0}, false));
  UserSigevent event{};
  event.signal = kernel::kSigAlrm;
  if (c[1] != 0) {
    event = TRY(c.user.get<UserSigevent>(address_argument(c, 1)));
    if (event.notify != kSignal && event.notify != kNone && event.notify != kThreadId) return fail(Errno::Invalid);
    if (event.notify != kNone && (event.signal < 1 || event.signal > kernel::kSigCount)) return fail(Errno::Invalid);
    if (event.notify == kThreadId) {
      kernel::Task* t = c.kernel.find_task(Pid{event.thread_id});
      if (!t || t->process != c.task.process) return fail(Errno::Invalid);
    }
  }
  PosixTimers& timers = *c.runtime.timers;
  PosixTimers::Timer& t = timers.create(c.task.process->pid);
  t.clock = clock;
  t.notify = event.notify;
  t.signal = event.signal;
  t.thread = Pid{event.thread_id};
  t.value = c[1] != 0 ? event.value : static_cast<uint64_t>(t.id);
  if (const Status s = c.user.put(address_argument(c, 2), static_cast<int32_t>(t.id)); !s) {
    timers.remove(c.kernel, c.task.process->pid, t.id);
    return fail(s.error());
  }
  return 0;
}

Result<long> sys_timer_settime(Context& c) {
  constexpr int kAbsolute = 1;
  const auto u = TRY(c.user.get<UserItimerspec>(address_argument(c, 2)));
  const Nanoseconds interval = TRY(duration_of(u.interval)), value = TRY(duration_of(u.value));
  PosixTimers::Timer* t = TRY(timer_argument(c));
  const UserItimerspec old = timer_state(c, *t);
  std::optional<Nanoseconds> expires;
  if (value.value() != 0) expires = TRY(clock_deadline(c, t->clock, value, int_argument(c, 1) & kAbsolute));
  t->overrun = 0;
  c.runtime.timers->arm(c.kernel, c.task.process->pid, *t, expires, interval);
  if (c[3] != 0) TRY(c.user.put(address_argument(c, 3), old));
  return 0;
}

Result<long> sys_timer_gettime(Context& c) {
  PosixTimers::Timer* t = TRY(timer_argument(c));
  return done(c.user.put(address_argument(c, 1), timer_state(c, *t)));
}

Result<long> sys_timer_getoverrun(Context& c) { return TRY(timer_argument(c))->overrun; }

Result<long> sys_timer_delete(Context& c) {
  TRY(timer_argument(c));
  c.runtime.timers->remove(c.kernel, c.task.process->pid, int_argument(c, 0));
  return 0;
}

}  // namespace vitro::syscalls
