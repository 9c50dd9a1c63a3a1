// The thread that keeps memory free ahead of demand (mm/vmscan.c: kswapd, balance_pgdat, wakeup_kswapd).
#include <algorithm>

#include "mm/reclaim/memory_stall.h"
#include "mm/reclaim/reclaim_state.h"
#include "vitro/base/trace.h"

namespace vitro::mm {

// Some zone that the request may use has its high watermark free (pgdat_balanced).
bool Reclaimer::State::balanced(unsigned order, unsigned highest) {
  for (const Zone& z : vm.physical().zones()) {
    if (z.index() > highest || z.managed().value() == 0) continue;
    if (z.watermark_ok(Order{static_cast<uint8_t>(order)}, z.watermark(Watermark::High), highest)) return true;
  }
  return false;
}

bool Reclaimer::State::boosted(unsigned highest) {
  for (const Zone& z : vm.physical().zones())
    if (z.index() <= highest && z.boost().value() != 0) return true;
  return false;
}

void Reclaimer::wake_reclaimer(unsigned zone, Order order) {
  State& s = *state_;
  if (!s.kswapd_zone || *s.kswapd_zone < zone) s.kswapd_zone = zone;
  s.kswapd_order = std::max<unsigned>(s.kswapd_order, order.value());
  if (s.kswapd_wait.empty()) return;
  if (s.kswapd_failures >= kMaxReclaimRetries || (s.balanced(order.value(), zone) && !s.boosted(zone))) return;
  TRACE(vm_.tracer(), Event::MmVmscanWakeupKswapd, 0, order.value(), "GFP_KERNEL");
  s.kswapd_wait.wake_all();
}

unsigned Reclaimer::State::balance_node(unsigned order, unsigned highest, const std::function<bool()>& should_stop) {
  const MemoryStall stall(self);
  std::span<Zone> zones = vm.physical().zones();
  ScanControl sc;
  sc.kswapd = true;
  sc.order = order;
  sc.reclaim_idx = highest;
  stat().add(VmItem::pageoutrun);
  // A boost is reclaimed too, without writing anything, and is over afterwards.
  std::array<uint64_t, kZoneTypes> boosts{};
  uint64_t boost = 0;
  for (const Zone& z : zones)
    if (z.index() <= highest) boost += boosts[z.index()] = z.boost().value();
  const bool was_boosted = boost != 0;
  for (Zone& z : zones)
    if (z.index() <= highest) z.set_reclaim_active(true);

  bool done = false;
  sc.priority = kDefaultPriority;
  do {
    const uint64_t before = sc.nr_reclaimed;
    bool raise_priority = true;
    const bool is_balanced = balanced(sc.order, highest);
    if (!is_balanced && boost) {
      // The boost is not the worst of it: reclaim for real, from the start.
      boost = 0;
      sc.priority = kDefaultPriority;
      continue;
    }
    if (!boost && is_balanced) {
      done = true;
      break;
    }
    if (boost && sc.priority == kDefaultPriority - 2) raise_priority = false;
    sc.may_writepage = !boost;
    sc.may_swap = !boost;
    if (may_age_anonymous() && inactive_is_low(false)) shrink_active(LruList::ActiveAnon, kSwapClusterMax, sc);
    if (sc.priority < kDefaultPriority - 2) sc.may_writepage = true;
    sc.nr_scanned = 0;

    // kswapd_shrink_node
    sc.nr_to_reclaim = 0;
    for (const Zone& z : zones)
      if (z.index() <= highest && z.managed().value() != 0) sc.nr_to_reclaim += std::max(z.watermark(Watermark::High).value(), kSwapClusterMax);
    shrink_node(sc);
    if (sc.order && sc.nr_reclaimed >= uint64_t{2} << sc.order) sc.order = 0;
    if (sc.nr_scanned >= sc.nr_to_reclaim) raise_priority = false;

    if (!pfmemalloc_wait.empty() && allow_direct_reclaim()) pfmemalloc_wait.wake_all();
    if (should_stop()) break;
    const uint64_t reclaimed = sc.nr_reclaimed - before;
    boost -= std::min(boost, reclaimed);
    if (boost && !reclaimed) break;
    if (raise_priority || !reclaimed) --sc.priority;
  } while (sc.priority >= 1);
  if (!done && !sc.nr_reclaimed) ++kswapd_failures;
  vm.physical().set_node_unreclaimable(kswapd_failures >= kMaxReclaimRetries);

  for (Zone& z : zones) {
    if (z.index() > highest) continue;
    z.set_reclaim_active(false);
    if (was_boosted) z.release_boost(Pages{boosts[z.index()]});
  }
  snapshot_refaults();
  return sc.order;
}

bool Reclaimer::State::prepare_sleep(unsigned order, unsigned highest) {
  pfmemalloc_wait.wake_all();
  if (kswapd_failures >= kMaxReclaimRetries) return true;
  if (!balanced(order, highest)) return false;
  congested_flag = dirty_flag = writeback_flag = false;
  return true;
}

void Reclaimer::State::try_to_sleep(unsigned alloc_order, unsigned reclaim_order, unsigned highest, const std::function<bool()>& should_stop) {
  (void)alloc_order;
  if (should_stop()) return;
  bool woken = false;
  if (prepare_sleep(reclaim_order, highest)) {
    // A short sleep first: waking up soon means that the watermarks are too close.
    woken = vm.blocking()->wait(kswapd_wait, Interruptible::Yes, now() + kTick * 25).has_value();
    if (woken) {
      if (!kswapd_zone) kswapd_zone = highest;
      kswapd_order = std::max(kswapd_order, reclaim_order);
    }
  }
  if (!woken && prepare_sleep(reclaim_order, highest)) {
    TRACE(vm.tracer(), Event::MmVmscanKswapdSleep, 0);
    if (!should_stop()) (void)vm.blocking()->wait(kswapd_wait, Interruptible::Yes);
  } else {
    stat().add(woken ? VmItem::kswapd_low_wmark_hit_quickly : VmItem::kswapd_high_wmark_hit_quickly);
  }
}

void Reclaimer::run_kswapd(const std::function<bool()>& should_stop) {
  State& s = *state_;
  TaskReclaim* me = s.task();
  if (me) me->memalloc = me->kswapd = true;
  s.kswapd_runs = true;
  unsigned highest = kZoneDevice;
  unsigned reclaim_order = 0;
  bool again = false;
  for (;;) {
    unsigned alloc_order = s.kswapd_order;
    if (!again) {
      reclaim_order = alloc_order;
      highest = s.kswapd_zone.value_or(highest);
    }
    s.try_to_sleep(alloc_order, reclaim_order, highest, should_stop);
    alloc_order = std::exchange(s.kswapd_order, 0);
    highest = std::exchange(s.kswapd_zone, std::nullopt).value_or(highest);
    if (should_stop()) break;
    TRACE(vm_.tracer(), Event::MmVmscanKswapdWake, 0, alloc_order);
    reclaim_order = s.balance_node(alloc_order, highest, should_stop);
    s.checkpoint(true);
    again = reclaim_order < alloc_order;
  }
  s.kswapd_runs = false;
  s.pfmemalloc_wait.wake_all();
  if (me) me->memalloc = me->kswapd = false;
}

}  // namespace vitro::mm
