// Ranges of the vmalloc area ordered by address, with the largest range of each subtree, so that the lowest hole that is large enough is
// found in O(log n) (mm/vmalloc.c: subtree_max_size, find_vmap_lowest_match). An AVL tree that does not own its nodes.
#pragma once

#include <cstdint>
#include <string_view>

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
  Node* left = nullptr;
  Node* right = nullptr;
  uint64_t largest = 0;
  int height = 1;

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
  void insert(Node& n) { root_ = insert_at(root_, n); }
  void remove(Node& n) { root_ = remove_at(root_, n), n.left = n.right = nullptr, n.height = 1; }
  // A node's ends have changed, its place in the order has not.
  void resized(Node& n) { update_path(root_, n); }
  bool empty() const { return root_ == nullptr; }
  uint64_t largest() const { return root_ ? root_->largest : 0; }
  Node* first() const;
  template <class Visit>
  void for_each(Visit&& visit) const { walk(root_, visit); }
  // Order, balance, sizes; CHECKs.
  void verify() const;

 private:
  static void update(Node& n);
  static Node* balance(Node* n);
  static Node* insert_at(Node* at, Node& n);
  static Node* remove_at(Node* at, Node& n);
  static Node* detach_first(Node* at, Node*& first);
  static void update_path(Node* at, const Node& n);
  template <class Visit>
  static void walk(Node* n, Visit& visit) {
    if (!n) return;
    walk(n->left, visit);
    visit(*n);
    walk(n->right, visit);
  }

  Node* root_ = nullptr;
};

}  // namespace vitro::mm
