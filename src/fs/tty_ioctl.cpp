// ioctl(2) on a terminal (drivers/tty/tty_io.c: tty_ioctl; tty_ioctl.c: tty_mode_ioctl; n_tty.c; tty_jobctrl.c).
#include <cstring>

#include "fs/vfs_state.h"
#include "vitro/fs/tty.h"

namespace vitro::fs {
namespace {

// include/uapi/asm-generic/ioctls.h
enum : unsigned {
  kTcGetS = 0x5401, kTcSetS = 0x5402, kTcSetSW = 0x5403, kTcSetSF = 0x5404, kTcSBrk = 0x5409, kTcXonc = 0x540a, kTcFlsh = 0x540b, kTiocExcl = 0x540c,
  kTiocNxcl = 0x540d, kTiocSCtty = 0x540e, kTiocGPgrp = 0x540f, kTiocSPgrp = 0x5410, kTiocOutQ = 0x5411, kTiocSti = 0x5412, kTiocGWinsz = 0x5413,
  kTiocSWinsz = 0x5414, kFionRead = 0x541b, kTiocNoTty = 0x5422, kTiocSetD = 0x5423, kTiocGetD = 0x5424, kTcSBrkP = 0x5425, kTiocSBrk = 0x5427,
  kTiocCBrk = 0x5428, kTiocGSid = 0x5429, kTcGetS2 = 0x802c542a, kTcSetS2 = 0x402c542b, kTcSetSW2 = 0x402c542c, kTcSetSF2 = 0x402c542d,
  kTiocGDev = 0x80045432, kTiocVHangup = 0x5437, kTiocGExcl = 0x80045440,
};
constexpr int kSigTtou = 22;

}  // namespace

Result<long> Tty::set_termios(std::span<const std::byte> bytes, bool flush) {
  Termios t = settings_;
  std::memcpy(&t, bytes.data(), bytes.size());
  if (flush) flush_input();
  set_settings(t);
  device_->input_wanted();
  return 0;
}

// tiocspgrp
Result<long> Tty::set_foreground(Pid group) {
  JobControl* jobs = vfs_.state().jobs;
  const auto caller = jobs ? jobs->caller() : std::nullopt;
  if (!caller || caller->terminal.get() != this || caller->session != session_) return fail(Errno::NotTty);
  if (group < Pid{0}) return fail(Errno::Invalid);
  const auto session = jobs->session_of(group);
  if (!session) return fail(Errno::NoProcess);
  if (*session != caller->session) return fail(Errno::NotPermitted);
  foreground_ = group;
  return 0;
}

// tiocsctty
Result<long> Tty::take_terminal(bool steal) {
  JobControl* jobs = vfs_.state().jobs;
  const auto caller = jobs ? jobs->caller() : std::nullopt;
  if (!caller) return fail(Errno::NotTty);
  if (caller->session == caller->process && session_ == caller->session) return 0;
  if (caller->session != caller->process || caller->terminal) return fail(Errno::NotPermitted);
  if (session_ != Pid{0}) {
    if (!steal || !caller->privileged) return fail(Errno::NotPermitted);
    jobs->drop_terminal(session_);
  }
  session_ = caller->session;
  foreground_ = caller->group;
  jobs->set_terminal(shared_from_this());
  return 0;
}

Result<long> Tty::flush_control(uint64_t what) {
  constexpr uint64_t kInput = 0, kOutput = 1, kBoth = 2;
  if (what > kBoth) return fail(Errno::Invalid);
  if (what != kOutput) flush_input();
  if (what != kInput) echo_.clear(), device_->flush_output();
  return 0;
}

Result<long> Tty::ioctl(unsigned command, uint64_t argument, UserCopy& user, bool master) {
  const VirtAddr at{argument};
  switch (command) {  // what a background group may not do
    case kTcSetS:
    case kTcSetSW:
    case kTcSetSF:
    case kTcSetS2:
    case kTcSetSW2:
    case kTcSetSF2:
    case kTcFlsh:
    case kTcXonc:
    case kTcSBrk:
    case kTcSBrkP:
    case kTiocSBrk:
    case kTiocCBrk:
    case kTiocSPgrp:
    case kTiocSetD:
      if (!master) TRY(may_change(kSigTtou));
      break;
    default:
      break;
  }
  switch (command) {
    case kTcGetS:
      TRY(user.copy_out(at, std::as_bytes(std::span{&settings_, 1}).first(Termios::kShortSize)));
      return 0;
    case kTcGetS2:
      TRY(user.put(at, settings_));
      return 0;
    case kTcSetS:
    case kTcSetSW:
    case kTcSetSF: {
      std::array<std::byte, Termios::kShortSize> bytes;
      TRY(user.copy_in(at, bytes));
      return set_termios(bytes, command == kTcSetSF);
    }
    case kTcSetS2:
    case kTcSetSW2:
    case kTcSetSF2: {
      std::array<std::byte, sizeof(Termios)> bytes;
      TRY(user.copy_in(at, bytes));
      return set_termios(bytes, command == kTcSetSF2);
    }
    case kTiocGWinsz:
      TRY(user.put(at, window_));
      return 0;
    case kTiocSWinsz: {
      const auto w = TRY(user.get<WindowSize>(at));
      if (w != window_) device_->window_changed(w);
      set_window(w);
      return 0;
    }
    case kTiocGPgrp:
    case kTiocGSid: {
      JobControl* jobs = vfs_.state().jobs;
      const auto caller = jobs ? jobs->caller() : std::nullopt;
      if (!master && (!caller || caller->terminal.get() != this)) return fail(Errno::NotTty);
      if (command == kTiocGSid && session_ == Pid{0}) return fail(Errno::NotTty);
      TRY(user.put(at, (command == kTiocGSid ? session_ : foreground_).value()));
      return 0;
    }
    case kTiocSPgrp: return set_foreground(Pid{TRY(user.get<int32_t>(at))});
    case kTiocSCtty: return take_terminal(argument == 1);
    case kTiocNoTty: {
      JobControl* jobs = vfs_.state().jobs;
      const auto caller = jobs ? jobs->caller() : std::nullopt;
      if (!caller || caller->terminal.get() != this) return fail(Errno::NotTty);
      if (caller->session == caller->process)
        leave_session(false);
      else
        jobs->set_terminal(nullptr);
      return 0;
    }
    case kTcFlsh: return flush_control(argument);
    case kTcXonc:
      switch (argument) {
        case 0: set_stopped(true); return 0;    // TCOOFF
        case 1: set_stopped(false); return 0;   // TCOON
        case 2:                                 // TCIOFF, TCION: the other end is told to stop, or to go on
        case 3: {
          const uint8_t c = settings_.cc[argument == 2 ? kVStop : kVStart];
          if (c && device_->room() > 0) device_->put({&c, 1});
          return 0;
        }
        default: return fail(Errno::Invalid);
      }
    case kTcSBrk:
    case kTcSBrkP:
    case kTiocSBrk:
    case kTiocCBrk: return 0;  // a line without a wire has no break condition to send (tty_io.c: send_break without break_ctl)
    case kFionRead: {
      int32_t n = 0;
      if (local(kICanon)) {
        // inq_canon: up to the last end of a line.
        int32_t seen = 0;
        for (const Cell& c : ready_) {
          seen += !c.end_of_file;
          if (c.ends_line) n = seen;
        }
      } else {
        n = static_cast<int32_t>(ready_.size());
      }
      device_->input_wanted();
      TRY(user.put(at, n));
      return 0;
    }
    case kTiocOutQ:
      TRY(user.put(at, int32_t{0}));
      return 0;
    case kTiocSti: {
      JobControl* jobs = vfs_.state().jobs;
      const auto caller = jobs ? jobs->caller() : std::nullopt;
      if (!caller || (caller->terminal.get() != this && !caller->privileged)) return fail(Errno::NotPermitted);
      const auto c = TRY(user.get<uint8_t>(at));
      receive({&c, 1});
      return 0;
    }
    case kTiocExcl:
    case kTiocNxcl: exclusive_ = command == kTiocExcl; return 0;
    case kTiocGExcl:
      TRY(user.put(at, int32_t{exclusive_}));
      return 0;
    case kTiocGetD:
      TRY(user.put(at, int32_t{0}));  // N_TTY
      return 0;
    case kTiocSetD: return TRY(user.get<int32_t>(at)) == 0 ? Result<long>{0} : fail(Errno::Invalid);
    case kTiocGDev:
      TRY(user.put(at, static_cast<uint32_t>(device_number_)));
      return 0;
    case kTiocVHangup: {
      JobControl* jobs = vfs_.state().jobs;
      const auto caller = jobs ? jobs->caller() : std::nullopt;
      if (!caller || !caller->privileged) return fail(Errno::NotPermitted);
      hang_up();
      return 0;
    }
    default: return fail(Errno::NotTty);
  }
}

}  // namespace vitro::fs
