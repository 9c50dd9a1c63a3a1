// Tasks and processes. A Task is what the scheduler runs (a thread, task_struct); a Process is what its threads share (signal_struct and more).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "vitro/base/intrusive_list.h"
#include "vitro/base/types.h"
#include "vitro/base/wait_queue.h"
#include "vitro/fs/tty.h"
#include "vitro/fs/types.h"
#include "vitro/fs/vfs.h"
#include "vitro/hw/cpu.h"
#include "vitro/kernel/fd_table.h"
#include "vitro/kernel/signal.h"
#include "vitro/mm/address_space.h"
#include "vitro/mm/kernel_object.h"
#include "vitro/mm/reclaim.h"

namespace vitro::kernel {

class Process;
class Kernel;
class Fibre;

// Where paths start (fs_struct). Shared by CLONE_FS.
struct FsContext {
  fs::DentryRef root, cwd;
  uint32_t umask = 022;
  mm::SlabObject memory;         // its fs_struct
};

// Shared by CLONE_SIGHAND (sighand_struct).
struct SignalHandlers {
  std::array<SignalAction, kSigCount + 1> actions{};
  mm::SlabObject memory;
};

inline constexpr unsigned kLimitCpu = 0, kLimitFsize = 1, kLimitData = 2, kLimitStack = 3, kLimitCore = 4, kLimitRss = 5, kLimitNproc = 6, kLimitNofile = 7,
                          kLimitMemlock = 8, kLimitAs = 9, kLimitLocks = 10, kLimitSigpending = 11, kLimitMsgqueue = 12, kLimitNice = 13, kLimitRtprio = 14,
                          kLimitRttime = 15, kLimitCount = 16;
struct ResourceLimit {
  uint64_t soft = ~0ull, hard = ~0ull;
};

struct ResourceUsage {
  Nanoseconds user{0}, system{0};
  uint64_t min_flt = 0, maj_flt = 0, voluntary_switches = 0, involuntary_switches = 0, in_blocks = 0, out_blocks = 0, max_rss_kb = 0;
  ResourceUsage& operator+=(const ResourceUsage& o);
};

enum class TaskState : uint8_t { Running, Sleeping, DiskSleep, Stopped, Zombie, Dead };  // Running: runnable, on the CPU or waiting for it

class Task {
 public:
  Pid tid;
  Process* process = nullptr;
  std::string comm;              // at most 15 bytes
  TaskState state = TaskState::Running;

  // Signals
  SignalSet blocked = 0;
  SignalSet real_blocked = 0;            // what was blocked before sigtimedwait opened it
  std::optional<SignalSet> saved_mask;  // sigsuspend, ppoll: put back after the handler's frame was made
  PendingSignals pending;
  AlternateStack alternate_stack;

  // Threads
  uint64_t clear_child_tid = 0, set_child_tid = 0;
  uint64_t robust_list = 0, robust_list_size = 0;
  uint64_t rseq_area = 0;
  uint32_t rseq_length = 0, rseq_signature = 0;
  bool rseq_event = false;       // left the CPU or gets a signal: a restartable sequence it was in has to be aborted

  ResourceUsage usage;           // this thread's own
  Nanoseconds start_time{0};
  int nice = 0;
  int io_priority = 0;           // ioprio_set(2); 0: none was set
  int exit_code = 0;             // as wait4 encodes it
  uint64_t personality = 0;
  bool dumpable = true;
  int parent_death_signal = 0;
  uint64_t timer_slack = 50000;
  bool in_syscall = false;
  uint64_t syscall_number = 0;   // of the last call
  // What restart_syscall(2) runs after a call returned RestartRestartBlock (struct restart_block). Set it just before returning that error.
  std::function<Result<long>()> restart_block;
  uint64_t io_rchar = 0, io_wchar = 0, io_syscr = 0, io_syscw = 0;

  bool kernel_thread() const { return !space(); }
  bool zombie() const { return state == TaskState::Zombie || state == TaskState::Dead; }
  mm::AddressSpace* space() const;
  // Memory access in the task's own space; the task must be current.
  mm::UserAccess user();

