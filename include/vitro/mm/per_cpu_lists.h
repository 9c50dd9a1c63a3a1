// One CPU's stock of free blocks of one zone (Linux's per_cpu_pages): small blocks are taken and given back here without searching, splitting
// or merging, and move to and from the buddy allocator in batches. Blocks that lie here are in state PerCpu and are not counted in
// nr_free_pages.
#pragma once

#include <array>
#include <cstdint>

#include "vitro/base/types.h"
#include "vitro/mm/buddy_allocator.h"
#include "vitro/mm/frame.h"

namespace vitro::mm {

class PerCpuLists {
 public:
  explicit PerCpuLists(FrameTable& frames) : frames_(&frames[Pfn{0}]) {}

  // Orders 0..3, and 9 for huge pages (pcp_allowed_order).
  static constexpr bool takes(Order order) { return order.value() <= 3 || order == kPageblockOrder; }

  // A block of exactly this order and type; Frame::kNone when the list is empty and has to be refilled.
  uint32_t take(unsigned order, unsigned type) {
    free_factor_ >>= 1;
    return pop(order, type);
  }
  // The same without counting as an allocation.
  uint32_t pop(unsigned order, unsigned type) {
    List& list = lists_[index(order, type)];
    const uint32_t pfn = list.head;
    if (pfn == Frame::kNone) [[unlikely]] return pfn;
    list.head = frames_[pfn].next;
    if (list.head == Frame::kNone) list.tail = Frame::kNone;
    else frames_[list.head].previous = Frame::kNone;
    count_ -= 1u << order;
    return pfn;
  }
  // Moves a batch of blocks here; returns how many frames left the buddy allocator (rmqueue_bulk).
  uint64_t refill(BuddyAllocator& buddy, unsigned order, unsigned type, BuddyAllocator::Fragment fragment);
  // Puts a block on its list; returns how many frames have to be drained now (nr_pcp_free), 0 for none.
  // `limit_high`: reclaim is at work in the zone, so keep few (ZONE_RECLAIM_ACTIVE).
  uint32_t put(uint32_t pfn, unsigned order, unsigned type, bool limit_high) {
    List& list = lists_[index(order, type)];
    Frame& f = frames_[pfn];
    mark(pfn, order, FrameState::PerCpu);
    f.order = static_cast<uint8_t>(order);
    f.previous = Frame::kNone;
    f.next = list.head;
    if (list.head == Frame::kNone) list.tail = pfn;
    else frames_[list.head].previous = pfn;
    list.head = pfn;
    count_ += 1u << order;
    const bool free_high = free_factor_ != 0 && order != 0 && order <= 3;
    if (count_ < high_ && !free_high && !limit_high) [[likely]] return 0;
    return excess(free_high, limit_high);
  }
  // Gives `n` frames back, round robin over the lists, from the list after the one of (order, type) on (free_pcppages_bulk). Returns how
  // many frames went to the buddy allocator.
  uint64_t drain(BuddyAllocator& buddy, uint32_t n, unsigned order, unsigned type);
  uint64_t drain_all(BuddyAllocator& buddy) { return count_ ? drain(buddy, count_, 0, 0) : 0; }

  void set_limits(uint32_t high, uint32_t batch) { high_ = high, batch_ = batch; }
  uint32_t count() const { return count_; }  // frames
  uint32_t high() const { return high_; }
  uint32_t batch() const { return batch_; }
  // Recounts the lists. CHECKs.
  void verify() const;

 private:
  static constexpr unsigned kListCount = kPcpTypes * 4 + 2;
  struct List {
    uint32_t head = Frame::kNone, tail = Frame::kNone;
  };
  static unsigned index(unsigned order, unsigned type) {
    return order <= 3 ? kPcpTypes * order + type : kPcpTypes * 4 + (type == static_cast<unsigned>(MigrateType::Movable));
  }
  static unsigned order_of(unsigned index) { return index < kPcpTypes * 4 ? index / kPcpTypes : kPageblockOrder.value(); }
  void mark(uint32_t pfn, unsigned order, FrameState state) {
    for (uint32_t i = 0; i < 1u << order; ++i) frames_[pfn + i].state = state;
  }
  uint32_t excess(bool free_high, bool limit_high);

  Frame* frames_;
  uint32_t count_ = 0, high_ = 0, batch_ = 1;
  unsigned free_factor_ = 0;
  std::array<List, kListCount> lists_{};
};

}  // namespace vitro::mm
