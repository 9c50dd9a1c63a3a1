// A zone: a range of frames with one buddy allocator, per-CPU lists in front of it, and watermarks that say how low it may go.
//
//   DMA    up to 16 MiB     DMA32  up to 4 GiB     Normal  above     HighMem  what the direct map does not reach, where a machine has it
//
// The allocator prefers the highest zone that a request allows and falls back downwards; lowmem_reserve keeps part of each zone from
// requests that could have used a higher one.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "vitro/base/types.h"
#include "vitro/mm/buddy_allocator.h"
#include "vitro/mm/gfp.h"
#include "vitro/mm/per_cpu_lists.h"
#include "vitro/mm/vm_stat.h"

namespace vitro::mm {

enum ZoneIndex : unsigned { kZoneDma, kZoneDma32, kZoneNormal, kZoneHighMem, kZoneMovable, kZoneDevice };
inline constexpr unsigned kZoneTypes = 6;       // Movable and Device are always empty; HighMem is shown where there is high memory only
inline constexpr unsigned kPopulatedZones = 4;  // those that can have frames
std::string_view zone_name(unsigned zone);      // "DMA", "DMA32", "Normal", "HighMem", "Movable", "Device"

// The highest zone that a request may use (include/linux/gfp.h: gfp_zone). Movable for Gfp::HighUserMovable, though it has no frames.
constexpr unsigned highest_zone(Gfp flags) {
  if (has_any(flags, Gfp::Dma)) return kZoneDma;
  if (has_any(flags, Gfp::Dma32)) return kZoneDma32;
  if (has(flags, Gfp::Movable | Gfp::HighMem)) return kZoneMovable;
  return has_any(flags, Gfp::HighMem) ? kZoneHighMem : kZoneNormal;
}
constexpr MigrateType migrate_type(Gfp flags) { return static_cast<MigrateType>(static_cast<uint32_t>(flags) >> 3 & 3); }

// What an allocation may do beside its GFP flags (mm/internal.h: ALLOC_*). The two low bits choose the watermark.
using AllocFlags = uint32_t;
inline constexpr AllocFlags kAllocWmarkMin = 0, kAllocWmarkLow = 1, kAllocWmarkHigh = 2, kAllocNoWatermarks = 0x04, kAllocOom = 0x08,
                            kAllocNonBlock = 0x10, kAllocMinReserve = 0x20, kAllocNoFragment = 0x100, kAllocHighAtomic = 0x200,
                            kAllocKswapd = 0x800;
inline constexpr AllocFlags kAllocWmarkMask = 3, kAllocReserves = kAllocNonBlock | kAllocMinReserve | kAllocHighAtomic | kAllocOom;

enum class Watermark : uint8_t { Min, Low, High };

class Zone {
 public:
  // [first, end) with `present` frames of RAM in it, all reserved until release(). `stat` counts nr_free_pages.
  Zone(FrameTable& frames, VmStat& stat, unsigned index, Pfn first, Pfn end, Pages present, unsigned cpus);

  unsigned index() const { return index_; }
  std::string_view name() const { return zone_name(index_); }
  Pfn first() const { return buddy_.first(); }
  Pages spanned() const { return buddy_.end() - buddy_.first(); }
  Pages present() const { return present_; }
  Pages managed() const { return managed_; }
  bool populated() const { return present_.value() != 0; }
  bool contains(Pfn f) const { return f >= buddy_.first() && f < buddy_.end(); }

  // Boot: hands reserved frames to the buddy allocator and counts them as managed.
  void release(Pfn first, Pfn end);

  // nr_free_pages of this zone: in the buddy allocator, not on per-CPU lists.
  Pages free_frames() const { return buddy_.free_frames(); }
  const BuddyAllocator& buddy() const { return buddy_; }
  const PerCpuLists& per_cpu(unsigned cpu) const { return per_cpu_[cpu]; }
  unsigned cpus() const { return static_cast<unsigned>(per_cpu_.size()); }

