// When dirty pages go to storage: the limits, the throttling of writers, the flusher thread (mm/page-writeback.c, fs/fs-writeback.c).
//
// A cache with dirty pages is on one list, in the order in which the caches became dirty. The flusher wakes every dirty_writeback_centisecs while
// there are any, and writes those that have been dirty for dirty_expire_centisecs; above the background threshold it writes until there are fewer.
// Writers that come above the mean of both thresholds are made to wait, so that they dirty pages no faster than the disk cleans them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "vitro/base/types.h"
#include "vitro/base/wait_queue.h"
#include "vitro/hw/clock.h"

namespace vitro::mm {

class VirtualMemory;
class PageCache;

struct WritebackTunables {  // /proc/sys/vm
  unsigned dirty_ratio = 20, dirty_background_ratio = 10;  // percent of dirtyable memory
  Bytes dirty_bytes{0}, dirty_background_bytes{0};         // instead, where not 0
  unsigned dirty_expire_centisecs = 3000, dirty_writeback_centisecs = 500;
};

class Writeback {
 public:
  explicit Writeback(VirtualMemory& vm) : vm_(vm) {}
  ~Writeback();
  Writeback(const Writeback&) = delete;
  Writeback& operator=(const Writeback&) = delete;

  const WritebackTunables& tunables() const { return tunables_; }
  // Takes effect at once.
  void set_tunables(const WritebackTunables& t);
  // Without a clock (the default) nothing is written by itself, and no writer ever waits.
  void set_clock(hw::Clock* clock);
  hw::Clock* clock() const { return clock_; }

  // The device that all of it goes to, for traces (a Linux bdi is called by it).
  void set_device(uint64_t number) { device_ = number; }
  uint64_t device() const { return device_; }

  // Pages (global_dirtyable_memory, domain_dirty_limits).
  struct Limits {
    uint64_t dirtyable = 0, threshold = 0, background = 0;
  };
  Limits limits() const;
  static Limits limits_of(const WritebackTunables& t, uint64_t dirtyable);
  // More than the background threshold is dirty (wb_over_bg_thresh).
  bool over_background() const;

  // The flusher's body: runs until `should_stop` answers true after a wait.
  void run_flusher(const std::function<bool()>& should_stop);
  // What it does each time it is woken.
  void flush_due(const std::function<bool()>& should_stop);
  // Asks the flusher for `pages` more pages, oldest files first (wakeup_flusher_threads; reclaim calls it with what it would like to free).
  void wake_flusher(uint64_t pages);
  // Writes up to `pages` pages, oldest file first; only files that became dirty at or before `dirtied_before`, where given. Begins only; may wait
  // for room in the disk's queue. Returns how many pages were begun.
  uint64_t write_some(uint64_t pages, std::optional<Nanoseconds> dirtied_before = std::nullopt);

  // After a task has dirtied pages through a write or a fault: makes it wait where there are too many (balance_dirty_pages_ratelimited).
  void balance();
  // Whether balance() would make the caller wait now, for a fault that cannot.
  bool wants_to_throttle() const;

  // ---- Told by the page caches ----
  void page_dirtied(PageCache& cache);
  void pages_written(uint64_t count);
  Nanoseconds now() const { return clock_ ? clock_->now() : Nanoseconds{0}; }

  // Pages a second, as measured (wb->avg_write_bandwidth); for looking at.
  uint64_t write_bandwidth() const { return bandwidth_; }

 private:
  void arm_timer();
  void update_bandwidth();
  uint64_t dirty_and_writeback() const;
  uint64_t room_below(const Limits& l) const;
  double position_ratio(const Limits& l, uint64_t dirty) const;

  // Why the flusher writes (enum wb_reason).
  enum class Reason : uint8_t { Background, Vmscan, Periodic };
  uint64_t write_for(Reason reason, int64_t left, uint64_t pages, std::optional<Nanoseconds> dirtied_before = std::nullopt);
  void wake_for_background();
  uint64_t jiffies(Nanoseconds t) const;

  VirtualMemory& vm_;
  hw::Clock* clock_ = nullptr;
  uint64_t device_ = 0;
  WritebackTunables tunables_;

  // The flusher.
  WaitQueue flusher_;
  WaitQueue progress_;                    // woken when pages have been written
  std::optional<hw::Clock::EventId> timer_;
  bool periodic_due_ = false, background_due_ = false;
  uint64_t requested_ = 0;                // pages somebody asked for

  // Writers.
  WaitQueue throttled_;                   // nobody wakes it: throttled writers sleep by the clock
  uint64_t dirtied_since_balance_ = 0;    // current->nr_dirtied, of all tasks together
  uint64_t next_look_ = 32;               // nr_dirtied_pause: balance() looks after so many
  Nanoseconds paused_when_{0};            // when the last pause ended
  uint64_t dirtied_total_ = 0, written_total_ = 0;
  struct Window {                         // what was seen at its start
    Nanoseconds start{0};
    uint64_t dirtied = 0, written = 0;
    bool open = false;
  } window_;
  uint64_t bandwidth_ = 25600;            // INIT_BW: 100 MiB/s
  double rate_limit_ = 25600;             // wb->dirty_ratelimit, pages a second for all writers
};

}  // namespace vitro::mm
