// /proc/PID/stat, statm, status, limits, io, oom_score: one process or thread in numbers (fs/proc/array.c, fs/proc/base.c).
#pragma once

#include <cstdint>
#include <string>

#include "vitro/fs/process_view.h"

namespace vitro::fs {

// Sizes of an address space in pages, in the way the files divide them.
struct MemorySizes {
  uint64_t vm_peak = 0, vm = 0, locked = 0, rss_peak = 0, anon = 0, file = 0, shmem = 0, data = 0, stack = 0, text = 0, library = 0,
           page_tables = 0, swap = 0;
  uint64_t rss() const { return anon + file + shmem; }
};
MemorySizes memory_sizes(const mm::AddressSpace::Usage& usage, const mm::AddressSpace::Layout& layout);

struct StatusContext {
  unsigned cpus = 1;
  bool whole_process = true;  // false: /proc/PID/task/TID, one thread's own figures
  bool permitted = true;      // the reader may know addresses (ptrace access)
};
// `sizes` and `layout` are null for kernel threads and zombies.
std::string render_process_stat(const ProcessView& p, const MemorySizes* sizes, const mm::AddressSpace::Layout* layout,
                                const StatusContext& context);
std::string render_statm(const MemorySizes* sizes);
std::string render_status(const ProcessView& p, const MemorySizes* sizes, const StatusContext& context);
std::string render_limits(const ProcessView& p);
std::string render_io(const ProcessView::Io& io);

// mm/oom_kill.c: oom_badness, fs/proc/base.c: proc_oom_score. `total`: RAM and swap in pages.
unsigned oom_score(const MemorySizes* sizes, int oom_score_adj, uint64_t total);
// The scale of before 2.6.36, -17..15.
int oom_adj_from_score_adj(int score_adj);
int score_adj_from_oom_adj(int adj);

}  // namespace vitro::fs
