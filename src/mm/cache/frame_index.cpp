#include "mm/cache/frame_index.h"

#include <bit>

#include "vitro/base/check.h"

namespace vitro::mm {

FrameIndex::~FrameIndex() {
  if (root_) destroy(root_);
}

void FrameIndex::destroy(Node* n) {
  if (n->shift > 0)
    for (uint64_t left = n->present; left; left &= left - 1) destroy(n->child(std::countr_zero(left)));
  if (n->shadow_link.linked()) shadows_->list_.remove(*n);
  delete n;
}

// A leaf is listed while it holds values only (mm/workingset.c: workingset_update_node).
void FrameIndex::note_shadows(Node* leaf) {
  if (!shadows_) return;
  const bool only_values = leaf->present == 0 && leaf->values != 0;
  if (only_values == leaf->shadow_link.linked()) return;
  if (only_values) {
    leaf->owner = this;
    shadows_->list_.push_back(*leaf);
  } else {
    shadows_->list_.remove(*leaf);
  }
}

bool ShadowNodes::reclaim_oldest() {
  if (list_.empty()) return false;
  FrameIndex::Node& n = list_.front();
  FrameIndex* owner = n.owner;
  const uint64_t base = n.base;
  // The last value takes the node along.
  for (uint64_t left = n.values; left; left &= left - 1) owner->erase_value(PageIndex{base + static_cast<unsigned>(std::countr_zero(left))});
  return true;
}

Result<FrameIndex::Node*> FrameIndex::new_node(Gfp flags) {
  SlabObject memory = TRY(caches_.allocate(KernelCache::RadixTreeNode, flags | Gfp::Reclaimable));
  Node* n = new Node;
  n->memory = std::move(memory);
  return n;
}

FrameIndex::Node* FrameIndex::find_leaf(uint64_t index) const {
  if (leaf_ && (index & ~uint64_t{kSlots - 1}) == leaf_base_) return leaf_;
  Node* n = root_;
  if (!n || !covers(n, index)) return nullptr;
  while (n->shift > 0) {
    const unsigned i = slot_of(n, index);
    if (!(n->present >> i & 1)) return nullptr;
    n = n->child(i);
  }
  leaf_ = n;
  leaf_base_ = index & ~uint64_t{kSlots - 1};
  return n;
}

std::optional<Pfn> FrameIndex::find(PageIndex index) const {
  if (!root_) return index.value() == 0 ? only_ : std::nullopt;
  const Node* leaf = find_leaf(index.value());
  if (!leaf) return std::nullopt;
  const unsigned i = index.value() & (kSlots - 1);
  if (!(leaf->present >> i & 1)) return std::nullopt;
  return Pfn{leaf->slots[i]};
}

unsigned FrameIndex::nodes_needed(uint64_t index) const {
  const auto levels = [](uint64_t i) { return i == 0 ? 1u : (static_cast<unsigned>(std::bit_width(i)) + kBits - 1) / kBits; };
  const unsigned wanted = levels(index);
  if (!root_) {
    if (index == 0) return 0;
    return (only_ || only_value_) && wanted > 1 ? 2 * wanted - 1 : wanted;
  }
  const unsigned present = root_->shift / kBits + 1;
  if (wanted > present) return (wanted - present) + (wanted - 1);
  const Node* n = root_;
  while (n->shift > 0) {
    const unsigned i = slot_of(n, index);
    if (!(n->present >> i & 1)) return n->shift / kBits;
    n = n->child(i);
  }
  return 0;
}

Status FrameIndex::insert(PageIndex at, Pfn frame, Gfp flags, uint64_t* old_value) {
  const uint64_t index = at.value();
  // All nodes first: an allocation may wait, and the tree may be another one afterwards.
  std::vector<Node*> spare;
  Errno error{};
  while (error == Errno{} && spare.size() < nodes_needed(index)) {
    auto node = new_node(flags);
    if (node) spare.push_back(*node);
    else error = node.error();
  }
  if (error == Errno{} && find(at)) error = Errno::Exists;
  if (error == Errno{}) {
    if (old_value) *old_value = value(at);
    enter(index, frame, spare);
  }
  for (Node* n : spare) delete n;
  if (error != Errno{}) return fail(error);
  return {};
}

void FrameIndex::enter(uint64_t index, Pfn frame, std::vector<Node*>& spare) {
  const auto take = [&spare](unsigned shift) {
    CHECK(!spare.empty(), "too few radix nodes");
    Node* n = spare.back();
    spare.pop_back();
    n->shift = shift;
    return n;
  };
  ++size_;
  if (!root_) {
    if (index == 0) {
      only_ = frame;
      only_dirty_ = false;
      if (only_value_) --values_;
      only_value_ = 0;
      return;
    }
    if (only_ || only_value_) {
      root_ = take(0);
      (only_ ? root_->present : root_->values) = 1;
      root_->dirty = only_dirty_;
      root_->slots[0] = only_ ? only_->value() : only_value_;
      only_.reset();
      only_dirty_ = false;
      only_value_ = 0;
      note_shadows(root_);
    } else {
      root_ = take((static_cast<unsigned>(std::bit_width(index)) - 1) / kBits * kBits);
      root_->base = index & ~uint64_t{kSlots - 1};
    }
  }
  while (!covers(root_, index)) {
    Node* up = take(root_->shift + kBits);
    up->present = 1;
    up->dirty = root_->dirty != 0;
    up->slots[0] = reinterpret_cast<uint64_t>(root_);
    root_ = up;
  }
  Node* n = root_;
  while (n->shift > 0) {
    const unsigned i = slot_of(n, index);
    if (!(n->present >> i & 1)) {
      Node* below = take(n->shift - kBits);
      below->base = index & ~uint64_t{kSlots - 1};
      n->slots[i] = reinterpret_cast<uint64_t>(below);
      n->present |= uint64_t{1} << i;
    }
    n = n->child(i);
  }
  const unsigned i = index & (kSlots - 1);
  const uint64_t bit = uint64_t{1} << i;
  if (n->values & bit) --values_;
  n->values &= ~bit;
  n->slots[i] = frame.value();
  n->present |= bit;
  note_shadows(n);
}

bool FrameIndex::erase_below(Node* n, uint64_t index, uint64_t value) {
  const unsigned i = slot_of(n, index);
  const uint64_t bit = uint64_t{1} << i;
  if (n->shift > 0) {
    Node* below = n->child(i);
    if (!erase_below(below, index, value)) {
      n->dirty = below->dirty ? n->dirty | bit : n->dirty & ~bit;
      return false;
    }
    delete below;
    n->present &= ~bit;
    n->dirty &= ~bit;
    return n->present == 0;
  }
  if (n->values & bit) --values_;
  n->present &= ~bit;
  n->dirty &= ~bit;
  n->values &= ~bit;
  if (value) {
    n->values |= bit;
    n->slots[i] = value;
    ++values_;
  }
  note_shadows(n);
  return (n->present | n->values) == 0;
}

void FrameIndex::erase(PageIndex index, uint64_t value) {
  CHECK(find(index), "page {} is not cached", index.value());
  --size_;
  if (!root_) {
    only_.reset();
    only_dirty_ = false;
    only_value_ = value;
    values_ += value != 0;
    return;
  }
  leaf_ = nullptr;
  if (erase_below(root_, index.value(), value)) {
    delete root_;
    root_ = nullptr;
    return;
  }
  if (!value) shrink();
}

uint64_t FrameIndex::value(PageIndex index) const {
  if (!root_) return index.value() == 0 ? only_value_ : 0;
  const Node* leaf = find_leaf(index.value());
  if (!leaf) return 0;
  const unsigned i = index.value() & (kSlots - 1);
  return leaf->values >> i & 1 ? leaf->slots[i] : 0;
}

void FrameIndex::erase_value(PageIndex index) {
  if (!value(index)) return;
  if (!root_) {
    only_value_ = 0;
    --values_;
    return;
  }
  leaf_ = nullptr;
  if (erase_below(root_, index.value(), 0)) {
    delete root_;
    root_ = nullptr;
    return;
  }
  shrink();
}

// Lose levels that only lead to slot 0 (lib/xarray.c: xas_shrink).
void FrameIndex::shrink() {
  leaf_ = nullptr;
  while ((root_->present | root_->values) == 1) {
    Node* old = root_;
    if (old->shift > 0) {
      root_ = old->child(0);
    } else {
      if (old->present) only_ = Pfn{old->slots[0]};
      else only_value_ = old->slots[0];
      only_dirty_ = old->dirty & 1;
      root_ = nullptr;
      if (old->shadow_link.linked()) shadows_->list_.remove(*old);
    }
    delete old;
    if (!root_) break;
  }
}

std::optional<FrameIndex::ValueEntry> FrameIndex::next_value(PageIndex from) const {
  if (values_ == 0) return std::nullopt;
  if (!root_) {
    if (from.value() > 0 || !only_value_) return std::nullopt;
    return ValueEntry{PageIndex{0}, only_value_};
  }
  if (!covers(root_, from.value())) return std::nullopt;
  return next_value_below(root_, 0, from.value());
}

std::optional<FrameIndex::ValueEntry> FrameIndex::next_value_below(const Node* n, uint64_t base, uint64_t from) {
  const unsigned first = from <= base ? 0 : slot_of(n, from);
  for (uint64_t left = (n->shift == 0 ? n->values : n->present) & (~uint64_t{0} << first); left; left &= left - 1) {
    const unsigned i = static_cast<unsigned>(std::countr_zero(left));
    const uint64_t at = base + (uint64_t{i} << n->shift);
    if (n->shift == 0) return ValueEntry{PageIndex{at}, n->slots[i]};
    if (auto found = next_value_below(n->child(i), at, from)) return found;
  }
  return std::nullopt;
}

bool FrameIndex::dirty(PageIndex index) const {
  if (!root_) return index.value() == 0 && only_dirty_;
  const Node* leaf = find_leaf(index.value());
  return leaf && (leaf->dirty >> (index.value() & (kSlots - 1)) & 1);
}

void FrameIndex::mark_below(Node* n, uint64_t index, bool on) {
  const unsigned i = slot_of(n, index);
  const uint64_t bit = uint64_t{1} << i;
  if (n->shift > 0) {
    mark_below(n->child(i), index, on);
    on = n->child(i)->dirty != 0;
  }
  n->dirty = on ? n->dirty | bit : n->dirty & ~bit;
}

void FrameIndex::replace(PageIndex index, Pfn frame) {
  CHECK(find(index), "page {} is not cached", index.value());
  if (!root_) only_ = frame;
  else find_leaf(index.value())->slots[index.value() & (kSlots - 1)] = frame.value();
}

void FrameIndex::set_dirty(PageIndex index, bool on) {
  DCHECK(find(index), "page {} is not cached", index.value());
  if (!root_) only_dirty_ = on;
  else mark_below(root_, index.value(), on);
}

std::optional<FrameIndex::Entry> FrameIndex::next_where(PageIndex from, bool dirty) const {
  if (!root_) {
    if (from.value() > 0 || !only_ || (dirty && !only_dirty_)) return std::nullopt;
    return Entry{PageIndex{0}, *only_};
  }
  if (!covers(root_, from.value())) return std::nullopt;
  return next_below(root_, 0, from.value(), dirty);
}

std::optional<FrameIndex::Entry> FrameIndex::next_below(const Node* n, uint64_t base, uint64_t from, bool dirty) {
  const unsigned first = from <= base ? 0 : slot_of(n, from);
  uint64_t left = (dirty ? n->dirty : n->present) & (~uint64_t{0} << first);
  for (; left; left &= left - 1) {
    const unsigned i = static_cast<unsigned>(std::countr_zero(left));
    const uint64_t at = base + (uint64_t{i} << n->shift);
    if (n->shift == 0) return Entry{PageIndex{at}, Pfn{n->slots[i]}};
    if (auto found = next_below(n->child(i), at, from, dirty)) return found;
  }
  return std::nullopt;
}

uint64_t FrameIndex::verify_below(const Node* n) {
  CHECK((n->present | n->values) != 0 && (n->dirty & ~n->present) == 0 && (n->present & n->values) == 0 && (n->shift == 0 || n->values == 0),
        "a radix node without entries, or with marks on holes");
  if (n->shift == 0) return static_cast<uint64_t>(std::popcount(n->present));
  uint64_t total = 0;
  for (uint64_t left = n->present; left; left &= left - 1) {
    const unsigned i = static_cast<unsigned>(std::countr_zero(left));
    CHECK(n->child(i)->shift == n->shift - kBits, "radix level");
    CHECK((n->child(i)->dirty != 0) == ((n->dirty >> i & 1) != 0), "radix dirty mark");
    total += verify_below(n->child(i));
  }
  return total;
}

void FrameIndex::verify() const {
  const uint64_t n = root_ ? verify_below(root_) : (only_ ? 1 : 0);
  CHECK(n == size_, "{} pages in the index, {} counted", n, size_);
  CHECK(!root_ || !only_, "two roots");
}

}  // namespace vitro::mm
