// A balanced search tree whose links lie in the elements: no allocation, and each node may keep something about the whole subtree below it.
//
//   struct Area { uint64_t start; uint64_t largest; TreeLink<Area> link; };
//   struct Largest {
//     static TreeLink<Area>& link(Area& a) { return a.link; }
//     static bool update(Area& a, const Area* left, const Area* right);   // recomputes a.largest; whether it changed
//   };
//   BalancedTree<Area, Largest> tree;
//   tree.insert(area, [](const Area& a, const Area& b) { return a.start < b.start; });
//
// An AVL tree: shallower than a red-black tree, and its searches outnumber its changes. The core of VmaTree, of the tree of vmalloc's ranges and
// of IntervalTree, which know what is ordered and what is searched for. Its shape follows from the order of the operations alone.
//
// Invariants: the heights of a node's children differ by at most one; what update() keeps in a node is what it would compute now. Whoever
// changes an element so that update() would give another result calls changed(); whoever changes its place in the order takes it out first.
// An element is in at most one tree per link and must be taken out before it is destroyed (checked).
#pragma once

#include <algorithm>
#include <cstddef>

#include "vitro/base/check.h"

namespace vitro {

template <class T>
class TreeLink {
 public:
  TreeLink() = default;
  TreeLink(const TreeLink&) = delete;
  TreeLink& operator=(const TreeLink&) = delete;
  ~TreeLink() { DCHECK(!linked(), "an element was destroyed inside a tree"); }
  bool linked() const { return height_ != 0; }

 private:
  template <class U, class Traits>
  friend class BalancedTree;
  T* parent_ = nullptr;
  T* left_ = nullptr;
  T* right_ = nullptr;
  int height_ = 0;  // of the subtree; 0: in no tree
};

template <class T, class Traits>
class BalancedTree {
 public:
  BalancedTree() = default;
  BalancedTree(const BalancedTree&) = delete;
  BalancedTree& operator=(const BalancedTree&) = delete;

  bool empty() const { return !root_; }
  size_t size() const { return size_; }
  T* root() const { return root_; }
  static T* left(const T& n) { return link(n).left_; }
  static T* right(const T& n) { return link(n).right_; }
  static T* parent(const T& n) { return link(n).parent_; }

  T* first() const { return root_ ? leftmost(*root_) : nullptr; }
  static T* next(const T& n) {
    if (T* r = right(n)) return leftmost(*r);
    const T* below = &n;
    T* at = parent(n);
    while (at && right(*at) == below) below = at, at = parent(*at);
    return at;
  }

  // Where `before(n, x)` says so `n` lies below x; of equals the one that came first stays first.
  template <class Before>
  void insert(T& n, Before&& before) {
    T* at = root_;
    if (!at) return attach(n, nullptr, root_);
    for (;;) {
      T*& child = before(static_cast<const T&>(n), static_cast<const T&>(*at)) ? link(*at).left_ : link(*at).right_;
      if (!child) return attach(n, at, child);
      at = child;
    }
  }
  // Directly after `previous`, which is in this tree.
  void insert_after(T& n, T& previous) {
    T* at = &previous;
    if (!right(*at)) return attach(n, at, link(*at).right_);
    at = leftmost(*right(*at));
    attach(n, at, link(*at).left_);
  }

  void erase(T& n) {
    DCHECK(holds(n), "taking out an element that is not in this tree");
    TreeLink<T>& gone = link(n);
    T* lowest;            // from where on the way up heights are other than before
    T* through = nullptr; // a node on that way that comes from another place: what it kept says nothing about this one
    if (gone.left_ && gone.right_) {
      // The next in order takes its place.
      T* successor = leftmost(*gone.right_);
      TreeLink<T>& s = link(*successor);
      if (s.parent_ == &n) {
        lowest = successor;
      } else {
        lowest = s.parent_;
        replace_child(s.parent_, successor, s.right_);
        s.right_ = gone.right_;
        link(*s.right_).parent_ = successor;
      }
      s.left_ = gone.left_;
      link(*s.left_).parent_ = successor;
      s.height_ = gone.height_;
      replace_child(gone.parent_, &n, successor);
      through = successor;
    } else {
      lowest = gone.parent_;
      replace_child(gone.parent_, &n, gone.left_ ? gone.left_ : gone.right_);
    }
    gone.parent_ = gone.left_ = gone.right_ = nullptr;
    gone.height_ = 0;
    --size_;
    rebalance(lowest, through);
  }

