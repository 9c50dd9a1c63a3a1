// The guest's standard input, output and error: the host process's own descriptors 0, 1, 2 behind a character device or a pipe.
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

// A file that reads and writes `host_fd`. Terminals (isatty) answer TCGETS, TCSETS, TIOCGWINSZ, TIOCGPGRP, TIOCSPGRP, TIOCGSID, FIONREAD ...; a
// host regular file or pipe looks like one in fstat. Write errors: BrokenPipe, NoSpace, IoError.
std::shared_ptr<File> make_host_stream(Vfs& vfs, int host_fd, unsigned flags, HostInput& input);

// The terminal's foreground process group, kept for TIOCGPGRP; the machine sends it SIGINT, SIGQUIT, SIGTSTP.
Pid foreground_group(File& terminal);
bool is_terminal(File& file);
// The session that the terminal controls and its foreground group: set at start and for TIOCSCTTY, which needs to know the caller and so is
// answered by the kernel; this layer says NotTty to it.
void set_terminal_owner(File& terminal, Pid session, Pid foreground);

}  // namespace vitro::fs
