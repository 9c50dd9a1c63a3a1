// What the system call layer itself remembers between calls: file locks, timers, SysV segments, bound sockets. One per table, one table per machine.
#pragma once

#include <array>
#include <bitset>
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "syscalls/record_locks.h"
#include "vitro/syscalls/table.h"

namespace vitro::syscalls {

class PosixTimers;
class SharedSegments;
class SocketNames;
class SemaphoreSets;
class MessageQueues;

struct Runtime {
  Runtime();
  ~Runtime();
  RecordLocks record_locks;         // fcntl(2): by process or by open file description
  RecordLocks whole_locks;          // flock(2): always the whole file, by open file description
  std::unique_ptr<PosixTimers> timers;
  std::unique_ptr<SharedSegments> segments;
  std::unique_ptr<SemaphoreSets> semaphores;
  std::unique_ptr<MessageQueues> queues;
  std::unique_ptr<SocketNames> sockets;
  std::bitset<512> warned;          // missing calls that were logged
};

// A sleep that a stop or an ignored signal may interrupt goes on where it was (kernel/signal.c: restart_block): restart_syscall(2) calls `again` with the
// same arguments and the absolute deadline. Returns the error that says so.
tl::unexpected<Errno> restart_later(Context& c, Result<long> (*again)(Context&, Nanoseconds), Nanoseconds deadline);

}  // namespace vitro::syscalls
