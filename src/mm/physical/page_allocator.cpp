// Allocation and freeing when all is well: zone choice, per-CPU lists, descriptors, counts. What happens otherwise is in page_allocator_slow.cpp.
#include <algorithm>
#include <cstring>

#include "mm/physical/zoned_page_allocator.h"
#include "vitro/base/check.h"

namespace vitro::mm {
namespace {

// What descriptors are set to. Copied from here as whole words: building them in place, field by field, costs several times as much.
constinit const Frame kHandedOut = [] {
  Frame f;
  f.state = FrameState::Allocated;
  f.written = 1;
  return f;
}();
constinit const Frame kGivenBack = [] {
  Frame f;
  f.state = FrameState::Free;
  f.written = 1;
  return f;
}();

constexpr auto zoned(VmItem first, unsigned zone) { return static_cast<VmItem>(static_cast<unsigned>(first) + zone); }

}  // namespace

ZonedPageAllocator::ZonedPageAllocator(hw::Ram& ram, FrameTable& frames, std::span<Zone> zones, VmStat& stat, Tracer& tracer)
    : ram_(ram), frames_(&frames[Pfn{0}]), zones_(zones), stat_(stat), tracer_(tracer) {
  CHECK(zones.size() == kPopulatedZones, "{} zones", zones.size());
  // A zone without frames starts where the next one does, so that zone_index() counts it too.
  uint64_t next = UINT64_MAX;
  for (unsigned i = kPopulatedZones; i-- > 0;) {
    if (zones[i].populated()) next = zones[i].first().value();
    zone_start_[i] = next;
  }
  for (unsigned highest = 0; highest < kZoneTypes; ++highest) {
    unsigned z = std::min(highest, kPopulatedZones - 1);
    while (z > 0 && !zones[z].populated()) --z;
    preferred_[highest] = static_cast<uint8_t>(z);
  }
}

inline void ZonedPageAllocator::prepare(uint32_t first, unsigned zone, const Request& r) {
  const uint32_t pages = 1u << r.order.value();
  states_[static_cast<size_t>(FrameState::Allocated)] += pages;
  const bool compound = pages > 1 && has_any(r.flags, Gfp::Comp);
  for (uint32_t pfn = first; pfn < first + pages; ++pfn) {
    Frame& f = frames_[pfn];
    const bool written = f.written, poisoned = f.poisoned;
    f = kHandedOut;
    f.zone = static_cast<uint8_t>(zone);
    if (compound && pfn != first) f.compound_head = first;
    if (poisoned) [[unlikely]] check_poison(Pfn{pfn});
    // Memory never handed out since power-on is zero already, and stays unmapped on the host until somebody writes to it.
    if (!written) ram_.bring_in(Pfn{pfn});
    else if (has_any(r.flags, Gfp::Zero)) ram_.zero_frame(Pfn{pfn});
  }
  Frame& head = frames_[first];
  head.order = r.order.value();
  head.refcount = 1;
  if (compound) head.set(FrameFlag::Head);
}

void ZonedPageAllocator::set_reclaim_port(ReclaimPort* port) {
  reclaim_ = port;
  for (Zone& z : zones_) z.set_boosting(port != nullptr);
}

Pfn ZonedPageAllocator::allocate_or_none(Gfp flags, Order order) {
  if (order > kMaxOrder) [[unlikely]] return kNoFrame;
  const unsigned highest = highest_zone(flags);
  const Request r{flags, order, highest, preferred_[highest], migrate_type(flags)};
  // The fast path stops at the low watermark, where the reclaimer is to be woken. In the Normal zone it does not mix migrate types within
  // pageblocks while lower zones have room (alloc_flags_nofragment).
  static_assert(static_cast<uint32_t>(Gfp::KswapdReclaim) == kAllocKswapd);
  AllocFlags alloc = kAllocWmarkLow | (static_cast<uint32_t>(flags) & kAllocKswapd);
  if (r.preferred == kZoneNormal) alloc |= kAllocNoFragment;
  uint32_t block = take(r, alloc);
  if (block == Frame::kNone) [[unlikely]] block = take_slowly(r);
  TRACE(tracer_, Event::MmPageAlloc, block == Frame::kNone ? 0 : descriptor_address(Pfn{block}), block == Frame::kNone ? 0 : block, order.value(), r.type, gfp_text(flags));
  return block == Frame::kNone ? kNoFrame : Pfn{block};
}

uint32_t ZonedPageAllocator::take(const Request& r, AllocFlags flags) {
  for (;;) {
    for (unsigned z = r.preferred + 1; z-- > 0;) {
      Zone& zone = zones_[z];
      if (!zone.populated()) continue;
      if (!(flags & kAllocNoWatermarks) &&
          !zone.watermark_fast(r.order, zone.watermark(static_cast<Watermark>(flags & kAllocWmarkMask)), r.highest, flags, r.flags)) [[unlikely]]
        continue;
      const uint32_t block = zone.take(cpu_, r.order, r.type, flags);
      if (block == Frame::kNone) [[unlikely]] continue;
      stat_.add(zoned(VmItem::pgalloc_dma, z), static_cast<int64_t>(r.order.pages().value()));
      stat_.count_hit(z);
      prepare(block, z, r);
      if (flags & kAllocHighAtomic) [[unlikely]] zone.reserve_high_atomic(Pfn{block});
      if (zone.take_boosted()) [[unlikely]] {
        if (reclaim_) reclaim_->wake_reclaimer(z, Order{0});
      }
      return block;
    }
    // Better a mixed pageblock than none.
    if (!(flags & kAllocNoFragment)) return Frame::kNone;
    flags &= ~kAllocNoFragment;
  }
}

bool ZonedPageAllocator::isolate_free_block(Pfn first, Order order) {
  const unsigned z = zone_index(first);
  if (!zones_[z].isolate_free(first, order)) return false;
  const uint64_t pages = order.pages().value();
  states_[static_cast<size_t>(FrameState::Allocated)] += static_cast<int64_t>(pages);
  for (uint64_t pfn = first.value(); pfn < first.value() + pages; ++pfn) {
    Frame& f = frames_[pfn];
    const bool poisoned = f.poisoned;
    f = kHandedOut;
    f.zone = static_cast<uint8_t>(z);
    f.refcount = 1;
    if (poisoned) [[unlikely]] check_poison(Pfn{pfn});
  }
  return true;
}

void ZonedPageAllocator::check_poison(Pfn f) {
  const auto bytes = ram_.read(f.address(), Bytes{kPageSize});
  const bool intact = std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{kFramePoison}; });
  CHECK(intact, "pfn {}: written to after it was freed", f.value());
}