  // What `n` contributes to the values that nodes keep has changed, its place in the order has not.
  static void changed(T& n) {
    for (T* at = &n; at && update(*at); at = parent(*at)) {}
  }

  bool holds(const T& n) const {
    if (!link(n).linked()) return false;
    const T* at = &n;
    while (parent(*at)) at = parent(*at);
    return at == root_;
  }

  // Links, balance, kept values and number; CHECKs. `visit` is called for each element in order.
  template <class Visit>
  void verify(Visit&& visit) const {
    CHECK(!root_ || !parent(*root_), "the root of a tree has a parent");
    size_t n = 0;
    for (T* at = first(); at; at = next(*at)) {
      const TreeLink<T>& l = link(*at);
      const int left_height = height(l.left_), right_height = height(l.right_);
      CHECK(l.height_ == 1 + std::max(left_height, right_height) && left_height - right_height <= 1 && right_height - left_height <= 1,
            "a tree is unbalanced: heights {}, {} below {}", left_height, right_height, l.height_);
      CHECK((!l.left_ || parent(*l.left_) == at) && (!l.right_ || parent(*l.right_) == at), "a tree's links disagree");
      CHECK(!Traits::update(*at, l.left_, l.right_), "a node of a tree keeps a stale value of its subtree");
      CHECK(++n <= size_, "a tree has more than its {} elements", size_);
      visit(static_cast<const T&>(*at));
    }
    CHECK(n == size_, "{} elements in a tree, {} counted", n, size_);
  }

 private:
  static TreeLink<T>& link(const T& n) { return Traits::link(const_cast<T&>(n)); }
  static int height(const T* n) { return n ? link(*n).height_ : 0; }
  static T* leftmost(T& n) {
    T* at = &n;
    while (T* l = left(*at)) at = l;
    return at;
  }
  static bool update(T& n) { return Traits::update(n, link(n).left_, link(n).right_); }

  void attach(T& n, T* parent, T*& place) {
    TreeLink<T>& l = link(n);
    DCHECK(!l.linked(), "inserting an element that is in a tree already");
    l.parent_ = parent;
    l.height_ = 1;
    place = &n;
    ++size_;
    update(n);
    rebalance(parent, nullptr);
  }

  void replace_child(T* parent, T* old, T* now) {
    if (!parent) root_ = now;
    else if (link(*parent).left_ == old) link(*parent).left_ = now;
    else link(*parent).right_ = now;
    if (now) link(*now).parent_ = parent;
  }

  // Corrects heights, balance and kept values from `at` up to where nothing changes any more, but at least past `through`.
  void rebalance(T* at, T* through) {
    while (at) {
      TreeLink<T>& l = link(*at);
      T* const up = l.parent_;
      const int tilt = height(l.left_) - height(l.right_);
      bool same = false;
      if (tilt > 1) {
        if (height(link(*l.left_).left_) < height(link(*l.left_).right_)) rotate(*l.left_, &TreeLink<T>::right_, &TreeLink<T>::left_);
        rotate(*at, &TreeLink<T>::left_, &TreeLink<T>::right_);
      } else if (tilt < -1) {
        if (height(link(*l.right_).right_) < height(link(*l.right_).left_)) rotate(*l.right_, &TreeLink<T>::left_, &TreeLink<T>::right_);
        rotate(*at, &TreeLink<T>::right_, &TreeLink<T>::left_);
      } else {
        same = !refresh(*at);
      }
      if (at == through) through = nullptr;
      else if (same && !through) return;
      at = up;
    }
  }

  // The child of `top` on the side `near` takes its place, and `top` becomes its child on the other side.
  void rotate(T& top, T* TreeLink<T>::*near, T* TreeLink<T>::*far) {
    TreeLink<T>& t = link(top);
    T* rising = t.*near;
    TreeLink<T>& r = link(*rising);
    replace_child(t.parent_, &top, rising);
    t.*near = r.*far;
    if (t.*near) link(*(t.*near)).parent_ = &top;
    r.*far = &top;
    t.parent_ = rising;
    refresh(top);
    refresh(*rising);
  }

  // Whether what is above has to be looked at too.
  static bool refresh(T& n) {
    TreeLink<T>& l = link(n);
    const int now = 1 + std::max(height(l.left_), height(l.right_));
    const bool higher_or_lower = now != l.height_;
    l.height_ = now;
    return update(n) || higher_or_lower;
  }

  T* root_ = nullptr;
  size_t size_ = 0;
};

}  // namespace vitro
