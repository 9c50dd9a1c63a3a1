// What happens when nothing more can be reclaimed: somebody is chosen and killed (mm/oom_kill.c).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "vitro/base/types.h"
#include "vitro/base/wait_queue.h"
#include "vitro/mm/gfp.h"

namespace vitro::mm {

class AddressSpace;
class VirtualMemory;

// A process as the killer sees it.
struct OomTask {
  Pid pid;
  uint32_t uid = 0;
  std::string comm;
  std::shared_ptr<AddressSpace> space;  // null: kernel thread, or its memory is gone already
  int score_adj = 0;                    // -1000..1000
  bool unkillable = false;              // init, kernel threads
  bool in_vfork = false;                // runs on its parent's memory
  bool victim = false;                  // was chosen before and is not gone yet
  bool exiting = false;                 // will free its memory without being killed
  bool freeing = false;                 // its memory is being taken down
  bool origin = false;                  // needs a lot of memory for the moment, and asks to be killed first (oom_task_origin)
};

// Implemented by the kernel.
class OomTasks {
 public:
  virtual ~OomTasks() = default;
  virtual std::vector<OomTask> oom_tasks() const = 0;            // every process, ascending by pid
  virtual std::optional<OomTask> oom_current() const = 0;        // the process that asks for memory
  // SIGKILL for the process and all that share its memory; they may use the reserves from now on (mark_oom_victim).
  virtual void oom_kill(Pid process) = 0;
  virtual void oom_log(const std::string& line) = 0;             // a line of the kernel log
  virtual void oom_panic(const std::string& why) = 0;            // nothing can go on
};

// oom_badness() in pages: what killing it would free, plus its adjustment. Nullopt: must not be killed.
std::optional<int64_t> oom_badness(const OomTask& t, uint64_t total_pages);

class OomKiller {
 public:
  explicit OomKiller(VirtualMemory& vm) : vm_(vm) {}
  void attach(OomTasks* tasks) { tasks_ = tasks; }
  OomTasks* tasks() const { return tasks_; }

  // True: something was, or is being, killed, so that trying again makes sense (out_of_memory). May let the victim run.
  bool out_of_memory(Gfp gfp, Order order);
  // The reaper's life: takes the memory of victims that take too long to die (oom_reaper).
  void run_reaper(const std::function<bool()>& should_stop);

  int panic_on_oom = 0;               // vm.panic_on_oom
  int kill_allocating_task = 0;       // vm.oom_kill_allocating_task
  int dump_tasks = 1;                 // vm.oom_dump_tasks

 private:
  void kill(const OomTask& victim, Gfp gfp, Order order, const char* why);
  void report(Gfp gfp, Order order);
  void report_memory();
  void report_tasks();
  bool reap(AddressSpace& space, const OomTask& t);
  void give_time();

  VirtualMemory& vm_;
  OomTasks* tasks_ = nullptr;
  WaitQueue reaper_wait_;
  struct Doomed {
    Pid pid;
    uint64_t space = 0;   // number of its address space
  };
  std::vector<Doomed> to_reap_;
  bool reaper_runs_ = false;
  std::vector<Nanoseconds> reports_;  // when the last ones were written, for their rate limit
};

}  // namespace vitro::mm
