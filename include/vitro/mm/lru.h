// The LRU lists: inactive and active, anonymous and file, and unevictable (mm/swap.c). Linked through the frame descriptors; newest first.
//
//   lru.add(frame);             // to the list that its flags say: SwapBacked, Active, Unevictable
//   lru.mark_accessed(frame);   // a second access activates
//
// Invariant: Frame flag Lru <=> the frame is on exactly the list that its other flags name; nr_*_{inactive,active}_* count the lists.
#pragma once

#include <array>
#include <cstdint>

#include "vitro/base/types.h"
#include "vitro/mm/frame.h"
#include "vitro/mm/vm_stat.h"

namespace vitro::mm {

enum class LruList : uint8_t { InactiveAnon, ActiveAnon, InactiveFile, ActiveFile, Unevictable, Count };

class Lru {
 public:
  Lru(FrameTable& frames, VmStat& stat) : frames_(frames), stat_(stat) {}

  static LruList list_of(const Frame& f) {
    if (f.has(FrameFlag::Unevictable)) return LruList::Unevictable;
    return static_cast<LruList>((f.has(FrameFlag::SwapBacked) ? 0 : 2) + (f.has(FrameFlag::Active) ? 1 : 0));
  }
  void add(Pfn f);       // at the head
  void add_tail(Pfn f);  // where reclaim looks first
  void remove(Pfn f);
  // A use that page tables do not show, read(2) for one (mm/swap.c: folio_mark_accessed): inactive, unreferenced -> referenced -> active.
  void mark_accessed(Pfn f);
  // These leave a frame alone that is on no list: reclaim has isolated it.
  void activate(Pfn f);
  // To the tail of the inactive list, where reclaim looks next: it was written out (folio_rotate_reclaimable).
  void rotate(Pfn f);
  void deactivate(Pfn f);
  void set_unevictable(Pfn f, bool on);
  // Changes flags that decide the list.
  void set_swap_backed(Pfn f, bool on);

  uint64_t size(LruList list) const { return lists_[static_cast<size_t>(list)].size; }
  // The oldest frame of a list, where reclaim begins; Frame::kNone when it is empty. Frame::previous leads to newer ones.
  uint32_t oldest(LruList list) const { return lists_[static_cast<size_t>(list)].tail; }

  // What evictions and refaults have cost lately, for the balance of anonymous against file pages (lru_note_cost).
  void note_cost(bool file, uint64_t pages);
  uint64_t cost(bool file) const { return costs_[file]; }
  // The clock that refault distances are measured with: evictions and activations (mm/workingset.c: nonresident_age).
  uint64_t nonresident_age() const { return nonresident_age_; }
  void age_nonresident(uint64_t pages) { nonresident_age_ += pages; }
  // Frames that reclaim has taken off a list for a while (nr_isolated_*). They hold a reference.
  void isolate(Pfn f, bool file) {
    remove(f);
    stat_.add(file ? VmItem::nr_isolated_file : VmItem::nr_isolated_anon);
  }
  void note_put_back(bool file, uint64_t pages) { stat_.add(file ? VmItem::nr_isolated_file : VmItem::nr_isolated_anon, -static_cast<int64_t>(pages)); }

  // Walks every list: CHECKs.
  void verify() const;

 private:
  struct List {
    uint32_t head = Frame::kNone, tail = Frame::kNone;
    uint64_t size = 0;
  };
  void count(const Frame& f, LruList list, int64_t delta);
  template <class Change>
  void move(Pfn f, Change change);

  FrameTable& frames_;
  VmStat& stat_;
  std::array<List, static_cast<size_t>(LruList::Count)> lists_{};
  std::array<uint64_t, 2> costs_{};  // anonymous, file
  uint64_t nonresident_age_ = 0;
};

}  // namespace vitro::mm
