#include "vitro/mm/compaction.h"

#include <fmt/format.h>

#include <algorithm>

#include "mm/physical/migrate.h"
#include "mm/space/virtual_memory_state.h"

namespace vitro::mm {
namespace {

constexpr unsigned kCostlyOrder = 3;
constexpr unsigned kClusterMax = 32;      // COMPACT_CLUSTER_MAX: frames taken at a time
constexpr unsigned kMaxDeferShift = 6;    // COMPACT_MAX_DEFER_SHIFT
constexpr Pages compact_gap(Order order) { return order.pages() * 2; }

uint64_t block_start(uint64_t pfn) { return pfn & ~(kPageblockFrames - 1); }
uint64_t block_end(uint64_t pfn) { return block_start(pfn) + kPageblockFrames; }

// fill_contig_page_info.
struct FreeBlocks {
  uint64_t pages = 0, blocks = 0, suitable = 0;
};
FreeBlocks free_blocks(const Zone& zone, Order wanted) {
  FreeBlocks info;
  for (uint8_t order = 0; order < kOrders; ++order) {
    const uint64_t n = zone.buddy().free_blocks(Order{order});
    info.blocks += n;
    info.pages += n << order;
    if (order >= wanted.value()) info.suitable += n << (order - wanted.value());
  }
  return info;
}

}  // namespace

int fragmentation_index(const Zone& zone, Order order) {
  const FreeBlocks info = free_blocks(zone, order);
  if (info.blocks == 0) return 0;
  if (info.suitable != 0) return -1000;
  return static_cast<int>(1000 - static_cast<int64_t>((1000 + info.pages * 1000 / order.pages().value()) / info.blocks));
}

int unusable_free_index(const Zone& zone, Order order) {
  const FreeBlocks info = free_blocks(zone, order);
  if (info.pages == 0) return 1000;
  return static_cast<int>((info.pages - (info.suitable << order.value())) * 1000 / info.pages);
}

std::string extfrag_index_text(PhysicalMemory& physical) {
  std::string text;
  for (const Zone& zone : physical.zones()) {
    if (!zone.populated()) continue;
    fmt::format_to(std::back_inserter(text), "Node 0, zone {:>8} ", zone.name());
    for (uint8_t order = 0; order < kOrders; ++order) {
      const int index = fragmentation_index(zone, Order{order});
      fmt::format_to(std::back_inserter(text), "{:2}.{:03} ", index / 1000, index % 1000);
    }
    text += '\n';
  }
  return text;
}

std::string unusable_index_text(PhysicalMemory& physical) {
  std::string text;
  for (const Zone& zone : physical.zones()) {
    if (!zone.populated()) continue;
    fmt::format_to(std::back_inserter(text), "Node 0, zone {:>8} ", zone.name());
    for (uint8_t order = 0; order < kOrders; ++order) {
      const int index = unusable_free_index(zone, Order{order});
      fmt::format_to(std::back_inserter(text), "{}.{:03} ", index / 1000, index % 1000);
    }
    text += '\n';
  }
  return text;
}

// One pass over one zone (struct compact_control).
struct Compaction::Run {
  Zone& zone;
  std::optional<Order> order;    // nothing: compact_memory, which goes on to the end
  Gfp flags = Gfp::Kernel;
  AllocFlags alloc_flags = 0;
  unsigned highest = 0;
  bool async = false, direct = false, whole_zone = false, ignore_block_suitable = false;

  uint64_t migrate_pfn = 0, free_pfn = 0;
  std::vector<Pfn> movable;      // isolated, to be moved
  std::vector<Pfn> places;       // free frames taken for them
  bool exhausted = false;        // the zone has no free frames to spare
  uint64_t migrate_scanned = 0, free_scanned = 0;

