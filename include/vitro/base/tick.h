// The timer interrupt's period: what Linux counts in, and rounds to, where it says jiffies.
#pragma once

#include "vitro/base/types.h"

namespace vitro {

inline constexpr Nanoseconds kTick{4'000'000};  // CONFIG_HZ=250

}  // namespace vitro
