#include "kernel/pressure.h"

#include "kernel/load_average.h"

namespace vitro::kernel {
namespace {

// 2048 / exp(2 s / 10, 60, 300 s).
constexpr std::array<uint64_t, 3> kDecay{1677, 1981, 2034};

}  // namespace

// test_state.
uint32_t Pressure::states_of(const Load& l) {
  uint32_t states = 0;
  const auto put = [&states](State s, bool on) { states |= static_cast<uint32_t>(on) << s; };
  put(IoSome, l.waiting != 0);
  put(IoFull, l.waiting != 0 && l.runnable == 0);
  put(MemorySome, l.stalled != 0);
  put(MemoryFull, l.stalled != 0 && (l.runnable == l.stalled_runnable || l.busy_stalled));
  put(CpuSome, l.runnable > l.busy);
  // CpuFull is about groups that are not let run: there are none.
  return states;
}

void Pressure::accumulate(Nanoseconds until) {
  for (unsigned s = 0; s < Count; ++s)
    if (states_ >> s & 1) sums_[s].total += until - since_;
  since_ = until;
}

void Pressure::change(Nanoseconds now, uint32_t states) {
  if (now < since_) return;  // a cut-short block had been charged more
  catch_up(now);
  accumulate(now);
  states_ = states;
}

// psi_avgs_work, as often as it would have run since.
void Pressure::catch_up(Nanoseconds now) {
  while (now >= next_update_) {
    accumulate(next_update_);
    update_averages(0, kPeriod);
    next_update_ += kPeriod;
    if (states_ == 0 && now >= next_update_) {
      // Nothing happened for whole periods.
      const uint64_t idle = (now - next_update_) / kPeriod + 1;
      next_update_ += kPeriod * idle;
      since_ = next_update_ - kPeriod;
      update_averages(idle - 1, kPeriod);
    }
  }
}

// calc_avgs.
void Pressure::update_averages(uint64_t missed_periods, Nanoseconds period) {
  for (Sum& sum : sums_) {
    const Nanoseconds sample = std::min(sum.total - sum.averaged, period);
    sum.averaged += sample;
    const uint64_t percent = sample.value() * 100 / period.value();
    for (size_t i = 0; i < sum.averages.size(); ++i) {
      if (missed_periods) sum.averages[i] = decayed_load(sum.averages[i], kDecay[i], 0, missed_periods);
      sum.averages[i] = decayed_load(sum.averages[i], kDecay[i], percent, 1);
    }
  }
}

std::array<Nanoseconds, Pressure::Count> Pressure::totals(Nanoseconds now) {
  change(now, states_);
  std::array<Nanoseconds, Count> totals;
  for (unsigned s = 0; s < Count; ++s) totals[s] = sums_[s].total;
  return totals;
}

fs::PressureView Pressure::read(Nanoseconds now) {
  change(now, states_);
  fs::PressureView view;
  const std::array<fs::PressureView::Resource*, 3> resources{&view.io, &view.memory, &view.cpu};
  for (unsigned s = 0; s < Count; ++s) {
    fs::PressureView::Line& line = s % 2 ? resources[s / 2]->full : resources[s / 2]->some;
    line.averages = sums_[s].averages;
    line.total_us = sums_[s].total.value() / 1000;
  }
  return view;
}

}  // namespace vitro::kernel
