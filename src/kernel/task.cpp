#include "vitro/kernel/task.h"

#include <algorithm>

#include "kernel/fibre.h"

namespace vitro::kernel {

ResourceUsage& ResourceUsage::operator+=(const ResourceUsage& o) {
  user += o.user, system += o.system;
  min_flt += o.min_flt, maj_flt += o.maj_flt;
  voluntary_switches += o.voluntary_switches, involuntary_switches += o.involuntary_switches;
  in_blocks += o.in_blocks, out_blocks += o.out_blocks;
  max_rss_kb = std::max(max_rss_kb, o.max_rss_kb);
  return *this;
}

Task::Task() = default;
Task::~Task() = default;

mm::AddressSpace* Task::space() const { return process && !zombie() ? process->space.get() : nullptr; }

mm::UserAccess Task::user() { return mm::UserAccess(*process->space); }

ResourceUsage Process::usage() const {
  ResourceUsage total = dead_threads;
  for (const Task* t : threads) total += t->usage;
  return total;
}

}  // namespace vitro::kernel
