// Who may map a private page: the anon_vma that the page names, and the chains that link it to areas (mm/rmap.c).
//
// A page names the anon_vma of the area it was made in. A child area is linked to all anon_vmas of its parent and has one of its own, so
// walking one anon_vma finds the area that made the page and all areas forked from it, and nobody else. After a split, or where neighbours
// share one, there may be thousands: those that cover a page's index are found by it.
#pragma once

#include "vitro/base/interval_tree.h"
#include "vitro/base/result.h"
#include "vitro/mm/kernel_object.h"
#include "vitro/mm/vma.h"

namespace vitro::mm {

class AnonVma {
 public:
  AnonVma* root = this;
  AnonVma* parent = this;
  unsigned num_children = 0;      // anon_vmas whose parent this is; a root counts itself
  unsigned num_active_vmas = 0;   // areas whose anon_vma this is
  IntervalTree<AnonVmaChain, ChainPages> chains;
  SlabObject memory;
};

// Gives `vma` an anon_vma before its first private page: a mergeable neighbour's, or a new one. NoMemory.
Status prepare_anon_vma(KernelCaches& caches, Vma& vma);
// Links `to`, which has no chain yet, to all anon_vmas of `from`, whose pages it is going to share or take over. NoMemory: `to` is as before.
Status clone_anon_vma(KernelCaches& caches, Vma& to, const Vma& from);
// The same across fork: `child` also gets one of its own, or reuses one that only a dead relative used. NoMemory.
Status fork_anon_vma(KernelCaches& caches, Vma& child, const Vma& parent);
// Unlinks `vma` from all its anon_vmas and frees those that nobody else uses.
void unlink_anon_vmas(Vma& vma);

// Whether two areas' private pages may come to lie in one (mm/mmap.c: is_mergeable_anon_vma).
bool anon_vmas_mergeable(const Vma& a, const Vma& b);

}  // namespace vitro::mm