void ZonedPageAllocator::free(Pfn first, Order order) {
  const uint64_t pages = order.pages().value();
  Frame& head = frames_[first.value()];
  CHECK(head.state > FrameState::PerCpu && head.order == order.value() && head.refcount <= 1 && !head.is_tail(),
        "freeing pfn {} order {}: state {}, order {}, refcount {}, mapcount {}{}", first.value(), order.value(), frame_state_name(head.state),
        head.order, head.refcount, head.mapcount, head.is_tail() ? ", tail of a compound block" : "");
  for (uint64_t i = 0; i < pages; ++i) {
    const Pfn pfn = first + Pages{i};
    Frame& f = frames_[pfn.value()];
    CHECK(f.mapcount == 0 && !f.has(FrameFlag::Lru) && (i == 0 || f.refcount == 0), "freeing pfn {}: mapcount {}, flags {:#x}, refcount {}",
          pfn.value(), f.mapcount, f.flags, f.refcount);
    count(f.state, -1);
    f = kGivenBack;
    if (poison_) [[unlikely]] {
      std::ranges::fill(ram_.write(pfn.address(), Bytes{kPageSize}), std::byte{kFramePoison});
      f.poisoned = 1;
    }
  }
  TRACE(tracer_, Event::MmPageFree, descriptor_address(first), first.value(), order.value());
  stat_.add(VmItem::pgfree, static_cast<int64_t>(pages));
  zone_of(first).give(cpu_, first, order);
}

