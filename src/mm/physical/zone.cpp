// Taking and giving blocks of one zone, and its watermark checks (mm/page_alloc.c).
#include "vitro/mm/zone.h"

#include <algorithm>
#include <bit>

#include "vitro/base/check.h"

namespace vitro::mm {

std::string_view zone_name(unsigned zone) {
  constexpr std::string_view kNames[kZoneTypes] = {"DMA", "DMA32", "Normal", "HighMem", "Movable", "Device"};
  return kNames[zone];
}

Zone::Zone(FrameTable& frames, VmStat& stat, unsigned index, Pfn first, Pfn end, Pages present, unsigned cpus)
    : stat_(stat), index_(index), present_(present), per_cpu_(cpus, PerCpuLists(frames)), buddy_(frames, index, first, end) {}

void Zone::release(Pfn first, Pfn end) {
  if (first >= end) return;
  buddy_.add_range(first, end);
  managed_ += end - first;
  stat_.add_zone(index_, VmItem::nr_free_pages, static_cast<int64_t>((end - first).value()));
}

uint32_t Zone::take_slow(unsigned cpu, Order order, MigrateType type, AllocFlags flags) {
  if (PerCpuLists::takes(order)) {
    PerCpuLists& lists = per_cpu_[cpu];
    const auto fragment = flags & kAllocNoFragment ? BuddyAllocator::Fragment::Avoid : BuddyAllocator::Fragment::Allow;
    const auto t = static_cast<unsigned>(type);
    if (const uint64_t taken = lists.refill(buddy_, order.value(), t, fragment)) {
      stat_.add_zone(index_, VmItem::nr_free_pages, -static_cast<int64_t>(taken));
      after_steal(flags);
      return lists.pop(order.value(), t);
    }
  }
  return take_from_buddy(order, type, flags);
}

uint32_t Zone::take_from_buddy(Order order, MigrateType type, AllocFlags flags) {
  std::optional<Pfn> block;
  if (flags & kAllocHighAtomic) block = buddy_.allocate_from(order, MigrateType::HighAtomic);
  if (!block) {
    block = buddy_.allocate(order, type, flags & kAllocNoFragment ? BuddyAllocator::Fragment::Avoid : BuddyAllocator::Fragment::Allow);
    if (!block && (flags & (kAllocOom | kAllocNonBlock))) block = buddy_.allocate_from(order, MigrateType::HighAtomic);
  }
  if (!block) return Frame::kNone;
  stat_.add_zone(index_, VmItem::nr_free_pages, -static_cast<int64_t>(order.pages().value()));
  after_steal(flags);
  return static_cast<uint32_t>(block->value());
}

void Zone::after_steal(AllocFlags flags) {
  if (!buddy_.take_fragmentation_event()) return;
  if (!boosting_ || boost_factor_ == 0 || kPageblockFrames * 4 > managed_.value()) return;
  uint64_t most = watermarks_[static_cast<size_t>(Watermark::High)] * boost_factor_ / 10000;
  if (most == 0) return;
  most = std::max(most, kPageblockFrames);
  boost_ = std::min(boost_ + kPageblockFrames, most);
  if (flags & kAllocKswapd) boosted_ = true;
}

void Zone::give_to_buddy(Pfn first, Order order) {
  stat_.add_zone(index_, VmItem::nr_free_pages, static_cast<int64_t>(order.pages().value()));
  buddy_.free(first, order);
}

void Zone::drain_excess(unsigned cpu, uint32_t frames, Order order, MigrateType type) {
  const uint64_t freed = per_cpu_[cpu].drain(buddy_, frames, order.value(), static_cast<unsigned>(type));
  stat_.add_zone(index_, VmItem::nr_free_pages, static_cast<int64_t>(freed));
}

bool Zone::isolate_free(Pfn first, Order order) {
  const auto pages = static_cast<int64_t>(order.pages().value());
  if (!watermark_ok(Order{0}, Pages{watermarks_[static_cast<size_t>(Watermark::Min)]} + order.pages(), kZoneDma)) return false;
  buddy_.isolate(first, order);
  stat_.add_zone(index_, VmItem::nr_free_pages, -pages);
  return true;
}

void Zone::drain(unsigned cpu) {
  const uint64_t freed = per_cpu_[cpu].drain_all(buddy_);
  if (freed) stat_.add_zone(index_, VmItem::nr_free_pages, static_cast<int64_t>(freed));
}

void Zone::drain_all() {
  for (unsigned cpu = 0; cpu < cpus(); ++cpu) drain(cpu);
}

Pages Zone::per_cpu_frames() const {
  uint64_t n = 0;
  for (const PerCpuLists& lists : per_cpu_) n += lists.count();
  return Pages{n};
}

bool Zone::watermark_ok(Order order, Pages mark, unsigned highest, AllocFlags flags, Pages free_pages) const {
  int64_t min = static_cast<int64_t>(mark.value());
  int64_t free = static_cast<int64_t>(free_pages.value()) - static_cast<int64_t>(order.pages().value() - 1);
  if (!(flags & kAllocReserves)) {
    free -= static_cast<int64_t>(high_atomic_);
  } else {
    if (flags & kAllocMinReserve) {
      min -= min / 2;
      if (flags & kAllocNonBlock) min -= min / 4;
    }
    if (flags & kAllocOom) min -= min / 2;
  }
  if (free <= min + static_cast<int64_t>(lowmem_reserve_[highest])) return false;
  return order.value() == 0 || buddy_.has_block(order, flags & (kAllocHighAtomic | kAllocOom));
}

bool Zone::watermark_slow(Order order, Pages mark, unsigned highest, AllocFlags flags, Gfp gfp) const {
  if (watermark_ok(order, mark, highest, flags)) return true;
  // Atomic single frames may go below a boosted minimum: the boost only exists to wake kswapd.
  if (order.value() == 0 && has(gfp, Gfp::Atomic_) && boost_ && (flags & kAllocWmarkMask) == kAllocWmarkMin)
    return watermark_ok(order, Pages{watermarks_[0]}, highest, flags);
  return false;
}

void Zone::reserve_high_atomic(Pfn block) {
  // At most 1 % of the zone and one pageblock.
  if (high_atomic_ >= managed_.value() / 100 + kPageblockFrames) return;
  if (buddy_.reserve_high_atomic(block)) high_atomic_ += kPageblockFrames;
}

bool Zone::unreserve_high_atomic(MigrateType type, bool force) {
  if (!force && high_atomic_ <= kPageblockFrames) return false;
  if (high_atomic_ == 0) return false;
  const uint64_t before = buddy_.pageblocks(MigrateType::HighAtomic);
  if (buddy_.unreserve_high_atomic(type).value() == 0) return false;
  const uint64_t gone = (before - buddy_.pageblocks(MigrateType::HighAtomic)) * kPageblockFrames;
  high_atomic_ -= std::min(gone, high_atomic_);
  return true;
}

void Zone::set_watermarks(Pages min, Pages low, Pages high) {
  watermarks_ = {min.value(), low.value(), high.value()};
  boost_ = 0;
}

void Zone::update_per_cpu_limits(unsigned high_fraction) {
  // A thousandth of the zone, at most 1 MiB, in quarters, as 2^n - 1: two tasks that take turns do not share cache colours.
  uint64_t batch = std::max<uint64_t>(std::min<uint64_t>(managed_.value() >> 10, mib(1).pages_down().value()) / 4, 1);
  batch = std::max<uint64_t>(std::bit_floor(batch + batch / 2) - 1, 1);
  const uint64_t total = high_fraction ? managed_.value() / high_fraction : watermark(Watermark::Low).value();
  const uint64_t high = std::max(total / std::max(cpus(), 1u), batch * 4);
  for (PerCpuLists& lists : per_cpu_) lists.set_limits(static_cast<uint32_t>(high), static_cast<uint32_t>(batch));
}

unsigned Zone::stat_threshold() const {
  const auto fls = [](uint64_t n) { return static_cast<unsigned>(std::bit_width(n)); };
  return std::min(125u, 2 * fls(cpus()) * (1 + fls(managed_.value() >> (27 - kPageShift))));
}

void Zone::verify() const {
  buddy_.verify();
  for (const PerCpuLists& lists : per_cpu_) lists.verify();
  CHECK(stat_.get_zone(index_, VmItem::nr_free_pages) == static_cast<int64_t>(free_frames().value()),
        "zone {}: nr_free_pages {} but {} frames are free", name(), stat_.get_zone(index_, VmItem::nr_free_pages), free_frames().value());
  CHECK(free_frames() + per_cpu_frames() <= managed_, "zone {}: more free frames than managed ones", name());
  CHECK(high_atomic_ == buddy_.pageblocks(MigrateType::HighAtomic) * kPageblockFrames, "zone {}: {} frames reserved for atomic blocks", name(),
        high_atomic_);
}

}  // namespace vitro::mm
