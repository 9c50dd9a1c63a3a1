// The simulated kernel: processes, scheduling, signals, exec, futexes and timers, over one CPU.
//
// Each task has a kernel stack (a fibre). Its main loop runs the CPU until it stops, handles the system call or fault straight through, delivers
// signals and goes on. Whatever waits switches to the scheduler's fibre, which picks the next task or lets virtual time pass.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vitro/base/result.h"
#include "vitro/base/rng.h"
#include "vitro/base/trace.h"
#include "vitro/base/wait_queue.h"
#include "vitro/fs/process_view.h"
#include "vitro/fs/vfs.h"
#include "vitro/hw/clock.h"
#include "vitro/hw/cpu.h"
#include "vitro/hw/disassembler.h"
#include "vitro/hw/timing_model.h"
#include "vitro/kernel/profile.h"
#include "vitro/kernel/task.h"
#include "vitro/mm/address_space.h"

namespace vitro::kernel {

// Implemented by the layer above: runs one system call of the current task and returns what goes to RAX. `restart` errors (512..516) come back as they are.
class SyscallTable {
 public:
  virtual ~SyscallTable() = default;
  virtual Result<long> dispatch(Kernel& kernel, Task& task, uint64_t number, const std::array<uint64_t, 6>& arguments) = 0;
  // Descriptors were closed other than by a system call that says so: exec, the end of a process.
  virtual void descriptors_closed() {}
  // The process has no thread left that could make a call.
  virtual void process_ended(Process& process) {}
  // For messages.
  virtual std::string_view name_of(uint64_t number) const { return "a system call"; }
};

// Waiting for the host when nothing else can happen. Implemented by the machine.
class HostPort {
 public:
  virtual ~HostPort() = default;
  // No task is runnable and no event is queued. Waits for host input and wakes whoever reads it; false: nothing can ever happen (deadlock).
  virtual bool wait_for_input() = 0;
  // No task is runnable and the next event is `until_event` away. Where a task waits for host input, waits for it at most that long (in the host's
  // time: only a guest that waits for the outside world is paced by it) and wakes the reader: true. False: let virtual time pass.
  virtual bool wait_for_input_until(Nanoseconds until_event) { return false; }
  // Called between tasks and after request_stop(): forwards host signals (SIGINT, ...) to the guest. False: end the run now.
  virtual bool poll_host() = 0;
};

// Looks on while tasks run. Implemented by whoever shows a running machine to a person; nothing that it does may change the machine.
class Watcher {
 public:
  virtual ~Watcher() = default;
  // The task is about to go on in user mode, its registers in the CPU. True: it is to run one instruction only.
  virtual bool entering_user(Task& t) = 0;
  // The instruction that entering_user() asked for has run; a system call's is told of before the call is served.
  virtual void instruction_done(Task& t) = 0;
  // A system call is about to be served.
  virtual void before_syscall(Task& t, uint64_t number) = 0;
  // A page fault was handled, and the entry is in place.
  virtual void fault_handled(const mm::FaultReport& report) = 0;
};

struct KernelConfig {
  uint64_t seed = 1;
  std::string hostname = "vitro";
  uint64_t boot_time = 1'700'000'000;   // the guest's clock at power-on, seconds since 1970
  bool trace_exact_addresses = false;
};

struct Exit {
  int status = 0;   // exit status of the first process, if it exited
  int signal = 0;   // the signal that killed it, or 0
  bool deadlocked = false;   // it had not ended: every task waited for something that could never happen
  static constexpr int kDeadlockStatus = 71;
  // What `vitro run` returns.
  int shell_status() const { return deadlocked ? kDeadlockStatus : signal ? 128 + signal : status; }
};

class Kernel final : public Blocking, public hw::FaultService, public mm::FaultObserver, public mm::ReclaimTasks, public fs::ProcessTable {
 public:
  Kernel(const KernelConfig& config, hw::Cpu& cpu, hw::Clock& clock, const hw::TimingModel& timing, mm::VirtualMemory& vm, fs::Vfs& vfs, Tracer& tracer);
  ~Kernel() override;

  void set_syscall_table(SyscallTable* table);
  void set_host_port(HostPort* port);
  // The block devices as they are now, for /proc/diskstats and /sys/block.
  void set_block_devices(std::function<std::vector<fs::BlockDeviceView>()> devices);
  // Null: nobody looks on.
  void set_watcher(Watcher* w);

