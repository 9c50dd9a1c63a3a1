#include "vitro/report/sampler.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <optional>

#include "report/sample_output.h"
#include "report/sample_table.h"

namespace vitro::report {

Result<Nanoseconds, UserError> parse_interval(std::string_view text) {
  const auto refuse = [&](std::string_view why) { return fail(UserError{fmt::format("--sample '{}' {}", text, why), "write a time such as 1s, 500ms or 2m"}); };
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || !std::isfinite(number) || number < 0) return refuse("is no time");
  const std::string_view unit{end, static_cast<size_t>(text.data() + text.size() - end)};
  const double scale = unit.empty() || unit == "s" ? 1e9 : unit == "ms" ? 1e6 : unit == "us" ? 1e3 : unit == "m" ? 60e9 : unit == "h" ? 3600e9 : 0;
  if (scale == 0) return refuse("has an unknown unit");
  const double ns = number * scale;
  if (ns < 1000) return refuse("is less than a microsecond");
  if (ns > 1e18) return refuse("is more than thirty years");
  return Nanoseconds{static_cast<uint64_t>(std::llround(ns))};
}

struct Sampler::State {
  ~State() {
    if (watch) machine.clock().unwatch(*watch);
  }
  void watch_next() {
    watch = machine.clock().watch(next, [this] {
      watch.reset();
      take();
      // A machine that was asleep in one long system call may be late by several intervals: they are over, not to be made up for.
      const Nanoseconds now = machine.clock().now();
      next += options.interval * std::max<uint64_t>(1, (now - next) / options.interval + 1);
      watch_next();
    });
  }
  void take() {
    Sample now = take_sample(machine);
    output->write(table, {last, now});
    last = std::move(now);
    ++rows;
  }

  machine::Machine& machine;
  SampleOptions options;
  Sample last;
  SampleTable table;
  std::unique_ptr<SampleOutput> output;
  Nanoseconds next{0};
  std::optional<hw::Clock::EventId> watch;
  uint64_t rows = 0;
};

Sampler::Sampler(std::unique_ptr<State> state) : state_(std::move(state)) {}
Sampler::~Sampler() = default;

Result<std::unique_ptr<Sampler>, UserError> Sampler::create(const SampleOptions& options, machine::Machine& machine) {
  Sample first = take_sample(machine);
  SampleTable table = TRY(SampleTable::make(options.report, first, options.interval.value() % 1'000'000'000 != 0));
  std::unique_ptr<SampleOutput> output = TRY(SampleOutput::open(options.out));
  std::unique_ptr<State> state{new State{machine, options, std::move(first), std::move(table), std::move(output), options.interval, std::nullopt, 0}};
  state->watch_next();
  return std::unique_ptr<Sampler>(new Sampler(std::move(state)));
}

void Sampler::at_exit() {
  State& s = *state_;
  if (s.watch) s.machine.clock().unwatch(*std::exchange(s.watch, std::nullopt));
  if (s.rows == 0) s.take();
}

Result<void, UserError> Sampler::finish() {
  state_->output->finish(state_->table);
  return state_->output->flush();
}

}  // namespace vitro::report
