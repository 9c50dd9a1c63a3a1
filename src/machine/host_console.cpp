// Host input and host signals, as the kernel's HostPort and the file system's HostInput.
#include "host_console.h"

#include <poll.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "vitro/base/check.h"

namespace vitro::machine {
namespace {

constexpr int kForwarded[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP};
constexpr int kHandled[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGWINCH, SIGCONT, SIGALRM};
constexpr suseconds_t kWatchInterval = 20'000;  // microseconds

// Written by the signal handler only; one machine runs at a time.
std::atomic<uint64_t> g_pending{0};
std::atomic<hw::Cpu*> g_cpu{nullptr};
std::atomic<int> g_watched{-1};

extern "C" void on_host_signal(int signal) {
  if (signal == SIGALRM) {  // time to look whether somebody types
    const int before = errno;
    pollfd p{g_watched.load(std::memory_order_relaxed), POLLIN, 0};
    const bool typed = ::poll(&p, 1, 0) > 0;
    errno = before;
    if (!typed) return;
    signal = SIGIO;
  }
  g_pending.fetch_or(kernel::signal_bit(signal), std::memory_order_relaxed);
  if (hw::Cpu* cpu = g_cpu.load(std::memory_order_relaxed)) cpu->request_stop();
}

}  // namespace

HostSignals::HostSignals(hw::Cpu& cpu) {
  g_pending = 0;
  g_cpu = &cpu;
  struct ::sigaction action {};
  action.sa_handler = on_host_signal;
  size_t i = 0;
  for (int signal : kHandled) {
    action.sa_flags = signal == SIGALRM ? SA_RESTART : 0;
    ::sigaction(signal, &action, &saved_[i++]);
  }
}

HostSignals::~HostSignals() {
  watch(-1);
  size_t i = 0;
  for (int signal : kHandled) ::sigaction(signal, &saved_[i++], nullptr);
  g_cpu = nullptr;
}

kernel::SignalSet HostSignals::take() { return g_pending.exchange(0, std::memory_order_relaxed); }

void HostSignals::watch(int fd) {
  g_watched = fd;
  itimerval timer{};
  if (fd >= 0) timer.it_interval.tv_usec = timer.it_value.tv_usec = kWatchInterval;
  ::setitimer(ITIMER_REAL, &timer, nullptr);
}

void HostConsole::set_terminal(std::shared_ptr<HostTerminal> host, std::shared_ptr<fs::Tty> guest) {
  host_terminal_ = std::move(host);
  terminal_ = std::move(guest);
  host_terminal_->on_raw = [this](bool raw) { signals_.watch(raw ? host_terminal_->fd() : -1); };
}

bool HostConsole::ready(int host_fd) {
  pollfd p{host_fd, POLLIN, 0};
  return ::poll(&p, 1, 0) > 0;
}

// What is waited for: the descriptors that tasks read, and the terminal where one reads it, or where nothing else can happen and somebody may
// yet type an interrupt.
bool HostConsole::wait(int timeout_ms, Idle idle) {
  std::array<pollfd, kStreams + 1> fds{};
  size_t n = 0;
  for (int fd = 0; fd < static_cast<int>(kStreams); ++fd)
    if (!queues_[fd].empty()) fds[n++] = {fd, POLLIN, 0};
  const size_t streams = n;
  const bool typing = host_terminal_ && host_terminal_->raw() && !host_terminal_->gone() && terminal_->receive_room() > 0 &&
                      (idle == Idle::Forever || !terminal_->readers.empty());
  if (typing) fds[n++] = {host_terminal_->fd(), POLLIN, 0};
  if (n == 0) return false;
  before_output();  // what a person types comes next
  sigset_t alarm;  // it only looks for what is waited for here
  ::sigemptyset(&alarm);
  ::sigaddset(&alarm, SIGALRM);
  const timespec timeout{timeout_ms / 1000, timeout_ms % 1000 * 1'000'000L};
  const int ready = ::ppoll(fds.data(), n, timeout_ms < 0 ? nullptr : &timeout, &alarm);
  if (ready < 0) return true;  // a host signal: poll_host() looks at it
  for (size_t i = 0; i < streams; ++i)
    if (fds[i].revents) queues_[fds[i].fd].wake_all();
  if (typing && fds[streams].revents) host_terminal_->pump(*terminal_);
  return ready > 0;
}

bool HostConsole::wait_for_input() { return wait(-1, Idle::Forever); }

bool HostConsole::wait_for_input_until(Nanoseconds until_event) {
  const uint64_t ms = (until_event.value() + 999'999) / 1'000'000;
  return wait(static_cast<int>(std::min<uint64_t>(ms, 1'000'000'000)), Idle::UntilEvent);
}

bool HostConsole::poll_host() {
  if (TraceSink* sink = tracer_.sink(); sink && sink->failed()) return false;
  const kernel::SignalSet arrived = signals_.take();
  if (arrived == 0) return true;
  if (host_terminal_) {
    if (arrived & kernel::signal_bit(SIGCONT)) host_terminal_->continued();
    if (arrived & (kernel::signal_bit(SIGWINCH) | kernel::signal_bit(SIGCONT))) terminal_->set_window(host_terminal_->window());
    if ((arrived & kernel::signal_bit(SIGIO)) && host_terminal_->raw()) host_terminal_->pump(*terminal_);
  }
  for (int signal : kForwarded)
    if (arrived & kernel::signal_bit(signal)) {
      if (signal == SIGINT && intercept_()) continue;
      const bool again = interrupted_++ > 0;  // asked twice: the guest does not listen
      if (again || !forward_(signal)) {
        ended_by_ = signal;
        return false;
      }
    }
  return true;
}

}  // namespace vitro::machine
