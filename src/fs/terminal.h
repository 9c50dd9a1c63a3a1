// The terminal that the host process runs on: its settings, put back at the end, and who in the guest owns it.
#pragma once

#include <array>
#include <cstddef>

#include "vitro/base/io.h"
#include "vitro/base/types.h"

namespace vitro::fs {

struct Terminal {
  explicit Terminal(int host_fd);
  ~Terminal();  // puts the host's settings back
  Terminal(const Terminal&) = delete;

  Result<long> ioctl(unsigned command, uint64_t argument, UserCopy& user);

  int host_fd;
  Pid foreground{0}, session{0};

 private:
  static constexpr size_t kSettings = 36;  // the kernel's struct termios
  std::array<std::byte, 64> saved_{};      // more than the kernel writes
  bool changed_ = false;
};

}  // namespace vitro::fs
