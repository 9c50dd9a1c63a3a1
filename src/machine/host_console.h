// The host's side of standard input and of signals: what can be read now, waiting for it, and Ctrl-C.
#pragma once

#include <signal.h>

#include <array>
#include <functional>

#include "vitro/base/wait_queue.h"
#include "vitro/fs/host_stream.h"
#include "vitro/kernel/kernel.h"
#include "vitro/machine/machine.h"

namespace vitro::machine {

// Host signals that reach the guest's foreground group. Installed while a machine runs, put back afterwards.
class HostSignals {
 public:
  // The handler makes the CPU come back soon.
  explicit HostSignals(hw::Cpu& cpu);
  ~HostSignals();
  HostSignals(const HostSignals&) = delete;
  // The signals that arrived since the last call, as a bit set by number.
  kernel::SignalSet take();

 private:
  std::array<struct ::sigaction, 5> saved_{};
};

class HostConsole final : public fs::HostInput, public kernel::HostPort {
 public:
  // `forward` gives a host signal to the guest; false where nobody can take it and the run should end. `intercept` is asked first for SIGINT: true where
  // it was meant for somebody else than the guest.
  HostConsole(hw::Cpu& cpu, Tracer& tracer, std::function<bool(int signal)> forward, std::function<bool()> intercept)
      : signals_(cpu), tracer_(tracer), forward_(std::move(forward)), intercept_(std::move(intercept)) {}

  bool ready(int host_fd) override;
  WaitQueue& queue(int host_fd) override { return queues_.at(static_cast<size_t>(host_fd)); }
  void before_output() override {
    if (listener_) listener_->before_output();
  }
  void after_output(char last) override {
    if (listener_) listener_->after_output(last);
  }
  void set_output_listener(OutputListener* l) { listener_ = l; }
  bool wait_for_input() override;
  bool wait_for_input_until(Nanoseconds until_event) override;
  bool poll_host() override;
  // The signal whose repetition ended the run although the guest did not listen; 0: none did.
  int ended_by() const { return ended_by_; }

 private:
  static constexpr size_t kStreams = 3;
  bool wait(int timeout_ms);
  HostSignals signals_;
  Tracer& tracer_;
  std::function<bool(int)> forward_;
  std::function<bool()> intercept_;
  std::array<WaitQueue, kStreams> queues_;
  OutputListener* listener_ = nullptr;
  int interrupted_ = 0;
  int ended_by_ = 0;
};

}  // namespace vitro::machine