  // Makes the first user process (child of pid 1, which is the kernel's own reaper) with the given program. Errors are the user's: no such file,
  // not executable, not an ELF program for x86-64, interpreter missing, out of memory.
  struct FirstProcess {
    std::string program;
    std::vector<std::string> arguments;     // argv[0] first
    std::vector<std::string> environment;   // "NAME=value"
    std::string working_directory = "/";
    std::array<std::shared_ptr<fs::File>, 3> standard;   // may be one file three times
    std::shared_ptr<fs::Tty> terminal;      // its controlling terminal, if any
    fs::Credentials credentials;
  };
  Result<Pid, UserError> start(const FirstProcess& first);
  // Runs until the first process has ended, then kills and reaps the rest. `on_first_exit` is called when it ends, before its memory is freed.
  Exit run(const std::function<void()>& on_first_exit = nullptr);

  // ---- Who is who ----
  Task& current_task();                    // must be called on a task's kernel stack
  Task* find_task(Pid tid);
  Process* find_process(Pid pid);
  std::vector<Process*> all_processes();   // ascending by pid
  std::vector<Process*> group(Pid group);
  fs::PathContext path_context(Task& t);
  fs::OpenContext open_context(Task& t);

  // ---- Life and death (kernel/fork.c, fs/exec.c, kernel/exit.c) ----
  struct CloneArguments {
    uint64_t flags = 0;                    // CLONE_*, without the exit signal
    std::shared_ptr<PidReference> pid_reference;   // becomes the new process's
    uint64_t pidfd = 0, child_tid = 0, parent_tid = 0, exit_signal = 0, stack = 0, tls = 0;   // stack: the child's stack pointer, 0 = as the parent's
  };
  Result<Pid> clone(Task& parent, const CloneArguments& a);          // vfork waits inside
  // On success the task goes on in the new program and the call's result is not written. `path` for comm and AT_EXECFN.
  Status exec(Task& t, const fs::DentryRef& at, const std::string& path, std::vector<std::string> arguments, std::vector<std::string> environment, unsigned flags);
  // A task of the kernel's own (kswapd, ...): no user memory; `body` runs on its kernel stack, may wait, and the task dies when it returns. A waiting
  // body must watch kernel_thread_should_stop() after each wait.
  Result<Pid> start_kernel_thread(std::string name, std::function<void()> body);
  bool kernel_thread_should_stop() const;  // the machine is going down
  void exit_thread(Task& t, int code);     // exit(2): marks; the task dies when its system call returns
  void exit_group(Task& t, int wait_status);   // exit_group(2), fatal signals
  struct WaitResult {
    Pid pid;
    uint32_t uid = 0;
    int status = 0;                        // as wait4 encodes it
    int code = 0;                          // CLD_*
    ResourceUsage usage;
  };
  // `which`: waitid's idtype P_ALL 0, P_PID 1, P_PGID 2 and its id; options WNOHANG 1, WUNTRACED 2, WEXITED 4, WCONTINUED 8, WNOWAIT 0x1000000.
  // Nullopt: WNOHANG and nothing to report. NoChild; RestartSys.
  Result<std::optional<WaitResult>> wait_for_child(Task& t, int which, Pid id, unsigned options);

  // ---- Signals (kernel/signal.c) ----
  Status send_signal(Process& to, const SignalInfo& info);           // to any thread
  Status send_signal_to_task(Task& to, const SignalInfo& info);
  // kill(2): pid > 0, 0, -1, < -1. NoProcess, NotPermitted.
  Status kill(Task& sender, int pid, const SignalInfo& info);
  // A signal that the task's own instruction caused: cannot be blocked or ignored (force_sig_info).
  void force_signal(Task& t, const SignalInfo& info);
  bool signal_deliverable(const Task& t) const;                      // pending and not blocked
  // A signal from the host or its terminal (SIGINT, SIGWINCH, ...) to the terminal's foreground group, or to the first process where it has no
  // terminal. False: nobody there can take it.
  bool signal_foreground(int signal);
  void set_blocked(Task& t, SignalSet blocked);
  Status set_action(Task& t, int signal, const SignalAction* action, SignalAction* old);
  Result<long> sigreturn(Task& t);                                   // restores registers; the value goes to RAX
  // pause, sigsuspend, sigtimedwait
  Status pause(Task& t);
  // The next pending signal of `set`, taken away: signalfd.
  std::optional<SignalInfo> take_signal(Task& t, SignalSet set);
  Result<SignalInfo> wait_for_signal(Task& t, SignalSet set, std::optional<Nanoseconds> deadline);