void ZonedPageAllocator::count(FrameState state, int64_t frames) {
  states_[static_cast<size_t>(state)] += frames;
  if (state == FrameState::KernelStack) stat_.add(VmItem::nr_kernel_stack, frames * static_cast<int64_t>(kPageSize >> 10));
}

void ZonedPageAllocator::set_state(Pfn first, Order order, FrameState state) {
  CHECK(state > FrameState::PerCpu && state < FrameState::Count, "pfn {}: nobody sets state {}", first.value(), frame_state_name(state));
  for (uint64_t i = 0; i < order.pages().value(); ++i) {
    Frame& f = frames_[first.value() + i];
    CHECK(f.state > FrameState::PerCpu, "pfn {} is {}, not handed out", first.value() + i, frame_state_name(f.state));
    count(f.state, -1);
    f.state = state;
    count(state, 1);
  }
}

void ZonedPageAllocator::split(Pfn first, Order order) {
  Frame& head = frames_[first.value()];
  CHECK(head.state > FrameState::PerCpu && head.order == order.value() && !head.is_tail(), "splitting pfn {}: state {}, order {}", first.value(),
        frame_state_name(head.state), head.order);
  head.order = 0;
  head.clear(FrameFlag::Head);
  for (uint64_t i = 1; i < order.pages().value(); ++i) {
    Frame& f = frames_[first.value() + i];
    f.compound_head = 0;
    f.refcount = head.refcount;
  }
}

void ZonedPageAllocator::get(Pfn f) {
  Frame& frame = frames_[f.value()];
  CHECK(frame.refcount != 0, "pfn {}: a reference to a free frame ({})", f.value(), frame_state_name(frame.state));
  ++frame.refcount;
}

bool ZonedPageAllocator::put(Pfn f) {
  Frame& frame = frames_[f.value()];
  CHECK(frame.refcount != 0, "pfn {}: one reference too many given back ({})", f.value(), frame_state_name(frame.state));
  if (--frame.refcount != 0) return false;
  free(f, Order{frame.order});
  return true;
}

Pages ZonedPageAllocator::free_frames() const {
  Pages sum{0};
  for (const Zone& z : zones_) sum += z.free_frames();
  return sum;
}

Pages ZonedPageAllocator::managed_frames() const {
  Pages sum{0};
  for (const Zone& z : zones_) sum += z.managed();
  return sum;
}

uint64_t ZonedPageAllocator::frames_in_state(FrameState state) const {
  uint64_t per_cpu = 0;
  for (const Zone& z : zones_) per_cpu += z.per_cpu_frames().value();
  switch (state) {
    case FrameState::Reserved: return ram_.frames().value() - managed_frames().value();
    case FrameState::Free: return free_frames().value();
    case FrameState::PerCpu: return per_cpu;
    default: return static_cast<uint64_t>(states_[static_cast<size_t>(state)]);
  }
}

void ZonedPageAllocator::drain() {
  for (Zone& z : zones_) z.drain_all();
}

void ZonedPageAllocator::verify_counts(std::span<const uint64_t> found) const {
  for (size_t i = 0; i < found.size(); ++i) {
    const auto state = static_cast<FrameState>(i);
    CHECK(found[i] == frames_in_state(state), "{} frames are {}, but {} were counted", found[i], frame_state_name(state), frames_in_state(state));
  }
  const auto stacks = static_cast<int64_t>(found[static_cast<size_t>(FrameState::KernelStack)]);
  CHECK(stat_.get(VmItem::nr_kernel_stack) == stacks * 4, "nr_kernel_stack {} kB but {} frames", stat_.get(VmItem::nr_kernel_stack), stacks);
}

}  // namespace vitro::mm
