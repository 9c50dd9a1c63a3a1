// Linux's error numbers (include/uapi/asm-generic/errno*.h), under names that no host macro can hit.
#pragma once

#include <cstdint>
#include <string_view>

namespace vitro {

enum class Errno : int32_t {
  NotPermitted = 1, NoEntry = 2, NoProcess = 3, Interrupted = 4, IoError = 5, NoDeviceOrAddress = 6, TooBig = 7,
  ExecFormat = 8, BadFile = 9, NoChild = 10, Again = 11, NoMemory = 12, Access = 13, Fault = 14, NotBlock = 15, Busy = 16,
  Exists = 17, CrossDevice = 18, NoDevice = 19, NotDirectory = 20, IsDirectory = 21, Invalid = 22, TooManyFilesSystem = 23,
  TooManyFiles = 24, NotTty = 25, TextBusy = 26, FileTooBig = 27, NoSpace = 28, IllegalSeek = 29, ReadOnly = 30,
  TooManyLinks = 31, BrokenPipe = 32, Domain = 33, Range = 34, Deadlock = 35, NameTooLong = 36, NoLocks = 37, NoSyscall = 38,
  NotEmpty = 39, SymlinkLoop = 40, NoData = 61, TimerExpired = 62, Overflow = 75, NotSocket = 88, DestinationRequired = 89,
  MessageSize = 90, ProtocolOption = 92, ProtocolNotSupported = 93, SocketType = 94, NotSupported = 95, FamilyNotSupported = 97,
  AddressInUse = 98, AddressNotAvailable = 99, NetworkUnreachable = 101, ConnectionReset = 104, NotConnected = 107,
  TimedOut = 110, ConnectionRefused = 111, AlreadyInProgress = 114, Stale = 116, QuotaExceeded = 122,
  // Inside the kernel only (include/linux/errno.h): what a signal turns into EINTR or a restart.
  RestartSys = 512, RestartNoIntr = 513, RestartNoHand = 514, RestartRestartBlock = 516,
};

// "ENOMEM"; "E<number>" for one that has no name here.
std::string_view errno_name(Errno e);

}  // namespace vitro
