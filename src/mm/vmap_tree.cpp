#include "mm/vmap_tree.h"

#include <algorithm>

#include "vitro/base/check.h"

namespace vitro::mm {
namespace {
template <class N>
int height(const N* n) { return n ? n->height : 0; }
template <class N>
uint64_t largest(const N* n) { return n ? n->largest : 0; }
template <class N>
bool fits(const N& n, uint64_t size, uint64_t align) {
  const uint64_t start = (n.start + align - 1) & ~(align - 1);
  return start >= n.start && start + size > start && start + size <= n.end;
}
// One step of the search; the trees are balanced, so the recursion is shallow.
template <class N>
N* lowest(N* n, uint64_t length, uint64_t size, uint64_t align) {
  if (!n) return nullptr;
  if (largest(n->left) >= length)
    if (N* found = lowest(n->left, length, size, align)) return found;
  if (fits(*n, size, align)) return n;
  return largest(n->right) >= length ? lowest(n->right, length, size, align) : nullptr;
}
}  // namespace

void Vmalloc::Tree::update(Node& n) {
  n.height = 1 + std::max(height(n.left), height(n.right));
  n.largest = std::max({n.size(), mm::largest(n.left), mm::largest(n.right)});
}

Vmalloc::Node* Vmalloc::Tree::balance(Node* n) {
  const auto rotate = [](Node* top, Node* Node::*near, Node* Node::*far) {
    Node* up = top->*near;
    top->*near = up->*far;
    up->*far = top;
    update(*top);
    update(*up);
    return up;
  };
  update(*n);
  const int lean = height(n->left) - height(n->right);
  if (lean > 1) {
    if (height(n->left->left) < height(n->left->right)) n->left = rotate(n->left, &Node::right, &Node::left);
    return rotate(n, &Node::left, &Node::right);
  }
  if (lean < -1) {
    if (height(n->right->right) < height(n->right->left)) n->right = rotate(n->right, &Node::left, &Node::right);
    return rotate(n, &Node::right, &Node::left);
  }
  return n;
}

Vmalloc::Node* Vmalloc::Tree::insert_at(Node* at, Node& n) {
  if (!at) {
    n.left = n.right = nullptr;
    update(n);
    return &n;
  }
  CHECK(n.end <= at->start || n.start >= at->end, "vmalloc ranges {:#x} and {:#x} overlap", n.start, at->start);
  Node*& child = n.start < at->start ? at->left : at->right;
  child = insert_at(child, n);
  return balance(at);
}

Vmalloc::Node* Vmalloc::Tree::detach_first(Node* at, Node*& first) {
  if (!at->left) {
    first = at;
    return at->right;
  }
  at->left = detach_first(at->left, first);
  return balance(at);
}

Vmalloc::Node* Vmalloc::Tree::remove_at(Node* at, Node& n) {
  CHECK(at, "vmalloc range {:#x} is not in its tree", n.start);
  if (at != &n) {
    Node*& child = n.start < at->start ? at->left : at->right;
    child = remove_at(child, n);
    return balance(at);
  }
  if (!n.right) return n.left;
  Node* next = nullptr;
  Node* right = detach_first(n.right, next);
  next->left = n.left;
  next->right = right;
  return balance(next);
}

void Vmalloc::Tree::update_path(Node* at, const Node& n) {
  CHECK(at, "vmalloc range {:#x} is not in its tree", n.start);
  if (at != &n) update_path(n.start < at->start ? at->left : at->right, n);
  update(*at);
}

Vmalloc::Node* Vmalloc::Tree::find(uint64_t address) const {
  Node* n = root_;
  while (n && !(address >= n->start && address < n->end)) n = address < n->start ? n->left : n->right;
  return n;
}

Vmalloc::Node* Vmalloc::Tree::below(uint64_t address) const {
  Node* found = nullptr;
  for (Node* n = root_; n;) {
    if (n->start < address) found = n, n = n->right;
    else n = n->left;
  }
  return found;
}

Vmalloc::Node* Vmalloc::Tree::above(uint64_t address) const {
  Node* found = nullptr;
  for (Node* n = root_; n;) {
    if (n->start > address) found = n, n = n->left;
    else n = n->right;
  }
  return found;
}

Vmalloc::Node* Vmalloc::Tree::first() const {
  Node* n = root_;
  while (n && n->left) n = n->left;
  return n;
}

Vmalloc::Node* Vmalloc::Tree::lowest_fit(uint64_t size, uint64_t align) const {
  return lowest(root_, align > kPageSize ? size + align - 1 : size, size, align);
}

void Vmalloc::Tree::verify() const {
  uint64_t end = 0;
  for_each([&](const Node& n) {
    CHECK(n.start >= end && n.end > n.start, "vmalloc range {:#x}-{:#x} is out of order", n.start, n.end);
    CHECK(std::abs(height(n.left) - height(n.right)) <= 1 && n.height == 1 + std::max(height(n.left), height(n.right)), "vmalloc range {:#x}: unbalanced", n.start);
    CHECK(n.largest == std::max({n.size(), mm::largest(n.left), mm::largest(n.right)}), "vmalloc range {:#x}: largest {:#x}", n.start, n.largest);
    CHECK(static_cast<bool>(n.memory), "vmalloc range {:#x} has no object", n.start);
    end = n.end;
  });
}

}  // namespace vitro::mm