  // Kept by the scheduler.
  struct Scheduling {
    uint64_t virtual_runtime = 0;  // weighted nanoseconds
    uint64_t order = 0;            // Task number in order of creation: names a task in the scheduler where its pid may be reused
    bool killable = false;         // DiskSleep that SIGKILL ends
    Nanoseconds run_start{0};      // when it was last put on the CPU
  } scheduling;
  // What the CPU said when the task was last in user mode and left the CPU (/proc/PID/stat's kstkeip, kstkesp).
  uint64_t saved_instruction_pointer = 0, saved_stack_pointer = 0;

  // Kept by the signal code.
  bool exiting = false;            // dies at the next return to user mode
  bool finishing = false;          // is past the point where its process counts it as alive
  bool stop_participant = false;   // still has to stop in its process's group stop
  bool registers_replaced = false; // exec or sigreturn wrote them: no result, no restart
  // The system call that ends with a restart error, until it is known whether a handler runs.
  struct Restart {
    Errno error{};
    uint64_t number = 0;
    bool armed = false;
  } restart;
  uint64_t fault_address = 0, fault_error_code = 0, fault_vector = 0;   // thread.cr2, error_code, trap_nr

  mm::TaskReclaim reclaim;         // kept by the memory manager
  // Kept by the kernel.
  std::function<void()> body;      // kernel threads, and what a new task does before it enters user mode
  std::unique_ptr<hw::CpuContext> context;
  std::unique_ptr<Fibre> fibre;
  ListLink run_queue_link;
  const char* wait_channel = "0";
  mm::SlabObject memory;         // its task_struct
  mm::SlabObject pid_memory;     // its struct pid
  mm::SlabObject credentials_memory;   // its struct cred
  std::optional<VirtAddr> kernel_stack;   // in the vmalloc area (mm/kernel_stacks.h)
  Task();
  ~Task();
};

// What a vfork parent waits for: shared, because either side may be gone first.
struct VforkCompletion {
  WaitQueue queue;
  bool done = false;
};

// What a pidfd refers to: a process, not a number that may come to mean another.
struct PidReference {
  Pid pid{0};
  bool ended = false;   // a zombie
  bool gone = false;    // waited for
  WaitQueue ending;
};

class Process {
 public:
  Pid pid;                       // the leader's tid
  Process* parent = nullptr;
  std::vector<Process*> children;   // in order of creation
  Pid group, session;
  std::vector<Task*> threads;    // leader first
  std::shared_ptr<mm::AddressSpace> space;   // shared with a vfork child
  std::shared_ptr<FdTable> files;
  std::shared_ptr<FsContext> fs;
  std::shared_ptr<SignalHandlers> handlers;
  fs::Credentials credentials;
  std::array<ResourceLimit, kLimitCount> limits{};
  std::shared_ptr<fs::Tty> terminal;    // controlling terminal

  PendingSignals pending;        // for any thread
  WaitQueue signal_arrivals;     // signalfd readers: woken whenever a signal becomes pending, blocked or not
  bool group_exiting = false;
  int exit_code = 0;             // wait status
  bool zombie = false;
  int exit_signal = kSigChld;
  bool stopped = false, continued_unreported = false, stop_unreported = false;
  int stop_signal = 0;
  WaitQueue child_events;        // waiters in wait4
  std::shared_ptr<PidReference> pid_reference;   // null until somebody asks for a pidfd
  ResourceUsage dead_threads, children_usage;
  bool freeing_memory = false;  // its address space is being taken down
  int oom_score_adj = 0;
  bool child_subreaper = false;
  bool has_executed = false;     // execve happened since fork (setpgid's rule)
  std::shared_ptr<VforkCompletion> vfork;   // completed by exec and exit
  bool group_stop_pending = false;          // threads are on their way to stopping
  bool unkillable = false;                  // pid 1 and 2
  WaitQueue thread_events;                  // exec waits here for its siblings to die
  Task* exec_task = nullptr;                // the thread that is in exec and kills the others

  struct IntervalTimer {
    Nanoseconds interval{0};
    std::optional<Nanoseconds> expires;   // ITIMER_REAL: virtual time; others: CPU time
    uint64_t event = 0;
  };
  std::array<IntervalTimer, 3> timers{};
  std::string executable_path;
  mm::SlabObject memory;         // its signal_struct

  ResourceUsage usage() const;   // all threads, dead ones included
};

}  // namespace vitro::kernel
