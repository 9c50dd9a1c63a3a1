// The frames of one file by page index: a 64-way radix tree with a dirty mark per entry (Linux's XArray).
//
//   TRY(index.insert(PageIndex{7}, frame, Gfp::Kernel));
//   for (auto e = index.next(PageIndex{0}); e; e = index.next(e->index + Pages{1})) ...
//
// Each node costs a radix_tree_node object of guest memory. A file whose only cached page is its first needs none, as in Linux.
//
// A slot without a frame may hold a value instead (xa_value): what reclaim remembers of a page it evicted, or where it swapped one out.
// find(), next() and size() see frames only. Nodes that hold nothing but values are counted, and can be taken back (ShadowNodes).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "vitro/base/intrusive_list.h"
#include "vitro/base/result.h"
#include "vitro/base/types.h"
#include "vitro/mm/kernel_object.h"

namespace vitro::mm {

class ShadowNodes;

class FrameIndex {
 public:
  struct Entry {
    PageIndex index;
    Pfn frame;
  };
  struct ValueEntry {
    PageIndex index;
    uint64_t value;
  };

  // `shadows`: where nodes that hold only values are listed; null: nowhere (their values are not to be dropped).
  explicit FrameIndex(KernelCaches& caches, ShadowNodes* shadows = nullptr) : caches_(caches), shadows_(shadows) {}
  ~FrameIndex();
  FrameIndex(const FrameIndex&) = delete;
  FrameIndex& operator=(const FrameIndex&) = delete;

  std::optional<Pfn> find(PageIndex index) const;
  // The first entry at or after `from`.
  std::optional<Entry> next(PageIndex from) const { return next_where(from, false); }
  std::optional<Entry> next_dirty(PageIndex from) const { return next_where(from, true); }

  // NoMemory; Exists where there is one already. A value that was there is replaced, and goes to `*old_value` (else 0).
  Status insert(PageIndex index, Pfn frame, Gfp flags, uint64_t* old_value = nullptr);
  // Its dirty mark goes with it. `value`: what is left in its place; 0: nothing.
  void erase(PageIndex index, uint64_t value = 0);
  // The value at `index`; 0: a frame, or nothing.
  uint64_t value(PageIndex index) const;
  void erase_value(PageIndex index);
  std::optional<ValueEntry> next_value(PageIndex from) const;
  uint64_t values() const { return values_; }
  // The page at `index` has moved to another frame.
  void replace(PageIndex index, Pfn frame);
  bool dirty(PageIndex index) const;
  void set_dirty(PageIndex index, bool on);

  uint64_t size() const { return size_; }
  void verify() const;

 private:
  static constexpr unsigned kBits = 6;
  static constexpr unsigned kSlots = 1u << kBits;
  friend class ShadowNodes;
  struct Node {
    uint64_t present = 0, dirty = 0;  // a bit a slot; in an upper node dirty says that something below is
    uint64_t values = 0;              // slots that hold a value, not a frame; leaves only
    FrameIndex* owner = nullptr;      // while it is listed in ShadowNodes
    uint64_t base = 0;                // index of its first slot, in a leaf
    ListLink shadow_link;
    unsigned shift = 0;  // index bits below this node's; 0: slots are frames
    SlabObject memory;
    std::array<uint64_t, kSlots> slots{};  // frame number, or Node* in an upper node
    Node* child(unsigned i) const { return reinterpret_cast<Node*>(slots[i]); }
  };

  Result<Node*> new_node(Gfp flags);
  unsigned nodes_needed(uint64_t index) const;
  void enter(uint64_t index, Pfn frame, std::vector<Node*>& spare);
  void destroy(Node* n);
  void note_shadows(Node* leaf);
  static bool covers(const Node* n, uint64_t index) { return n->shift + kBits >= 64 || (index >> (n->shift + kBits)) == 0; }
  static unsigned slot_of(const Node* n, uint64_t index) { return (index >> n->shift) & (kSlots - 1); }
  Node* find_leaf(uint64_t index) const;
  std::optional<Entry> next_where(PageIndex from, bool dirty) const;
  static std::optional<Entry> next_below(const Node* n, uint64_t base, uint64_t from, bool dirty);
  static std::optional<ValueEntry> next_value_below(const Node* n, uint64_t base, uint64_t from);
  bool erase_below(Node* n, uint64_t index, uint64_t value);  // true: n is empty now
  void shrink();
  static void mark_below(Node* n, uint64_t index, bool on);
  static uint64_t verify_below(const Node* n);

  KernelCaches& caches_;
  ShadowNodes* shadows_;
  Node* root_ = nullptr;           // null: at most the entry of index 0, kept here
  std::optional<Pfn> only_;
  bool only_dirty_ = false;
  uint64_t only_value_ = 0;
  uint64_t size_ = 0, values_ = 0;
  mutable Node* leaf_ = nullptr;   // found last
  mutable uint64_t leaf_base_ = 0;
};

// The nodes that hold nothing but values, oldest first (mm/workingset.c: shadow_nodes): memory that only remembers what is gone.
class ShadowNodes {
 public:
  uint64_t size() const { return list_.size(); }
  // Drops the oldest node with all its values. False: there is none.
  bool reclaim_oldest();

 private:
  friend class FrameIndex;
  IntrusiveList<FrameIndex::Node, &FrameIndex::Node::shadow_link> list_;
};

}  // namespace vitro::mm
