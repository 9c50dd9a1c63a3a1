// Taking frames off the LRU lists in batches, and putting back what stays (mm/vmscan.c: isolate_lru_folios, shrink_inactive_list,
// shrink_active_list, move_folios_to_lru).
#include <algorithm>

#include "mm/reclaim/reclaim_state.h"
#include "mm/swap/swap_state.h"
#include "vitro/base/check.h"
#include "vitro/base/trace.h"

namespace vitro::mm {
namespace {

constexpr const char* kListNames[] = {"inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable"};
constexpr auto next_item(VmItem first, unsigned n) { return static_cast<VmItem>(static_cast<unsigned>(first) + n); }
constexpr const char* flags_text(bool file, bool may_write) {
  if (file) return may_write ? "RECLAIM_WB_FILE|RECLAIM_WB_ASYNC" : "RECLAIM_WB_FILE";
  return "RECLAIM_WB_ANON|RECLAIM_WB_ASYNC";
}

}  // namespace

// Takes up to `n` frames from the tail of `list`; returns how many were looked at. Frames of zones that are of no use go to the head.
uint64_t Reclaimer::State::isolate(IsolatedFrames& to, LruList list, uint64_t n, const ScanControl& sc) {
  DCHECK(n <= to.pfn.size(), "isolating {} frames at once", n);
  const bool file = list >= LruList::InactiveFile;
  uint64_t total = 0, skipped = 0, left = lru().size(list);
  std::array<uint32_t, kZoneTypes> skipped_in{};
  for (uint64_t scanned = 0; scanned < n && left > 0; ++total, --left) {
    const uint32_t oldest = lru().oldest(list);
    if (oldest == Frame::kNone) break;
    const Pfn pfn{oldest};
    Frame& f = frame(pfn);
    if (f.zone > sc.reclaim_idx) {
      ++skipped_in[f.zone];
      ++skipped;
      lru().remove(pfn);
      lru().add(pfn);
      continue;
    }
    ++scanned;
    ++f.refcount;
    lru().isolate(pfn, file);
    to.add(pfn);
  }
  isolated += to.size;
  for (unsigned z = 0; z < kZoneTypes; ++z)
    if (skipped_in[z]) stat().add(next_item(VmItem::pgskip_dma, z), skipped_in[z]);
  TRACE(vm.tracer(), Event::MmVmscanLruIsolate, 0, sc.reclaim_idx, sc.order, n, total, skipped, to.size, kListNames[static_cast<size_t>(list)]);
  return total;
}

uint64_t Reclaimer::State::put_back(IsolatedFrames& frames) {
  uint64_t moved = 0;
  for (const uint32_t n : frames.all()) {
    const Pfn pfn{n};
    Frame& f = frame(pfn);
    --isolated;
    if (f.refcount == 1) {  // everybody else has let it go meanwhile
      drop_reference(vm, pfn);
      continue;
    }
    if (f.has(FrameFlag::Mlocked)) {
      f.set(FrameFlag::Unevictable);
      f.clear(FrameFlag::Active);
      stat().add(VmItem::unevictable_pgs_culled);
    }
    --f.refcount;
    lru().add(pfn);
    if (f.has(FrameFlag::Unevictable)) continue;
    ++moved;
    if (f.has(FrameFlag::Active)) lru().age_nonresident(1);
  }
  frames.size = 0;
  return moved;
}

uint64_t Reclaimer::State::shrink_inactive(LruList list, uint64_t n, ScanControl& sc) {
  const bool file = list >= LruList::InactiveFile;
  IsolatedFrames frames;
  const uint64_t scanned = isolate(frames, list, n, sc);
  stat().add(sc.kswapd ? VmItem::pgscan_kswapd : VmItem::pgscan_direct, static_cast<int64_t>(scanned));
  stat().add(next_item(VmItem::pgscan_anon, file), static_cast<int64_t>(scanned));
  const uint64_t taken = frames.size;
  if (taken == 0) return 0;

  ReclaimStat result;
  const uint64_t reclaimed = shrink_frames(frames, sc, result, false);
  put_back(frames);
  lru().note_put_back(file, taken);
  stat().add(sc.kswapd ? VmItem::pgsteal_kswapd : VmItem::pgsteal_direct, static_cast<int64_t>(reclaimed));
  stat().add(next_item(VmItem::pgsteal_anon, file), static_cast<int64_t>(reclaimed));
  lru().note_cost(file, result.nr_pageout);
  // Nothing but dirty pages that nobody writes: the flusher sleeps.
  if (result.nr_unqueued_dirty == taken && self.wake_flusher) self.wake_flusher();

  sc.nr.dirty += result.nr_dirty;
  sc.nr.congested += result.nr_congested;
  sc.nr.unqueued_dirty += result.nr_unqueued_dirty;
  sc.nr.writeback += result.nr_writeback;
  sc.nr.immediate += result.nr_immediate;
  sc.nr.taken += taken;
  if (file) sc.nr.file_taken += taken;
  TRACE(vm.tracer(), Event::MmVmscanLruShrinkInactive, 0, scanned, reclaimed, result.nr_dirty, result.nr_writeback, result.nr_congested,
        result.nr_immediate, result.nr_activate[0], result.nr_activate[1], result.nr_ref_keep, result.nr_unmap_fail, sc.priority,
        flags_text(file, true));
  checkpoint(true);
  return reclaimed;
}

void Reclaimer::State::shrink_active(LruList list, uint64_t n, ScanControl& sc) {
  const bool file = list >= LruList::InactiveFile;
  IsolatedFrames hold, active, inactive;
  const uint64_t scanned = isolate(hold, list, n, sc);
  stat().add(VmItem::pgrefill, static_cast<int64_t>(scanned));
  const uint64_t taken = hold.size;
  uint64_t rotated = 0;
  for (const uint32_t number : hold.all()) {
    const Pfn pfn{number};
    Frame& f = frame(pfn);
    work(vm.timing().reclaim_scan);
    if (f.has(FrameFlag::Mlocked)) {
      active.add(pfn);  // put_back() knows where it belongs
      continue;
    }
    const References used = take_references(vm, pfn);
    if (used.areas > 0 && has(used.flags, VmFlag::Exec) && !f.has(FrameFlag::SwapBacked)) {
      ++rotated;  // code that runs gets another round
      active.add(pfn);
      continue;
    }
    f.clear(FrameFlag::Active);
    f.set(FrameFlag::Workingset);
    inactive.add(pfn);
  }
  const uint64_t activated = put_back(active), deactivated = put_back(inactive);
  stat().add(VmItem::pgdeactivate, static_cast<int64_t>(deactivated));
  lru().note_put_back(file, taken);
  TRACE(vm.tracer(), Event::MmVmscanLruShrinkActive, 0, taken, activated, deactivated, rotated, sc.priority, flags_text(file, false));
  checkpoint(true);
}

void Reclaimer::reclaim_pages(std::span<const Pfn> pages) {
  State& s = *state_;
  ScanControl sc;
  sc.reclaim_idx = kZoneMovable;
  for (size_t at = 0; at < pages.size();) {
    IsolatedFrames frames;
    std::array<uint64_t, 2> taken{};
    for (; at < pages.size() && frames.size < kSwapClusterMax; ++at) {
      const Pfn pfn = pages[at];
      Frame& f = s.frame(pfn);
      const bool file = !f.has(FrameFlag::SwapBacked);
      if (f.has(FrameFlag::Lru) && !f.has(FrameFlag::Unevictable)) {
        ++f.refcount;
        s.lru().isolate(pfn, file);
        f.clear(FrameFlag::Active);
        frames.add(pfn);
        ++s.isolated;
        ++taken[file];
      }
      vm_.put_page(pfn);
    }
    ReclaimStat result;
    s.shrink_frames(frames, sc, result, true);
    s.put_back(frames);
    for (const bool file : {false, true}) s.lru().note_put_back(file, taken[file]);
  }
  vm_.swap().state().submit();
  s.checkpoint(true);
}

}  // namespace vitro::mm