  bool met() const { return (free_pfn >> kPageblockOrder.value()) <= (migrate_pfn >> kPageblockOrder.value()); }
  MigrateType type() const { return migrate_type(flags); }
};

Compaction::Compaction(VirtualMemory& vm) : vm_(vm) {}

// --- putting off ---

void Compaction::defer(unsigned zone, Order order) {
  Deferral& d = deferrals_[zone];
  d.considered = 0;
  d.shift = std::min(d.shift + 1, kMaxDeferShift);
  d.order_failed = std::min(d.order_failed, order.value());
}

bool Compaction::deferred(unsigned zone, Order order) {
  Deferral& d = deferrals_[zone];
  if (order.value() < d.order_failed) return false;
  const unsigned limit = 1u << d.shift;
  if (++d.considered >= limit) {
    d.considered = limit;
    return false;
  }
  return true;
}

void Compaction::succeeded(unsigned zone, Order order) {
  Deferral& d = deferrals_[zone];
  d.considered = d.shift = 0;
  if (order.value() >= d.order_failed) d.order_failed = static_cast<uint8_t>(order.value() + 1);
}

// --- whether ---

CompactResult Compaction::suitability(const Zone& zone, Order order, AllocFlags alloc_flags, unsigned highest) const {
  const Pages mark = zone.watermark(static_cast<Watermark>(alloc_flags & kAllocWmarkMask));
  if (zone.watermark_ok(order, mark, highest, alloc_flags)) return CompactResult::Success;
  const Pages needed = zone.watermark(order.value() > kCostlyOrder ? Watermark::Low : Watermark::Min) + compact_gap(order);
  if (!zone.watermark_ok(Order{0}, needed, highest)) return CompactResult::Skipped;
  if (order.value() > kCostlyOrder) {
    const int index = fragmentation_index(zone, order);
    if (index >= 0 && index <= static_cast<int>(extfrag_threshold)) return CompactResult::Skipped;
  }
  return CompactResult::Continue;
}

// compaction_zonelist_suitable, without what reclaim could add.
bool Compaction::suitable(Order order, AllocFlags alloc_flags, unsigned highest) {
  for (const Zone& zone : vm_.physical().zones()) {
    if (!zone.populated() || zone.index() > highest) continue;
    if (suitability(zone, order, alloc_flags, highest) != CompactResult::Skipped) return true;
  }
  return false;
}

CompactResult Compaction::compact_directly(Gfp flags, Order order, AllocFlags alloc_flags, unsigned highest, CompactPriority priority) {
  if (!has(flags, Gfp::Io) || running_) return CompactResult::Skipped;
  CompactResult result = CompactResult::Skipped;
  const auto zones = vm_.physical().zones();
  for (size_t i = zones.size(); i-- > 0;) {
    Zone& zone = zones[i];
    if (!zone.populated() || zone.index() > highest) continue;
    if (priority > CompactPriority::Full && deferred(zone.index(), order)) {
      result = std::max(result, CompactResult::Deferred);
      continue;
    }
    Run run{.zone = zone, .order = order, .flags = flags, .alloc_flags = alloc_flags, .highest = highest, .async = priority == CompactPriority::Async,
            .direct = true, .whole_zone = priority == CompactPriority::Full, .ignore_block_suitable = priority == CompactPriority::Full};
    const CompactResult status = compact_zone(run);
    result = std::max(result, status);
    if (status == CompactResult::Success) {
      if (Deferral& d = deferrals_[zone.index()]; order.value() >= d.order_failed) d.order_failed = static_cast<uint8_t>(order.value() + 1);
      break;
    }
    if (priority != CompactPriority::Async && (status == CompactResult::Complete || status == CompactResult::PartialSkipped)) defer(zone.index(), order);
  }
  return result;
}

uint64_t Compaction::compact_all() {
  if (running_) return 0;
  const uint64_t before = moved_;
  vm_.physical().drain_per_cpu_lists();
  for (Zone& zone : vm_.physical().zones()) {
    if (!zone.populated()) continue;
    Run run{.zone = zone, .order = std::nullopt, .highest = zone.index(), .whole_zone = true};
    compact_zone(run);
  }
  vm_.physical().drain_per_cpu_lists();
  return moved_ - before;
}

// --- one zone ---

CompactResult Compaction::finished(Run& run) {
  if (run.met()) {
    cached_[run.zone.index()] = {};
    return run.whole_zone ? CompactResult::Complete : CompactResult::PartialSkipped;
  }
  if (!run.order) return CompactResult::Continue;
  // A pageblock is finished before the question is asked, so that fewer requests have to steal later.
  if (run.migrate_pfn % kPageblockFrames != 0) return CompactResult::Continue;
  return run.zone.buddy().could_take(*run.order, run.type()) ? CompactResult::Success : CompactResult::NoSuitablePage;
}

CompactResult Compaction::compact_zone(Run& run) {
  Zone& zone = run.zone;
  if (run.order) {
    const CompactResult fit = suitability(zone, *run.order, run.alloc_flags, run.highest);
    if (fit != CompactResult::Continue) return fit;
  }
  const uint64_t start = zone.first().value(), end = start + zone.spanned().value();
  Cached& cached = cached_[zone.index()];
  uint64_t& cached_migrate = run.async ? cached.migrate_async : cached.migrate_sync;
  run.migrate_pfn = start;
  run.free_pfn = block_start(end - 1);
  if (!run.whole_zone) {
    if (cached_migrate != 0) run.migrate_pfn = cached_migrate;
    else run.whole_zone = true;
    if (cached.free != 0) run.free_pfn = cached.free;
  }
  running_ = true;
  CompactResult result;
  const unsigned cpu = vm_.physical().current_cpu();
  // NoSuitablePage only says that this is not the end yet (compact_finished).
  while ((result = finished(run)) == CompactResult::Continue || result == CompactResult::NoSuitablePage) {
    const uint64_t from = run.migrate_pfn;
    isolate_movable(run);
    if (!run.movable.empty()) migrate(run);
    cached_migrate = block_start(run.migrate_pfn);
    if (!run.async) cached.migrate_async = std::max(cached.migrate_async, cached_migrate);
    // What was freed lies on this CPU's lists, where it cannot merge.
    if (run.order && from >> run.order->value() != run.migrate_pfn >> run.order->value()) zone.drain(cpu);
    if (run.exhausted && !run.met()) {
      result = CompactResult::Contended;
      break;
    }
  }
  for (const Pfn place : run.places) {
    cached.free = std::max(cached.free, block_start(place.value()));
    vm_.physical().allocator().free(place);
  }
  run.places.clear();
  zone.drain(cpu);
  VmStat& stat = vm_.physical().stat();
  stat.add(VmItem::compact_migrate_scanned, static_cast<int64_t>(run.migrate_scanned));
  stat.add(VmItem::compact_free_scanned, static_cast<int64_t>(run.free_scanned));
  running_ = false;
  return result;
}

// isolate_migratepages: the next pageblock that is worth it, and up to a cluster of frames from it.
void Compaction::isolate_movable(Run& run) {
  const uint64_t zone_end = run.zone.first().value() + run.zone.spanned().value();
  uint64_t pfn = run.migrate_pfn;
  for (; block_end(pfn) <= run.free_pfn; pfn = block_end(pfn)) {
    run.migrate_pfn = pfn;
    if (run.async && run.direct) {
      // Optimistic: only blocks of the kind that is asked for.
      const MigrateType block = run.zone.buddy().pageblock_type(Pfn{pfn});
      if (block != run.type()) continue;
    }
    run.migrate_pfn = isolate_movable_in(run, pfn, std::min(block_end(pfn), zone_end));
    return;
  }
  run.migrate_pfn = pfn;
}

bool Compaction::try_isolate(Run& run, Pfn pfn) {
  const Frame& f = vm_.physical().frames()[pfn];
  if (!f.has(FrameFlag::Lru) || f.has(FrameFlag::Head) || f.is_tail()) return false;
  const bool anonymous = f.state == FrameState::Anonymous;
  if (anonymous && f.refcount > f.mapcount) return false;        // pinned
  if (!anonymous && !has(run.flags, Gfp::Fs)) return false;      // file systems may be in the middle of something
  if (f.has(FrameFlag::Unevictable) && !unevictable_allowed) return false;
  if (f.has(FrameFlag::Writeback) || f.has(FrameFlag::Locked) || f.has(FrameFlag::SwapCache)) return false;
  return isolate_from_lru(vm_, pfn);
}

// isolate_migratepages_block. Returns where it stopped.
uint64_t Compaction::isolate_movable_in(Run& run, uint64_t pfn, uint64_t end) {
  const bool skip_on_failure = run.direct && run.async;
  const uint64_t span = run.order ? run.order->pages().value() : 1;
  const auto span_end = [&](uint64_t at) { return (at & ~(span - 1)) + span; };
  uint64_t next_skip = span_end(pfn);
  const FrameTable& frames = vm_.physical().frames();
  for (; pfn < end; ++pfn) {
    if (skip_on_failure && pfn >= next_skip) {
      if (!run.movable.empty()) break;
      next_skip = span_end(pfn);
    }
    ++run.migrate_scanned;
    const Frame& f = frames[Pfn{pfn}];
    if (f.state == FrameState::Free || f.state == FrameState::Reserved) {
      if (const auto block = run.zone.buddy().free_block_with(Pfn{pfn})) {
        pfn = block->first.value() + block->second.pages().value() - 1;
        continue;
      }
    }
    if (try_isolate(run, Pfn{pfn})) {
      run.movable.push_back(Pfn{pfn});
      if (run.movable.size() >= kClusterMax) {
        ++pfn;
        break;
      }
      continue;
    }
    if (!skip_on_failure) continue;
    // No block of this order can come of it any more.
    put_back(run);
    if (pfn < next_skip) pfn = next_skip - 1, next_skip += span;
  }
  vm_.physical().stat().add(VmItem::compact_isolated, static_cast<int64_t>(run.movable.size()));
  return std::min(pfn, end);
}

void Compaction::put_back(Run& run) {
  for (const Pfn f : run.movable) put_back_on_lru(vm_, f);
  run.movable.clear();
}

// isolate_freepages: from the top down, pageblocks of movable memory that are not wholly free.
void Compaction::isolate_free(Run& run) {
  const uint64_t zone_end = run.zone.first().value() + run.zone.spanned().value();
  const uint64_t low = block_end(run.migrate_pfn);
  PageAllocator& allocator = vm_.physical().allocator();
  uint64_t pfn = run.free_pfn;
  for (uint64_t block = block_start(pfn); block >= low; block -= kPageblockFrames, pfn = block) {
    const uint64_t end = std::min(block + kPageblockFrames, zone_end);
    run.free_pfn = pfn;
    const auto whole = run.zone.buddy().free_block_with(Pfn{block});
    if (whole && whole->second >= kPageblockOrder) continue;
    if (!run.ignore_block_suitable && run.zone.buddy().pageblock_type(Pfn{block}) != MigrateType::Movable) continue;
    uint64_t taken = 0;
    for (; pfn < end && run.places.size() < run.movable.size(); ++pfn) {
      ++run.free_scanned;
      const auto found = run.zone.buddy().free_block_with(Pfn{pfn});
      if (!found) continue;
      const uint64_t n = found->second.pages().value();
      if (found->first.value() != pfn) {
        pfn = found->first.value() + n - 1;
        continue;
      }
      if (!allocator.isolate_free_block(Pfn{pfn}, found->second)) {
        run.free_pfn = pfn;
        run.exhausted = true;
        return;
      }
      for (uint64_t i = 0; i < n; ++i) run.places.push_back(Pfn{pfn + i});
      run.free_scanned += n - 1;
      taken += n;
      pfn += n - 1;
    }
    vm_.physical().stat().add(VmItem::compact_isolated, static_cast<int64_t>(taken));
    if (run.places.size() >= run.movable.size()) {
      run.free_pfn = pfn >= end ? block - kPageblockFrames : pfn;
      return;
    }
  }
  run.free_pfn = pfn;  // below `low`: the scanners have met
}

void Compaction::migrate(Run& run) {
  VmStat& stat = vm_.physical().stat();
  uint64_t moved = 0, failed = 0;
  for (const Pfn from : run.movable) {
    if (run.places.empty()) {
      isolate_free(run);
      // None: the scanners have met, or the zone has to keep what is free.
      if (run.places.empty()) {
        put_back_on_lru(vm_, from);
        ++failed;
        continue;
      }
    }
    if (migrate_frame(vm_, from, run.places.back())) {
      run.places.pop_back();
      ++moved;
    } else {
      put_back_on_lru(vm_, from);
      ++failed;
    }
  }
  run.movable.clear();
  moved_ += moved;
  stat.add(VmItem::pgmigrate_success, static_cast<int64_t>(moved));
  stat.add(VmItem::pgmigrate_fail, static_cast<int64_t>(failed));
  vm_.charge(vm_.timing().migrate_page * moved);
}

}  // namespace vitro::mm
