// What several kinds of writing share.
#pragma once

#include "vitro/syscalls/table.h"

namespace vitro::syscalls {

// A signal that the kernel sends a task for what its own call did (SIGPIPE, SIGXFSZ).
void send_own_signal(Context& c, int signal);

// RLIMIT_FSIZE (fs/read_write.c: generic_write_check_limits): how much of `count` may be written at `position`. FileTooBig, with SIGXFSZ, if none.
Result<uint64_t> limit_write(Context& c, fs::File& file, uint64_t position, uint64_t count);

}  // namespace vitro::syscalls
