// Reclaim as a whole: one node's lists and object caches at rising priorities (mm/vmscan.c: shrink_lruvec, shrink_node,
// do_try_to_free_pages), and what the page allocator asks for.
#include <algorithm>

#include "mm/reclaim/memory_stall.h"
#include "mm/reclaim/reclaim_state.h"
#include "mm/swap/swap_state.h"
#include "vitro/base/trace.h"

namespace vitro::mm {
namespace {

constexpr auto next_item(VmItem first, unsigned n) { return static_cast<VmItem>(static_cast<unsigned>(first) + n); }

// PF_MEMALLOC for a scope.
class Memalloc {
 public:
  explicit Memalloc(TaskReclaim* t) : task_(t), before_(t && t->memalloc) {
    if (task_) task_->memalloc = true;
  }
  ~Memalloc() {
    if (task_) task_->memalloc = before_;
  }
  Memalloc(const Memalloc&) = delete;
  Memalloc& operator=(const Memalloc&) = delete;

 private:
  TaskReclaim* task_;
  bool before_;
};

}  // namespace

Reclaimer::Reclaimer(VirtualMemory& vm) : vm_(vm), state_(std::make_unique<State>(*this, vm)) {}
Reclaimer::~Reclaimer() { attach(nullptr); }

void Reclaimer::attach(ReclaimTasks* tasks) {
  tasks_ = tasks;
  vm_.physical().allocator().set_reclaim_port(tasks ? this : nullptr);
}

void Reclaimer::State::checkpoint(bool may_sleep) {
  if (self.tasks_) self.tasks_->checkpoint(std::exchange(unpaid, Nanoseconds{0}), may_sleep && may_wait());
}

void Reclaimer::State::shrink_lruvec(ScanControl& sc) {
  using List = LruList;
  constexpr std::array<List, 4> kLists{List::InactiveAnon, List::ActiveAnon, List::InactiveFile, List::ActiveFile};
  std::array<uint64_t, 4> nr = scan_count(sc);
  const std::array<uint64_t, 4> targets = nr;
  uint64_t reclaimed = 0;
  // Direct reclaim at the first priority is normal under streaming I/O: it does all of its share at once.
  const bool whole_batch = !sc.kswapd && sc.priority == kDefaultPriority;
  while (nr[0] || nr[2] || nr[3]) {
    for (const List list : kLists) {
      uint64_t& left = nr[static_cast<size_t>(list)];
      if (left == 0) continue;
      const uint64_t n = std::min(left, kSwapClusterMax);
      left -= n;
      const bool file = list >= List::InactiveFile;
      if (list == List::ActiveAnon || list == List::ActiveFile) {
        if (sc.may_deactivate[file]) shrink_active(list, n, sc);
        else sc.skipped_deactivate = true;
      } else {
        reclaimed += shrink_inactive(list, n, sc);
      }
    }
    if (reclaimed < sc.nr_to_reclaim || whole_batch) continue;
    // Enough. The kind that had less to scan is done; the other one is scanned on to the same share of its target.
    const uint64_t anonymous = nr[0] + nr[1], file = nr[2] + nr[3];
    if (!file || !anonymous) break;
    const unsigned smaller = file > anonymous ? 0 : 2, other = 2 - smaller;
    const uint64_t percentage = (file > anonymous ? anonymous : file) * 100 / (targets[smaller] + targets[smaller + 1] + 1);
    nr[smaller] = nr[smaller + 1] = 0;
    for (unsigned list = other; list < other + 2; ++list) {
      const uint64_t scanned = targets[list] - nr[list];
      nr[list] = targets[list] * (100 - percentage) / 100;
      nr[list] -= std::min(nr[list], scanned);
    }
  }
  vm.swap().state().submit();  // blk_finish_plug
  checkpoint(true);
  sc.nr_reclaimed += reclaimed;
  // Anonymous pages age even where none is evicted.
  if (may_age_anonymous() && inactive_is_low(false)) shrink_active(List::ActiveAnon, kSwapClusterMax, sc);
}

void Reclaimer::State::shrink_node(ScanControl& sc) {
  for (;;) {
    sc.nr = {};
    work(vm.timing().reclaim_round);
    const uint64_t before = sc.nr_reclaimed;
    prepare_scan_count(sc);
    shrink_lruvec(sc);
    sc.nr_reclaimed += shrink_slab(sc.gfp, sc.priority);
    const uint64_t reclaimed = sc.nr_reclaimed - before;
    if (sc.kswapd) {
      if (sc.nr.writeback && sc.nr.writeback == sc.nr.taken) writeback_flag = true;
      if (sc.nr.unqueued_dirty == sc.nr.file_taken) dirty_flag = true;
      // Pages come round again before they are written.
      if (sc.nr.immediate) throttle(Throttle::Writeback, true);
      if (sc.nr.dirty && sc.nr.dirty == sc.nr.congested) congested_flag = true;
    } else if (congested_flag) {
      throttle(Throttle::Congested, false);
    }
    if (reclaimed) kswapd_failures = 0;
    // should_continue_reclaim: for a larger block, until compaction has room to work.
    if (sc.order == 0 || !(sc.order > 3 || sc.priority < kDefaultPriority - 2) || reclaimed == 0) break;
    const uint64_t gap = uint64_t{2} << sc.order;
    bool enough = false;
    for (const Zone& z : vm.physical().zones())
      enough |= z.managed().value() != 0 && z.index() <= sc.reclaim_idx &&
                z.watermark_ok(Order{0}, z.watermark(Watermark::Low) + Pages{gap}, sc.reclaim_idx, 0);
    uint64_t inactive = lru().size(LruList::InactiveFile);
    if (self.can_swap()) inactive += lru().size(LruList::InactiveAnon);
    if (enough || inactive <= gap) break;
  }
}

void Reclaimer::State::snapshot_refaults() {
  refaults = {stat().get(VmItem::workingset_activate_anon), stat().get(VmItem::workingset_activate_file)};
}

uint64_t Reclaimer::State::free_pages(ScanControl& sc) {
  const int first_priority = sc.priority;
  for (;;) {  // the page allocator has counted the first round as a stall
    do {
      sc.nr_scanned = 0;
      shrink_node(sc);
      // consider_reclaim_throttle
      if (sc.nr_reclaimed > sc.nr_scanned >> 3) throttle_wait.wake_all();
      else if (sc.priority == 1 && sc.nr_reclaimed == 0) throttle(Throttle::NoProgress, false);
      if (sc.nr_reclaimed >= sc.nr_to_reclaim) break;
      if (sc.priority < kDefaultPriority - 2) sc.may_writepage = true;
    } while (--sc.priority >= 0);
    snapshot_refaults();
    if (sc.nr_reclaimed || !sc.skipped_deactivate) return sc.nr_reclaimed;
    // What the active lists hold was left alone: once more, without that.
    sc.priority = first_priority;
    sc.force_deactivate = true;
    sc.skipped_deactivate = false;
    stat().add(next_item(VmItem::allocstall_dma, std::min<unsigned>(sc.reclaim_idx, kZoneMovable)));
  }
}

// --- what the page allocator asks for ---

Pages Reclaimer::reclaim_directly(Gfp gfp, Order order) {
  State& s = *state_;
  const MemoryStall stall(*this);
  if (s.throttle_direct_reclaim(gfp)) return Pages{1};  // it is about to die: no reason to kill another
  const Memalloc guard(s.task());
  ScanControl sc;
  sc.gfp = gfp;
  sc.order = order.value();
  sc.reclaim_idx = highest_zone(gfp);
  TRACE(vm_.tracer(), Event::MmVmscanDirectReclaimBegin, order.value(), gfp_text(gfp));
  const uint64_t reclaimed = s.free_pages(sc);
  TRACE(vm_.tracer(), Event::MmVmscanDirectReclaimEnd, reclaimed);
  return Pages{reclaimed};
}

AllocationContext Reclaimer::context() const {
  const TaskReclaim* t = state_->task();
  if (!t) return {};
  return {.reclaiming = t->memalloc, .oom_victim = t->oom_victim};
}

bool Reclaimer::out_of_memory(Gfp gfp, Order order) { return vm_.oom().out_of_memory(gfp, order); }

bool Reclaimer::can_swap() const { return vm_.swap().free_slots().value() > 0; }

}  // namespace vitro::mm
