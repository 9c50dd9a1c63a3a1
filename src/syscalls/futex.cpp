// futex(2): decoding of operations and their timeouts (kernel/futex/syscalls.c); the kernel does the rest.
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"

namespace vitro::syscalls {

constexpr int kPrivate = 128, kClockRealtime = 256, kCommandMask = ~(kPrivate | kClockRealtime);
constexpr int kWait = 0, kLockPi = 6, kWaitBitset = 9, kWaitRequeuePi = 11, kLockPi2 = 13;

Result<long> sys_futex(Context& c) {
  const int operation = int_argument(c, 1), command = operation & kCommandMask;
  const bool times = command == kWait || command == kLockPi || command == kLockPi2 || command == kWaitBitset || command == kWaitRequeuePi;
  if ((operation & kClockRealtime) && command != kWait && command != kWaitBitset && command != kWaitRequeuePi && command != kLockPi2) return fail(Errno::NoSyscall);
  std::optional<Nanoseconds> deadline;
  if (times && c[3] != 0) {
    const Nanoseconds t = TRY(duration_of(TRY(c.user.get<UserTimespec>(address_argument(c, 3)))));
    if (command == kWait) deadline = add_saturating(c.kernel.now(), t);
    else deadline = (operation & kClockRealtime) || command == kLockPi ? monotonic_of_realtime(c, t) : t;
  }
  // For the other operations the fourth argument is a number (val2).
  return c.kernel.futex(c.task, c[0], operation, unsigned_argument(c, 2), deadline, times ? 0 : static_cast<uint32_t>(c[3]), c[4], unsigned_argument(c, 5));
}

}  // namespace vitro::syscalls
