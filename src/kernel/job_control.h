// The kernel's answers to fs::JobControl.
#pragma once

#include "vitro/fs/tty.h"
#include "vitro/kernel/kernel.h"

namespace vitro::kernel {

class ProcessJobControl final : public fs::JobControl {
 public:
  explicit ProcessJobControl(Kernel::State& state) : state_(state) {}
  std::optional<Caller> caller() const override;
  bool caller_heeds(int signal) const override;
  bool orphaned(Pid group) const override;
  std::optional<Pid> session_of(Pid group) const override;
  void signal_group(Pid group, int signal) override;
  void signal_process(Pid process, int signal) override;
  void set_terminal(std::shared_ptr<fs::Tty> terminal) override;
  void drop_terminal(Pid session) override;

 private:
  void send(Process& p, int signal);
  Kernel::State& state_;
};

}  // namespace vitro::kernel
