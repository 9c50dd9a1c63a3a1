// Clock numbers, and what they say.
#pragma once

#include "vitro/syscalls/table.h"

namespace vitro::syscalls {

inline constexpr int kClockRealtime = 0, kClockMonotonic = 1, kClockProcessCpu = 2, kClockThreadCpu = 3, kClockMonotonicRaw = 4, kClockRealtimeCoarse = 5,
                     kClockMonotonicCoarse = 6, kClockBoottime = 7, kClockRealtimeAlarm = 8, kClockBoottimeAlarm = 9, kClockTai = 11;

// Invalid for a clock that does not exist.
Result<Nanoseconds> read_clock(Context& c, int id);
// When a sleep or timer on that clock is due, as monotonic time. Invalid, NotSupported for clocks that nothing can wait for.
Result<Nanoseconds> clock_deadline(Context& c, int id, Nanoseconds value, bool absolute);

}  // namespace vitro::syscalls
