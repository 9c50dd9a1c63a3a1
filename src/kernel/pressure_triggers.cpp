#include "kernel/pressure_triggers.h"

#include <algorithm>
#include <charconv>

#include "vitro/base/tick.h"

namespace vitro::kernel {
namespace {

constexpr uint64_t kShortestWindow = 500'000, kLongestWindow = 10'000'000;    // microseconds (WINDOW_MIN_US, WINDOW_MAX_US)
constexpr uint64_t kUnprivilegedWindow = 2'000'000;
constexpr uint64_t kUpdatesPerWindow = 10;

Nanoseconds ticks_from(Nanoseconds now, uint64_t ticks) { return kTick * (now / kTick + ticks); }

struct Request {
  bool full = false;
  uint64_t threshold_us = 0, window_us = 0;
};

// What sscanf(text, "some %u %u") takes: spaces before a number, none needed after the word, anything behind the second number.
std::optional<Request> parse(std::string_view text) {
  Request r;
  if (!text.starts_with("some") && !text.starts_with("full")) return std::nullopt;
  r.full = text.starts_with("full");
  text.remove_prefix(4);
  for (uint64_t* number : {&r.threshold_us, &r.window_us}) {
    text.remove_prefix(std::min(text.find_first_not_of(" \t\n\v\f\r"), text.size()));
    uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{}) return std::nullopt;
    *number = value;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
  }
  return r;
}

}  // namespace

// window_update.
Nanoseconds PressureTriggers::Window::update(Nanoseconds now, Nanoseconds value) {
  const Nanoseconds elapsed = now - start;
  const Nanoseconds growth = value - start_value;
  if (elapsed > size) {
    reset(now, value, growth);
    return growth;
  }
  const auto carried = static_cast<unsigned __int128>(previous_growth.value()) * (size - elapsed).value() / size.value();
  return growth + Nanoseconds{static_cast<uint64_t>(carried)};
}

PressureTriggers::Trigger::~Trigger() {
  if (owner) owner->remove(*this);
}

PressureTriggers::~PressureTriggers() {
  for (Group* group : {&polled_, &averaged_})
    while (Trigger* t = group->triggers.pop_front()) t->owner = nullptr;
  if (poll_event_) clock_.cancel(*poll_event_);
  if (averaging_event_) clock_.cancel(*averaging_event_);
}

void PressureTriggers::note_triggers(Group& group) {
  group.watched = 0;
  group.period = Nanoseconds{UINT64_MAX};
  for (const Trigger& t : group.triggers) {
    group.watched |= 1u << t.state;
    group.period = std::min(group.period, t.window.size / kUpdatesPerWindow);
  }
}

// psi_trigger_create.
Result<std::unique_ptr<fs::PressureTrigger>> PressureTriggers::add(fs::PressureResource resource, std::string_view text, bool privileged) {
  const auto request = parse(text);
  if (!request || request->window_us < kShortestWindow || request->window_us > kLongestWindow) return fail(Errno::Invalid);
  if (!privileged && request->window_us % kUnprivilegedWindow != 0) return fail(Errno::Invalid);
  if (request->threshold_us == 0 || request->threshold_us > request->window_us) return fail(Errno::Invalid);

  const Nanoseconds now = clock_.now();
  const Totals totals = pressure_.totals(now);
  auto t = std::make_unique<Trigger>();
  t->owner = this;
  t->group = privileged ? &polled_ : &averaged_;
  t->state = static_cast<Pressure::State>(static_cast<unsigned>(resource) * 2 + request->full);
  t->threshold = Nanoseconds{request->threshold_us * 1000};
  t->window.size = Nanoseconds{request->window_us * 1000};
  t->window.reset(now, totals[t->state], Nanoseconds{0});
  if (privileged && polled_.triggers.empty()) {
    polled_totals_ = totals;
    schedule_poll(1);
  }
  t->group->triggers.push_back(*t);
  note_triggers(*t->group);
  note_states();
  return std::unique_ptr<fs::PressureTrigger>(std::move(t));
}

// psi_trigger_destroy.
void PressureTriggers::remove(Trigger& t) {
  t.queue.wake_all();
  Group& group = *t.group;
  group.triggers.remove(t);
  note_triggers(group);
  if (!polled_.triggers.empty()) return;
  if (poll_event_) clock_.cancel(*poll_event_);
  poll_event_.reset();
  poll_until_ = Nanoseconds{0};
}

// update_triggers.
void PressureTriggers::update(Group& group, Nanoseconds now, const Totals& totals) {
  bool any_new = false;
  for (Trigger& t : group.triggers) {
    const bool new_stall = group.seen[t.state] != totals[t.state];
    if (!new_stall && !t.pending) continue;
    if (new_stall) {
      any_new = true;
      const Nanoseconds growth = t.window.update(now, totals[t.state]);
      if (growth < t.threshold && !t.pending) continue;
      t.pending = true;
    }
    // At most one event in a window.
    if (t.last_event && now < *t.last_event + t.window.size) continue;
    t.last_event = now;
    t.pending = false;
    if (!std::exchange(t.event, true)) t.queue.wake_all();
  }
  if (any_new) group.seen = totals;
}

// psi_schedule_rtpoll_work.
void PressureTriggers::schedule_poll(uint64_t ticks) {
  if (poll_event_) return;
  poll_event_ = clock_.schedule(ticks_from(clock_.now(), ticks), [this] {
    poll_event_.reset();
    poll();
  });
}

// psi_rtpoll_work.
void PressureTriggers::poll() {
  const Nanoseconds now = clock_.now();
  const bool going_on = now <= poll_until_;
  const Totals totals = pressure_.totals(now);
  uint32_t changed = 0;
  for (unsigned s = 0; s < Pressure::Count; ++s) changed |= static_cast<uint32_t>(totals[s] != polled_totals_[s]) << s;
  polled_totals_ = totals;
  if (changed & polled_.watched) {
    if (!going_on) {
      for (Trigger& t : polled_.triggers) t.window.reset(now, totals[t.state], Nanoseconds{0});
      polled_.seen = totals;
      next_poll_ = now + polled_.period;
    }
    poll_until_ = now + polled_.period * kUpdatesPerWindow;
  }
  if (now > poll_until_) return;
  if (now >= next_poll_) {
    update(polled_, now, totals);
    next_poll_ = now + polled_.period;
  }
  schedule_poll((next_poll_ - now) / kTick + 1);
}

void PressureTriggers::schedule_averaging() {
  if (averaging_event_) return;
  const Nanoseconds now = clock_.now();
  (void)pressure_.totals(now);  // brings next_update() up to date
  averaging_event_ = clock_.schedule(ticks_from(pressure_.next_update(), 1), [this] {
    averaging_event_.reset();
    average();
  });
}

// psi_avgs_work.
void PressureTriggers::average() {
  const Nanoseconds now = clock_.now();
  update(averaged_, now, pressure_.totals(now));
  const bool waiting = std::ranges::any_of(averaged_.triggers, [](const Trigger& t) { return t.pending; });
  if (waiting || (pressure_.states() & averaged_.watched)) schedule_averaging();
}

}  // namespace vitro::kernel
