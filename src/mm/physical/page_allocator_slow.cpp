// What the page allocator does when the low watermarks are not met: wake the reclaimer, use reserves, reclaim, compact, kill
// (mm/page_alloc.c: __alloc_pages_slowpath). Everything here may wait, so nothing about the zones is remembered across a call upwards.
#include <fmt/format.h>

#include <algorithm>

#include "mm/physical/zoned_page_allocator.h"
#include "vitro/base/check.h"
#include "vitro/base/trace.h"

namespace vitro::mm {
namespace {

constexpr unsigned kCostlyOrder = 3;   // PAGE_ALLOC_COSTLY_ORDER: larger blocks are not worth reclaiming or killing for
constexpr uint32_t kNone = Frame::kNone;
constexpr unsigned kMaxFruitless = 16;  // MAX_RECLAIM_RETRIES

// gfp_to_alloc_flags.
AllocFlags slow_flags(Gfp gfp, Order order) {
  static_assert(static_cast<uint32_t>(Gfp::High) == kAllocMinReserve);
  AllocFlags flags = kAllocWmarkMin | (static_cast<uint32_t>(gfp) & (kAllocMinReserve | kAllocKswapd));
  if (!has(gfp, Gfp::DirectReclaim) && !has(gfp, Gfp::NoMemAlloc)) {
    flags |= kAllocNonBlock;
    if (order.value() > 0 && (flags & kAllocMinReserve)) flags |= kAllocHighAtomic;
  }
  return flags;
}

// __gfp_pfmemalloc_flags: 0 where the reserves are closed.
AllocFlags reserve_flags(Gfp gfp, const AllocationContext& who) {
  if (has(gfp, Gfp::NoMemAlloc)) return 0;
  if (has(gfp, Gfp::MemAlloc) || who.reclaiming) return kAllocNoWatermarks;
  return who.oom_victim ? kAllocOom : 0;
}

}  // namespace

void ZonedPageAllocator::wake_reclaimer(const Request& r) {
  if (reclaim_) reclaim_->wake_reclaimer(counted_zone(std::min<unsigned>(r.highest, kZoneHighMem)), r.order);
}

uint32_t ZonedPageAllocator::take_slowly(const Request& r) {
  const Gfp gfp = r.flags;
  const bool may_reclaim = has(gfp, Gfp::DirectReclaim);
  const bool costly = r.order.value() > kCostlyOrder;
  const bool may_compact = has(gfp, Gfp::Io);  // gfp_compaction_allowed
  AllocFlags flags = slow_flags(gfp, r.order);
  unsigned fruitless = 0, compactions = 0;
  CompactPriority priority = CompactPriority::Light;

  if (flags & kAllocKswapd) wake_reclaimer(r);
  if (const uint32_t block = take(r, flags); block != kNone) return block;

  const AllocationContext asker = reclaim_ ? reclaim_->context() : AllocationContext{};
  if (may_reclaim && may_compact && (costly || (r.order.value() > 0 && r.type != MigrateType::Movable)) && !reserve_flags(gfp, asker)) {
    CompactResult result;
    if (const uint32_t block = compact_and_take(r, flags, CompactPriority::Async, result); block != kNone) return block;
    // A costly request that asked not to be retried gives up when compaction could not even try, and does not try harder.
    if (costly && has(gfp, Gfp::NoRetry)) {
      if (result == CompactResult::Skipped || result == CompactResult::Deferred) return kNone;
      priority = CompactPriority::Async;
    }
  }

  for (;;) {
    if (flags & kAllocKswapd) wake_reclaimer(r);
    const AllocationContext who = reclaim_ ? reclaim_->context() : AllocationContext{};
    if (const AllocFlags reserve = reserve_flags(gfp, who)) flags = reserve | (flags & kAllocKswapd);
    if (const uint32_t block = take(r, flags); block != kNone) return block;

    // nopage: only a request that must not fail goes on.
    bool give_up = !may_reclaim || who.reclaiming || !reclaim_;
    if (!give_up) {
      bool progress = false;
      if (const uint32_t block = reclaim_and_take(r, flags, progress); block != kNone) return block;
      CompactResult compacted = CompactResult::Skipped;
      if (const uint32_t block = compact_and_take(r, flags, priority, compacted); block != kNone) return block;
      if (has(gfp, Gfp::NoRetry)) {
        give_up = true;
      } else if (costly && !(may_compact && has(gfp, Gfp::RetryMayFail))) {
        give_up = true;
      } else {
        if (should_retry(r, flags, progress, fruitless)) continue;
        if (progress && should_compact_again(r, flags, compacted, priority, compactions)) continue;
        if (const uint32_t block = kill_and_take(r, progress); block != kNone) return block;
        if (reclaim_->context().oom_victim && ((flags & kAllocOom) || has(gfp, Gfp::NoMemAlloc))) give_up = true;
        else if (progress) {
          fruitless = 0;
          continue;
        } else {
          give_up = true;
        }
      }
    }
    if (!has(gfp, Gfp::NoFail)) return kNone;
    // Must not fail: half of the reserves, and again, as long as somebody can still make room.
    if (const uint32_t block = take(r, kAllocMinReserve); block != kNone) return block;
    if (!may_reclaim || !reclaim_ || who.reclaiming) {
      if (const uint32_t block = take(r, kAllocNoWatermarks); block != kNone) return block;
      return kNone;
    }
    if (++fruitless > 64 * kMaxFruitless) return take(r, kAllocNoWatermarks);
  }
}

// __alloc_pages_direct_compact.
uint32_t ZonedPageAllocator::compact_and_take(const Request& r, AllocFlags flags, CompactPriority priority, CompactResult& result) {
  result = CompactResult::Skipped;
  if (r.order.value() == 0 || !compaction_) return kNone;
  result = compaction_->compact_directly(r.flags, r.order, flags, r.highest, priority);
  if (result == CompactResult::Skipped) return kNone;
  stat_.add(VmItem::compact_stall);
  const uint32_t block = take(r, flags);
  if (block == kNone) {
    stat_.add(VmItem::compact_fail);
    return kNone;
  }
  compaction_->succeeded(zone_index(Pfn{block}), r.order);
  stat_.add(VmItem::compact_success);
  return block;
}

// should_compact_retry: tries harder step by step; costly requests are not worth the last one.
bool ZonedPageAllocator::should_compact_again(const Request& r, AllocFlags flags, CompactResult result, CompactPriority& priority, unsigned& tries) {
  if (r.order.value() == 0 || !compaction_) return false;
  const bool costly = r.order.value() > kCostlyOrder;
  if (result == CompactResult::Success) ++tries;
  if (result == CompactResult::Skipped) return compaction_->suitable(r.order, flags, r.highest);
  const bool gave_up = result == CompactResult::Complete || result == CompactResult::Deferred || result == CompactResult::Contended ||
                       result == CompactResult::PartialSkipped;
  if (!gave_up && tries <= (costly ? kMaxFruitless / 4 : kMaxFruitless)) return true;
  if (priority <= (costly ? CompactPriority::Light : CompactPriority::Full)) return false;
  priority = static_cast<CompactPriority>(static_cast<uint8_t>(priority) - 1);
  tries = 0;
  return true;
}

// __alloc_pages_direct_reclaim.
uint32_t ZonedPageAllocator::reclaim_and_take(const Request& r, AllocFlags flags, bool& progress) {
  stat_.add(static_cast<VmItem>(static_cast<unsigned>(VmItem::allocstall_dma) + counted_zone(r.highest)));
  progress = reclaim_->reclaim_directly(r.flags, r.order).value() != 0;
  if (!progress) return kNone;
  if (const uint32_t block = take(r, flags); block != kNone) return block;
  // What was freed may lie on per-CPU lists or in pageblocks reserved for atomic requests.
  unreserve_high_atomic(r, false);
  drain();
  return take(r, flags);
}

// __alloc_pages_may_oom.
uint32_t ZonedPageAllocator::kill_and_take(const Request& r, bool& progress) {
  progress = false;
  if (const uint32_t block = take(r, kAllocWmarkHigh); block != kNone) return block;
  if (r.order.value() > kCostlyOrder || has_any(r.flags, Gfp::RetryMayFail | Gfp::ThisNode) || r.highest < kZoneNormal) return kNone;
  progress = reclaim_->out_of_memory(r.flags, r.order) || has(r.flags, Gfp::NoFail);
  if (progress && has(r.flags, Gfp::NoFail)) return take(r, kAllocNoWatermarks);
  return kNone;
}

// Would the request succeed if everything reclaimable were reclaimed? (should_reclaim_retry)
bool ZonedPageAllocator::should_retry(const Request& r, AllocFlags flags, bool progress, unsigned& fruitless) {
  if (progress && r.order.value() <= kCostlyOrder) fruitless = 0;
  else ++fruitless;
  if (fruitless <= kMaxFruitless) {
    for (unsigned z = r.preferred + 1; z-- > 0;) {
      const Zone& zone = zones_[z];
      if (!zone.populated()) continue;
      int64_t reclaimable = stat_.get_zone(z, VmItem::nr_zone_inactive_file) + stat_.get_zone(z, VmItem::nr_zone_active_file);
      if (reclaim_->can_swap()) reclaimable += stat_.get_zone(z, VmItem::nr_zone_inactive_anon) + stat_.get_zone(z, VmItem::nr_zone_active_anon);
      const Pages available = zone.free_frames() + Pages{static_cast<uint64_t>(std::max<int64_t>(reclaimable, 0))};
      const bool enough = zone.watermark_ok(r.order, zone.watermark(Watermark::Min), r.highest, flags, available);
      TRACE(tracer_, Event::OomReclaimRetryZone, 0, fmt::format("{:<8}", zone_name(z)), r.order.value(), available.value() - zone.free_frames().value(), available.value(),
            zone.watermark(Watermark::Min).value(), fruitless, enough);
      if (enough) return true;
    }
  }
  return unreserve_high_atomic(r, true);
}

bool ZonedPageAllocator::unreserve_high_atomic(const Request& r, bool force) {
  for (unsigned z = r.preferred + 1; z-- > 0;)
    if (zones_[z].unreserve_high_atomic(r.type, force)) return true;
  return false;
}

}  // namespace vitro::mm
