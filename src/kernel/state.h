// What the kernel keeps, and the steps that its files share. Private to the layer.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernel/futex_table.h"
#include "kernel/job_control.h"
#include "kernel/kernel_log.h"
#include "kernel/pid_allocator.h"
#include "kernel/scheduler.h"
#include "kernel/symbol_table.h"
#include "kernel/vdso.h"
#include "vitro/kernel/kernel.h"
#include "vitro/mm/oom.h"

namespace vitro::kernel {

class Profiler;

struct Kernel::State final : SchedulerPort {
  State(Kernel& kernel, const KernelConfig& config, hw::Cpu& cpu, hw::Clock& clock, const hw::TimingModel& timing, mm::VirtualMemory& vm,
        fs::Vfs& vfs, Tracer& tracer);
  ~State() override;

  // ---- scheduler's questions (kernel.cpp) ----
  bool signal_pending(const Task& t) const override;
  bool fatal_signal_pending(const Task& t) const override;
  bool poll_host() override;
  bool wait_for_host() override;
  bool wait_for_host_until(Nanoseconds until) override;
  void task_ended(Task& t) override;
  std::optional<Nanoseconds> cpu_timer_remaining(const Task& t) const override;

  // ---- tasks (process_table.cpp) ----
  Task* find_task(Pid tid) const;
  Process* find_process(Pid pid) const;
  bool pid_in_use(Pid pid) const;
  std::vector<Process*> group(Pid group) const;
  uint64_t tasks_of_user(uint32_t uid) const;
  // A task with everything it owns in kernel memory, in no table yet. NoMemory.
  Result<std::unique_ptr<Task>> make_task(Pid tid, std::string comm);
  Result<std::unique_ptr<Process>> make_process(Pid pid);
  void free_kernel_stack(Task& t);
  // Takes a dead task out of every table and destroys it; the last one of a process takes the process along.
  void release_task(Task& t);
  std::shared_ptr<mm::AddressSpace> share(std::unique_ptr<mm::AddressSpace> space);
  mm::MemoryLimits memory_limits(const Process& p) const;
  void boot_tasks();

  // ---- user mode (user_loop.cpp) ----
  void task_main(Task& t);
  void user_loop(Task& t);
  hw::CpuStop run_user(Task& t);
  bool return_to_user(Task& t);
  void run_syscall(Task& t);
  void user_fault(Task& t, const hw::CpuStop& stop);
  void user_exception(Task& t, const hw::CpuStop& stop);
  void trap_signal(Task& t, int signal, int code, uint64_t address, unsigned vector, uint64_t error_code, const char* name);
  void check_cpu_timers(Task& t);

  // ---- fork, exec, exit ----
  Status load_program(Task& t, const fs::DentryRef& at, const std::string& path, std::vector<std::string> arguments,
                      std::vector<std::string> environment, unsigned flags, std::string* why);
  Status kill_other_threads(Task& t);
  void complete_vfork(Process& p);
  void start_group_exit(Process& p, int wait_status);
  void exit_task(Task& t);
  void exit_memory(Process& p);
  void exit_process(Process& p);
  void reparent_children(Process& p);
  void kill_everything();
  std::string waiting_tasks() const;
  // SIGCHLD and a wake-up for the parent; true where nobody will wait for the process, so that it can be released at once.
  bool notify_parent_of_exit(Process& p);
  void notify_parent_of_stop(Process& p, int code, int status);
  bool orphaned_group(Pid group, const Process* ignored) const;
  void hang_up_orphaned_group(Process& p, Process& parent);

  // ---- signals (signal_send.cpp, signal_deliver.cpp, signal_frame.cpp) ----
  SignalSet pending(const Task& t) const;
  bool ignored(const Process& p, int signal) const;
  Status send(Process& p, Task* thread, const SignalInfo& info, bool forced);
  bool prepare(Process& p, Task* thread, int signal, bool forced);
  void complete(Process& p, Task* thread, int signal);
  bool wants_signal(const Task& t, int signal) const;
  void flush(Process& p, SignalSet set);
  std::optional<SignalInfo> dequeue(Task& t, SignalSet allowed);
  void settle_rseq(Task& t);
  void handle_signals(Task& t);
  void group_stop(Task& t, int signal);
  void participate_in_stop(Task& t);
  void continue_group(Process& p);
  void restart_without_handler(Task& t);
  void restart_for_handler(Task& t, const SignalAction& action);
  Status push_frame(Task& t, const SignalInfo& info, const SignalAction& action);
  void force_default(Task& t, int signal);

  // ---- timers ----
  void arm_real_timer(Process& p);
  void cancel_timers(Process& p);

  // ---- the kernel's parts ----
  Kernel& kernel;
  KernelConfig config;
  hw::Cpu& cpu;
  hw::Clock& clock;
  const hw::TimingModel& timing;
  mm::VirtualMemory& vm;
  fs::Vfs& vfs;
  Tracer& tracer;
  Rng rng;
  SyscallTable* syscalls = nullptr;
  HostPort* host = nullptr;
  std::function<std::vector<fs::BlockDeviceView>()> block_devices;
  Watcher* watcher = nullptr;
  hw::Disassembler disassembler;

  KernelLog log;
  PidAllocator pids;
  Scheduler scheduler;
  FutexTable futexes;
  std::unique_ptr<mm::OomTasks> oom;
  SymbolTable symbols;
  ProcessJobControl jobs;
  std::unique_ptr<Profiler> profiler;  // null: nobody asked

  std::optional<Vdso> vdso;
  std::map<int, std::unique_ptr<Task>> tasks;         // by tid, zombies included
  std::map<int, std::unique_ptr<Process>> processes;  // by pid
  Process* init = nullptr;                            // pid 1: adopts orphans and reaps them
  uint64_t forks = 0;
  uint64_t max_threads = 0;

  // The run.
  Pid first{0};
  bool first_ended = false;
  Exit exit;
  const std::function<void()>* on_first_exit = nullptr;
  bool ending = false;      // everything that is left is being killed
  bool host_asked = false;  // poll_host() said no: the run must end
  bool resolving = false;   // inside the CPU's fill hook: no waiting
  bool untimed = false;     // reading for a person who looks on: no waiting, no time
};

}  // namespace vitro::kernel
