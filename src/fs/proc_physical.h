// What /proc and /sys say of physical memory beyond its counters.
#pragma once

#include <string>
#include <vector>

#include "vitro/fs/process_view.h"
#include "vitro/fs/pseudo_fs.h"
#include "vitro/mm/address_space.h"

namespace vitro::fs {

void add_physical_files(PseudoDirectory& proc, mm::VirtualMemory& vm);           // iomem, vmallocinfo
void add_extfrag_files(PseudoDirectory& kernel_debug, mm::VirtualMemory& vm);    // extfrag/extfrag_index, extfrag/unusable_index
std::vector<Tunable> physical_tunables(mm::VirtualMemory& vm);                   // /proc/sys/vm: watermarks, reserves, per-CPU lists, compaction

std::string render_iomem(mm::PhysicalMemory& physical);  // kernel/resource.c: r_show, as root sees it

}  // namespace vitro::fs
