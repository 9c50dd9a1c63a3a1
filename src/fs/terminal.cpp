#include "fs/terminal.h"

#include <sys/ioctl.h>

#include <cerrno>

namespace vitro::fs {
namespace {

// include/uapi/asm-generic/ioctls.h; the same on the host, so most requests pass through as they are.
enum : unsigned {
  kTcGetS = 0x5401, kTcSetS = 0x5402, kTcSetSW = 0x5403, kTcSetSF = 0x5404, kTcSBrk = 0x5409, kTcXonc = 0x540a, kTcFlsh = 0x540b, kTiocSCtty = 0x540e,
  kTiocGPgrp = 0x540f, kTiocSPgrp = 0x5410, kTiocOutQ = 0x5411, kTiocGWinsz = 0x5413, kTiocSWinsz = 0x5414, kFionRead = 0x541b, kTcSBrkP = 0x5425,
  kTiocNoTty = 0x5422, kTiocGSid = 0x5429,
};

Errno host_error() { return errno == EINVAL ? Errno::Invalid : errno == ENOTTY ? Errno::NotTty : Errno::IoError; }

}  // namespace

Terminal::Terminal(int fd) : host_fd(fd) { (void)::ioctl(host_fd, kTcGetS, saved_.data()); }

Terminal::~Terminal() {
  if (changed_) (void)::ioctl(host_fd, kTcSetSW, saved_.data());
}

Result<long> Terminal::ioctl(unsigned command, uint64_t argument, UserCopy& user) {
  const VirtAddr at{argument};
  std::array<std::byte, 64> buffer{};
  switch (command) {
    case kTcGetS:
      if (::ioctl(host_fd, command, buffer.data()) != 0) return fail(host_error());
      TRY(user.copy_out(at, std::span(buffer).first(kSettings)));
      return 0;
    case kTcSetS:
    case kTcSetSW:
    case kTcSetSF:
      TRY(user.copy_in(at, std::span(buffer).first(kSettings)));
      changed_ = true;
      if (::ioctl(host_fd, command, buffer.data()) != 0) return fail(host_error());
      return 0;
    case kTiocGWinsz: {
      std::array<uint16_t, 4> size{};
      if (::ioctl(host_fd, command, size.data()) != 0) return fail(host_error());
      TRY(user.put(at, size));
      return 0;
    }
    case kTiocSWinsz: {
      auto size = TRY((user.get<std::array<uint16_t, 4>>(at)));
      if (::ioctl(host_fd, command, size.data()) != 0) return fail(host_error());
      return 0;
    }
    case kTiocGPgrp:
      TRY(user.put(at, foreground.value()));
      return 0;
    case kTiocSPgrp: {
      const int32_t group = TRY(user.get<int32_t>(at));
      if (group <= 0) return fail(Errno::Invalid);
      foreground = Pid{group};
      return 0;
    }
    case kTiocGSid:
      if (session == Pid{0}) return fail(Errno::NotTty);
      TRY(user.put(at, session.value()));
      return 0;
    case kTcSBrk:
    case kTcSBrkP:
    case kTcXonc:
    case kTcFlsh:
      if (::ioctl(host_fd, command, argument) != 0) return fail(host_error());
      return 0;
    case kTiocOutQ:
    case kFionRead: {
      int32_t n = 0;
      if (::ioctl(host_fd, command, &n) != 0) return fail(host_error());
      TRY(user.put(at, n));
      return 0;
    }
    default: return fail(Errno::NotTty);
  }
}

}  // namespace vitro::fs
