// /proc/meminfo, vmstat, swaps and their per-node forms in /sys: text from a snapshot of the memory manager's state.
#pragma once

#include <span>
#include <string>

#include "vitro/fs/process_view.h"
#include "vitro/mm/address_space.h"
#include "vitro/mm/vm_stat.h"

namespace vitro::fs {

// What /proc/meminfo needs beside the counters of VmStat.
struct MemoryInfo {
  const mm::VmStat* stat = nullptr;
  Pages total{0};      // managed frames
  Pages available{0};  // si_mem_available
  Pages total_reserve{0};
  Pages buffers{0};  // cached for block devices
  Pages commit_limit{0}, committed{0};
  Bytes swap_total{0}, swap_used{0};
  Pages vmalloc_used{0};  // nr_vmalloc_pages: kernel stacks lie there too (CONFIG_VMAP_STACK)
  Pages percpu{0};
  struct {
    uint64_t total = 0, free = 0, reserved = 0, surplus = 0;  // huge pages of 2 MiB
  } huge;
  Bytes direct_4k{0}, direct_2m{0}, direct_1g{0};          // of the direct map, by the size of its leaves
  Pages high_total{0}, high_free{0};  // zone HighMem; its lines exist only where it does
  unsigned dirty_ratio = 20, dirty_background_ratio = 10;  // percent
};
MemoryInfo collect_memory_info(mm::VirtualMemory& vm, const SystemView& system);

std::string render_meminfo(const MemoryInfo& m);                      // fs/proc/meminfo.c
std::string render_node_meminfo(const MemoryInfo& m, unsigned node);  // drivers/base/node.c: node_read_meminfo
std::string render_vmstat(const MemoryInfo& m);                       // mm/vmstat.c: vmstat_show
std::string render_node_vmstat(const MemoryInfo& m);                  // drivers/base/node.c: node_read_vmstat
std::string render_numastat(const mm::VmStat& stat);
std::string render_swaps(std::span<const SwapAreaView> areas);  // mm/swapfile.c: swap_show

// mm/page-writeback.c: global_dirty_limits. Pages of dirty cache at which writers are throttled, and at which the flusher starts.
struct DirtyLimits {
  uint64_t threshold = 0, background = 0;
};
DirtyLimits dirty_limits(const MemoryInfo& m);

// Bytes of the direct map that 4 KiB, 2 MiB and 1 GiB leaves of the kernel's page tables map (/proc/meminfo: DirectMap*).
struct DirectMapSizes {
  Bytes small{0}, medium{0}, large{0};
};
DirectMapSizes direct_map_sizes(const hw::Ram& ram, PhysAddr kernel_root);

}  // namespace vitro::fs
