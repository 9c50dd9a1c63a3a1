// Reverse mapping: from a frame to every page-table entry that maps it, however many forks ago (mm/rmap.c).
//
//   rmap_for_each(vm, frame, [](AddressSpace& space, VirtAddr page) { ... });
#pragma once

#include <functional>

#include "vitro/base/types.h"

namespace vitro::mm {

class AddressSpace;
class VirtualMemory;
struct Vma;

// Visits each page that maps `frame`: anonymous frames through their anon_vma, page-cache frames through the file's mappings. A frame of
// another kind has none. The visitor may change the entry of the page it is given, and must not change areas.
void rmap_for_each(VirtualMemory& vm, Pfn frame, const std::function<void(AddressSpace&, VirtAddr)>& visit);
// The same with the area.
void rmap_for_each_vma(VirtualMemory& vm, Pfn frame, const std::function<void(Vma&, VirtAddr)>& visit);

}  // namespace vitro::mm
