// Kernel stacks: four frames each in the vmalloc area, with a guard page behind, so that an overrun faults (CONFIG_VMAP_STACK; kernel/fork.c).
// Two stacks of dead tasks are kept on each CPU for the next ones (NR_CACHED_STACKS); KernelStack in /proc/meminfo counts those in use only.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "vitro/base/result.h"
#include "vitro/base/types.h"
#include "vitro/mm/physical_memory.h"
#include "vitro/mm/vmalloc.h"

namespace vitro::mm {

inline constexpr Bytes kKernelStackSize = kib(16);  // THREAD_SIZE

class KernelStacks {
 public:
  static constexpr unsigned kCachedPerCpu = 2;

  KernelStacks(PhysicalMemory& physical, Vmalloc& vmalloc) : physical_(physical), vmalloc_(vmalloc), cached_(physical.cpus()) {}

  // Its lowest address; cleared. NoMemory.
  Result<VirtAddr> allocate();
  void free(VirtAddr stack);
  // The stacks that are kept for later.
  unsigned cached() const;
  // Gives them up (free_vm_stack_cache).
  void drop_cached();

 private:
  PhysicalMemory& physical_;
  Vmalloc& vmalloc_;
  std::vector<std::array<std::optional<VirtAddr>, kCachedPerCpu>> cached_;
};

}  // namespace vitro::mm
