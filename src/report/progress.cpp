#include "vitro/report/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>

#include "vitro/mm/physical_memory.h"

namespace vitro::report {
namespace {

using HostClock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kFirst{2000}, kEvery{250};
constexpr Nanoseconds kShortestWatch = milliseconds(20), kLongestWatch = seconds(3600);

// A program that draws the screen itself has left the canonical mode.
bool terminal_is_line_by_line() {
  termios t{};
  return ::tcgetattr(STDERR_FILENO, &t) == 0 && (t.c_lflag & ICANON);
}

size_t terminal_width() {
  winsize w{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
}

}  // namespace

std::string progress_text(Nanoseconds time, Pages free, Pages total, uint64_t faults, uint64_t major, size_t width) {
  const auto mib = [](Pages p) { return static_cast<double>(p.value()) * kPageSize / (1 << 20); };
  const std::string text = fmt::format("vitro: {:.1f} s of virtual time, {:.1f} of {:.1f} MiB free, {} faults ({} major)", static_cast<double>(time.value()) / 1e9, mib(free),
                                       mib(total), faults, major);
  return text.substr(0, width);
}

struct Progress::State final : machine::OutputListener {
  explicit State(machine::Machine& m) : machine(m) {}
  ~State() override {
    erase();
    machine.set_output_listener(nullptr);
    if (watch) machine.clock().unwatch(*watch);
  }
  void watch_next() {
    watch = machine.clock().watch(machine.clock().now() + interval, [this] {
      look();
      watch_next();
    });
  }
  // Watches come as often as is worth while in the host's time, however fast the virtual time passes.
  void look() {
    const HostClock::time_point now = HostClock::now();
    const auto since = now - std::exchange(looked, now);
    if (since < kEvery / 16) interval = std::min(interval * 2, kLongestWatch);
    if (since > kEvery / 2) interval = std::max(interval / 2, kShortestWatch);
    if (now - begun < kFirst || now - drawn_at < kEvery || !at_line_start || !terminal_is_line_by_line()) return;
    drawn_at = now;
    const mm::VmStat& stat = machine.physical().stat();
    const auto get = [&](mm::VmItem item) { return static_cast<uint64_t>(std::max<int64_t>(stat.get(item), 0)); };
    fmt::print(stderr, "\r{}\x1b[K", progress_text(machine.clock().now(), Pages{get(mm::VmItem::nr_free_pages)}, machine.physical().allocator().managed_frames(),
                                                   get(mm::VmItem::pgfault), get(mm::VmItem::pgmajfault), terminal_width() - 1));
    std::fflush(stderr);
    drawn = true;
  }
  void erase() {
    if (!std::exchange(drawn, false)) return;
    fmt::print(stderr, "\r\x1b[K");
    std::fflush(stderr);
  }
  // ---- the guest writes to the terminal
  void before_output() override { erase(); }
  void after_output(char last) override { at_line_start = last == '\n'; }

  machine::Machine& machine;
  const HostClock::time_point begun = HostClock::now();
  HostClock::time_point looked = begun, drawn_at = begun;
  Nanoseconds interval = kShortestWatch;
  std::optional<hw::Clock::EventId> watch;
  bool drawn = false, at_line_start = true;
};

Progress::Progress(std::unique_ptr<State> state) : state_(std::move(state)) {}
Progress::~Progress() = default;

std::unique_ptr<Progress> Progress::create(machine::Machine& machine) {
  if (!::isatty(STDERR_FILENO)) return nullptr;
  auto state = std::make_unique<State>(machine);
  machine.set_output_listener(state.get());
  state->watch_next();
  return std::unique_ptr<Progress>(new Progress(std::move(state)));
}

}  // namespace vitro::report
