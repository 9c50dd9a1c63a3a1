// TLBs of real cores. Only published or widely measured figures; what a vendor does not publish (the replacement policies; the sizes of the
// paging-structure caches, 16/16/32 here throughout) is a model, and the same in every preset so that it does not blur a comparison.
#include <algorithm>

#include "vitro/hw/tlb_config.h"

namespace vitro::hw {
namespace {

constexpr TlbGeometry lru(unsigned entries, unsigned ways) { return {entries, ways, Replacement::Lru}; }

constexpr TlbPreset kPresets[] = {
    {"nehalem", "Intel Nehalem (2008)",
     "Intel Optimization Reference Manual 248966, Nehalem: cache and memory subsystem; 7-cpu.com/cpu/Nehalem.html",
     {.l1i = lru(128, 4), .l1d_4k = lru(64, 4), .l1d_2m = lru(32, 4), .l1d_1g = kNoTlb, .l2 = lru(512, 4), .pcid = false,
      .l1i_2m = lru(7, 7), .l2_holds_2m = false, .l2_1g = kNoTlb}},
    {"sandybridge", "Intel Sandy Bridge (2011)",
     "Intel Optimization Reference Manual 248966, Sandy Bridge: TLB hierarchy; 7-cpu.com/cpu/SandyBridge.html",
     {.l1i = lru(128, 4), .l1d_4k = lru(64, 4), .l1d_2m = lru(32, 4), .l1d_1g = lru(4, 4), .l2 = lru(512, 4), .l1i_2m = lru(8, 8),
      .l2_holds_2m = false, .l2_1g = kNoTlb}},
    {"haswell", "Intel Haswell (2013)",
     "Intel Optimization Reference Manual 248966, Haswell: TLB parameters; 7-cpu.com/cpu/Haswell.html",
     {.l1i = lru(128, 4), .l1d_4k = lru(64, 4), .l1d_2m = lru(32, 4), .l1d_1g = lru(4, 4), .l2 = lru(1024, 8), .l1i_2m = lru(8, 8),
      .l2_holds_2m = true, .l2_1g = kNoTlb}},
    {"broadwell", "Intel Broadwell (2014)",
     "Intel Optimization Reference Manual 248966, Broadwell: changes to the TLBs; 7-cpu.com/cpu/Broadwell.html",
     {.l1i = lru(128, 4), .l1d_4k = lru(64, 4), .l1d_2m = lru(32, 4), .l1d_1g = lru(4, 4), .l2 = lru(1536, 6), .l1i_2m = lru(8, 8),
      .l2_holds_2m = true, .l2_1g = lru(16, 4)}},
    {"skylake", "Intel Skylake client and server (2015); the default",
     "Intel Optimization Reference Manual 248966, Skylake: TLB parameters; 7-cpu.com/cpu/Skylake.html",
     {.l1i = lru(128, 8), .l1d_4k = lru(64, 4), .l1d_2m = lru(32, 4), .l1d_1g = lru(4, 4), .l2 = lru(1536, 12), .l1i_2m = lru(8, 8),
      .l2_holds_2m = true, .l2_1g = lru(16, 4)}},
    {"zen", "AMD Zen (2017)",
     "AMD Software Optimization Guide for Family 17h Processors 55723, 2.7: memory address translation",
     {.l1i = lru(64, 64), .l1d_4k = lru(64, 64), .l1d_2m = kNoTlb, .l1d_1g = kNoTlb, .l2 = lru(1536, 12), .pcid = false, .l1i_2m = kNoTlb,
      .l1_holds_all_sizes = true, .l2_holds_2m = true, .l2_1g = kNoTlb, .l2i = lru(512, 8)}},
    {"zen2", "AMD Zen 2 (2019)",
     "AMD Software Optimization Guide for Family 17h Models 30h and Greater 56305, 2.7; 7-cpu.com/cpu/Zen2.html",
     {.l1i = lru(64, 64), .l1d_4k = lru(64, 64), .l1d_2m = kNoTlb, .l1d_1g = kNoTlb, .l2 = lru(2048, 16), .pcid = false, .l1i_2m = kNoTlb,
      .l1_holds_all_sizes = true, .l2_holds_2m = true, .l2_1g = kNoTlb, .l2i = lru(512, 8)}},
};

}  // namespace

std::span<const TlbPreset> tlb_presets() { return kPresets; }

const TlbPreset* find_tlb_preset(std::string_view name) {
  const auto* found = std::find_if(std::begin(kPresets), std::end(kPresets), [name](const TlbPreset& p) { return p.name == name; });
  return found == std::end(kPresets) ? nullptr : found;
}

}  // namespace vitro::hw
