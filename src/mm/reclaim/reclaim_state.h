// What reclaim consists of, for the files that implement it.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "mm/space/virtual_memory_state.h"
#include "vitro/base/tick.h"
#include "vitro/base/wait_queue.h"
#include "vitro/mm/reclaim.h"

namespace vitro::mm {

inline constexpr uint64_t kSwapClusterMax = 32;      // SWAP_CLUSTER_MAX: pages handled in one go
inline constexpr int kDefaultPriority = 12;          // DEF_PRIORITY: the first pass looks at a 4096th of each list
inline constexpr unsigned kMaxReclaimRetries = 16;   // MAX_RECLAIM_RETRIES

// One reclaim run (mm/vmscan.c: struct scan_control).
struct ScanControl {
  uint64_t nr_to_reclaim = kSwapClusterMax;
  Gfp gfp = Gfp::Kernel;
  int priority = kDefaultPriority;
  unsigned order = 0;
  unsigned reclaim_idx = 0;        // the highest zone that is of use
  bool kswapd = false;
  bool may_writepage = true, may_unmap = true, may_swap = true;
  bool force_deactivate = false, skipped_deactivate = false;
  std::array<bool, 2> may_deactivate{};  // anonymous, file
  bool cache_trim_mode = false, file_is_tiny = false;
  std::array<uint64_t, 2> cost{};        // anonymous, file
  uint64_t nr_scanned = 0, nr_reclaimed = 0;
  struct {
    uint64_t dirty = 0, unqueued_dirty = 0, congested = 0, writeback = 0, immediate = 0, file_taken = 0, taken = 0;
  } nr;
};

// What became of one batch (struct reclaim_stat).
struct ReclaimStat {
  uint64_t nr_dirty = 0, nr_unqueued_dirty = 0, nr_congested = 0, nr_writeback = 0, nr_immediate = 0, nr_pageout = 0, nr_ref_keep = 0, nr_unmap_fail = 0;
  std::array<uint64_t, 2> nr_activate{};  // anonymous, file
};

// Frames taken off a list, each with a reference of the reclaimer's own. In the order they were taken.
struct IsolatedFrames {
  std::array<uint32_t, kSwapClusterMax> pfn;
  size_t size = 0;
  std::span<uint32_t> all() { return {pfn.data(), size}; }
  void add(Pfn f) { pfn[size++] = static_cast<uint32_t>(f.value()); }
};

struct Reclaimer::State {
  State(Reclaimer& r, VirtualMemory& machine) : self(r), vm(machine) {}

  Reclaimer& self;
  VirtualMemory& vm;

  // --- node (pg_data_t) ---
  WaitQueue kswapd_wait, pfmemalloc_wait, writeback_wait, throttle_wait;
  bool kswapd_runs = false;             // the thread exists
  std::optional<unsigned> kswapd_zone;  // highest zone that somebody missed frames in, since kswapd looked last
  unsigned kswapd_order = 0;
  unsigned kswapd_failures = 0;
  bool writeback_flag = false, dirty_flag = false, congested_flag = false;  // PGDAT_WRITEBACK, PGDAT_DIRTY, LRUVEC_CONGESTED
  unsigned writeback_throttled = 0;
  uint64_t throttled_written = 0;       // pages written since somebody began to wait for them
  std::array<int64_t, 2> refaults{};    // workingset_activate_* at the end of the last run

  struct Registered {
    Shrinker* shrinker;
    uint64_t deferred = 0;
  };
  std::vector<Registered> shrinkers;
  uint64_t isolated = 0;                // frames that reclaim holds now
  Nanoseconds unpaid{0};                // work since the last checkpoint

  VmStat& stat() { return vm.physical().stat(); }
  Frame& frame(Pfn f) { return vm.physical().frames()[f]; }
  Lru& lru() { return vm.lru(); }
  bool may_wait() const { return vm.blocking() && vm.blocking()->may_wait(); }
  TaskReclaim* task() const { return self.tasks_ ? self.tasks_->current_reclaim() : nullptr; }
  Nanoseconds now() const { return self.tasks_ ? self.tasks_->now() : Nanoseconds{0}; }
  void work(Nanoseconds cost) { unpaid += cost; }
  void checkpoint(bool may_sleep);

  // --- vmscan.cpp ---
  void shrink_node(ScanControl& sc);
  void shrink_lruvec(ScanControl& sc);
  uint64_t free_pages(ScanControl& sc);  // do_try_to_free_pages
  void snapshot_refaults();
  // --- reclaim_throttle.cpp ---
  enum class Throttle : uint8_t { Writeback, NoProgress, Congested };
  void throttle(Throttle reason, bool kswapd);
  bool allow_direct_reclaim();
  bool throttle_direct_reclaim(Gfp gfp);
  void written(uint64_t pages);          // acct_reclaim_writeback
  // --- scan_balance.cpp ---
  void prepare_scan_count(ScanControl& sc);
  std::array<uint64_t, 4> scan_count(const ScanControl& sc);
  bool inactive_is_low(bool file);
  uint64_t list_size(LruList list, unsigned reclaim_idx);
  uint64_t zone_reclaimable(unsigned zone);
  bool may_age_anonymous() const { return vm.swap_total.value() > 0; }
  // --- shrink_lists.cpp ---
  uint64_t isolate(IsolatedFrames& to, LruList list, uint64_t n, const ScanControl& sc);
  uint64_t put_back(IsolatedFrames& frames);  // how many went back to a list
  uint64_t shrink_inactive(LruList list, uint64_t n, ScanControl& sc);
  void shrink_active(LruList list, uint64_t n, ScanControl& sc);
  // --- reclaim_pages.cpp ---
  // Frees what can be freed of `frames`; the others stay in it. Returns how many were freed.
  uint64_t shrink_frames(IsolatedFrames& frames, ScanControl& sc, ReclaimStat& stat, bool ignore_references);
  // --- shrinkers.cpp ---
  uint64_t shrink_slab(Gfp gfp, int priority);
  uint64_t shrink_one(Registered& r, Gfp gfp, int priority);
  // --- kswapd.cpp ---
  bool balanced(unsigned order, unsigned highest);
  bool boosted(unsigned highest);
  unsigned balance_node(unsigned order, unsigned highest, const std::function<bool()>& should_stop);
  bool prepare_sleep(unsigned order, unsigned highest);
  void try_to_sleep(unsigned alloc_order, unsigned reclaim_order, unsigned highest, const std::function<bool()>& should_stop);
};

// What page tables say about the use of a frame since it was asked last; clears Accessed (mm/rmap.c: folio_referenced).
struct References {
  unsigned areas = 0;             // areas through which it was used
  VmFlag flags = VmFlag::None;    // of these areas; Locked: it is mapped in a locked area
};
References take_references(VirtualMemory& vm, Pfn frame);

// Takes the frame out of every page table (try_to_unmap). False: some entry still maps it.
bool unmap_everywhere(VirtualMemory& vm, Pfn frame);

// --- workingset.cpp ---
// What is remembered of a page that is evicted now; never 0 (workingset_eviction).
uint64_t evict_shadow(VirtualMemory& vm, Pfn frame);
// The page of `frame` comes back; it is on no list yet (workingset_refault).
void refault(VirtualMemory& vm, Pfn frame, uint64_t shadow);

// A frame is written: tells reclaim, and moves it to where reclaim looks next if it asked for the write (folio_end_writeback). The Writeback
// flag is clear already.
void note_written(VirtualMemory& vm, Pfn frame);

}  // namespace vitro::mm
