// The frames of one file by page index: a 64-way radix tree with a dirty mark per entry (Linux's XArray).
//
//   TRY(index.insert(PageIndex{7}, frame, Gfp::Kernel));
//   for (auto e = index.next(PageIndex{0}); e; e = index.next(e->index + Pages{1})) ...
//
// Each node costs a radix_tree_node object of guest memory. A file whose only cached page is its first needs none, as in Linux.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "vitro/base/result.h"
#include "vitro/base/types.h"
#include "vitro/mm/kernel_object.h"

namespace vitro::mm {

class FrameIndex {
 public:
  struct Entry {
    PageIndex index;
    Pfn frame;
  };

  explicit FrameIndex(KernelCaches& caches) : caches_(caches) {}
  ~FrameIndex();
  FrameIndex(const FrameIndex&) = delete;
  FrameIndex& operator=(const FrameIndex&) = delete;

  std::optional<Pfn> find(PageIndex index) const;
  // The first entry at or after `from`.
  std::optional<Entry> next(PageIndex from) const { return next_where(from, false); }
  std::optional<Entry> next_dirty(PageIndex from) const { return next_where(from, true); }

  // NoMemory; Exists where there is one already.
  Status insert(PageIndex index, Pfn frame, Gfp flags);
  void erase(PageIndex index);  // its dirty mark goes with it
  // The page at `index` has moved to another frame.
  void replace(PageIndex index, Pfn frame);
  bool dirty(PageIndex index) const;
  void set_dirty(PageIndex index, bool on);

  uint64_t size() const { return size_; }
  void verify() const;

 private:
  static constexpr unsigned kBits = 6;
  static constexpr unsigned kSlots = 1u << kBits;
  struct Node {
    uint64_t present = 0, dirty = 0;  // a bit a slot; in an upper node dirty says that something below is
    unsigned shift = 0;  // index bits below this node's; 0: slots are frames
    SlabObject memory;
    std::array<uint64_t, kSlots> slots{};  // frame number, or Node* in an upper node
    Node* child(unsigned i) const { return reinterpret_cast<Node*>(slots[i]); }
  };

  Result<Node*> new_node(Gfp flags);
  unsigned nodes_needed(uint64_t index) const;
  void enter(uint64_t index, Pfn frame, std::vector<Node*>& spare);
  static void destroy(Node* n);
  static bool covers(const Node* n, uint64_t index) { return n->shift + kBits >= 64 || (index >> (n->shift + kBits)) == 0; }
  static unsigned slot_of(const Node* n, uint64_t index) { return (index >> n->shift) & (kSlots - 1); }
  Node* find_leaf(uint64_t index) const;
  std::optional<Entry> next_where(PageIndex from, bool dirty) const;
  static std::optional<Entry> next_below(const Node* n, uint64_t base, uint64_t from, bool dirty);
  bool erase_below(Node* n, uint64_t index);  // true: n is empty now
  static void mark_below(Node* n, uint64_t index, bool on);
  static uint64_t verify_below(const Node* n);

  KernelCaches& caches_;
  Node* root_ = nullptr;           // null: at most the entry of index 0, kept here
  std::optional<Pfn> only_;
  bool only_dirty_ = false;
  uint64_t size_ = 0;
  mutable Node* leaf_ = nullptr;   // found last
  mutable uint64_t leaf_base_ = 0;
};

}  // namespace vitro::mm
