// Ranges of the vmalloc area ordered by address, with the largest range of each subtree, so that the lowest hole that is large enough is
// found in O(log n) (mm/vmalloc.c: subtree_max_size, find_vmap_lowest_match). The tree does not own its nodes.
#pragma once

#include <cstdint>
#include <string_view>

#include "vitro/base/balanced_tree.h"
#include "vitro/base/types.h"
#include "vitro/mm/kernel_object.h"
#include "vitro/mm/vmalloc.h"

namespace vitro::mm {

// struct vmap_area, and struct vm_struct where it is in use. Each owns the object that Linux has for it.
struct Vmalloc::Node {
  uint64_t start = 0, end = 0;  // guard page included
  SlabObject memory;            // vmap_area

  // In use only.
  Area::Kind kind = Area::Kind::Vmalloc;
  uint64_t pages = 0;           // mapped, from `start` on
  std::string_view caller;
  SlabObject area_memory;       // vm_struct
  SlabObject pages_memory;      // the array of page pointers, up to a page
  VirtAddr pages_area{0};       // a larger one: a vmalloc area itself

  // The tree's.
  TreeLink<Node> link;
  uint64_t largest = 0;

  uint64_t size() const { return end - start; }
};

class Vmalloc::Tree {
 public:
  Node* find(uint64_t address) const;      // the one that contains it
  Node* at_start(uint64_t start) const {
    Node* n = find(start);
    return n && n->start == start ? n : nullptr;
  }
  Node* below(uint64_t address) const;     // the last that starts below it
  Node* above(uint64_t address) const;     // the first that starts above it
  // By Linux's search, whose result is the lowest fit except that, with a large alignment, a hole is passed over where the aligned range
  // might not have fitted (adjust_search_size).
  Node* lowest_fit(uint64_t size, uint64_t align) const;
  void insert(Node& n);
  void remove(Node& n) { tree_.erase(n); }
  // A node's ends have changed, its place in the order has not.
  void resized(Node& n) { Balanced::changed(n); }
  bool empty() const { return tree_.empty(); }
  uint64_t largest() const { return tree_.root() ? tree_.root()->largest : 0; }
  Node* first() const { return tree_.first(); }
  template <class Visit>
  void for_each(Visit&& visit) const {
    for (Node* n = tree_.first(); n; n = Balanced::next(*n)) visit(*n);
  }
  // Order, balance, sizes; CHECKs.
  void verify() const;

 private:
  struct Largest {
    static TreeLink<Node>& link(Node& n) { return n.link; }
    static bool update(Node& n, const Node* left, const Node* right);
  };
  using Balanced = BalancedTree<Node, Largest>;
  static Node* lowest(Node* n, uint64_t length, uint64_t size, uint64_t align);

  Balanced tree_;
};

}  // namespace vitro::mm
