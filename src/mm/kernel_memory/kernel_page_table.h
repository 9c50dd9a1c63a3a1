// The kernel half of every address space: the direct map of all RAM in 1 GiB and 2 MiB pages, and the tables of the vmalloc area.
// Supervisor only, global; the direct map is not executable. Its PGD entries never change after boot, so address spaces copy them once
// (arch/x86/mm/init_64.c: preallocate_vmalloc_pages).
//
// With page-table isolation a root is two pages: the second is what CR3 holds in user mode, and of the kernel it has the CPU entry area only:
// the trampoline, the descriptor tables and the stacks that an entry needs before it has switched (arch/x86/mm/pti.c, cpu_entry_area.c). The
// kernel's other pages are then not global.
#pragma once

#include <optional>
#include <vector>

#include "vitro/base/result.h"
#include "vitro/base/types.h"
#include "vitro/hw/pte.h"
#include "vitro/mm/address_space.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::mm {

class KernelPageTable {
 public:
  // CHECKs that there is memory: it is built at boot.
  KernelPageTable(PhysicalMemory& physical, Isolation isolation);
  ~KernelPageTable();
  KernelPageTable(const KernelPageTable&) = delete;
  KernelPageTable& operator=(const KernelPageTable&) = delete;

  PhysAddr root() const { return root_; }
  uint64_t tables() const { return tables_; }  // frames, the roots included
  bool isolated() const { return isolated_; }

  // One 4 KiB page of the vmalloc area or of the kmap slots. map: NoMemory. unmap: returns the frame; the caller flushes the TLBs.
  Status map(VirtAddr page, Pfn frame);
  Pfn unmap(VirtAddr page);
  // What a page of these ranges is mapped to.
  std::optional<Pfn> frame_at(VirtAddr a) const;
  // How many 4 KiB pages are mapped in [start, end), whole PGD entries.
  uint64_t mapped_pages(VirtAddr start, VirtAddr end) const;
  // Of tables(): PMD tables made after boot, which Linux counts as page tables (pmd_alloc_one; kernel PTE tables it does not).
  uint64_t counted_tables() const { return counted_; }

 private:
  uint64_t data_bits() const;
  void allocate_root();
  void map_direct();
  void map_entry_area();
  void map_fixed(VirtAddr page, Pfn frame, uint64_t bits);
  void free_below(Pfn table, hw::Level level);
  // The table below `entry`, made where it is missing. Nullopt: no memory.
  std::optional<Pfn> table_below(PhysAddr entry, hw::Level level);
  uint64_t mapped_below(PhysAddr table, hw::Level level) const;

  PhysicalMemory& physical_;
  PhysAddr root_{0};
  uint64_t tables_ = 0, counted_ = 0;
  bool booted_ = false;
  const bool isolated_;
  std::vector<Pfn> entry_frames_;  // of the CPU entry area
};

}  // namespace vitro::mm
