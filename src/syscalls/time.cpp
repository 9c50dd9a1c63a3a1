// Clocks and sleeping.
#include "syscalls/clocks.h"

#include <utility>

#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "syscalls/runtime.h"
#include "vitro/base/tick.h"

namespace vitro::syscalls {


Result<Nanoseconds> read_clock(Context& c, int id) {
  const auto coarse = [](Nanoseconds t) { return t - t % kTick; };
  switch (id) {
    case kClockRealtime:
    case kClockRealtimeAlarm: 
    case kClockTai: return c.kernel.realtime();
    case kClockMonotonic:
    case kClockMonotonicRaw:
    case kClockBoottime:
    case kClockBoottimeAlarm: return c.kernel.now();
    case kClockRealtimeCoarse: return coarse(c.kernel.realtime());
    case kClockMonotonicCoarse: return coarse(c.kernel.now());
    case kClockProcessCpu: return c.kernel.cpu_time(*c.task.process);
    case kClockThreadCpu: return c.kernel.cpu_time(c.task);
    default: break;
  }
  if (id >= 0) return fail(Errno::Invalid);
  // A process's or thread's CPU clock (kernel/time/posix-cpu-timers.c): ~pid, then "thread" and which of three clocks.
  const unsigned kind = static_cast<unsigned>(id) & 3;
  const bool thread = id & 4;
  const Pid pid{~(id >> 3)};
  if (kind == 3) return fail(Errno::Invalid);
  if (thread) {
    kernel::Task* t = pid == Pid{0} ? &c.task : c.kernel.find_task(pid);
    if (!t || t->process != c.task.process) return fail(Errno::Invalid);
    return c.kernel.cpu_time(*t);
  }
  kernel::Process* p = pid == Pid{0} ? c.task.process : c.kernel.find_process(pid);
  if (!p) return fail(Errno::Invalid);
  return c.kernel.cpu_time(*p);
}

Result<Nanoseconds> clock_deadline(Context& c, int id, Nanoseconds value, bool absolute) {
  const bool real = id == kClockRealtime || id == kClockRealtimeAlarm || id == kClockTai;
  if (!real && id != kClockMonotonic && id != kClockBoottime && id != kClockBoottimeAlarm) return fail(id == kClockMonotonicRaw || id == kClockRealtimeCoarse || id == kClockMonotonicCoarse ? Errno::NotSupported : Errno::Invalid);
  if (!absolute) return add_saturating(c.kernel.now(), value);
  return real ? monotonic_of_realtime(c, value) : value;
}

namespace {

// Sleeps until `deadline`; what is left goes to `remaining` (0: nowhere) when a signal comes first.
Result<long> sleep_until(Context& c, Nanoseconds deadline, uint64_t remaining) {
  WaitQueue nobody;
  while (c.kernel.now() < deadline) {
    const Status s = c.kernel.wait(nobody, Interruptible::Yes, deadline);
    if (s || s.error() == Errno::TimedOut) continue;
    if (s.error() != Errno::RestartSys) return fail(s.error());
    const Nanoseconds now = c.kernel.now();
    if (now >= deadline) return 0;
    if (remaining != 0) TRY(c.user.put(VirtAddr{remaining}, timespec_of(deadline - now)));
    return fail(Errno::RestartSys);
  }
  return 0;
}

Result<long> nanosleep_again(Context& c, Nanoseconds deadline) {
  auto r = sleep_until(c, deadline, c[1]);
  if (!r && r.error() == Errno::RestartSys) return restart_later(c, nanosleep_again, deadline);
  return r;
}

Result<long> clock_nanosleep_again(Context& c, Nanoseconds deadline) {
  auto r = sleep_until(c, deadline, c[3]);
  if (!r && r.error() == Errno::RestartSys) return restart_later(c, clock_nanosleep_again, deadline);
  return r;
}

}  // namespace

Result<long> sys_clock_gettime(Context& c) {
  return done(c.user.put(address_argument(c, 1), timespec_of(TRY(read_clock(c, int_argument(c, 0))))));
}

Result<long> sys_clock_getres(Context& c) {
  const int id = int_argument(c, 0);
  TRY(read_clock(c, id));
  const bool coarse = id == kClockRealtimeCoarse || id == kClockMonotonicCoarse;
  if (c[1] != 0) TRY(c.user.put(address_argument(c, 1), UserTimespec{0, coarse ? static_cast<int64_t>(kTick.value()) : 1}));
  return 0;
}

// The clock is virtual time and moves by itself alone.
Result<long> sys_clock_settime(Context& c) {
  if (int_argument(c, 0) != kClockRealtime) return fail(Errno::Invalid);
  TRY(c.user.get<UserTimespec>(address_argument(c, 1)));
  return fail(Errno::NotPermitted);
}
Result<long> sys_settimeofday(Context& c) {
  if (c[0] != 0) TRY(c.user.get<UserTimeval>(address_argument(c, 0)));
  return fail(Errno::NotPermitted);
}

Result<long> sys_gettimeofday(Context& c) {
  if (c[0] != 0) TRY(c.user.put(address_argument(c, 0), timeval_of(c.kernel.realtime())));
  if (c[1] != 0) TRY(c.user.put(address_argument(c, 1), std::array<int32_t, 2>{0, 0}));  // struct timezone
  return 0;
}

Result<long> sys_time(Context& c) {
  const auto now = static_cast<int64_t>(c.kernel.realtime().value() / 1'000'000'000);
  if (c[0] != 0) TRY(c.user.put(address_argument(c, 0), now));
  return now;
}

Result<long> sys_times(Context& c) {
  const auto ticks = [](Nanoseconds t) { return static_cast<int64_t>(t.value() / 10'000'000); };
  if (c[0] != 0) {
    const kernel::ResourceUsage self = c.task.process->usage(), &children = c.task.process->children_usage;
    TRY(c.user.put(address_argument(c, 0), UserTms{ticks(self.user), ticks(self.system), ticks(children.user), ticks(children.system)}));
  }
  return ticks(c.kernel.now());
}

Result<long> sys_nanosleep(Context& c) {
  const Nanoseconds length = TRY(duration_of(TRY(c.user.get<UserTimespec>(address_argument(c, 0)))));
  return nanosleep_again(c, add_saturating(c.kernel.now(), length));
}

Result<long> sys_clock_nanosleep(Context& c) {
  constexpr unsigned kAbsolute = 1;
  const int id = int_argument(c, 0);
  const bool absolute = unsigned_argument(c, 1) & kAbsolute;
  if (id == kClockProcessCpu || id < 0) return fail(Errno::NotSupported);
  const Nanoseconds value = TRY(duration_of(TRY(c.user.get<UserTimespec>(address_argument(c, 2)))));
  const Nanoseconds deadline = TRY(clock_deadline(c, id, value, absolute));
  if (!absolute) return clock_nanosleep_again(c, deadline);
  auto r = sleep_until(c, deadline, 0);
  if (!r && r.error() == Errno::RestartSys) return fail(Errno::RestartNoHand);
  return r;
}

tl::unexpected<Errno> restart_later(Context& c, Result<long> (*again)(Context&, Nanoseconds), Nanoseconds deadline) {
  c.task.restart_block = [&kernel = c.kernel, &task = c.task, &runtime = c.runtime, arguments = c.arguments, again, deadline] {
    Context context{kernel, task, arguments, task.user(), runtime};
    return again(context, deadline);
  };
  return fail(Errno::RestartRestartBlock);
}

Result<long> sys_restart_syscall(Context& c) {
  const auto again = std::exchange(c.task.restart_block, nullptr);
  return again ? again() : Result<long>{fail(Errno::Interrupted)};
}

}  // namespace vitro::syscalls
