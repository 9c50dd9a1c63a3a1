// The page allocator over the zones of one machine (mm/page_alloc.c: __alloc_pages and its slow path).
#pragma once

#include <array>
#include <span>

#include "vitro/base/trace.h"
#include "vitro/hw/ram.h"
#include "vitro/mm/page_allocator.h"
#include "vitro/mm/vm_stat.h"
#include "vitro/mm/zone.h"

namespace vitro::mm {

class ZonedPageAllocator final : public PageAllocator {
 public:
  ZonedPageAllocator(hw::Ram& ram, FrameTable& frames, std::span<Zone> zones, VmStat& stat, Tracer& tracer);

  void free(Pfn first, Order order) override;
  void set_state(Pfn first, Order order, FrameState state) override;
  void split(Pfn first, Order order) override;
  void get(Pfn f) override;
  bool put(Pfn f) override;
  void set_reclaim_port(ReclaimPort* port) override;
  void set_compaction_port(CompactionPort* port) override { compaction_ = port; }
  bool isolate_free_block(Pfn first, Order order) override;
  Pages free_frames() const override;
  Pages managed_frames() const override;
  uint64_t frames_in_state(FrameState state) const override;

  void set_cpu(unsigned cpu) { cpu_ = cpu; }
  void drain();
  void set_poison(bool on) { poison_ = on; }
  // The counts per state and nr_kernel_stack agree with `found`.
  void verify_counts(std::span<const uint64_t> found) const;

 private:
  // What stays the same during one allocation (struct alloc_context).
  struct Request {
    Gfp flags;
    Order order;
    unsigned highest;    // zone index, up to kZoneMovable
    unsigned preferred;  // the highest zone with frames
    MigrateType type;
  };
  // These name a block by its first frame, or Frame::kNone: see Zone::take.
  Pfn allocate_or_none(Gfp flags, Order order) override;
  uint32_t take(const Request& r, AllocFlags flags);
  uint32_t take_slowly(const Request& r);
  uint32_t reclaim_and_take(const Request& r, AllocFlags flags, bool& progress);
  uint32_t compact_and_take(const Request& r, AllocFlags flags, CompactPriority priority, CompactResult& result);
  uint32_t kill_and_take(const Request& r, bool& progress);
  bool should_compact_again(const Request& r, AllocFlags flags, CompactResult result, CompactPriority& priority, unsigned& tries);
  bool should_retry(const Request& r, AllocFlags flags, bool progress, unsigned& fruitless);
  bool unreserve_high_atomic(const Request& r, bool force);
  void wake_reclaimer(const Request& r);
  void prepare(uint32_t first, unsigned zone, const Request& r);
  void check_poison(Pfn f);
  void count(FrameState state, int64_t frames);
  Zone& zone_of(Pfn f) { return zones_[zone_index(f)]; }
  unsigned zone_index(Pfn f) const { return (f.value() >= zone_start_[1]) + (f.value() >= zone_start_[2]) + (f.value() >= zone_start_[3]); }
  // The highest zone of a request, as events and the reclaimer know it: what could use high memory is Normal where there is none.
  unsigned counted_zone(unsigned highest) const { return highest == kZoneHighMem && !zones_[kZoneHighMem].populated() ? kZoneNormal : highest; }

  hw::Ram& ram_;
  Frame* frames_;
  std::span<Zone> zones_;
  VmStat& stat_;
  Tracer& tracer_;
  ReclaimPort* reclaim_ = nullptr;
  CompactionPort* compaction_ = nullptr;
  unsigned cpu_ = 0;
  bool poison_ = false;
  std::array<uint64_t, kPopulatedZones> zone_start_{};
  std::array<uint8_t, kZoneTypes> preferred_{};  // by highest zone allowed
  std::array<int64_t, static_cast<size_t>(FrameState::Count)> states_{};  // handed-out frames by state
};

}  // namespace vitro::mm
