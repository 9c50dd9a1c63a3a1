// What /proc shows of processes and of the system beyond memory. Implemented by the kernel; fs only renders it.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vitro/base/types.h"
#include "vitro/fs/file.h"
#include "vitro/fs/types.h"
#include "vitro/mm/address_space.h"

namespace vitro::fs {

// One task (thread) as /proc/PID/{stat,status,...} shows it. A snapshot; pointers are valid until the next wait.
struct ProcessView {
  Pid pid, tgid, ppid, pgrp, session, tracer;
  std::string comm;
  char state = 'R';                       // R S D T Z X
  bool kernel_thread = false;
  mm::AddressSpace* space = nullptr;      // null: kernel thread or zombie
  std::shared_ptr<const void> space_reference;   // keeps *space alive while the view exists: readers of its memory may wait
  Nanoseconds user_time{0}, system_time{0}, children_user_time{0}, children_system_time{0};
  Nanoseconds start_time{0};              // since boot
  uint64_t min_flt = 0, maj_flt = 0, children_min_flt = 0, children_maj_flt = 0;
  uint64_t voluntary_switches = 0, involuntary_switches = 0;
  unsigned threads = 1;
  int priority = 20, nice = 0;
  unsigned cpu = 0;
  int exit_signal = 17;
  int exit_code = 0;
  uint64_t tty = 0;
  int tty_pgrp = -1;
  uint64_t flags = 0;                     // PF_*
  uint64_t signals_pending = 0, signals_shared_pending = 0, signals_blocked = 0, signals_ignored = 0, signals_caught = 0;
  uint64_t signal_queue = 0, signal_queue_limit = 0;
  uint64_t instruction_pointer = 0, stack_pointer = 0;
  std::string wait_channel;               // "0" when running
  Credentials credentials;
  uint32_t umask = 022;
  uint32_t personality = 0;               // personality(2)
  int oom_score_adj = 0;
  uint64_t fd_size = 64;
  std::map<int, std::shared_ptr<File>> descriptors;
  std::map<int, bool> close_on_exec;
  DentryRef cwd, root;
  std::shared_ptr<mm::MappedFile> executable;
  std::array<std::pair<uint64_t, uint64_t>, 16> limits{};   // soft, hard, by RLIMIT_ number
  struct Io {
    uint64_t rchar = 0, wchar = 0, syscr = 0, syscw = 0, read_bytes = 0, write_bytes = 0, cancelled_write_bytes = 0;
  } io;
};

// One swap area, in the order of swapon (mm/swapfile.c: swap_show).
struct SwapAreaView {
  std::string path;
  bool partition = false;                 // a block device, else a file
  Bytes size{0}, used{0};
  int priority = -2;
};

// One block device (Documentation/admin-guide/iostats.rst). Sectors are of 512 bytes.
struct BlockDeviceView {
  std::string name;                       // "vda"
  uint64_t major = 254, minor = 0;
  uint64_t sectors = 0;                   // capacity
  bool read_only = false, rotational = false;
  struct Direction {
    uint64_t requests = 0, merged = 0, sectors = 0;
    Nanoseconds time{0};                  // all requests together
  } reads, writes, discards, flushes;
  uint64_t in_flight = 0;
  Nanoseconds busy{0}, weighted{0};       // at least one request in flight; times their number
};

struct CpuTimes {
  Nanoseconds user{0}, nice{0}, system{0}, idle{0}, iowait{0}, irq{0}, softirq{0};
};

// Of three resources, how long some task waited for it, or all that had something to do (Documentation/accounting/psi.rst).
struct PressureView {
  struct Line {
    std::array<uint64_t, 3> averages{};   // over 10, 60 and 300 s, per cent with 11 fraction bits
    uint64_t total_us = 0;
  };
  struct Resource {
    Line some, full;
  } cpu, io, memory;
};

enum class PressureResource : uint8_t { Io, Memory, Cpu };
// What somebody asked of a pressure file: to be told when tasks lose more than so much of a window of time. Goes with the open file that asked.
class PressureTrigger {
 public:
  virtual ~PressureTrigger() = default;
  virtual WaitQueue& happened() = 0;
  // Whether it happened since the last call.
  virtual bool take_event() = 0;
};

struct SystemView {
  Nanoseconds uptime{0}, idle{0};
  uint64_t boot_time = 0;                 // seconds since 1970
  Nanoseconds user{0}, system{0}, idle_cpu{0}, iowait{0};   // all CPUs together
  uint64_t context_switches = 0, processes_forked = 0, running = 1, blocked = 0, interrupts = 0, timer_interrupts = 0;
  unsigned cpus = 1;
  std::array<double, 3> load{};           // 1, 5, 15 minutes
  PressureView pressure;
  unsigned tasks = 1;
  Pid last_pid{0};
  uint64_t open_files = 0, file_max = 0;
  // Each CPU's share of the times above. Empty on a machine with one CPU, whose share is all of it.
  std::vector<CpuTimes> cpu_times;
  std::vector<SwapAreaView> swap_areas;
  std::vector<BlockDeviceView> block_devices;
  std::string command_line;               // /proc/cmdline
  uint64_t seed = 1;                      // boot_id and uuid follow from it
};

// What uname(2) and /proc say this kernel is.
inline constexpr std::string_view kKernelType = "Linux", kKernelRelease = "6.1.0-vitro", kKernelVersion = "#1 SMP PREEMPT_DYNAMIC vitro",
                                  kKernelMachine = "x86_64";

// A file below /proc/sys or /sys whose state lies elsewhere: whoever owns the state adds it. "vm/swappiness".
struct Tunable {
  std::string path;
  std::function<std::string()> read;               // with the final newline; null: write-only (drop_caches)
  std::function<Status(std::string_view)> write;   // null: read-only; Invalid for a value it cannot take
};
// Reads one integer as proc_dointvec_minmax does (surrounding white space is fine). Invalid: no number, trailing text, out of range.
Result<int64_t> parse_tunable(std::string_view text, int64_t low, int64_t high);
// A tunable over an integer: `get` and `set` in the unit that the file shows.
Tunable integer_tunable(std::string path, std::function<int64_t()> get, std::function<void(int64_t)> set, int64_t low, int64_t high);

class Vfs;

class ProcessTable {
 public:
  virtual ~ProcessTable() = default;
  virtual std::vector<Pid> processes() const = 0;                 // thread-group ids, ascending
  virtual std::vector<Pid> threads(Pid process) const = 0;        // ascending; empty: no such process
  virtual std::optional<ProcessView> view(Pid task) const = 0;    // a process by its id, or a thread
  virtual Pid current() const = 0;                                // thread-group id of the task that reads
  virtual Pid current_thread() const = 0;
  virtual SystemView system() const = 0;
  // Writers: /proc/PID/{comm,oom_score_adj,oom_adj}.
  virtual Status set_comm(Pid task, std::string_view comm) = 0;
  virtual Status set_oom_score_adj(Pid process, int adj) = 0;
  virtual std::string kernel_log() const = 0;                     // for /dev/kmsg and dmesg
  // `text`: "some THRESHOLD WINDOW" or "full ...", in microseconds. Invalid: no such thing, a window outside 0.5 to 10 s, or, for the unprivileged, one
  // that is no multiple of 2 s (kernel/sched/psi.c: psi_trigger_create).
  virtual Result<std::unique_ptr<PressureTrigger>> add_pressure_trigger(PressureResource resource, std::string_view text, bool privileged) = 0;
  virtual std::string hostname() const = 0;
  virtual Status set_hostname(std::string_view name) = 0;
};

// The text of /proc/meminfo and /proc/vmstat, for reports on the host's side.
std::string meminfo_text(mm::VirtualMemory& vm, const SystemView& system);
std::string vmstat_text(mm::VirtualMemory& vm);
// The text of /proc/PID/maps, and of an area what it is and may: "[heap] rw-p", "/usr/lib/x86_64-linux-gnu/libc.so.6 r-xp", "anonymous rw-p".
std::string maps_text(mm::AddressSpace& space);
std::string area_label(const mm::Vma& area);

// Builds /proc and /sys (mounted by the machine). The views must outlive them. `tunables`: further files of /proc/sys, and of /sys.
std::shared_ptr<class FileSystem> make_procfs(Vfs& vfs, mm::VirtualMemory& vm, ProcessTable& processes, std::vector<Tunable> tunables = {});
std::shared_ptr<class FileSystem> make_sysfs(Vfs& vfs, mm::VirtualMemory& vm, ProcessTable& processes, std::vector<Tunable> tunables = {});

}  // namespace vitro::fs
