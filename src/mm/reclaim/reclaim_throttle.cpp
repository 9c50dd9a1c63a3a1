// When reclaim waits, and for what (mm/vmscan.c: reclaim_throttle, throttle_direct_reclaim).
#include "mm/reclaim/reclaim_state.h"
#include "mm/swap/swap_state.h"
#include "vitro/base/trace.h"

namespace vitro::mm {

void Reclaimer::State::throttle(Throttle reason, bool kswapd) {
  TaskReclaim* t = task();
  if (!may_wait() || (!kswapd && (!t || t->kernel_thread))) return checkpoint(true);
  Nanoseconds timeout = kTick;
  if (reason == Throttle::Writeback) {
    timeout = kTick * 25;  // HZ/10
    if (++writeback_throttled == 1) throttled_written = 0;
  } else {
    // skip_throttle_noprogress: nothing to wait for where memory is about to run out, or where little is being written.
    uint64_t reclaimable = 0, pending = 0;
    for (const Zone& z : vm.physical().zones()) {
      reclaimable += zone_reclaimable(z.index());
      pending += static_cast<uint64_t>(stat().get_zone(z.index(), VmItem::nr_zone_write_pending));
    }
    if (kswapd_failures >= kMaxReclaimRetries || 2 * pending <= reclaimable) return checkpoint(true);
  }
  checkpoint(false);
  vm.swap().state().submit();  // what we wait for must be on its way

  const Nanoseconds from = now();
  (void)vm.blocking()->wait(reason == Throttle::Writeback ? writeback_wait : throttle_wait, Interruptible::No, from + timeout);
  if (reason == Throttle::Writeback) --writeback_throttled;
  constexpr const char* kReasons[] = {"VMSCAN_THROTTLE_WRITEBACK", "VMSCAN_THROTTLE_NOPROGRESS", "VMSCAN_THROTTLE_CONGESTED"};
  TRACE(vm.tracer(), Event::MmVmscanThrottled, 0, timeout.value() / 1000, (now() - from).value() / 1000, kReasons[static_cast<size_t>(reason)]);
}

void Reclaimer::State::written(uint64_t pages) {
  if (writeback_throttled == 0) return;
  throttled_written += pages;
  stat().add(VmItem::nr_throttled_written, static_cast<int64_t>(pages));
  // __acct_reclaim_writeback: enough for everybody who waits.
  if (throttled_written > kSwapClusterMax * writeback_throttled) writeback_wait.wake_all();
}

bool Reclaimer::State::allow_direct_reclaim() {
  if (kswapd_failures >= kMaxReclaimRetries) return true;
  uint64_t reserve = 0, free = 0;
  for (const Zone& z : vm.physical().zones()) {
    if (z.index() > kZoneNormal || z.managed().value() == 0 || zone_reclaimable(z.index()) == 0) continue;
    reserve += z.watermark(Watermark::Min).value();
    free += z.free_frames().value();
  }
  if (reserve == 0 || free > reserve / 2) return true;
  if (!kswapd_wait.empty()) {
    if (kswapd_zone && *kswapd_zone > kZoneNormal) kswapd_zone = kZoneNormal;
    kswapd_wait.wake_all();
  }
  return false;
}

// Half of the reserves are gone: waits until kswapd has restored them. True: the task is dying, so it must not reclaim.
bool Reclaimer::State::throttle_direct_reclaim(Gfp gfp) {
  TaskReclaim* t = task();
  if (!t || t->kernel_thread || !kswapd_runs || !may_wait() || self.tasks_->current_is_dying() || allow_direct_reclaim()) return false;
  stat().add(VmItem::pgscan_direct_throttle);
  // Whoever holds locks of a file system must not wait for kswapd, which may want them; here everybody goes on after a second, and a task
  // without such locks then looks again.
  do {
    (void)vm.blocking()->wait(pfmemalloc_wait, Interruptible::No, now() + seconds(1));
    if (self.tasks_->current_is_dying()) return true;
  } while (has(gfp, Gfp::Fs) && kswapd_failures < kMaxReclaimRetries && !allow_direct_reclaim() && !pfmemalloc_wait.empty());
  return false;
}

void note_written(VirtualMemory& vm, Pfn pfn) {
  Frame& f = vm.physical().frames()[pfn];
  if (f.has(FrameFlag::Reclaim)) {
    f.clear(FrameFlag::Reclaim);
    vm.lru().rotate(pfn);
  }
  vm.reclaimer().state().written(1);
}

}  // namespace vitro::mm
