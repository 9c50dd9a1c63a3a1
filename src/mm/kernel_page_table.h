// The kernel half of every address space: the direct map of all RAM in 1 GiB and 2 MiB pages, and the tables of the vmalloc area.
// Supervisor only, global; the direct map is not executable. Its PGD entries never change after boot, so address spaces copy them once
// (arch/x86/mm/init_64.c: preallocate_vmalloc_pages).
#pragma once

#include "vitro/base/result.h"
#include "vitro/base/types.h"
#include "vitro/hw/pte.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::mm {

class KernelPageTable {
 public:
  // CHECKs that there is memory: it is built at boot.
  explicit KernelPageTable(PhysicalMemory& physical);
  ~KernelPageTable();
  KernelPageTable(const KernelPageTable&) = delete;
  KernelPageTable& operator=(const KernelPageTable&) = delete;

  PhysAddr root() const { return root_; }
  uint64_t tables() const { return tables_; }  // frames, the root included

  // One 4 KiB page of the vmalloc area. map: NoMemory. unmap: the caller flushes the TLBs.
  Status map(VirtAddr page, Pfn frame);
  void unmap(VirtAddr page);

 private:
  Pfn allocate_table();
  void map_direct();
  void free_below(Pfn table, hw::Level level);
  // The table below `entry`, made where it is missing. Nullopt: no memory.
  std::optional<Pfn> table_below(PhysAddr entry);

  PhysicalMemory& physical_;
  PhysAddr root_{0};
  uint64_t tables_ = 0;
};

}  // namespace vitro::mm
