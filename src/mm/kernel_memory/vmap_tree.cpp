#include "mm/kernel_memory/vmap_tree.h"

#include <algorithm>

#include "vitro/base/check.h"

namespace vitro::mm {
namespace {
template <class N>
uint64_t largest(const N* n) { return n ? n->largest : 0; }
template <class N>
bool fits(const N& n, uint64_t size, uint64_t align) {
  const uint64_t start = (n.start + align - 1) & ~(align - 1);
  return start >= n.start && start + size > start && start + size <= n.end;
}
}  // namespace

bool Vmalloc::Tree::Largest::update(Node& n, const Node* left, const Node* right) {
  const uint64_t now = std::max({n.size(), mm::largest(left), mm::largest(right)});
  const bool changed = n.largest != now;
  n.largest = now;
  return changed;
}

void Vmalloc::Tree::insert(Node& n) {
  tree_.insert(n, [](const Node& a, const Node& b) {
    CHECK(a.end <= b.start || a.start >= b.end, "vmalloc ranges {:#x} and {:#x} overlap", a.start, b.start);
    return a.start < b.start;
  });
}

Vmalloc::Node* Vmalloc::Tree::find(uint64_t address) const {
  Node* n = tree_.root();
  while (n && !(address >= n->start && address < n->end)) n = address < n->start ? Balanced::left(*n) : Balanced::right(*n);
  return n;
}

Vmalloc::Node* Vmalloc::Tree::below(uint64_t address) const {
  Node* found = nullptr;
  for (Node* n = tree_.root(); n;) {
    if (n->start < address) found = n, n = Balanced::right(*n);
    else n = Balanced::left(*n);
  }
  return found;
}

Vmalloc::Node* Vmalloc::Tree::above(uint64_t address) const {
  Node* found = nullptr;
  for (Node* n = tree_.root(); n;) {
    if (n->start > address) found = n, n = Balanced::left(*n);
    else n = Balanced::right(*n);
  }
  return found;
}

// One step of the search; the trees are balanced, so the recursion is shallow.
Vmalloc::Node* Vmalloc::Tree::lowest(Node* n, uint64_t length, uint64_t size, uint64_t align) {
  if (!n) return nullptr;
  if (mm::largest(Balanced::left(*n)) >= length)
    if (Node* found = lowest(Balanced::left(*n), length, size, align)) return found;
  if (fits(*n, size, align)) return n;
  return mm::largest(Balanced::right(*n)) >= length ? lowest(Balanced::right(*n), length, size, align) : nullptr;
}

Vmalloc::Node* Vmalloc::Tree::lowest_fit(uint64_t size, uint64_t align) const {
  return lowest(tree_.root(), align > kPageSize ? size + align - 1 : size, size, align);
}

void Vmalloc::Tree::verify() const {
  uint64_t end = 0;
  tree_.verify([&end](const Node& n) {
    CHECK(n.start >= end && n.end > n.start, "vmalloc range {:#x}-{:#x} is out of order", n.start, n.end);
    CHECK(static_cast<bool>(n.memory), "vmalloc range {:#x} has no object", n.start);
    end = n.end;
  });
}

}  // namespace vitro::mm
