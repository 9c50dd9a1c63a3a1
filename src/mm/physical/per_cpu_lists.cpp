// Batches between the per-CPU lists and the buddy allocator (mm/page_alloc.c: rmqueue_bulk, free_pcppages_bulk, nr_pcp_free).
#include "vitro/mm/per_cpu_lists.h"

#include <algorithm>

#include "vitro/base/check.h"

namespace vitro::mm {
namespace {
constexpr unsigned kBatchScaleMax = 5;  // CONFIG_PCP_BATCH_SCALE_MAX
}

uint64_t PerCpuLists::refill(BuddyAllocator& buddy, unsigned order, unsigned type, BuddyAllocator::Fragment fragment) {
  List& list = lists_[index(order, type)];
  uint64_t taken = 0;
  const uint32_t batch = batch_ > 1 ? std::max(batch_ >> order, 2u) : batch_;
  for (uint32_t i = 0; i < batch; ++i) {
    const auto block = buddy.allocate(Order{static_cast<uint8_t>(order)}, static_cast<MigrateType>(type), fragment);
    if (!block) break;
    const auto pfn = static_cast<uint32_t>(block->value());
    mark(pfn, order, FrameState::PerCpu);
    Frame& f = frames_[pfn];
    f.next = Frame::kNone;
    f.previous = list.tail;
    if (list.tail == Frame::kNone) list.head = pfn;
    else frames_[list.tail].next = pfn;
    list.tail = pfn;
    count_ += 1u << order;
    taken += 1u << order;
  }
  return taken;
}

uint32_t PerCpuLists::excess(bool free_high, bool limit_high) {
  uint32_t high = high_;
  if (high == 0 || free_high) high = 0;
  else if (limit_high) high = std::min(batch_ << 2, high_);
  if (count_ < high) return 0;
  if (free_high) return count_;
  if (high < batch_) return 1;
  const uint32_t least = batch_, most = high - batch_;
  uint32_t n = batch_ << free_factor_;
  if (n < most && free_factor_ < kBatchScaleMax) ++free_factor_;
  return std::min(std::max(n, least), std::max(most, least));
}

uint64_t PerCpuLists::drain(BuddyAllocator& buddy, uint32_t n, unsigned order, unsigned type) {
  n = std::min(n, count_);
  // Starts with the requested list: the index is raised before it is used.
  int at = static_cast<int>(index(order, type)) - 1;
  int low = 0, high = static_cast<int>(kListCount) - 1;
  int64_t left = n;
  uint64_t freed = 0;
  while (left > 0) {
    List* list = nullptr;
    for (;;) {
      if (++at > high) at = low;
      list = &lists_[static_cast<size_t>(at)];
      if (list->head != Frame::kNone) break;
      if (at == high) --high;
      if (at == low) ++low;
    }
    const unsigned block_order = order_of(static_cast<unsigned>(at));
    const uint32_t size = 1u << block_order;
    do {
      const uint32_t pfn = list->tail;
      list->tail = frames_[pfn].previous;
      if (list->tail == Frame::kNone) list->head = Frame::kNone;
      else frames_[list->tail].next = Frame::kNone;
      left -= size;
      count_ -= size;
      freed += size;
      mark(pfn, block_order, FrameState::Free);
      buddy.free(Pfn{pfn}, Order{static_cast<uint8_t>(block_order)});
    } while (left > 0 && list->head != Frame::kNone);
  }
  return freed;
}

void PerCpuLists::verify() const {
  uint64_t n = 0;
  for (unsigned i = 0; i < kListCount; ++i) {
    const unsigned order = order_of(i);
    uint32_t previous = Frame::kNone;
    for (uint32_t pfn = lists_[i].head; pfn != Frame::kNone; pfn = frames_[pfn].next) {
      const Frame& f = frames_[pfn];
      CHECK(f.state == FrameState::PerCpu && f.order == order, "pfn {} on the per-CPU list of order {}: state {} order {}", pfn, order,
            frame_state_name(f.state), f.order);
      CHECK(f.previous == previous, "pfn {}: previous {} should be {}", pfn, f.previous, previous);
      CHECK(f.refcount == 0 && f.mapcount == 0, "pfn {} on a per-CPU list has references", pfn);
      CHECK((n += 1u << order) <= count_, "per-CPU lists are longer than their count {}", count_);
      previous = pfn;
    }
    CHECK(lists_[i].tail == previous, "per-CPU list {}: tail {} should be {}", i, lists_[i].tail, previous);
  }
  CHECK(n == count_, "per-CPU lists: {} frames counted, {} found", count_, n);
}

}  // namespace vitro::mm
