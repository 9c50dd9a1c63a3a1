// Which signals do what when nobody handles them (include/linux/signal.h: SIG_KERNEL_*_MASK).
#pragma once

#include "vitro/kernel/signal.h"

namespace vitro::kernel {

inline constexpr SignalSet kStopSignals = signal_bit(kSigStop) | signal_bit(kSigTstp) | signal_bit(kSigTtin) | signal_bit(kSigTtou);
inline constexpr SignalSet kDefaultIgnored = signal_bit(kSigCont) | signal_bit(kSigChld) | signal_bit(kSigWinch) | signal_bit(kSigUrg);
inline constexpr SignalSet kSynchronous =
    signal_bit(kSigSegv) | signal_bit(kSigBus) | signal_bit(kSigIll) | signal_bit(kSigTrap) | signal_bit(kSigFpe) | signal_bit(kSigSys);
inline constexpr SignalSet kCoreDumping = signal_bit(kSigQuit) | signal_bit(kSigIll) | signal_bit(kSigTrap) | signal_bit(kSigAbrt) |
                                          signal_bit(kSigFpe) | signal_bit(kSigSegv) | signal_bit(kSigBus) | signal_bit(kSigSys) |
                                          signal_bit(kSigXcpu) | signal_bit(kSigXfsz);
inline constexpr SignalSet kUnblockable = signal_bit(kSigKill) | signal_bit(kSigStop);
inline constexpr uint64_t kDefault = 0, kIgnore = 1;  // SIG_DFL, SIG_IGN

constexpr bool in(SignalSet set, int signal) { return set & signal_bit(signal); }

}  // namespace vitro::kernel
