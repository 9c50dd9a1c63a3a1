#include "mm/space/vma_tree.h"

#include <algorithm>

#include "vitro/base/check.h"

namespace vitro::mm {
namespace {

uint64_t max_gap(const Vma* v) { return v ? v->tree.max_gap : 0; }
VirtAddr end_of_previous(const Vma& v) { return v.tree.previous ? v.tree.previous->end : VirtAddr{0}; }

uint64_t gap_below(const Vma& v) {
  const VirtAddr top = start_with_guard(v), bottom = end_of_previous(v);
  return top > bottom ? (top - bottom).value() : 0;
}

// The hole directly below `v`, cut to [low, high): where a run of `length` that ends as high, or starts as low, as it can would start.
struct Hole {
  uint64_t start, end;
  bool fits(uint64_t length) const { return end > start && end - start >= length; }
};
Hole hole_below(const Vma& v, uint64_t low, uint64_t high) {
  return {std::max(end_of_previous(v).value(), low), std::min(start_with_guard(v).value(), high)};
}

}  // namespace

VirtAddr start_with_guard(const Vma& v) {
  if (!has(v.flags, VmFlag::GrowsDown)) return v.start;
  return v.start.value() > kStackGuardGap.bytes().value() ? v.start - kStackGuardGap : VirtAddr{0};
}

Vma* VmaTree::find_ending_after(VirtAddr a) const {
  if (last_hit_ && last_hit_->contains(a)) return last_hit_;
  Vma* found = nullptr;
  for (Vma* v = tree_.root(); v;) {
    if (v->end > a) {
      found = v;
      if (v->start <= a) break;
      v = Tree::left(*v);
    } else {
      v = Tree::right(*v);
    }
  }
  if (found && found->start <= a) last_hit_ = found;
  return found;
}

bool VmaTree::Gaps::update(Vma& v, const Vma* left, const Vma* right) {
  const uint64_t gap = std::max({gap_below(v), max_gap(left), max_gap(right)});
  const bool changed = v.tree.max_gap != gap;
  v.tree.max_gap = gap;
  return changed;
}

void VmaTree::insert(Vma& v) {
  CHECK(v.start < v.end, "empty area at {:#x}", v.start.value());
  Vma* next = find_ending_after(v.start);
  CHECK(!next || next->start >= v.end, "area {:#x}-{:#x} overlaps {:#x}-{:#x}", v.start.value(), v.end.value(), next->start.value(), next->end.value());
  Vma* previous = next ? next->tree.previous : last_;
  v.tree.previous = previous;
  v.tree.next = next;
  (previous ? previous->tree.next : first_) = &v;
  (next ? next->tree.previous : last_) = &v;
  tree_.insert(v, [](const Vma& a, const Vma& b) { return a.start < b.start; });
  if (next) Tree::changed(*next);
}

void VmaTree::remove(Vma& v) {
  if (last_hit_ == &v) last_hit_ = nullptr;
  Vma* previous = v.tree.previous;
  Vma* next = v.tree.next;
  (previous ? previous->tree.next : first_) = next;
  (next ? next->tree.previous : last_) = previous;
  tree_.erase(v);
  if (next) Tree::changed(*next);
  v.tree.previous = v.tree.next = nullptr;
}

void VmaTree::resize(Vma& v, VirtAddr start, VirtAddr end) {
  CHECK(start < end && (!v.tree.previous || v.tree.previous->end <= start) && (!v.tree.next || v.tree.next->start >= end),
        "area {:#x}-{:#x} cannot become {:#x}-{:#x}", v.start.value(), v.end.value(), start.value(), end.value());
  v.start = start;
  v.end = end;
  Tree::changed(v);
  if (v.tree.next) Tree::changed(*v.tree.next);
}

std::optional<VirtAddr> VmaTree::highest(const Vma* v, uint64_t length, uint64_t low, uint64_t high) {
  if (max_gap(v) < length) return std::nullopt;
  if (v->end.value() < high)
    if (auto found = highest(Tree::right(*v), length, low, high)) return found;
  const Hole hole = hole_below(*v, low, high);
  if (hole.fits(length)) return VirtAddr{hole.end - length};
  return v->start.value() > low ? highest(Tree::left(*v), length, low, high) : std::nullopt;
}

std::optional<VirtAddr> VmaTree::lowest(const Vma* v, uint64_t length, uint64_t low, uint64_t high) {
  if (max_gap(v) < length) return std::nullopt;
  if (v->start.value() > low)
    if (auto found = lowest(Tree::left(*v), length, low, high)) return found;
  const Hole hole = hole_below(*v, low, high);
  if (hole.fits(length)) return VirtAddr{hole.start};
  return v->end.value() < high ? lowest(Tree::right(*v), length, low, high) : std::nullopt;
}

std::optional<VirtAddr> VmaTree::find_gap_top_down(Bytes length, VirtAddr low, VirtAddr high) const {
  if (length.value() == 0 || high < low || (high - low) < length) return std::nullopt;
  const uint64_t above = std::max(last_ ? last_->end.value() : 0, low.value());
  if (high.value() >= above && high.value() - above >= length.value()) return high - length;
  return highest(tree_.root(), length.value(), low.value(), high.value());
}

std::optional<VirtAddr> VmaTree::find_gap_bottom_up(Bytes length, VirtAddr low, VirtAddr high) const {
  if (length.value() == 0 || high < low || (high - low) < length) return std::nullopt;
  if (auto found = lowest(tree_.root(), length.value(), low.value(), high.value())) return found;
  const uint64_t above = std::max(last_ ? last_->end.value() : 0, low.value());
  if (high.value() >= above && high.value() - above >= length.value()) return VirtAddr{above};
  return std::nullopt;
}

void VmaTree::verify() const {
  const Vma* previous = nullptr;
  tree_.verify([&previous](const Vma& v) {
    CHECK(v.tree.previous == previous, "area {:#x}: wrong neighbour below", v.start.value());
    CHECK(!previous || (previous->tree.next == &v && previous->end <= v.start), "area {:#x}: out of order", v.start.value());
    CHECK(v.start < v.end && v.start.page_aligned() && v.end.page_aligned(), "area {:#x}-{:#x}", v.start.value(), v.end.value());
    previous = &v;
  });
  CHECK(first_ == tree_.first() && previous == last_ && (!last_ || !last_->tree.next), "ends of the list");
}

}  // namespace vitro::mm
