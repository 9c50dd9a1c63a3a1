// /proc/buddyinfo, zoneinfo and pagetypeinfo in Linux 6.1's format (mm/vmstat.c).
#include <fmt/format.h>

#include "mm/physical/machine_memory.h"

namespace vitro::mm {
namespace {

constexpr unsigned kFirstNodeItem = static_cast<unsigned>(VmItem::nr_inactive_anon);
constexpr unsigned kEndNodeItems = static_cast<unsigned>(VmItem::nr_dirty_threshold);
// Migrate types as Linux prints them: Isolate (memory hot-remove) has never any frames here.
constexpr std::string_view kTypeNames[] = {"Unmovable", "Movable", "Reclaimable", "HighAtomic", "Isolate"};
constexpr uint64_t kMostListed = 100000;  // lists are not counted any further

template <class... Args>
void print(std::string& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

}  // namespace

std::string MachineMemory::buddyinfo() const {
  std::string out;
  for (const Zone& zone : zones_) {
    if (!zone.populated()) continue;
    print(out, "Node 0, zone {:>8} ", zone.name());
    for (uint8_t order = 0; order < kOrders; ++order) print(out, "{:6} ", zone.buddy().free_blocks(Order{order}));
    out += '\n';
  }
  return out;
}

std::string MachineMemory::pagetypeinfo() const {
  std::string out;
  print(out, "Page block order: {}\nPages per block:  {}\n\n{:<43} ", kPageblockOrder.value(), kPageblockFrames,
        "Free pages count per migrate type at order");
  for (unsigned order = 0; order < kOrders; ++order) print(out, "{:6} ", order);
  out += '\n';
  for (const Zone& zone : zones_) {
    if (!zone.populated()) continue;
    for (unsigned type = 0; type < std::size(kTypeNames); ++type) {
      print(out, "Node {:4}, zone {:>8}, type {:>12} ", 0, zone.name(), kTypeNames[type]);
      for (uint8_t order = 0; order < kOrders; ++order) {
        const uint64_t blocks = type < kMigrateTypes ? zone.buddy().free_blocks(Order{order}, static_cast<MigrateType>(type)) : 0;
        if (blocks >= kMostListed) print(out, ">{:6} ", kMostListed);
        else print(out, "{:6} ", blocks);
      }
      out += '\n';
    }
  }
  print(out, "\n{:<23}", "Number of blocks type ");
  for (std::string_view name : kTypeNames) print(out, "{:>12} ", name);
  out += '\n';
  for (const Zone& zone : zones_) {
    if (!zone.populated()) continue;
    print(out, "Node 0, zone {:>8} ", zone.name());
    for (unsigned type = 0; type < std::size(kTypeNames); ++type)
      print(out, "{:12} ", type < kMigrateTypes ? zone.buddy().pageblocks(static_cast<MigrateType>(type)) : 0);
    out += '\n';
  }
  return out;
}

std::string MachineMemory::zoneinfo() const {
  std::string out;
  bool first = true;
  for (unsigned i = 0; i < kZoneTypes; ++i) {
    if (i == kZoneHighMem && !zones_[i].populated()) continue;
    const Zone* zone = i < zones_.size() ? &zones_[i] : nullptr;
    print(out, "Node 0, zone {:>8}", zone_name(i));
    if (zone && zone->populated() && first) {
      first = false;
      out += "\n  per-node stats";
      for (unsigned item = kFirstNodeItem; item < kEndNodeItems; ++item)
        print(out, "\n      {:<12} {}", vm_item_name(static_cast<VmItem>(item)), stat_.get(static_cast<VmItem>(item)));
    }
    append_zone(out, zone, i);
  }
  return out;
}

void MachineMemory::append_zone(std::string& out, const Zone* zone, unsigned index) const {
  const auto mark = [&](Watermark w) { return zone ? zone->watermark(w).value() : 0; };
  print(out, "\n  pages free     {}\n        boost    {}\n        min      {}\n        low      {}\n        high     {}",
        zone ? zone->free_frames().value() : 0, zone ? zone->boost().value() : 0, mark(Watermark::Min), mark(Watermark::Low),
        mark(Watermark::High));
  print(out, "\n        spanned  {}\n        present  {}\n        managed  {}\n        cma      0\n        protection: (",
        zone ? zone->spanned().value() : 0, zone ? zone->present().value() : 0, zone ? zone->managed().value() : 0);
  for (unsigned i = 0; i < kZoneTypes; ++i) {
    if (i == kZoneHighMem && !zones_[i].populated()) continue;
    print(out, "{}{}", i ? ", " : "", zone ? zone->lowmem_reserve(i).value() : 0);
  }
  out += ')';
  if (!zone || !zone->populated()) {
    out += '\n';
    return;
  }
  for (unsigned item = 0; item < kZoneItemCount; ++item)
    print(out, "\n      {:<12} {}", vm_item_name(static_cast<VmItem>(item)), stat_.get_zone(index, static_cast<VmItem>(item)));
  out += "\n  pagesets";
  for (unsigned cpu = 0; cpu < zone->cpus(); ++cpu) {
    const PerCpuLists& lists = zone->per_cpu(cpu);
    print(out, "\n    cpu: {}\n              count: {}\n              high:  {}\n              batch: {}\n  vm stats threshold: {}", cpu,
          lists.count(), lists.high(), lists.batch(), zone->stat_threshold());
  }
  print(out, "\n  node_unreclaimable:  {}\n  start_pfn:           {}\n", unreclaimable_ ? 1 : 0, zone->first().value());
}

}  // namespace vitro::mm
