// The reverse map for those who change what they find: every entry that maps a frame, with its area and its place (mm/rmap.c: rmap_walk).
//
//   rmap_walk(vm, frame, [&](Vma& v, VirtAddr a, PhysAddr entry, Pte pte) { ...; return true; });   // false: enough
#pragma once

#include "mm/space/anon_vma.h"
#include "mm/space/virtual_memory_state.h"

namespace vitro::mm {

template <class Visit>
void rmap_walk(VirtualMemory& vm, Pfn frame, Visit&& visit) {
  const Frame& f = vm.physical().frames()[frame];
  if (f.mapcount == 0 || !f.owner) return;
  const uint64_t index = f.index;
  // False: the visitor has seen enough.
  const auto look = [&](Vma& v) {
    const VirtAddr a = v.start + (PageIndex{index} - v.page_offset);
    PageTable& tables = v.space->state().tables;
    const auto entry = tables.find_entry(a);
    if (!entry) return true;
    const Pte pte = tables.at(*entry);
    return !holds_frame(pte) || pte.pfn() != frame || visit(v, a, *entry, pte);
  };
  if (f.state == FrameState::Anonymous) {
    for (const AnonVmaChain& c : f.anon_vma->chains.overlapping(index, index))
      if (!look(*c.vma)) return;
  } else if (f.state == FrameState::FileCache || f.state == FrameState::Shmem || f.state == FrameState::BlockCache) {
    for (Vma& v : f.page_cache->internals().mappings.overlapping(index, index))
      if (!look(v)) return;
  }
}

}  // namespace vitro::mm
