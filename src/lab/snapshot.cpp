#include "lab/snapshot.h"

#include <fmt/format.h>

#include <algorithm>

namespace vitro::lab {
namespace {

void append(std::string& line, std::string_view part) {
  if (!line.empty()) line += ", ";
  line += part;
}

void append_change(std::string& line, std::string_view what, uint64_t before, uint64_t now) {
  if (before != now) append(line, fmt::format("{} {} -> {}", what, before, now));
}

}  // namespace

Snapshot Snapshot::take(mm::PhysicalMemory& physical) {
  Snapshot s;
  for (const mm::Zone& zone : physical.zones()) {
    if (!zone.populated()) continue;
    ZoneState z{.name = std::string(zone.name())};
    for (uint8_t order = 0; order < mm::kOrders; ++order) z.blocks[order] = zone.buddy().free_blocks(Order{order});
    for (unsigned type = 0; type < mm::kMigrateTypes; ++type) z.pageblocks[type] = zone.buddy().pageblocks(static_cast<mm::MigrateType>(type));
    z.per_cpu = zone.per_cpu_frames().value();
    z.boost = zone.boost().value();
    z.min = zone.watermark(mm::Watermark::Min).value() - z.boost;
    s.zones_.push_back(std::move(z));
  }
  physical.slabs().for_each([&](const mm::SlabCache& c) { s.caches_.push_back({&c, c.name(), c.counts()}); });
  s.states_ = physical.frames_by_state();
  return s;
}

std::vector<std::string> Snapshot::changes_since(const Snapshot& before) const {
  std::vector<std::string> lines;
  const auto add = [&](std::string subject, std::string line) {
    if (!line.empty()) lines.push_back(std::move(subject) + ": " + std::move(line));
  };
  for (const CacheState& c : caches_) {
    const auto old = std::ranges::find(before.caches_, c.cache, &CacheState::cache);
    const mm::SlabCache::Counts was = old == before.caches_.end() ? mm::SlabCache::Counts{} : old->counts;
    std::string line;
    append_change(line, "objects in use", was.allocated, c.counts.allocated);
    append_change(line, "slabs", was.slabs, c.counts.slabs);
    append_change(line, "full", was.full_slabs, c.counts.full_slabs);
    append_change(line, "partial", was.partial_slabs, c.counts.partial_slabs);
    append_change(line, "empty", was.empty_slabs, c.counts.empty_slabs);
    append_change(line, "of a CPU", was.cpu_slabs, c.counts.cpu_slabs);
    add(c.name, std::move(line));
  }
  for (const CacheState& c : before.caches_)
    if (std::ranges::find(caches_, c.cache, &CacheState::cache) == caches_.end()) lines.push_back(c.name + ": gone");
  for (size_t i = 0; i < zones_.size(); ++i) {
    const ZoneState &now = zones_[i], &was = before.zones_[i];
    std::string line;
    for (unsigned order = mm::kOrders; order-- > 0;)
      if (now.blocks[order] != was.blocks[order])
        append(line, fmt::format("order {} {:+}", order, static_cast<int64_t>(now.blocks[order]) - static_cast<int64_t>(was.blocks[order])));
    add("buddy " + now.name, std::move(line));
    line.clear();
    append_change(line, "per-CPU lists", was.per_cpu, now.per_cpu);
    for (unsigned type = 0; type < mm::kMigrateTypes; ++type)
      append_change(line, fmt::format("{} pageblocks", mm::migrate_type_name(static_cast<mm::MigrateType>(type))), was.pageblocks[type], now.pageblocks[type]);
    append_change(line, "min watermark", was.min, now.min);
    append_change(line, "watermark boost", was.boost, now.boost);
    add("zone " + now.name, std::move(line));
  }
  std::string line;
  for (size_t i = 0; i < states_.size(); ++i) {
    const auto state = static_cast<mm::FrameState>(i);
    // Free memory is in the lines above, and slabs in their caches'.
    if (state == mm::FrameState::Free || state == mm::FrameState::PerCpu || state == mm::FrameState::Slab) continue;
    if (states_[i] != before.states_[i])
      append(line, fmt::format("{} {:+}", mm::frame_state_name(state), static_cast<int64_t>(states_[i]) - static_cast<int64_t>(before.states_[i])));
  }
  add("frames", std::move(line));
  return lines;
}

}  // namespace vitro::lab
