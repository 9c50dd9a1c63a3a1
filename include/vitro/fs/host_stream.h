// The guest's standard input, output and error: the host process's own descriptors 0, 1, 2 where they are no terminal.
#pragma once

#include <functional>
#include <memory>

#include "vitro/fs/file.h"

namespace vitro::fs {

class Vfs;

// How a read from the host waits: the machine decides (other tasks run first, then the host's poll blocks). Implemented by the machine.
class HostInput {
 public:
  virtual ~HostInput() = default;
  // Data or end of file can be read from `host_fd` now, without waiting.
  virtual bool ready(int host_fd) = 0;
  // The queue that is woken when `host_fd` may have become readable.
  virtual WaitQueue& queue(int host_fd) = 0;
  // Around what the guest writes to a terminal.
  virtual void before_output() {}
  virtual void after_output(char last) {}
};

// A file that reads and writes `host_fd`, which is no terminal (terminals: tty.h). A host regular file or pipe looks like one in fstat; anything else
// like /dev/null's kind. Write errors: BrokenPipe, NoSpace, IoError.
std::shared_ptr<File> make_host_stream(Vfs& vfs, int host_fd, unsigned flags, HostInput& input);

}  // namespace vitro::fs
