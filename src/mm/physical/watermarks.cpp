// Watermarks and reserves of all zones (mm/page_alloc.c: __setup_per_zone_wmarks, setup_per_zone_lowmem_reserve, calculate_min_free_kbytes).
#include <algorithm>

#include "vitro/mm/zone.h"

namespace vitro::mm {
namespace {

uint64_t int_sqrt(uint64_t n) {
  uint64_t root = 0;
  for (uint64_t bit = uint64_t{1} << 31; bit; bit >>= 1)
    if ((root | bit) * (root | bit) <= n) root |= bit;
  return root;
}

// Frames above the high watermarks (nr_free_buffer_pages).
uint64_t free_buffer_pages(std::span<const Zone> zones) {
  uint64_t sum = 0;
  for (const Zone& z : zones) {
    if (z.index() > kZoneNormal) continue;
    const uint64_t high = z.watermark(Watermark::High).value();
    if (z.managed().value() > high) sum += z.managed().value() - high;
  }
  return sum;
}

}  // namespace

uint64_t Watermarks::default_min_free_kbytes() const {
  return std::clamp<uint64_t>(int_sqrt(free_buffer_pages(zones_) * (kPageSize >> 10) * 16), 128, 262144);
}

Watermarks::Watermarks(std::span<Zone> zones) : zones_(zones) {
  min_free_kbytes_ = default_min_free_kbytes();
  recompute();
}

void Watermarks::set_huge_pages_enabled(bool on) {
  if (!on) {
    if (!user_min_free_) min_free_kbytes_ = default_min_free_kbytes();
  } else {
    uint64_t zones = 0;
    for (const Zone& z : zones_) zones += z.populated();
    const uint64_t wanted = kPageblockFrames * zones * (2 + kPcpTypes * kPcpTypes);
    const uint64_t pages = std::min(wanted, free_buffer_pages(zones_) / 20);
    min_free_kbytes_ = std::max(min_free_kbytes_, pages << (kPageShift - 10));
  }
  recompute();
}

void Watermarks::set_watermark_boost_factor(unsigned n) {
  boost_factor_ = n;
  for (Zone& z : zones_) z.set_watermark_boost_factor(n);
}

void Watermarks::recompute() {
  uint64_t lowmem = 0;
  for (const Zone& z : zones_)
    if (z.index() != kZoneHighMem) lowmem += z.managed().value();
  if (lowmem == 0) return;
  const uint64_t pages_min = min_free_kbytes_ >> (kPageShift - 10);
  for (Zone& z : zones_) {
    const uint64_t managed = z.managed().value();
    const auto min = static_cast<uint64_t>(static_cast<unsigned __int128>(pages_min) * managed / lowmem);
    const auto scaled = static_cast<uint64_t>(static_cast<unsigned __int128>(managed) * scale_factor_ / 10000);
    const uint64_t distance = std::max(min >> 2, scaled);
    // High memory is no use to the kernel in need: it keeps just enough for reclaim to get going.
    const uint64_t least = z.index() == kZoneHighMem ? std::clamp<uint64_t>(managed / 1024, 32, 128) : min;
    z.set_watermarks(Pages{least}, Pages{least + distance}, Pages{least + 2 * distance});
    z.update_per_cpu_limits(high_fraction_);
  }
  // What zone i keeps from requests that could have gone to zone j: a part of everything above i up to j.
  for (Zone& z : zones_) {
    uint64_t above = 0;
    const unsigned ratio = ratio_[z.index()];
    for (unsigned j = z.index() + 1; j < kZoneTypes; ++j) {
      if (j < zones_.size()) above += zones_[j].managed().value();
      z.set_lowmem_reserve(j, Pages{ratio == 0 || z.managed().value() == 0 ? 0 : above / ratio});
    }
  }
  uint64_t total = 0;
  for (const Zone& z : zones_) {
    uint64_t most = 0;
    for (unsigned j = z.index(); j < kZoneTypes; ++j) most = std::max(most, z.lowmem_reserve(j).value());
    total += std::min(most + z.watermark(Watermark::High).value(), z.managed().value());
  }
  total_reserve_ = Pages{total};
}

Pages Watermarks::low_sum() const {
  Pages sum{0};
  for (const Zone& z : zones_) sum += z.watermark(Watermark::Low);
  return sum;
}

}  // namespace vitro::mm
