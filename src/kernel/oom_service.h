// What the OOM killer asks of the kernel: who there is, and to kill one of them.
#pragma once

#include "vitro/kernel/kernel.h"
#include "vitro/mm/oom.h"

namespace vitro::kernel {

class OomService final : public mm::OomTasks {
 public:
  explicit OomService(Kernel::State& state) : state_(state) {}
  std::vector<mm::OomTask> oom_tasks() const override;
  std::optional<mm::OomTask> oom_current() const override;
  void oom_kill(Pid process) override;
  void oom_log(const std::string& line) override;
  void oom_panic(const std::string& why) override;

 private:
  mm::OomTask describe(const Process& p) const;
  Kernel::State& state_;
};

}  // namespace vitro::kernel
