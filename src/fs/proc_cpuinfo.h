// The simulated processor as Linux describes it: /proc/cpuinfo and /sys/devices/system/cpu. All of it follows from the CPUID of the model
// (Nehalem as the emulator implements it), not from the host.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace vitro::fs {

struct CacheLevel {
  unsigned level;
  std::string_view type;  // "Data", "Instruction", "Unified"
  unsigned ways, sets, line;
  constexpr unsigned kib() const { return ways * sets * line / 1024; }
};
// CPUID leaf 4.
std::span<const CacheLevel> cpu_caches();

inline constexpr unsigned kTscKhz = 2'500'000;  // the clock of the cost table (hw::TimingModel)

std::string render_cpuinfo(unsigned cpus);  // arch/x86/kernel/cpu/proc.c: show_cpuinfo

}  // namespace vitro::fs
