// What the calls that send signals share.
#pragma once

#include "vitro/kernel/signal.h"
#include "vitro/syscalls/table.h"

namespace vitro::syscalls {

// Zero is valid: it only asks.
bool valid_signal(int signal);
// From the caller, with this code.
kernel::SignalInfo own_info(Context& c, int signal, int code);
// kernel/signal.c: check_kill_permission
bool may_signal(Context& c, const kernel::Process& to, int signal);
// A siginfo at argument `i`: only its own kind may be sent to others, so that nobody poses as the kernel (kernel/signal.c: do_rt_sigqueueinfo).
Result<kernel::SignalInfo> queued_info(Context& c, size_t i, int signal, Pid to);

}  // namespace vitro::syscalls
