// A live table of memory counters while a machine runs, at equal intervals of virtual time (docs/reports.md).
//
//   auto sampler = TRY(Sampler::create({.interval = seconds(1), .report = "sar-r"}, machine));
//   machine.run(program, [&] { sampler->at_exit(); });
//   TRY(sampler->finish());
//
// Sampling changes nothing: with and without it a run has the same output, counters, traces and virtual times.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "vitro/base/result.h"
#include "vitro/base/types.h"
#include "vitro/machine/machine.h"

namespace vitro::report {

// "1s", "500ms", "2m", "1h", "100us"; a bare number is seconds; fractions are fine. Errors: no number, an unknown unit, less than a microsecond.
Result<Nanoseconds, UserError> parse_interval(std::string_view text);

struct SampleOptions {
  Nanoseconds interval = seconds(1);
  std::string report = "free";  // free, sar-r, sar-B, sar-S, sar-W, vmstat, or fields separated by commas
  std::string out = "-";        // "-": standard error; a name ending in .csv or .json says the form, any other gets the table
};

class Sampler {
 public:
  // Before the machine runs; must be gone before it is. Errors: an unknown report or field, a file that cannot be written.
  static Result<std::unique_ptr<Sampler>, UserError> create(const SampleOptions& options, machine::Machine& machine);
  ~Sampler();
  Sampler(const Sampler&) = delete;

  // When the first program has ended, before its memory is freed: sampling ends. A run that was shorter than the interval gives one row, here.
  void at_exit();
  // Completes the output. Errors: it could not be written.
  Result<void, UserError> finish();

 private:
  struct State;
  explicit Sampler(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace vitro::report
