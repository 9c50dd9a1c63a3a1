// The names behind --strace.
#include "syscalls/strace_names.h"

#include <fmt/format.h>

#include <array>

#include "syscalls/strace.h"

namespace vitro::syscalls {
namespace {

constexpr NamedValue kProtection[] = {{1, "PROT_READ"}, {2, "PROT_WRITE"}, {4, "PROT_EXEC"}, {8, "PROT_SEM"}, {0x01000000, "PROT_GROWSDOWN"}, {0x02000000, "PROT_GROWSUP"}};
constexpr NamedValue kAt[] = {{0x100, "AT_SYMLINK_NOFOLLOW"}, {0x200, "AT_REMOVEDIR"}, {0x400, "AT_SYMLINK_FOLLOW"}, {0x800, "AT_NO_AUTOMOUNT"}, {0x1000, "AT_EMPTY_PATH"}};
constexpr NamedValue kAccess[] = {{4, "R_OK"}, {2, "W_OK"}, {1, "X_OK"}};
constexpr NamedValue kWhence[] = {{0, "SEEK_SET"}, {1, "SEEK_CUR"}, {2, "SEEK_END"}, {3, "SEEK_DATA"}, {4, "SEEK_HOLE"}};
constexpr NamedValue kHow[] = {{0, "SIG_BLOCK"}, {1, "SIG_UNBLOCK"}, {2, "SIG_SETMASK"}};
constexpr NamedValue kFcntl[] = {{0, "F_DUPFD"}, {1, "F_GETFD"}, {2, "F_SETFD"}, {3, "F_GETFL"}, {4, "F_SETFL"}, {5, "F_GETLK"}, {6, "F_SETLK"}, {7, "F_SETLKW"},
                                 {8, "F_SETOWN"}, {9, "F_GETOWN"}, {36, "F_OFD_GETLK"}, {37, "F_OFD_SETLK"}, {38, "F_OFD_SETLKW"}, {1030, "F_DUPFD_CLOEXEC"},
                                 {1031, "F_SETPIPE_SZ"}, {1032, "F_GETPIPE_SZ"}, {1033, "F_ADD_SEALS"}, {1034, "F_GET_SEALS"}};
constexpr NamedValue kClock[] = {{0, "CLOCK_REALTIME"}, {1, "CLOCK_MONOTONIC"}, {2, "CLOCK_PROCESS_CPUTIME_ID"}, {3, "CLOCK_THREAD_CPUTIME_ID"}, {4, "CLOCK_MONOTONIC_RAW"},
                                 {5, "CLOCK_REALTIME_COARSE"}, {6, "CLOCK_MONOTONIC_COARSE"}, {7, "CLOCK_BOOTTIME"}, {8, "CLOCK_REALTIME_ALARM"},
                                 {9, "CLOCK_BOOTTIME_ALARM"}, {11, "CLOCK_TAI"}};
constexpr NamedValue kLimit[] = {{0, "RLIMIT_CPU"}, {1, "RLIMIT_FSIZE"}, {2, "RLIMIT_DATA"}, {3, "RLIMIT_STACK"}, {4, "RLIMIT_CORE"}, {5, "RLIMIT_RSS"},
                                 {6, "RLIMIT_NPROC"}, {7, "RLIMIT_NOFILE"}, {8, "RLIMIT_MEMLOCK"}, {9, "RLIMIT_AS"}, {10, "RLIMIT_LOCKS"}, {11, "RLIMIT_SIGPENDING"},
                                 {12, "RLIMIT_MSGQUEUE"}, {13, "RLIMIT_NICE"}, {14, "RLIMIT_RTPRIO"}, {15, "RLIMIT_RTTIME"}};
constexpr NamedValue kAdvice[] = {{0, "MADV_NORMAL"}, {1, "MADV_RANDOM"}, {2, "MADV_SEQUENTIAL"}, {3, "MADV_WILLNEED"}, {4, "MADV_DONTNEED"}, {8, "MADV_FREE"},
                                  {9, "MADV_REMOVE"}, {10, "MADV_DONTFORK"}, {11, "MADV_DOFORK"}, {12, "MADV_MERGEABLE"}, {13, "MADV_UNMERGEABLE"},
                                  {14, "MADV_HUGEPAGE"}, {15, "MADV_NOHUGEPAGE"}, {16, "MADV_DONTDUMP"}, {17, "MADV_DODUMP"}, {18, "MADV_WIPEONFORK"},
                                  {19, "MADV_KEEPONFORK"}, {20, "MADV_COLD"}, {21, "MADV_PAGEOUT"}, {22, "MADV_POPULATE_READ"}, {23, "MADV_POPULATE_WRITE"},
                                  {25, "MADV_COLLAPSE"}};
constexpr NamedValue kIoctl[] = {{0x5401, "TCGETS"}, {0x5402, "TCSETS"}, {0x5403, "TCSETSW"}, {0x5404, "TCSETSF"}, {0x540b, "TCFLSH"}, {0x540e, "TIOCSCTTY"},
                                 {0x540f, "TIOCGPGRP"}, {0x5410, "TIOCSPGRP"}, {0x5413, "TIOCGWINSZ"}, {0x5414, "TIOCSWINSZ"}, {0x541b, "FIONREAD"}, {0x5421, "FIONBIO"},
                                 {0x5422, "TIOCNOTTY"}, {0x5429, "TIOCGSID"}, {0x5450, "FIONCLEX"}, {0x5451, "FIOCLEX"}};
constexpr NamedValue kMmap[] = {{0x10, "MAP_FIXED"}, {0x20, "MAP_ANONYMOUS"}, {0x40, "MAP_32BIT"}, {0x100, "MAP_GROWSDOWN"}, {0x800, "MAP_DENYWRITE"},
                                {0x1000, "MAP_EXECUTABLE"}, {0x2000, "MAP_LOCKED"}, {0x4000, "MAP_NORESERVE"}, {0x8000, "MAP_POPULATE"}, {0x10000, "MAP_NONBLOCK"},
                                {0x20000, "MAP_STACK"}, {0x40000, "MAP_HUGETLB"}, {0x80000, "MAP_SYNC"}, {0x100000, "MAP_FIXED_NOREPLACE"}};
constexpr NamedValue kMmapType[] = {{0, "MAP_FILE"}, {1, "MAP_SHARED"}, {2, "MAP_PRIVATE"}, {3, "MAP_SHARED_VALIDATE"}};
constexpr NamedValue kFutex[] = {{0, "FUTEX_WAIT"}, {1, "FUTEX_WAKE"}, {2, "FUTEX_FD"}, {3, "FUTEX_REQUEUE"}, {4, "FUTEX_CMP_REQUEUE"}, {5, "FUTEX_WAKE_OP"},
                                 {6, "FUTEX_LOCK_PI"}, {7, "FUTEX_UNLOCK_PI"}, {8, "FUTEX_TRYLOCK_PI"}, {9, "FUTEX_WAIT_BITSET"}, {10, "FUTEX_WAKE_BITSET"},
                                 {11, "FUTEX_WAIT_REQUEUE_PI"}, {12, "FUTEX_CMP_REQUEUE_PI"}, {13, "FUTEX_LOCK_PI2"}};
// Wider ones first: O_SYNC contains O_DSYNC, O_TMPFILE contains O_DIRECTORY.
constexpr NamedValue kOpen[] = {{0100, "O_CREAT"}, {0200, "O_EXCL"}, {0400, "O_NOCTTY"}, {01000, "O_TRUNC"}, {02000, "O_APPEND"}, {04000, "O_NONBLOCK"}, {04010000, "O_SYNC"},
                                {010000, "O_DSYNC"}, {020000, "O_ASYNC"}, {040000, "O_DIRECT"}, {0100000, "O_LARGEFILE"}, {020200000, "O_TMPFILE"}, {0200000, "O_DIRECTORY"},
                                {0400000, "O_NOFOLLOW"}, {01000000, "O_NOATIME"}, {02000000, "O_CLOEXEC"}, {010000000, "O_PATH"}};
constexpr const char* kSignals[] = {"", "SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGKILL", "SIGUSR1", "SIGSEGV", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGTERM", "SIGSTKFLT", "SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGXCPU", "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO", "SIGPWR", "SIGSYS"};

}  // namespace

const std::span<const NamedValue> kProtectionNames{kProtection}, kAtNames{kAt}, kAccessNames{kAccess}, kWhenceNames{kWhence}, kHowNames{kHow}, kFcntlNames{kFcntl},
    kClockNames{kClock}, kLimitNames{kLimit}, kAdviceNames{kAdvice}, kIoctlNames{kIoctl};

std::string flags_text(std::span<const NamedValue> names, uint64_t flags, const char* none) {
  if (flags == 0) return none;
  std::string out;
  for (const NamedValue& n : names) {
    if ((flags & n.value) != n.value) continue;
    if (!out.empty()) out += '|';
    out += n.name;
    flags &= ~n.value;
  }
  if (flags != 0) out += fmt::format("{}{:#x}", out.empty() ? "" : "|", flags);
  return out;
}

std::string name_of(std::span<const NamedValue> names, uint64_t value) {
  for (const NamedValue& n : names)
    if (n.value == value) return n.name;
  return fmt::format("{:#x}", value);
}

std::string open_flags_text(uint64_t flags) {
  constexpr const char* kModes[] = {"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"};
  std::string out = kModes[flags & 3];
  if (flags & ~uint64_t{3}) out += "|" + flags_text(kOpen, flags & ~uint64_t{3}, "");
  return out;
}

std::string mmap_flags_text(uint64_t flags) {
  std::string out = name_of(kMmapType, flags & 0xf);
  if (flags & ~uint64_t{0xf}) out += "|" + flags_text(kMmap, flags & ~uint64_t{0xf}, "");
  return out;
}

std::string futex_operation_text(uint64_t operation) {
  std::string out = name_of(kFutex, operation & 0x7f);
  if (operation & 128) out += "_PRIVATE";
  if (operation & 256) out += "|FUTEX_CLOCK_REALTIME";
  return out;
}

std::string_view signal_name(int signal) {
  if (signal < 1 || static_cast<size_t>(signal) >= std::size(kSignals)) return {};
  return kSignals[signal];
}

// The C library's words, which must not come from the host's.
std::string_view errno_text(Errno e) {
  switch (e) {
    case Errno::NotPermitted: return "Operation not permitted";
    case Errno::NoEntry: return "No such file or directory";
    case Errno::NoProcess: return "No such process";
    case Errno::Interrupted: return "Interrupted system call";
    case Errno::IoError: return "Input/output error";
    case Errno::NoDeviceOrAddress: return "No such device or address";
    case Errno::TooBig: return "Argument list too long";
    case Errno::ExecFormat: return "Exec format error";
    case Errno::BadFile: return "Bad file descriptor";
    case Errno::NoChild: return "No child processes";
    case Errno::Again: return "Resource temporarily unavailable";
    case Errno::NoMemory: return "Cannot allocate memory";
    case Errno::Access: return "Permission denied";
    case Errno::Fault: return "Bad address";
    case Errno::NotBlock: return "Block device required";
    case Errno::Busy: return "Device or resource busy";
    case Errno::Exists: return "File exists";
    case Errno::CrossDevice: return "Invalid cross-device link";
    case Errno::NoDevice: return "No such device";
    case Errno::NotDirectory: return "Not a directory";
    case Errno::IsDirectory: return "Is a directory";
    case Errno::Invalid: return "Invalid argument";
    case Errno::TooManyFilesSystem: return "Too many open files in system";
    case Errno::TooManyFiles: return "Too many open files";
    case Errno::NotTty: return "Inappropriate ioctl for device";
    case Errno::TextBusy: return "Text file busy";
    case Errno::FileTooBig: return "File too large";
    case Errno::NoSpace: return "No space left on device";
    case Errno::IllegalSeek: return "Illegal seek";
    case Errno::ReadOnly: return "Read-only file system";
    case Errno::TooManyLinks: return "Too many links";
    case Errno::BrokenPipe: return "Broken pipe";
    case Errno::Domain: return "Numerical argument out of domain";
    case Errno::Range: return "Numerical result out of range";
    case Errno::Deadlock: return "Resource deadlock avoided";
    case Errno::NameTooLong: return "File name too long";
    case Errno::NoLocks: return "No locks available";
    case Errno::NoSyscall: return "Function not implemented";
    case Errno::NotEmpty: return "Directory not empty";
    case Errno::SymlinkLoop: return "Too many levels of symbolic links";
    case Errno::NoData: return "No data available";
    case Errno::TimerExpired: return "Timer expired";
    case Errno::Overflow: return "Value too large for defined data type";
    case Errno::NotSocket: return "Socket operation on non-socket";
    case Errno::DestinationRequired: return "Destination address required";
    case Errno::MessageSize: return "Message too long";
    case Errno::ProtocolOption: return "Protocol not available";
    case Errno::ProtocolNotSupported: return "Protocol not supported";
    case Errno::SocketType: return "Socket type not supported";
    case Errno::NotSupported: return "Operation not supported";
    case Errno::FamilyNotSupported: return "Address family not supported by protocol";
    case Errno::AddressInUse: return "Address already in use";
    case Errno::AddressNotAvailable: return "Cannot assign requested address";
    case Errno::NetworkUnreachable: return "Network is unreachable";
    case Errno::ConnectionReset: return "Connection reset by peer";
    case Errno::NotConnected: return "Transport endpoint is not connected";
    case Errno::TimedOut: return "Connection timed out";
    case Errno::ConnectionRefused: return "Connection refused";
    case Errno::AlreadyInProgress: return "Operation already in progress";
    case Errno::Stale: return "Stale file handle";
    case Errno::QuotaExceeded: return "Disk quota exceeded";
    default: return "Unknown error";
  }
}

}  // namespace vitro::syscalls
