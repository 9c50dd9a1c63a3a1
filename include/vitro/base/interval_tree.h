// Intervals [first, last] of whole numbers, which may overlap, and all of them that touch a given one (lib/interval_tree.c,
// include/linux/interval_tree_generic.h). The links lie in the elements: no allocation.
//
//   struct Lease { uint64_t from, to; IntervalLink<Lease> link; };
//   struct LeaseInterval {
//     static IntervalLink<Lease>& link(Lease& l) { return l.link; }
//     static uint64_t first(const Lease& l) { return l.from; }
//     static uint64_t last(const Lease& l) { return l.to; }   // not below first
//   };
//   IntervalTree<Lease, LeaseInterval> leases;
//   for (Lease& l : leases.overlapping(10, 20)) ...
//
// Order: by `first`; of equals the one inserted earlier comes earlier, unless insert_after() said otherwise. It is the order in which
// overlapping() finds them, and depends on nothing else.
//
// Invariant: an element's interval does not change while it is in the tree: take it out, change it, put it back. Each node keeps the greatest
// `last` of its subtree, so that a search passes over subtrees that end too early: O(log n) for the first one found, and for all k of them
// O(k + log n) where they are neighbours in the order, O(k log n) at worst.
#pragma once

#include <cstdint>
#include <iterator>

#include "vitro/base/balanced_tree.h"

namespace vitro {

template <class T>
class IntervalLink {
 public:
  bool linked() const { return link_.linked(); }

 private:
  template <class U, class Traits>
  friend class IntervalTree;
  TreeLink<T> link_;
  uint64_t greatest_last_ = 0;  // of the subtree
};

template <class T, class Traits>
class IntervalTree {
 public:
  bool empty() const { return tree_.empty(); }
  size_t size() const { return tree_.size(); }
  bool holds(const T& n) const { return tree_.holds(n); }

  void insert(T& n) {
    tree_.insert(n, [](const T& a, const T& b) { return Traits::first(a) < Traits::first(b); });
  }
  // Directly after `previous`, which is in this tree and starts at the same place.
  void insert_after(T& n, T& previous) {
    DCHECK(Traits::first(n) == Traits::first(previous), "an interval from {} would follow one from {}", Traits::first(n), Traits::first(previous));
    tree_.insert_after(n, previous);
  }
  void erase(T& n) { tree_.erase(n); }

  // Those that overlap [first, last], in order. The tree must not change while they are visited.
  class Overlapping {
   public:
    class iterator {
     public:
      using value_type = T;
      using difference_type = std::ptrdiff_t;
      using iterator_category = std::input_iterator_tag;
      using pointer = T*;
      using reference = T&;
      iterator(T* at, uint64_t first, uint64_t last) : at_(at), first_(first), last_(last) {}
      T& operator*() const { return *at_; }
      T* operator->() const { return at_; }
      iterator& operator++() {
        at_ = after(*at_, first_, last_);
        return *this;
      }
      bool operator==(const iterator& other) const { return at_ == other.at_; }

     private:
      T* at_;
      uint64_t first_, last_;
    };
    Overlapping(T* found, uint64_t first, uint64_t last) : found_(found), first_(first), last_(last) {}
    iterator begin() const { return {found_, first_, last_}; }
    iterator end() const { return {nullptr, first_, last_}; }
    bool empty() const { return !found_; }

   private:
    T* found_;
    uint64_t first_, last_;
  };
  Overlapping overlapping(uint64_t first, uint64_t last) const {
    T* const root = tree_.root();
    return {root && reaches(*root, first) ? lowest(root, first, last) : nullptr, first, last};
  }
  Overlapping all() const { return overlapping(0, UINT64_MAX); }

  // Order, balance and what nodes keep of their subtrees; CHECKs. `visit` is called for each element in order.
  template <class Visit>
  void verify(Visit&& visit) const {
    const T* previous = nullptr;
    tree_.verify([&](const T& n) {
      CHECK(Traits::first(n) <= Traits::last(n), "interval [{}, {}] is empty", Traits::first(n), Traits::last(n));
      CHECK(!previous || Traits::first(*previous) <= Traits::first(n), "interval [{}, {}] is out of order", Traits::first(n), Traits::last(n));
      previous = &n;
      visit(n);
    });
  }

 private:
  struct Greatest {
    static TreeLink<T>& link(T& n) { return Traits::link(n).link_; }
    static bool update(T& n, const T* left, const T* right) {
      uint64_t greatest = Traits::last(n);
      if (left) greatest = std::max(greatest, kept(*left));
      if (right) greatest = std::max(greatest, kept(*right));
      const bool changed = kept(n) != greatest;
      Traits::link(n).greatest_last_ = greatest;
      return changed;
    }
  };
  using Tree = BalancedTree<T, Greatest>;

  static uint64_t kept(const T& n) { return Traits::link(const_cast<T&>(n)).greatest_last_; }
  static bool reaches(const T& n, uint64_t first) { return kept(n) >= first; }

  // The lowest of n's subtree that overlaps; something in it ends at `first` or later. Where the lowest of those begins too late, all others do.
  static T* lowest(T* n, uint64_t first, uint64_t last) {
    for (;;) {
      if (T* left = Tree::left(*n); left && reaches(*left, first)) {
        n = left;
        continue;
      }
      if (Traits::first(*n) > last) return nullptr;
      if (Traits::last(*n) >= first) return n;
      n = Tree::right(*n);  // it is there, and reaches `first`: nothing else here does
    }
  }
  static T* after(const T& n, uint64_t first, uint64_t last) {
    const T* at = &n;
    for (;;) {
      if (T* right = Tree::right(*at); right && reaches(*right, first)) return lowest(right, first, last);
      // Up to the first that lies above all of this subtree.
      T* up = Tree::parent(*at);
      while (up && Tree::right(*up) == at) at = up, up = Tree::parent(*up);
      if (!up || Traits::first(*up) > last) return nullptr;
      if (Traits::last(*up) >= first) return up;
      at = up;
    }
  }

  Tree tree_;
};

}  // namespace vitro
