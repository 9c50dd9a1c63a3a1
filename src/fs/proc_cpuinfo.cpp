#include "fs/proc_cpuinfo.h"

#include <fmt/format.h>

#include <iterator>

#include "vitro/hw/pte.h"

namespace vitro::fs {
namespace {

constexpr CacheLevel kCaches[] = {{1, "Data", 8, 64, 64}, {1, "Instruction", 8, 64, 64}, {2, "Unified", 16, 4096, 64}};

// Linux's names, in the order of its feature words: CPUID 1 EDX, 0x80000001 EDX, what the kernel adds for this family, CPUID 1 ECX,
// 0x80000001 ECX.
constexpr std::string_view kFlags =
    "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 syscall nx lm constant_tsc rep_good "
    "nopl cpuid "
    "pni ssse3 cx16 sse4_1 sse4_2 popcnt hypervisor lahf_lm";
constexpr std::string_view kBugs = "cpu_meltdown spectre_v1 spectre_v2 spec_store_bypass l1tf mds swapgs itlb_multihit";

}  // namespace

std::span<const CacheLevel> cpu_caches() { return kCaches; }

std::string render_cpuinfo(unsigned cpus) {
  std::string text;
  for (unsigned cpu = 0; cpu < cpus; ++cpu) {
    fmt::format_to(
        std::back_inserter(text),
        "processor\t: {0}\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 26\nmodel name\t: Intel Core i7 9xx (Nehalem Class Core "
        "i7)\n"
        "stepping\t: 3\nmicrocode\t: 0x1\ncpu MHz\t\t: {1}.{2:03}\ncache size\t: {3} KB\nphysical id\t: 0\nsiblings\t: {4}\ncore id\t\t: "
        "{0}\n"
        "cpu cores\t: {4}\napicid\t\t: {0}\ninitial apicid\t: {0}\nfpu\t\t: yes\nfpu_exception\t: yes\ncpuid level\t: 11\nwp\t\t: yes\n"
        "flags\t\t: {5}\nbugs\t\t: {6}\nbogomips\t: {7}.{8:02}\nclflush size\t: 64\ncache_alignment\t: 64\n"
        "address sizes\t: {9} bits physical, 48 bits virtual\npower management:\n\n",
        cpu, kTscKhz / 1000, kTscKhz % 1000, kCaches[2].kib(), cpus, kFlags, kBugs, kTscKhz / 500, kTscKhz / 5 % 100, hw::kPhysicalBits);
  }
  return text;
}

}  // namespace vitro::fs
