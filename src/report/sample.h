// One look at a machine's memory counters, for reports that are printed while it runs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vitro/fs/process_view.h"
#include "vitro/machine/machine.h"

namespace vitro::report {

struct Sample {
  using Fields = std::vector<std::pair<std::string, int64_t>>;
  Nanoseconds time{0};  // since boot
  Fields meminfo;       // as /proc/meminfo has them: kB, but HugePages_* in pages
  Fields vmstat;        // as /proc/vmstat has them
  fs::SystemView system;

  // 0 where there is no such field: a kernel without swap has no SwapCached to speak of.
  int64_t memory(std::string_view name) const { return get(meminfo, name); }
  int64_t vm(std::string_view name) const { return get(vmstat, name); }
  // All fields of vmstat whose names begin so, together.
  int64_t vm_sum(std::string_view prefix) const;
  static int64_t get(const Fields& fields, std::string_view name);
};

// Reads the counters; changes nothing.
Sample take_sample(machine::Machine& machine);
// "MemFree:   123 kB" lines, and "pgfault 123" lines: name, value.
Sample::Fields parse_fields(std::string_view text);

}  // namespace vitro::report