  // ---- Waiting and time ----
  Status wait(WaitQueue& queue, Interruptible interruptible, std::optional<Nanoseconds> deadline) override;
  // Sleeps on several queues at once (poll, select).
  Status wait_any(std::span<WaitQueue* const> queues, std::optional<Nanoseconds> deadline);
  bool may_wait() const override;
  void yield();                                                      // sched_yield
  Nanoseconds now() const override;                                       // CLOCK_MONOTONIC: since boot
  Nanoseconds realtime() const;                                      // since 1970
  Nanoseconds cpu_time(const Task& t) const;
  Nanoseconds cpu_time(const Process& p) const;
  // setitimer/getitimer; which: 0 REAL, 1 VIRTUAL, 2 PROF. Returns the old one.
  struct TimerValue {
    Nanoseconds interval{0}, value{0};
  };
  TimerValue set_interval_timer(Process& p, int which, TimerValue v);
  TimerValue interval_timer(Process& p, int which);

  // ---- Futexes (kernel/futex) ----
  // `operation` as in futex(2), with FUTEX_PRIVATE_FLAG; deadline for waits is absolute virtual (monotonic) time.
  Result<long> futex(Task& t, uint64_t address, int operation, uint32_t value, std::optional<Nanoseconds> deadline, uint64_t value2, uint64_t address2, uint32_t value3);

  // rseq(2): registers the area of restartable sequences, or takes the registration back. Invalid, NotPermitted, Busy, Fault.
  Result<long> rseq(Task& t, uint64_t area, uint32_t length, unsigned flags, uint32_t signature);

  // ---- Ports implemented for lower layers ----
  bool resolve_without_waiting(const hw::Fault& fault, hw::Access access) override;
  void fault_handled(const mm::FaultReport& report) override;
  // mm::ReclaimTasks
  mm::TaskReclaim* current_reclaim() override;
  bool current_is_dying() const override;
  void checkpoint(Nanoseconds work, bool may_sleep) override;
  void set_stalled(bool on) override;
  bool should_yield() const override;
  // fs::ProcessTable
  std::vector<Pid> processes() const override;
  std::vector<Pid> threads(Pid process) const override;
  std::optional<fs::ProcessView> view(Pid task) const override;
  Pid current() const override;
  Pid current_thread() const override;
  fs::SystemView system() const override;
  Status set_comm(Pid task, std::string_view comm) override;
  Status set_oom_score_adj(Pid process, int adj) override;
  std::string kernel_log() const override;
  Result<std::unique_ptr<fs::PressureTrigger>> add_pressure_trigger(fs::PressureResource resource, std::string_view text, bool privileged) override;
  std::string hostname() const override;
  Status set_hostname(std::string_view name) override;

  // "main+0x1c" for a user address of the current task, from the ELF symbol tables of what is mapped there; "[libc.so.6+0x1234]"-like where there is no
  // symbol; "-" where nothing is mapped. Reads the files untimed.
  std::string symbolize(Task& t, VirtAddr a);
  // From now on TLB misses and page faults are filed by who causes them. To be called before start(); not timed.
  void start_profile();
  // The `top` rows of each table. Nullopt: start_profile() was not called.
  std::optional<ProfileReport> profile_report(size_t top) const;
  // The same for any address space. And the other way: where the symbol `name` of a mapped file lies, the first in address order.
  std::string symbolize(mm::AddressSpace& space, VirtAddr a);
  std::optional<VirtAddr> find_symbol(mm::AddressSpace& space, std::string_view name);
  // What a task has in the CPU, or will have when it runs again. Looking changes nothing.
  struct UserState {
    hw::UserRegisters registers;
    hw::FpuState fpu;
  };
  UserState user_state(Task& t);
  // The task that runs, if one does.
  Task* running_task();
  // Appends to the kernel log, with the virtual time.
  void log(std::string line);

  hw::Cpu& cpu();
  hw::Clock& clock();
  const hw::TimingModel& timing() const;
  mm::VirtualMemory& vm();
  fs::Vfs& vfs();
  Tracer& tracer();
  Rng& rng();
  void verify(mm::Verify level) const;

  struct State;
  State& state() { return *state_; }

 private:
  void account_fault(const mm::FaultReport& report);
  void trace_fault(const mm::FaultReport& report);
  std::unique_ptr<State> state_;
};

}  // namespace vitro::kernel
