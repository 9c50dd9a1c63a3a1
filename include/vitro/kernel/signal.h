// Signals: numbers, sets, actions, what is pending. Values are Linux's for x86-64.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>

#include "vitro/base/types.h"

namespace vitro::kernel {

inline constexpr int kSiUser = 0, kSiKernel = 128, kSiQueue = -1, kSiTimer = -2, kSiTkill = -6;
inline constexpr int kCldExited = 1, kCldKilled = 2, kCldDumped = 3, kCldStopped = 5, kCldContinued = 6;

inline constexpr int kSigHup = 1, kSigInt = 2, kSigQuit = 3, kSigIll = 4, kSigTrap = 5, kSigAbrt = 6, kSigBus = 7, kSigFpe = 8, kSigKill = 9, kSigUsr1 = 10,
                     kSigSegv = 11, kSigUsr2 = 12, kSigPipe = 13, kSigAlrm = 14, kSigTerm = 15, kSigStkflt = 16, kSigChld = 17, kSigCont = 18, kSigStop = 19,
                     kSigTstp = 20, kSigTtin = 21, kSigTtou = 22, kSigUrg = 23, kSigXcpu = 24, kSigXfsz = 25, kSigVtalrm = 26, kSigProf = 27, kSigWinch = 28,
                     kSigIo = 29, kSigPwr = 30, kSigSys = 31, kSigCount = 64;

using SignalSet = uint64_t;  // bit n-1: signal n
constexpr SignalSet signal_bit(int signal) { return SignalSet{1} << (signal - 1); }

// siginfo_t as the guest sees it: 128 bytes, laid out by its kind when it is written to the guest.
struct SignalInfo {
  int signal = 0;
  int error = 0;
  int code = 0;            // SI_USER 0, SI_KERNEL 128, SI_TKILL -6, SI_TIMER -2, SEGV_MAPERR 1, SEGV_ACCERR 2, CLD_EXITED 1, ...
  Pid sender{0};
  uint32_t sender_uid = 0;
  uint64_t address = 0;    // SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP
  int status = 0;          // SIGCHLD
  uint64_t user_time = 0, system_time = 0;
  uint64_t value = 0;      // sigqueue, timers
  int timer_id = 0, overrun = 0;
  uint64_t fault_error_code = 0;  // goes to the frame's err
  uint64_t fault_vector = 0;      // goes to the frame's trapno
};

// To and from the guest's 128 bytes; the union's layout follows signal and code (kernel/signal.c: siginfo_layout).
inline constexpr size_t kSigInfoSize = 128;
std::array<std::byte, kSigInfoSize> encode_signal_info(const SignalInfo& info);
SignalInfo decode_signal_info(std::span<const std::byte, kSigInfoSize> bytes);

struct SignalAction {
  uint64_t handler = 0;    // 0 SIG_DFL, 1 SIG_IGN
  uint64_t flags = 0;
  uint64_t restorer = 0;
  SignalSet mask = 0;
};
inline constexpr uint64_t kSaNoCldStop = 1, kSaNoCldWait = 2, kSaSigInfo = 4, kSaRestorer = 0x04000000, kSaOnStack = 0x08000000, kSaRestart = 0x10000000,
                          kSaNoDefer = 0x40000000, kSaResetHand = 0x80000000;

// Standard signals queue once, real-time ones (>= 32) as often as they are sent.
struct PendingSignals {
  SignalSet set = 0;
  std::deque<SignalInfo> queue;
};

struct AlternateStack {
  uint64_t base = 0, size = 0;
  uint32_t flags = 2;  // SS_DISABLE
};

}  // namespace vitro::kernel
