// Making room: kswapd, direct reclaim, the shrinkers of object caches (mm/vmscan.c).
//
//   vm.reclaimer().attach(tasks);                        // boot: from now on allocations may reclaim
//   kernel.start_kernel_thread("kswapd0", [&] { vm.reclaimer().run_kswapd(stop); });
//
// Where it happens: the page allocator's slow path wakes kswapd below the low watermark and reclaims on its own below the minimum.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vitro/base/types.h"
#include "vitro/mm/page_allocator.h"

namespace vitro::mm {

class VirtualMemory;

// What reclaim keeps of a task (current->flags and its thread info). Owned by the task.
struct TaskReclaim {
  bool memalloc = false;       // PF_MEMALLOC: frees memory itself; allocates from the reserves and never reclaims
  bool kswapd = false;         // PF_KSWAPD
  bool kernel_thread = false;  // PF_KTHREAD
  bool oom_victim = false;     // TIF_MEMDIE: was chosen to die; may use half of the reserves to do so
  bool oom_origin = false;     // swapoff: fills memory with what others have swapped out, so it is the first to die (set_current_oom_origin)
  bool stalled = false;        // in_memstall: loses time for want of memory (/proc/pressure/memory); set_stalled() keeps it
};

// What reclaim asks of the tasks. Implemented by the kernel.
class ReclaimTasks {
 public:
  virtual ~ReclaimTasks() = default;
  // The task that runs; null where none does (boot, the event queue).
  virtual TaskReclaim* current_reclaim() = 0;
  // It will die as soon as it returns to user mode.
  virtual bool current_is_dying() const = 0;
  // A point at which reclaim may be interrupted: charges the work done, lets interrupts (disk completions) in and, where `may_sleep`,
  // gives the CPU to somebody more urgent (cond_resched).
  virtual void checkpoint(Nanoseconds work, bool may_sleep) = 0;
  // Somebody more urgent waits for the CPU (need_resched).
  virtual bool should_yield() const { return false; }
  virtual Nanoseconds now() const = 0;  // virtual time
  // The current task begins or ends to wait for memory, or to free it (psi_memstall_enter, psi_memstall_leave).
  virtual void set_stalled(bool on) {}
};

// A cache of kernel objects that can be rebuilt (include/linux/shrinker.h).
class Shrinker {
 public:
  virtual ~Shrinker() = default;
  virtual std::string name() const = 0;
  // How many objects could be freed now; 0 where `gfp` does not allow it.
  virtual uint64_t count(Gfp gfp) = 0;
  // Looks at `n` of them, oldest first, and frees what can be freed. Returns how many were; nullopt: no use to go on.
  virtual std::optional<uint64_t> scan(uint64_t n, Gfp gfp) = 0;
  virtual unsigned seeks() const { return 2; }    // what it costs to make one again (DEFAULT_SEEKS); 0: nothing
  virtual uint64_t batch() const { return 128; }  // SHRINK_BATCH
};

class Reclaimer final : public ReclaimPort {
 public:
  explicit Reclaimer(VirtualMemory& vm);
  ~Reclaimer() override;

  // From now on the page allocator reclaims. `tasks` must outlive the machine's allocations, or be detached with null.
  void attach(ReclaimTasks* tasks);
  ReclaimTasks* tasks() const { return tasks_; }

  // kswapd's life: sleeps until it is woken, balances, sleeps again, until `should_stop` says so after a wake-up.
  void run_kswapd(const std::function<bool()>& should_stop);

  // The object caches, in order of registration. Unregister before destruction.
  void add_shrinker(Shrinker& s);
  void remove_shrinker(Shrinker& s);

  // /proc/sys/vm/drop_caches: 1 clean page cache, 2 dentries and inodes, 3 both (fs/drop_caches.c).
  void drop_caches(unsigned what);

  // Reclaims these pages whether they are used or not. Each comes with a reference of get_page(), which is given back (reclaim_pages).
  void reclaim_pages(std::span<const Pfn> pages);

  int swappiness = 60;            // vm.swappiness, 0..200
  int vfs_cache_pressure = 100;   // vm.vfs_cache_pressure
  // Starts writing dirty file pages in the background (wakeup_flusher_threads); null: nobody does.
  std::function<void()> wake_flusher;

  // ReclaimPort
  void wake_reclaimer(unsigned zone, Order order) override;
  Pages reclaim_directly(Gfp flags, Order order) override;
  bool out_of_memory(Gfp flags, Order order) override;
  AllocationContext context() const override;
  bool can_swap() const override;

  struct State;
  State& state() { return *state_; }

 private:
  VirtualMemory& vm_;
  ReclaimTasks* tasks_ = nullptr;
  std::unique_ptr<State> state_;
};

}  // namespace vitro::mm
