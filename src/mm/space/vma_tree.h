// The areas of one address space, ordered by address: lookup, neighbours and the search for a hole, each in O(log n).
//
//   Vma* v = tree.find(address);
//   auto hole = tree.find_gap_top_down(mib(1), low, mmap_base);
//
// A balanced tree whose nodes are the Vmas themselves. It does not own them. Invariant: areas never overlap, and every node's max_gap is the
// largest hole directly below an area of its subtree (stack guard gaps are not holes: mm/mmap.c, vm_start_gap).
#pragma once

#include <optional>

#include "vitro/base/balanced_tree.h"
#include "vitro/base/types.h"
#include "vitro/mm/vma.h"

namespace vitro::mm {

// Pages kept free below a stack (mm/mmap.c: stack_guard_gap).
inline constexpr Pages kStackGuardGap{256};

// Where the area may be thought to start, its guard gap included.
VirtAddr start_with_guard(const Vma& v);

class VmaTree {
 public:
  // The area that contains `a`.
  Vma* find(VirtAddr a) const {
    Vma* v = find_ending_after(a);
    return v && v->start <= a ? v : nullptr;
  }
  // The first area that ends above `a` (mm/mmap.c: find_vma): it contains `a`, or is the next one up.
  Vma* find_ending_after(VirtAddr a) const;
  // The first area that overlaps [start, end).
  Vma* find_overlap(VirtAddr start, VirtAddr end) const {
    Vma* v = find_ending_after(start);
    return v && v->start < end ? v : nullptr;
  }
  Vma* first() const { return first_; }
  Vma* last() const { return last_; }
  size_t size() const { return tree_.size(); }

  void insert(Vma& v);
  void remove(Vma& v);
  // Moves the ends of `v`; its place in the order must stay the same.
  void resize(Vma& v, VirtAddr start, VirtAddr end);
  // `v`'s flags changed in a way that moves its guard gap.
  void guard_changed(Vma& v) { Tree::changed(v); }

  // The highest hole of `length` bytes inside [low, high): its start (mm/mmap.c: unmapped_area_topdown). Length > 0, page-aligned.
  std::optional<VirtAddr> find_gap_top_down(Bytes length, VirtAddr low, VirtAddr high) const;
  // The lowest one (unmapped_area).
  std::optional<VirtAddr> find_gap_bottom_up(Bytes length, VirtAddr low, VirtAddr high) const;

  // Order, balance, gaps and links: CHECKs.
  void verify() const;

 private:
  struct Gaps {
    static TreeLink<Vma>& link(Vma& v) { return v.tree.link; }
    static bool update(Vma& v, const Vma* left, const Vma* right);
  };
  using Tree = BalancedTree<Vma, Gaps>;
  static std::optional<VirtAddr> highest(const Vma* v, uint64_t length, uint64_t low, uint64_t high);
  static std::optional<VirtAddr> lowest(const Vma* v, uint64_t length, uint64_t low, uint64_t high);

  Tree tree_;
  Vma* first_ = nullptr;
  Vma* last_ = nullptr;
  mutable Vma* last_hit_ = nullptr;
};

}  // namespace vitro::mm
