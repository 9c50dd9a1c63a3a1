// One machine: every layer created in order, wired together, and torn down in reverse.
//
//   auto machine = Machine::create(options);
//   kernel::Exit exit = (*machine)->run({"/bin/busybox", {"echo", "hello"}}, [&] { snapshot(**machine); });
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "vitro/base/result.h"
#include "vitro/base/trace.h"
#include "vitro/hw/clock.h"
#include "vitro/hw/cpu.h"
#include "vitro/hw/disk.h"
#include "vitro/fs/vfs_shrinker.h"
#include "vitro/hw/mmu.h"
#include "vitro/hw/ram.h"
#include "vitro/kernel/kernel.h"
#include "vitro/machine/options.h"
#include "vitro/mm/address_space.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::machine {

class HostConsole;
class HostTerminal;

// Told of what the guest writes to the host's terminal, so that what else stands there can make way.
class OutputListener {
 public:
  virtual ~OutputListener() = default;
  virtual void before_output() = 0;
  virtual void after_output(char last) = 0;
};

class Machine {
 public:
  // Errors: RAM out of range, unknown trace event, unwritable trace file, an offer that does not exist.
  static Result<std::unique_ptr<Machine>, UserError> create(const MachineOptions& options);
  ~Machine();

  // Runs the program to its end. `at_first_exit` is called when it ends, before its memory is freed. Errors: no such program, not executable,
  // no program; a trace that could not be written (the run has then ended early).
  Result<kernel::Exit, UserError> run(const Program& program, const std::function<void()>& at_first_exit);

  // Who gets the host's SIGINT instead of the guest. False: the guest gets it after all. Called between tasks and behind a task's run in user mode. Null: nobody.
  void set_interrupt_handler(std::function<bool()> handler);

  // Between the two the host's terminal is as the user left it and what is typed is not the guest's: somebody on the host's side asks for a line.
  void borrow_terminal();
  void return_terminal();

  // Null: nobody.
  void set_output_listener(OutputListener* listener);

  const MachineOptions& options() const { return options_; }
  hw::Ram& ram() { return *ram_; }
  hw::Mmu& mmu() { return *mmu_; }
  hw::Clock& clock() { return *clock_; }
  hw::Cpu& cpu() { return *cpu_; }
  mm::PhysicalMemory& physical() { return *physical_; }
  mm::VirtualMemory& vm() { return *vm_; }
  fs::Vfs& vfs() { return *vfs_; }
  kernel::Kernel& kernel() { return *kernel_; }
  Tracer& tracer() { return tracer_; }
  // Checks every layer against the others (the machine's law, docs/architecture.md). CHECKs.
  void verify(mm::Verify level);

 private:
  explicit Machine(const MachineOptions& options);
  Result<void, UserError> build();
  Result<void, UserError> mount_file_systems();
  Result<void, UserError> enable_swap();
  Result<void, UserError> power_off();
  // Shows `host` as `guest`, over what is mounted already. For directories and single files.
  Result<void, UserError> offer(const std::string& host, const std::string& guest);
  // Programs that the command line names by absolute path are offered, file by file, where nothing else shows them.
  Result<void, UserError> offer_named_programs(const Program& program);
  // For a program that failed: what the command line names, the host has and the guest has not.
  void explain_missing();
  std::string find_program(const std::string& name);
  std::vector<std::string> environment() const;

  MachineOptions options_;
  // In order of construction: whatever a member uses stands above it.
  Tracer tracer_;
  std::unique_ptr<hw::Ram> ram_;
  std::unique_ptr<hw::Clock> clock_;
  std::unique_ptr<hw::Mmu> mmu_;
  std::unique_ptr<hw::Cpu> cpu_;
  std::unique_ptr<hw::Disk> disk_, swap_disk_;   // swap_disk_: null without --swap
  std::unique_ptr<mm::PhysicalMemory> physical_;
  std::unique_ptr<mm::VirtualMemory> vm_;
  std::unique_ptr<HostConsole> console_;
  std::unique_ptr<fs::BlockStore> block_store_;
  std::unique_ptr<fs::Vfs> vfs_;
  std::unique_ptr<fs::VfsShrinker> vfs_shrinker_;   // registered with the reclaimer while the machine lives
  std::shared_ptr<HostTerminal> host_terminal_;                 // null where no standard stream is a terminal
  std::shared_ptr<fs::Tty> terminal_;                           // the guest's /dev/pts/0 on it
  std::unique_ptr<kernel::SyscallTable> syscalls_;
  std::unique_ptr<kernel::Kernel> kernel_;
  std::function<bool()> interrupt_handler_;
  std::vector<std::string> named_elsewhere_;   // existing host paths on the command line that are not offered
};

}  // namespace vitro::machine
