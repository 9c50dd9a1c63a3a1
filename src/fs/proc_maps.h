// /proc/PID/maps, smaps, smaps_rollup (fs/proc/task_mmu.c).
#pragma once

#include <cstdint>
#include <string>

#include "vitro/mm/address_space.h"

namespace vitro::fs {

// One line of maps.
struct MapLine {
  VirtAddr start, end;
  mm::VmFlag flags = mm::VmFlag::None;
  uint64_t offset = 0, device = 0, inode = 0;
  std::string name;  // empty: none
};
// What the line of an area says: its file, or [heap], [stack], [vdso] by the layout.
MapLine describe_area(const mm::Vma& vma, const mm::AddressSpace::Layout& layout);
std::string render_map_line(const MapLine& line);

// PSS by what the pages are, in bytes with 12 fraction bits, for smaps_rollup.
struct PssByKind {
  uint64_t anonymous = 0, file = 0, shmem = 0;
};
std::string render_smaps_entry(const mm::AddressSpace::SmapsEntry& entry, Bytes length, mm::VmFlag flags, bool thp_eligible);
std::string render_smaps_rollup(VirtAddr start, VirtAddr end, const mm::AddressSpace::SmapsEntry& sum, const PssByKind& pss);
std::string vm_flags_text(mm::VmFlag flags);  // "rd wr mr mw me ac sd "

// Whole files of one address space.
std::string render_maps(mm::AddressSpace& space);
std::string render_smaps(mm::AddressSpace& space);
std::string render_numa_maps(mm::AddressSpace& space);
std::string render_smaps_rollup(mm::AddressSpace& space);

}  // namespace vitro::fs
