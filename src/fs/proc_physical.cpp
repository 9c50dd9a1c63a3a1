// What /proc and /sys say of physical memory beyond its counters: iomem, vmallocinfo, extfrag, and the settings of zones and compaction in
// /proc/sys/vm.
#include "fs/proc_physical.h"

#include <fmt/format.h>

#include <charconv>

#include "vitro/mm/compaction.h"
#include "vitro/mm/physical_memory.h"
#include "vitro/mm/vmalloc.h"

namespace vitro::fs {
namespace {

// kernel/sysctl.c: proc_dointvec for an array: numbers between blanks; what is not given stays.
Status parse_ratios(std::string_view text, mm::Watermarks& marks, std::span<const unsigned> zones) {
  constexpr std::string_view kSpace(" \t\n\0", 4);
  size_t i = 0;
  for (;;) {
    const size_t first = text.find_first_not_of(kSpace);
    if (first == std::string_view::npos || i == zones.size()) return i ? Status{} : fail(Errno::Invalid);
    text.remove_prefix(first);
    const std::string_view word = text.substr(0, text.find_first_of(kSpace));
    int32_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc{} || end != word.data() + word.size()) return fail(Errno::Invalid);
    marks.set_lowmem_reserve_ratio(zones[i++], value < 1 ? 0 : static_cast<unsigned>(value));
    text.remove_prefix(word.size());
  }
}

}  // namespace

std::string render_iomem(mm::PhysicalMemory& physical) {
  std::string text;
  const auto line = [&](unsigned depth, uint64_t first, uint64_t end, std::string_view what) {
    fmt::format_to(std::back_inserter(text), "{:{}}{:08x}-{:08x} : {}\n", "", depth * 2, first, end - 1, what);
  };
  const mm::BootLayout& layout = physical.boot_layout();
  const uint64_t ram = physical.ram().size().value();
  // What a PC's firmware says (e820): the hole between 640 KiB and 1 MiB, and RAM from there on.
  line(0, 0, 0x1000, "Reserved");
  line(0, 0x1000, 0x9f000, "System RAM");
  line(0, 0x9f000, 0xa0000, "Reserved");
  line(0, 0xf0000, 0x100000, "Reserved");
  line(1, 0xf0000, 0x100000, "System ROM");
  line(0, 0x100000, ram, "System RAM");
  line(1, layout.kernel_image.first.address().value(), layout.kernel_image.end.address().value(), "Kernel code");
  return text;
}

void add_physical_files(PseudoDirectory& root, mm::VirtualMemory& vm) {
  root.file("iomem", [&vm] { return Result<std::string>(render_iomem(vm.physical())); }, nullptr, 0400);
  root.file("vmallocinfo", [&vm] { return Result<std::string>(vm.vmalloc().vmallocinfo()); }, nullptr, 0400);
}

void add_extfrag_files(PseudoDirectory& kernel_debug, mm::VirtualMemory& vm) {
  PseudoDirectory& extfrag = kernel_debug.directory("extfrag");
  extfrag.file("extfrag_index", [&vm] { return Result<std::string>(mm::extfrag_index_text(vm.physical())); });
  extfrag.file("unusable_index", [&vm] { return Result<std::string>(mm::unusable_index_text(vm.physical())); });
}

std::vector<Tunable> physical_tunables(mm::VirtualMemory& vm) {
  mm::Watermarks& marks = vm.physical().watermarks();
  mm::Compaction& compaction = vm.compaction();
  std::vector<Tunable> all;
  all.push_back({"vm/compact_memory", nullptr, [&compaction](std::string_view text) -> Status {
                   TRY(parse_tunable(text, 1, INT32_MAX));
                   compaction.compact_all();
                   return {};
                 }});
  all.push_back(integer_tunable(
      "vm/compact_unevictable_allowed", [&compaction] { return compaction.unevictable_allowed; },
      [&compaction](int64_t v) { compaction.unevictable_allowed = v != 0; }, 0, 1));
  all.push_back(integer_tunable(
      "vm/extfrag_threshold", [&compaction] { return compaction.extfrag_threshold; },
      [&compaction](int64_t v) { compaction.extfrag_threshold = static_cast<unsigned>(v); }, 0, 1000));
  // As many ratios as there are zones with a name in /proc/zoneinfo.
  std::vector<unsigned> zones{mm::kZoneDma, mm::kZoneDma32, mm::kZoneNormal};
  if (vm.physical().zones()[mm::kZoneHighMem].populated()) zones.push_back(mm::kZoneHighMem);
  zones.push_back(mm::kZoneMovable);
  zones.push_back(mm::kZoneDevice);
  all.push_back({"vm/lowmem_reserve_ratio",
                 [&marks, zones] {
                   std::string text;
                   for (const unsigned z : zones) fmt::format_to(std::back_inserter(text), "{}{}", text.empty() ? "" : "\t", marks.lowmem_reserve_ratio(z));
                   return text + "\n";
                 },
                 [&marks, zones](std::string_view text) { return parse_ratios(text, marks, zones); }});
  all.push_back(integer_tunable(
      "vm/min_free_kbytes", [&marks] { return static_cast<int64_t>(marks.min_free_kbytes()); },
      [&marks](int64_t v) { marks.set_min_free_kbytes(static_cast<uint64_t>(v)); }, 0, INT32_MAX));
  Tunable fraction = integer_tunable(
      "vm/percpu_pagelist_high_fraction", [&marks] { return marks.high_fraction(); }, [&marks](int64_t v) { marks.set_high_fraction(static_cast<unsigned>(v)); },
      0, INT32_MAX);
  fraction.write = [&marks](std::string_view text) -> Status {
    const int64_t v = TRY(parse_tunable(text, 0, INT32_MAX));
    if (v != 0 && v < 8) return fail(Errno::Invalid);  // MIN_PERCPU_PAGELIST_HIGH_FRACTION
    marks.set_high_fraction(static_cast<unsigned>(v));
    return {};
  };
  all.push_back(std::move(fraction));
  all.push_back(integer_tunable(
      "vm/watermark_boost_factor", [&marks] { return marks.watermark_boost_factor(); },
      [&marks](int64_t v) { marks.set_watermark_boost_factor(static_cast<unsigned>(v)); }, 0, INT32_MAX));
  all.push_back(integer_tunable(
      "vm/watermark_scale_factor", [&marks] { return marks.watermark_scale_factor(); },
      [&marks](int64_t v) { marks.set_watermark_scale_factor(static_cast<unsigned>(v)); }, 1, 3000));
  return all;
}

}  // namespace vitro::fs