  // The first frame of a block by order and type, from this CPU's lists or the buddy allocator (mm/page_alloc.c: rmqueue); Frame::kNone where
  // there is none. Watermarks are the caller's affair. (A plain number, because an optional goes through memory on the hottest path.)
  uint32_t take(unsigned cpu, Order order, MigrateType type, AllocFlags flags) {
    if (PerCpuLists::takes(order)) [[likely]] {
      const uint32_t pfn = per_cpu_[cpu].take(order.value(), static_cast<unsigned>(type));
      if (pfn != Frame::kNone) [[likely]] return pfn;
    }
    return take_slow(cpu, order, type, flags);
  }
  // Gives a block back; every Frame of it is already cleared.
  void give(unsigned cpu, Pfn first, Order order) {
    // Frames of reserved pageblocks lie with the movable ones.
    MigrateType type = buddy_.pageblock_type(first);
    if (static_cast<unsigned>(type) >= kPcpTypes) [[unlikely]] type = MigrateType::Movable;
    if (!PerCpuLists::takes(order)) [[unlikely]] return give_to_buddy(first, order);
    const uint32_t excess = per_cpu_[cpu].put(static_cast<uint32_t>(first.value()), order.value(), static_cast<unsigned>(type), reclaim_active_);
    if (excess) [[unlikely]] drain_excess(cpu, excess, order, type);
  }
  // Takes a free block out for compaction, unless the zone would fall below its minimum (__isolate_free_page).
  bool isolate_free(Pfn first, Order order);
  // Moves what lies on per-CPU lists to the buddy allocator (drain_pages_zone).
  void drain(unsigned cpu);
  void drain_all();
  Pages per_cpu_frames() const;

  // A watermark, boost included (wmark_pages).
  Pages watermark(Watermark w) const { return Pages{watermarks_[static_cast<size_t>(w)] + boost_}; }
  Pages boost() const { return Pages{boost_}; }
  Pages lowmem_reserve(unsigned highest) const { return Pages{lowmem_reserve_[highest]}; }
  Pages reserved_high_atomic() const { return Pages{high_atomic_}; }
  // Would a block of `order` leave the zone above `mark`, for a request whose highest zone is `highest`? (__zone_watermark_ok) `free`: as if
  // that many frames were free.
  bool watermark_ok(Order order, Pages mark, unsigned highest, AllocFlags flags, Pages free) const;
  bool watermark_ok(Order order, Pages mark, unsigned highest, AllocFlags flags = 0) const {
    return watermark_ok(order, mark, highest, flags, free_frames());
  }
  // The same, with the short cut for single frames (zone_watermark_fast).
  bool watermark_fast(Order order, Pages mark, unsigned highest, AllocFlags flags, Gfp gfp) const {
    if (order.value() == 0) [[likely]] {
      uint64_t usable = free_frames().value();
      if (!(flags & kAllocReserves)) usable -= usable < high_atomic_ ? usable : high_atomic_;
      if (usable > mark.value() + lowmem_reserve_[highest]) [[likely]] return true;
    }
    return watermark_slow(order, mark, highest, flags, gfp);
  }

  // Stealing small blocks from another migrate type raises the watermarks for a while (boost_watermark), so that kswapd makes room.
  // kswapd takes the boost back when it has reclaimed that much (mm/vmscan.c: balance_pgdat); without a reclaimer there is no boost.
  void set_boosting(bool reclaimer_present) { boosting_ = reclaimer_present; }
  void release_boost(Pages n) { boost_ -= n.value() < boost_ ? n.value() : boost_; }
  // True once after a boost: kswapd is to be woken (ZONE_BOOSTED_WATERMARK).
  bool take_boosted() {
    const bool was = boosted_;
    boosted_ = false;
    return was;
  }
  // Reclaim is at work: per-CPU lists are kept short (ZONE_RECLAIM_ACTIVE). kswapd sets and clears it.
  void set_reclaim_active(bool on) { reclaim_active_ = on; }

