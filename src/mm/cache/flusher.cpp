// The flusher thread (fs/fs-writeback.c: wb_workfn, wb_writeback, writeback_sb_inodes).
#include <algorithm>

#include "mm/space/virtual_memory_state.h"
#include "vitro/mm/page_cache.h"
#include "vitro/base/tick.h"
#include "vitro/base/trace.h"
#include "vitro/mm/writeback.h"

namespace vitro::mm {
namespace {

constexpr uint64_t kChunk = 1024;  // MIN_WRITEBACK_PAGES: of one file before the next one has its turn

constexpr uint64_t kFirstJiffies = 4'294'892'296;        // INITIAL_JIFFIES: the counter wraps five minutes after boot

constexpr Nanoseconds centiseconds(unsigned n) { return milliseconds(uint64_t{n} * 10); }

}  // namespace

// Armed only while something is dirty, so that an idle machine has no events (wb_wakeup_delayed).
void Writeback::arm_timer() {
  if (!clock_ || timer_ || tunables_.dirty_writeback_centisecs == 0 || vm_.state().dirty_caches.empty()) return;
  timer_ = clock_->schedule(clock_->now() + centiseconds(tunables_.dirty_writeback_centisecs), [this] {
    timer_.reset();
    periodic_due_ = true;
    flusher_.wake_all();
  });
}

void Writeback::wake_flusher(uint64_t pages) {
  requested_ = std::max(requested_, pages);
  flusher_.wake_all();
}

uint64_t Writeback::write_some(uint64_t pages, std::optional<Nanoseconds> dirtied_before) {
  auto& caches = vm_.state().dirty_caches;
  uint64_t begun = 0;
  // Each file at most once: what cannot be written now must not keep this going.
  for (uint64_t looks = caches.size(); looks > 0 && begun < pages && !caches.empty(); --looks) {
    PageCache::State& s = caches.front();
    if (dirtied_before && s.dirtied_when > *dirtied_before) break;
    const std::shared_ptr<void> keep = s.backing.hold();
    // To the back before anything waits; if it is clean afterwards it has left the list.
    caches.remove(s);
    caches.push_back(s);
    const uint64_t most = std::min(pages - begun, kChunk);
    const auto trace = [&](Event event, uint64_t wrote) {
      const Nanoseconds since = s.dirtied_when;
      TRACE(vm_.tracer(), event, device_, s.inode_number, s.dirty > 0 ? "I_DIRTY_PAGES|I_SYNC" : "I_SYNC", jiffies(since), (now() - since) / seconds(1), s.writeback_index.value(), most, wrote, 1);
    };
    trace(Event::WritebackSingleInodeStart, 0);
    const uint64_t n = s.begin_writing_on(most);
    trace(Event::WritebackSingleInode, n);
    begun += n;
    if (s.dirty_link.linked()) {
      s.dirtied_when = dirtied_before && n > 0 ? std::min(s.dirtied_when, *dirtied_before) : now();
      if (n > 0 && dirtied_before) ++looks;  // an old file is written to its end
    }
  }
  return begun;
}

uint64_t Writeback::jiffies(Nanoseconds t) const { return kFirstJiffies + t / kTick; }

// One turn of wb_writeback. `left`: pages of the whole work, for the trace.
uint64_t Writeback::write_for(Reason reason, int64_t left, uint64_t pages, std::optional<Nanoseconds> dirtied_before) {
  static constexpr const char* kNames[] = {"background", "vmscan", "periodic"};
  const auto trace = [&](Event event, int64_t nr_pages) {
    TRACE(vm_.tracer(), event, device_, 0, nr_pages, 0, reason == Reason::Periodic, 1, reason == Reason::Background, kNames[static_cast<size_t>(reason)], 1);
  };
  trace(Event::WritebackStart, left);
  const uint64_t begun = write_some(pages, dirtied_before);
  trace(Event::WritebackWritten, left - static_cast<int64_t>(begun));
  return begun;
}

void Writeback::wake_for_background() {
  if (std::exchange(background_due_, true)) return;
  TRACE(vm_.tracer(), Event::WritebackWakeBackground, device_, 1);
  flusher_.wake_all();
}

void Writeback::run_flusher(const std::function<bool()>& should_stop) {
  while (!should_stop()) {
    if (periodic_due_ || background_due_ || requested_ > 0) flush_due(should_stop);
    else (void)vm_.blocking()->wait(flusher_, Interruptible::Yes);
  }
}

void Writeback::flush_due(const std::function<bool()>& should_stop) {
  uint64_t written = 0;
  if (requested_ > 0) {
    const uint64_t wanted = std::exchange(requested_, 0);
    for (uint64_t begun = 0; begun < wanted;) {
      const uint64_t n = write_for(Reason::Vmscan, static_cast<int64_t>(wanted - begun), wanted - begun);
      if (n == 0) break;
      begun += n;
      written += n;
    }
  }
  if (std::exchange(periodic_due_, false)) {
    const Nanoseconds expire = centiseconds(tunables_.dirty_expire_centisecs), t = now();
    int64_t left = vm_.physical().stat().get(VmItem::nr_dirty);
    while (t >= expire && !should_stop()) {
      const uint64_t n = write_for(Reason::Periodic, left, kChunk, t - expire);
      if (n == 0) break;
      left -= static_cast<int64_t>(n);
      written += n;
    }
    if (over_background()) background_due_ = true;
  }
  int64_t unlimited = INT64_MAX;
  while (background_due_ && !should_stop()) {
    if (!over_background()) {
      background_due_ = false;
    } else if (const uint64_t n = write_for(Reason::Background, unlimited, kChunk); n > 0) {
      unlimited -= static_cast<int64_t>(n);
      written += n;
    } else {
      // All of it is on its way.
      if (vm_.physical().stat().get(VmItem::nr_writeback) == 0) background_due_ = false;
      else if (!vm_.blocking()->wait(progress_, Interruptible::No)) background_due_ = false;
    }
  }
  TRACE(vm_.tracer(), Event::WritebackPagesWritten, written);
  if (clock_) update_bandwidth();
  arm_timer();
}

}  // namespace vitro::mm
