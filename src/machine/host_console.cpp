// Host input and host signals, as the kernel's HostPort and the file system's HostInput.
#include "host_console.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>

#include "vitro/base/check.h"

namespace vitro::machine {
namespace {

constexpr int kForwarded[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGWINCH};

// Written by the signal handler only; one machine runs at a time.
std::atomic<uint64_t> g_pending{0};
std::atomic<hw::Cpu*> g_cpu{nullptr};

extern "C" void on_host_signal(int signal) {
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
  for (int signal : kForwarded) ::sigaction(signal, &action, &saved_[i++]);
}

HostSignals::~HostSignals() {
  size_t i = 0;
  for (int signal : kForwarded) ::sigaction(signal, &saved_[i++], nullptr);
  g_cpu = nullptr;
}

kernel::SignalSet HostSignals::take() { return g_pending.exchange(0, std::memory_order_relaxed); }

bool HostConsole::ready(int host_fd) {
  pollfd p{host_fd, POLLIN, 0};
  return ::poll(&p, 1, 0) > 0;
}

bool HostConsole::wait(int timeout_ms) {
  std::array<pollfd, kStreams> fds{};
  size_t n = 0;
  for (int fd = 0; fd < static_cast<int>(kStreams); ++fd)
    if (!queues_[fd].empty()) fds[n++] = {fd, POLLIN, 0};
  if (n == 0) return false;
  before_output();  // what a person types comes next
  const int ready = ::poll(fds.data(), n, timeout_ms);
  if (ready < 0) return true;  // a host signal: poll_host() looks at it
  for (size_t i = 0; i < n; ++i)
    if (fds[i].revents) queues_[fds[i].fd].wake_all();
  return ready > 0;
}

bool HostConsole::wait_for_input() { return wait(-1); }

bool HostConsole::wait_for_input_until(Nanoseconds until_event) {
  const uint64_t ms = (until_event.value() + 999'999) / 1'000'000;
  return wait(static_cast<int>(std::min<uint64_t>(ms, 1'000'000'000)));
}

bool HostConsole::poll_host() {
  if (TraceSink* sink = tracer_.sink(); sink && sink->failed()) return false;
  const kernel::SignalSet arrived = signals_.take();
  if (arrived == 0) return true;
  for (int signal : kForwarded)
    if (arrived & kernel::signal_bit(signal)) {
      if (signal == SIGINT && intercept_()) continue;
      const bool again = signal != SIGWINCH && interrupted_++ > 0;  // asked twice: the guest does not listen
      if (again || !forward_(signal)) {
        ended_by_ = signal;
        return false;
      }
    }
  return true;
}

}  // namespace vitro::machine
