#include "mm/vma_tree.h"

#include <algorithm>

#include "vitro/base/check.h"

namespace vitro::mm {
namespace {

int height(const Vma* v) { return v ? v->tree.height : 0; }
uint64_t max_gap(const Vma* v) { return v ? v->tree.max_gap : 0; }
VirtAddr end_of_previous(const Vma& v) { return v.tree.previous ? v.tree.previous->end : VirtAddr{0}; }

uint64_t gap_below(const Vma& v) {
  const VirtAddr top = start_with_guard(v), bottom = end_of_previous(v);
  return top > bottom ? (top - bottom).value() : 0;
}

Vma* rotate_right(Vma* v) {
  Vma* up = v->tree.left;
  v->tree.left = up->tree.right;
  up->tree.right = v;
  return up;
}

Vma* rotate_left(Vma* v) {
  Vma* up = v->tree.right;
  v->tree.right = up->tree.left;
  up->tree.left = v;
  return up;
}

// The hole directly below `v`, cut to [low, high): where a run of `length` that ends as high, or starts as low, as it can would start.
struct Hole {
  uint64_t start, end;
  bool fits(uint64_t length) const { return end > start && end - start >= length; }
};
Hole hole_below(const Vma& v, uint64_t low, uint64_t high) {
  return {std::max(end_of_previous(v).value(), low), std::min(start_with_guard(v).value(), high)};
}

std::optional<VirtAddr> highest(const Vma* v, uint64_t length, uint64_t low, uint64_t high) {
  if (max_gap(v) < length) return std::nullopt;
  if (v->end.value() < high)
    if (auto found = highest(v->tree.right, length, low, high)) return found;
  const Hole hole = hole_below(*v, low, high);
  if (hole.fits(length)) return VirtAddr{hole.end - length};
  return v->start.value() > low ? highest(v->tree.left, length, low, high) : std::nullopt;
}

std::optional<VirtAddr> lowest(const Vma* v, uint64_t length, uint64_t low, uint64_t high) {
  if (max_gap(v) < length) return std::nullopt;
  if (v->start.value() > low)
    if (auto found = lowest(v->tree.left, length, low, high)) return found;
  const Hole hole = hole_below(*v, low, high);
  if (hole.fits(length)) return VirtAddr{hole.start};
  return v->end.value() < high ? lowest(v->tree.right, length, low, high) : std::nullopt;
}

}  // namespace

VirtAddr start_with_guard(const Vma& v) {
  if (!has(v.flags, VmFlag::GrowsDown)) return v.start;
  return v.start.value() > kStackGuardGap.bytes().value() ? v.start - kStackGuardGap : VirtAddr{0};
}

Vma* VmaTree::find_ending_after(VirtAddr a) const {
  if (last_hit_ && last_hit_->contains(a)) return last_hit_;
  Vma* found = nullptr;
  for (Vma* v = root_; v;) {
    if (v->end > a) {
      found = v;
      if (v->start <= a) break;
      v = v->tree.left;
    } else {
      v = v->tree.right;
    }
  }
  if (found && found->start <= a) last_hit_ = found;
  return found;
}

void VmaTree::update(Vma& v) {
  v.tree.height = 1 + std::max(height(v.tree.left), height(v.tree.right));
  v.tree.max_gap = std::max({gap_below(v), max_gap(v.tree.left), max_gap(v.tree.right)});
}

Vma* VmaTree::balance(Vma* v) {
  const int tilt = height(v->tree.left) - height(v->tree.right);
  if (tilt > 1) {
    Vma*& left = v->tree.left;
    if (height(left->tree.left) < height(left->tree.right)) {
      Vma* down = left;
      left = rotate_left(left);
      update(*down);
    }
    Vma* up = rotate_right(v);
    update(*v);
    update(*up);
    return up;
  }
  if (tilt < -1) {
    Vma*& right = v->tree.right;
    if (height(right->tree.right) < height(right->tree.left)) {
      Vma* down = right;
      right = rotate_right(right);
      update(*down);
    }
    Vma* up = rotate_left(v);
    update(*v);
    update(*up);
    return up;
  }
  update(*v);
  return v;
}

Vma* VmaTree::insert_at(Vma* at, Vma& v) {
  if (!at) {
    update(v);
    return &v;
  }
  if (v.start < at->start) at->tree.left = insert_at(at->tree.left, v);
  else at->tree.right = insert_at(at->tree.right, v);
  return balance(at);
}

Vma* VmaTree::detach_leftmost(Vma* at, Vma*& leftmost) {
  if (!at->tree.left) {
    leftmost = at;
    return at->tree.right;
  }
  at->tree.left = detach_leftmost(at->tree.left, leftmost);
  return balance(at);
}

Vma* VmaTree::remove_at(Vma* at, Vma& v) {
  CHECK(at, "area {:#x} is not in the tree", v.start.value());
  if (at == &v) {
    if (!at->tree.left) return at->tree.right;
    if (!at->tree.right) return at->tree.left;
    Vma* successor = nullptr;
    Vma* right = detach_leftmost(at->tree.right, successor);
    successor->tree.left = at->tree.left;
    successor->tree.right = right;
    return balance(successor);
  }
  if (v.start < at->start) at->tree.left = remove_at(at->tree.left, v);
  else at->tree.right = remove_at(at->tree.right, v);
  return balance(at);
}

void VmaTree::update_path(Vma* at, const Vma& v) {
  if (!at) return;
  if (at != &v) update_path(v.start < at->start ? at->tree.left : at->tree.right, v);
  update(*at);
}

void VmaTree::insert(Vma& v) {
  CHECK(v.start < v.end, "empty area at {:#x}", v.start.value());
  Vma* next = find_ending_after(v.start);
  CHECK(!next || next->start >= v.end, "area {:#x}-{:#x} overlaps {:#x}-{:#x}", v.start.value(), v.end.value(), next->start.value(), next->end.value());
  Vma* previous = next ? next->tree.previous : last_;
  v.tree = Vma::TreeLinks{};
  v.tree.previous = previous;
  v.tree.next = next;
  (previous ? previous->tree.next : first_) = &v;
  (next ? next->tree.previous : last_) = &v;
  root_ = insert_at(root_, v);
  if (next) update_path(root_, *next);
  ++size_;
}

void VmaTree::remove(Vma& v) {
  if (last_hit_ == &v) last_hit_ = nullptr;
  Vma* previous = v.tree.previous;
  Vma* next = v.tree.next;
  (previous ? previous->tree.next : first_) = next;
  (next ? next->tree.previous : last_) = previous;
  root_ = remove_at(root_, v);
  if (next) update_path(root_, *next);
  v.tree = Vma::TreeLinks{};
  --size_;
}

void VmaTree::resize(Vma& v, VirtAddr start, VirtAddr end) {
  CHECK(start < end && (!v.tree.previous || v.tree.previous->end <= start) && (!v.tree.next || v.tree.next->start >= end),
        "area {:#x}-{:#x} cannot become {:#x}-{:#x}", v.start.value(), v.end.value(), start.value(), end.value());
  v.start = start;
  v.end = end;
  update_path(root_, v);
  if (v.tree.next) update_path(root_, *v.tree.next);
}

std::optional<VirtAddr> VmaTree::find_gap_top_down(Bytes length, VirtAddr low, VirtAddr high) const {
  if (length.value() == 0 || high < low || (high - low) < length) return std::nullopt;
  const uint64_t above = std::max(last_ ? last_->end.value() : 0, low.value());
  if (high.value() >= above && high.value() - above >= length.value()) return high - length;
  return highest(root_, length.value(), low.value(), high.value());
}

std::optional<VirtAddr> VmaTree::find_gap_bottom_up(Bytes length, VirtAddr low, VirtAddr high) const {
  if (length.value() == 0 || high < low || (high - low) < length) return std::nullopt;
  if (auto found = lowest(root_, length.value(), low.value(), high.value())) return found;
  const uint64_t above = std::max(last_ ? last_->end.value() : 0, low.value());
  if (high.value() >= above && high.value() - above >= length.value()) return VirtAddr{above};
  return std::nullopt;
}

namespace {
size_t verify_subtree(const Vma* v, const Vma*& previous) {
  if (!v) return 0;
  size_t n = verify_subtree(v->tree.left, previous);
  CHECK(v->tree.previous == previous, "area {:#x}: wrong neighbour below", v->start.value());
  CHECK(!previous || (previous->tree.next == v && previous->end <= v->start), "area {:#x}: out of order", v->start.value());
  CHECK(v->start < v->end && v->start.page_aligned() && v->end.page_aligned(), "area {:#x}-{:#x}", v->start.value(), v->end.value());
  previous = v;
  n += 1 + verify_subtree(v->tree.right, previous);
  const int left = height(v->tree.left), right = height(v->tree.right);
  CHECK(v->tree.height == 1 + std::max(left, right) && left - right <= 1 && right - left <= 1, "area {:#x}: unbalanced", v->start.value());
  CHECK(v->tree.max_gap == std::max({gap_below(*v), max_gap(v->tree.left), max_gap(v->tree.right)}), "area {:#x}: stale gap", v->start.value());
  return n;
}
}  // namespace

void VmaTree::verify() const {
  const Vma* previous = nullptr;
  const size_t n = verify_subtree(root_, previous);
  CHECK(n == size_, "{} areas in the tree, {} counted", n, size_);
  CHECK(previous == last_ && (!last_ || !last_->tree.next) && (!first_ || !first_->tree.previous), "ends of the list");
}

}  // namespace vitro::mm