  // High-order atomic allocations keep a few pageblocks for themselves (reserve_highatomic_pageblock, unreserve_highatomic_pageblock).
  void reserve_high_atomic(Pfn block);
  bool unreserve_high_atomic(MigrateType type, bool force);

  // Called by Watermarks only.
  void set_watermarks(Pages min, Pages low, Pages high);
  void set_lowmem_reserve(unsigned highest, Pages n) { lowmem_reserve_[highest] = n.value(); }
  void set_watermark_boost_factor(unsigned factor) { boost_factor_ = factor; }
  // Batch and size of the per-CPU lists (zone_batchsize, zone_highsize); `high_fraction`: percpu_pagelist_high_fraction, 0 = from the low watermark.
  void update_per_cpu_limits(unsigned high_fraction);
  // vm stats threshold as /proc/zoneinfo prints it (mm/vmstat.c: calculate_normal_threshold).
  unsigned stat_threshold() const;

  void verify() const;

 private:
  bool watermark_slow(Order order, Pages mark, unsigned highest, AllocFlags flags, Gfp gfp) const;
  uint32_t take_slow(unsigned cpu, Order order, MigrateType type, AllocFlags flags);
  uint32_t take_from_buddy(Order order, MigrateType type, AllocFlags flags);
  void give_to_buddy(Pfn first, Order order);
  void drain_excess(unsigned cpu, uint32_t frames, Order order, MigrateType type);
  void after_steal(AllocFlags flags);

  VmStat& stat_;
  unsigned index_;
  bool reclaim_active_ = false, boosting_ = false, boosted_ = false;
  std::array<uint64_t, 3> watermarks_{};
  uint64_t boost_ = 0, high_atomic_ = 0;
  std::array<uint64_t, kZoneTypes> lowmem_reserve_{};
  unsigned boost_factor_ = 15000;
  Pages present_{0}, managed_{0};
  std::vector<PerCpuLists> per_cpu_;
  BuddyAllocator buddy_;
};

// The settings behind the watermarks and what follows from them (min_free_kbytes and its neighbours in /proc/sys/vm).
class Watermarks {
 public:
  // Boot: min_free_kbytes by the size of memory (calculate_min_free_kbytes), then everything else. The zones have their free memory.
  explicit Watermarks(std::span<Zone> zones);

  // Recomputes from the settings: watermarks, lowmem_reserve, totalreserve, per-CPU list sizes.
  void recompute();

  uint64_t min_free_kbytes() const { return min_free_kbytes_; }
  void set_min_free_kbytes(uint64_t n) { min_free_kbytes_ = n, user_min_free_ = true, recompute(); }
  // Where transparent huge pages are on, more is kept free so that pageblocks of one type exist (mm/khugepaged.c: set_recommended_min_free_kbytes).
  void set_huge_pages_enabled(bool on);
  unsigned watermark_scale_factor() const { return scale_factor_; }
  void set_watermark_scale_factor(unsigned n) { scale_factor_ = n, recompute(); }
  unsigned watermark_boost_factor() const { return boost_factor_; }
  void set_watermark_boost_factor(unsigned n);
  unsigned lowmem_reserve_ratio(unsigned zone) const { return ratio_[zone]; }
  void set_lowmem_reserve_ratio(unsigned zone, unsigned ratio) { ratio_[zone] = ratio, recompute(); }
  unsigned high_fraction() const { return high_fraction_; }
  void set_high_fraction(unsigned n) { high_fraction_ = n, recompute(); }

  // totalreserve_pages.
  Pages total_reserve() const { return total_reserve_; }
  // Σ low watermarks, for MemAvailable.
  Pages low_sum() const;

 private:
  uint64_t default_min_free_kbytes() const;
  std::span<Zone> zones_;
  uint64_t min_free_kbytes_ = 1024;
  bool user_min_free_ = false;
  unsigned scale_factor_ = 10, boost_factor_ = 15000, high_fraction_ = 0;
  std::array<unsigned, kZoneTypes> ratio_{256, 256, 32, 0, 0, 0};
  Pages total_reserve_{0};
};

}  // namespace vitro::mm
