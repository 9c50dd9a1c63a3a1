// What a sampling report shows: its columns, computed from two samples as the tool of its name computes them, and their text.
//
//   SampleTable table = TRY(SampleTable::make("sar-r", first));
//   text = table.heading(first) + table.row({first, second});
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "report/sample.h"
#include "vitro/base/result.h"

namespace vitro::report {

struct SampleInterval {
  const Sample& before;
  const Sample& now;
  double seconds() const;  // never 0
};

struct SampleColumn {
  std::string name;
  bool rate = false;  // printed with two decimals
  std::function<double(const SampleInterval&)> value;
};

class SampleTable {
 public:
  // free, sar-r, sar-B, sar-S, sar-W, vmstat, or a list of fields of /proc/meminfo and /proc/vmstat, separated by commas; `known` says which there are.
  // `fractions`: times of day are printed with milliseconds. Errors: a name that is neither, with the nearest that are.
  static Result<SampleTable, UserError> make(std::string_view report, const Sample& known, bool fractions);

  const std::vector<SampleColumn>& columns() const { return columns_; }
  // With the time of `first` where the tool has it. May be empty.
  std::string heading(const Sample& first) const;
  std::string row(const SampleInterval& interval) const;

 private:
  enum class Layout : uint8_t { Sar, Free, Vmstat };
  std::string time_of_day(const Sample& s) const;
  std::string sar_row(const SampleInterval& interval) const;
  std::string free_row(const SampleInterval& interval) const;
  std::string vmstat_row(const SampleInterval& interval) const;

  Layout layout_ = Layout::Sar;
  bool fractions_ = false;
  std::vector<SampleColumn> columns_;
};

// Up to three of `names` that `word` may have been meant to be, the nearest first.
std::vector<std::string> near_matches(std::string_view word, std::span<const std::string> names);

}  // namespace vitro::report
