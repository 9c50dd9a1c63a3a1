// How much may be dirty, and how writers are slowed down (mm/page-writeback.c).
#include <algorithm>
#include <bit>
#include <cmath>

#include "mm/space/virtual_memory_state.h"
#include "vitro/mm/page_cache.h"
#include "vitro/base/trace.h"
#include "vitro/mm/writeback.h"

namespace vitro::mm {
namespace {

constexpr Nanoseconds kMaxPause = milliseconds(200);           // MAX_PAUSE
constexpr Nanoseconds kMinPause = milliseconds(10);            // wb_min_pause: pauses are HZ/100 to start with
constexpr Nanoseconds kBandwidthInterval = milliseconds(200);  // BANDWIDTH_INTERVAL
constexpr double kNanosecondsPerSecond = 1e9;

uint64_t pages_of(const VmStat& stat, VmItem item) { return static_cast<uint64_t>(std::max<int64_t>(stat.get(item), 0)); }

uint64_t kib_per_second(double pages_per_second) { return static_cast<uint64_t>(pages_per_second * (kPageSize / 1024)); }

// After how many more dirtied pages to look again (dirty_poll_interval).
uint64_t poll_interval(uint64_t dirty, uint64_t threshold) {
  if (threshold <= dirty) return 1;
  return uint64_t{1} << ((std::bit_width(threshold - dirty) - 1) / 2);
}

}  // namespace

Writeback::~Writeback() { set_clock(nullptr); }

void Writeback::set_clock(hw::Clock* clock) {
  if (timer_ && clock_) clock_->cancel(*timer_);
  timer_.reset();
  clock_ = clock;
}

void Writeback::set_tunables(const WritebackTunables& t) {
  tunables_ = t;
  if (timer_ && clock_) clock_->cancel(*timer_);
  timer_.reset();
  arm_timer();
  flusher_.wake_all();
}

Writeback::Limits Writeback::limits() const {
  const VmStat& stat = vm_.physical().stat();
  const uint64_t free = pages_of(stat, VmItem::nr_free_pages), reserve = vm_.physical().total_reserve().value();
  const Limits l = limits_of(tunables_, free - std::min(free, reserve) + pages_of(stat, VmItem::nr_inactive_file) + pages_of(stat, VmItem::nr_active_file) + 1);
  TRACE(vm_.tracer(), Event::GlobalDirtyState, stat.get(VmItem::nr_dirty), stat.get(VmItem::nr_writeback), l.background, l.threshold, l.threshold,
        stat.get(VmItem::nr_dirtied), stat.get(VmItem::nr_written));
  return l;
}

Writeback::Limits Writeback::limits_of(const WritebackTunables& t, uint64_t dirtyable) {
  const auto share = [dirtyable](Bytes bytes, unsigned percent) {
    return bytes.value() > 0 ? bytes.pages_up().value() : (uint64_t{percent} * kPageSize / 100) * dirtyable >> kPageShift;
  };
  Limits l{dirtyable, share(t.dirty_bytes, t.dirty_ratio), share(t.dirty_background_bytes, t.dirty_background_ratio)};
  if (l.background >= l.threshold) l.background = l.threshold / 2;
  return l;
}

bool Writeback::over_background() const { return pages_of(vm_.physical().stat(), VmItem::nr_dirty) > limits().background; }

uint64_t Writeback::dirty_and_writeback() const {
  const VmStat& stat = vm_.physical().stat();
  return pages_of(stat, VmItem::nr_dirty) + pages_of(stat, VmItem::nr_writeback);
}

// wb_position_ratio, for one device: 1 at the set point, falling along a cubic to 0 at the limit, at most 2.
double Writeback::position_ratio(const Limits& l, uint64_t dirty) const {
  if (dirty >= l.threshold) return 0;
  const double free_run = static_cast<double>(l.threshold + l.background) / 2;
  const double limit = static_cast<double>(l.threshold), set_point = (free_run + limit) / 2;
  const double x = (set_point - static_cast<double>(dirty)) / (limit - set_point + 1);
  return std::clamp(1 + x * x * x, 0.0, 2.0);
}

// __wb_update_bandwidth: the device's bandwidth, and from it how fast all writers together may dirty pages.
void Writeback::update_bandwidth() {
  const Nanoseconds now = clock_->now();
  if (!window_.open) {
    window_ = {now, dirtied_total_, written_total_, true};
    return;
  }
  const Nanoseconds elapsed = now - window_.start;
  if (elapsed < kBandwidthInterval) return;
  const double interval = static_cast<double>(elapsed.value()) / kNanosecondsPerSecond;
  const double written = static_cast<double>(written_total_ - window_.written) / interval;
  const double dirtied = static_cast<double>(dirtied_total_ - window_.dirtied) / interval;
  constexpr double kPeriod = 4.096;  // 3 s, rounded up to a power of two in jiffies of 4 ms
  const double weight = std::min(interval / kPeriod, 1.0);
  bandwidth_ = std::max<uint64_t>(1, static_cast<uint64_t>(written * weight + static_cast<double>(bandwidth_) * (1 - weight)));
  const double ratio = position_ratio(limits(), dirty_and_writeback());
  // wb_update_dirty_ratelimit: what everybody's rate should have been for as much to be dirtied as was written.
  const double balanced = std::min(rate_limit_ * ratio * static_cast<double>(bandwidth_) / std::max(dirtied, 1.0), static_cast<double>(bandwidth_));
  rate_limit_ = std::max(1.0, rate_limit_ + (balanced - rate_limit_) / 4);
  TRACE(vm_.tracer(), Event::BdiDirtyRatelimit, device_, kib_per_second(written), kib_per_second(static_cast<double>(bandwidth_)), kib_per_second(dirtied),
        kib_per_second(rate_limit_), kib_per_second(rate_limit_ * ratio), kib_per_second(balanced), 1);
  window_ = {now, dirtied_total_, written_total_, true};
}

bool Writeback::wants_to_throttle() const {
  if (!clock_ || dirtied_since_balance_ < next_look_) return false;
  const Limits l = limits();
  return dirty_and_writeback() > (l.threshold + l.background) / 2;
}

// How many more pages may be dirtied before somebody has to look again, so that a small limit is not run over between two looks.
uint64_t Writeback::room_below(const Limits& l) const {
  const uint64_t dirty = dirty_and_writeback();
  return std::max<uint64_t>(dirty < l.threshold ? l.threshold - dirty : 0, 32);
}

void Writeback::balance() {
  if (!clock_ || dirtied_since_balance_ < next_look_) return;
  Blocking* blocking = vm_.blocking();
  if (!blocking || !blocking->may_wait()) return;
  const Nanoseconds start = clock_->now();
  for (;;) {
    const Limits l = limits();
    const uint64_t dirty = dirty_and_writeback();
    if (pages_of(vm_.physical().stat(), VmItem::nr_dirty) > l.background) wake_for_background();
    if (dirty <= (l.threshold + l.background) / 2) {
      paused_when_ = clock_->now();
      dirtied_since_balance_ = 0;
      next_look_ = poll_interval(dirty, l.threshold);
      return;
    }
    wake_for_background();
    update_bandwidth();
    const double rate = rate_limit_ * position_ratio(l, dirty);
    Nanoseconds pause = kMaxPause, period = kMaxPause, thought{0};
    const auto trace = [&](int64_t pause_ms) {
      const uint64_t set_point = ((l.threshold + l.background) / 2 + l.threshold) / 2;
      TRACE(vm_.tracer(), Event::BalanceDirtyPages, device_, l.threshold, set_point, dirty, set_point, dirty, kib_per_second(rate_limit_), kib_per_second(rate),
            dirtied_since_balance_, next_look_, (clock_->now() - start) / milliseconds(1), pause_ms, period / milliseconds(1), thought / milliseconds(1), 1);
    };
    if (rate >= 1) {
      period = Nanoseconds{static_cast<uint64_t>(static_cast<double>(dirtied_since_balance_) * kNanosecondsPerSecond / rate)};
      thought = clock_->now() - std::min(clock_->now(), paused_when_);
      pause = period - std::min(period, thought);
      if (pause < kMinPause) {
        // Too short to be worth a sleep: it is owed.
        trace(std::min<int64_t>(static_cast<int64_t>(period / milliseconds(1)) - static_cast<int64_t>(thought / milliseconds(1)), 0));
        if (thought > seconds(1)) {
          paused_when_ = clock_->now();
          dirtied_since_balance_ = 0;
        }
        next_look_ = dirtied_since_balance_ + std::max<uint64_t>(1, static_cast<uint64_t>(rate * static_cast<double>((kMinPause - pause).value()) / kNanosecondsPerSecond));
        next_look_ = std::min(next_look_, dirtied_since_balance_ + room_below(l));
        return;
      }
      pause = std::min(pause, kMaxPause);
    }
    trace(static_cast<int64_t>(pause / milliseconds(1)));
    (void)blocking->wait(throttled_, Interruptible::No, clock_->now() + pause);
    paused_when_ = clock_->now();
    dirtied_since_balance_ = 0;
    next_look_ = std::max<uint64_t>(1, static_cast<uint64_t>(rate_limit_ * static_cast<double>(kMinPause.value()) / kNanosecondsPerSecond));
    next_look_ = std::min(next_look_, room_below(limits()));
    if (rate >= 1) return;
  }
}

void Writeback::page_dirtied(PageCache& cache) {
  ++dirtied_since_balance_;
  ++dirtied_total_;
  PageCache::State& s = cache.internals();
  if (s.dirty_link.linked()) return;
  s.dirtied_when = now();
  vm_.state().dirty_caches.push_back(s);
  arm_timer();
}

void Writeback::pages_written(uint64_t count) {
  written_total_ += count;
  if (!progress_.empty()) progress_.wake_all();
}

}  // namespace vitro::mm
