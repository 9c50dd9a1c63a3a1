#include "vitro/hw/clock.h"

#include <algorithm>
#include <utility>

#include "vitro/base/check.h"

namespace vitro::hw {

void Clock::advance(Nanoseconds cost) {
  elapsed_ns_ += cost.value();
  update_limit();
}

void Clock::idle_until(Nanoseconds t) {
  const Nanoseconds current = now();
  if (t <= current) return;
  const auto idle_for = [this](Nanoseconds gap) {
    idle_ns_ += gap.value();
    advance(gap);
  };
  while (!watches_.empty() && watches_.begin()->first.first < t) {
    if (const Nanoseconds at = watches_.begin()->first.first; at > now()) idle_for(at - now());
    run_due_watches();
  }
  idle_for(t - now());
}

Clock::EventId Clock::schedule(Nanoseconds when, std::function<void()> callback) {
  const EventId id = next_id_++;
  queue_.emplace(std::pair{when, id}, std::move(callback));
  when_.emplace(id, when);
  update_limit();
  return id;
}

bool Clock::cancel(EventId id) {
  const auto it = when_.find(id);
  if (it == when_.end()) return false;
  queue_.erase({it->second, id});
  when_.erase(it);
  update_limit();
  return true;
}

std::optional<Nanoseconds> Clock::next_event() const {
  if (queue_.empty()) return std::nullopt;
  return queue_.begin()->first.first;
}

Clock::EventId Clock::watch(Nanoseconds when, std::function<void()> callback) {
  const EventId id = next_watch_++;
  watches_.emplace(std::pair{when, id}, std::move(callback));
  update_limit();
  return id;
}

bool Clock::unwatch(EventId id) {
  const bool known = std::erase_if(watches_, [id](const auto& watch) { return watch.first.second == id; }) != 0;
  update_limit();
  return known;
}

bool Clock::run_due_watches() {
  if (watches_.empty()) return false;
  bool ran = false;
  while (!watches_.empty() && watches_.begin()->first.first <= now()) {
    auto node = watches_.extract(watches_.begin());
    node.mapped()();
    ran = true;
  }
  update_limit();
  return ran;
}

size_t Clock::run_due_events() {
  run_due_watches();
  size_t ran = 0;
  while (!queue_.empty() && queue_.begin()->first.first <= now()) {
    // Taken out first: the callback may schedule and cancel, and must not be able to cancel itself.
    auto node = queue_.extract(queue_.begin());
    when_.erase(node.key().second);
    node.mapped()();
    ++ran;
  }
  update_limit();
  return ran;
}

void Clock::set_slice_end(std::optional<Nanoseconds> end) {
  slice_end_ = end;
  update_limit();
}

// The smallest instruction count at which now() has reached the next event, the end of the slice or a watch.
void Clock::update_limit() {
  std::optional<Nanoseconds> end = next_event();
  if (slice_end_ && (!end || *slice_end_ < *end)) end = slice_end_;
  if (!watches_.empty() && (!end || watches_.begin()->first.first < *end)) end = watches_.begin()->first.first;
  if (!end || instruction_ps_ == 0) {
    // Without a cost of instructions only an event that is due already can stop the CPU.
    instruction_limit_ = end && *end <= now() ? 0 : UINT64_MAX;
    return;
  }
  if (end->value() <= elapsed_ns_) {
    instruction_limit_ = 0;
    return;
  }
  const unsigned __int128 ps = static_cast<unsigned __int128>(end->value() - elapsed_ns_) * 1000;
  const unsigned __int128 n = (ps + instruction_ps_ - 1) / instruction_ps_;
  instruction_limit_ = static_cast<uint64_t>(std::min<unsigned __int128>(n, UINT64_MAX));
}

}  // namespace vitro::hw
