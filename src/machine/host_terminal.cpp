#include "host_terminal.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

namespace vitro::machine {
namespace {

// include/uapi/asm-generic/ioctls.h. The kernel's own struct, as the guest's: the C library's has other fields.
constexpr unsigned long kTcGetS = 0x5401, kTcSetSW = 0x5403;
constexpr int kFatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
constexpr size_t kChunk = 1024;

// What a signal handler needs to put the terminal back. Room for more than the kernel writes.
struct Saved {
  alignas(8) unsigned char settings[64];
  std::atomic<int> fd{-1};   // -1: nothing is changed
};
Saved g_saved;
struct ::sigaction g_before[sizeof kFatal / sizeof *kFatal];

// A crash leaves a usable terminal behind, then goes on as it would have.
extern "C" void on_fatal_signal(int signal) {
  restore_host_terminal();
  for (size_t i = 0; i < sizeof kFatal / sizeof *kFatal; ++i)
    if (kFatal[i] == signal) ::sigaction(signal, &g_before[i], nullptr);
  ::raise(signal);
}

}  // namespace

void restore_host_terminal() {
  const int fd = g_saved.fd.exchange(-1);
  if (fd < 0) return;
  const int saved_errno = errno;
  // From the background SIGTTOU would stop us, and the terminal is somebody else's.
  if (::tcgetpgrp(fd) == ::getpgrp()) (void)::ioctl(fd, kTcSetSW, g_saved.settings);
  errno = saved_errno;
}

std::shared_ptr<HostTerminal> HostTerminal::find() {
  for (int fd = 0; fd < 3; ++fd)
    if (::isatty(fd)) return std::shared_ptr<HostTerminal>(new HostTerminal(fd));
  return nullptr;
}

HostTerminal::HostTerminal(int fd) : fd_(fd), out_fd_(fd) {
  struct stat s {};
  if (::fstat(fd_, &s) == 0) device_ = s.st_rdev;
  for (const int other : {1, 2, 0})
    if (is(other)) {
      out_fd_ = other;
      break;
    }
  output_ = settings().output;
}

HostTerminal::~HostTerminal() {
  if (!raw_) return;
  restore_host_terminal();
  for (size_t i = 0; i < sizeof kFatal / sizeof *kFatal; ++i) ::sigaction(kFatal[i], &g_before[i], nullptr);
}

bool HostTerminal::is(int fd) const {
  struct stat s {};
  return ::fstat(fd, &s) == 0 && S_ISCHR(s.st_mode) && s.st_rdev == device_ && ::isatty(fd);
}

fs::Termios HostTerminal::settings() const {
  fs::Termios t = fs::Termios::standard();
  alignas(8) unsigned char buffer[64] = {};
  if (::ioctl(fd_, kTcGetS, buffer) == 0) std::memcpy(static_cast<void*>(&t), buffer, fs::Termios::kShortSize);
  return t;
}

fs::WindowSize HostTerminal::window() const {
  fs::WindowSize w;
  (void)::ioctl(fd_, TIOCGWINSZ, &w);
  return w;
}

bool HostTerminal::readable() const {
  pollfd p{fd_, POLLIN, 0};
  return ::poll(&p, 1, 0) > 0;
}

void HostTerminal::pump(fs::Tty& tty) {
  while (!gone_ && readable()) {
    uint8_t bytes[kChunk];
    const size_t room = std::min(tty.receive_room(), sizeof bytes);
    if (room == 0) return;
    const ssize_t n = ::read(fd_, bytes, room);
    if (n > 0) {
      tty.receive({bytes, static_cast<size_t>(n)});
    } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
      gone_ = true;
      tty.hang_up();
    } else {
      return;
    }
  }
}

void HostTerminal::put(std::span<const uint8_t> bytes) {
  if (bytes.empty()) return;
  if (before_output) before_output();
  write_all(bytes);
  if (after_output) after_output(static_cast<char>(bytes.back()));
}

void HostTerminal::write_all(std::span<const uint8_t> bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t n = ::write(out_fd_, bytes.data() + at, bytes.size() - at);
    if (n >= 0) {
      at += static_cast<size_t>(n);
    } else if (errno == EAGAIN) {
      pollfd p{out_fd_, POLLOUT, 0};
      (void)::poll(&p, 1, -1);
    } else if (errno != EINTR) {
      return;  // it is gone; reading finds out
    }
  }
}

// The host's line discipline does nothing but the output processing that the guest asked for.
void HostTerminal::apply() {
  fs::Termios t = settings();
  t.input &= fs::kIUtf8;
  t.output = output_;
  t.local &= ~(fs::kISig | fs::kICanon | fs::kEcho | fs::kEchoNl | fs::kIExten);
  if (keeps_interrupt_key_) {
    t.local |= fs::kISig;
    t.cc[fs::kVQuit] = t.cc[fs::kVSusp] = 0;  // _POSIX_VDISABLE
  }
  t.cc[fs::kVMin] = 1;
  t.cc[fs::kVTime] = 0;
  alignas(8) unsigned char buffer[64] = {};
  std::memcpy(buffer, &t, fs::Termios::kShortSize);
  (void)::ioctl(fd_, kTcSetSW, buffer);
}

void HostTerminal::settings_changed(const fs::Termios& t) {
  output_ = t.output;
  if (raw_) apply();
}

void HostTerminal::window_changed(const fs::WindowSize& w) { (void)::ioctl(fd_, TIOCSWINSZ, &w); }

void HostTerminal::input_wanted() {
  if (raw_ || gone_) return;
  if (::ioctl(fd_, kTcGetS, g_saved.settings) != 0) return;
  raw_ = true;
  g_saved.fd = fd_;
  struct ::sigaction action {};
  action.sa_handler = on_fatal_signal;
  for (size_t i = 0; i < sizeof kFatal / sizeof *kFatal; ++i) ::sigaction(kFatal[i], &action, &g_before[i]);
  apply();
  if (on_raw) on_raw(true);
}

void HostTerminal::continued() {
  if (!raw_) return;
  if (::tcgetpgrp(fd_) == ::getpgrp()) {
    g_saved.fd = fd_;
    apply();
  }
}

void HostTerminal::lend() {
  if (!raw_) return;
  if (on_raw) on_raw(false);
  restore_host_terminal();
}

void HostTerminal::taken_back() {
  if (!raw_) return;
  continued();
  if (on_raw) on_raw(true);
}

// As the host's own line discipline would have done it.
void HostTerminal::suspend() {
  restore_host_terminal();
  (void)::kill(0, SIGTSTP);
  continued();
}

}  // namespace vitro::machine
