#include "lab/show.h"

#include <algorithm>

#include "lab/evaluate.h"
#include "vitro/fs/process_view.h"
#include "vitro/mm/vmalloc.h"

namespace vitro::lab {
namespace {

constexpr size_t kMostRows = 16;   // of a list that can be long
constexpr std::string_view kLevels[] = {"", "PTE", "PMD", "PUD", "PGD"};

template <class... Args>
void print(std::string& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

void row(std::string& out, std::string_view label, std::string text) { print(out, "  {:<9} {}\n", label, text); }

std::string zones_table(Session& s) {
  std::string out = fmt::format("{:<8} {:>10} {:>9} {:>9} {:>9} {:>7} {:>7} {:>7} {:>7}  lowmem_reserve\n", "zone", "start_pfn", "present", "managed", "free", "pcp",
                                "min", "low", "high");
  for (const mm::Zone& z : s.machine->physical().zones()) {
    if (!z.populated()) continue;
    print(out, "{:<8} {:>#10x} {:>9} {:>9} {:>9} {:>7} {:>7} {:>7} {:>7}  (", z.name(), z.first().value(), z.present().value(), z.managed().value(),
          z.free_frames().value(), z.per_cpu_frames().value(), z.watermark(mm::Watermark::Min).value(), z.watermark(mm::Watermark::Low).value(),
          z.watermark(mm::Watermark::High).value());
    for (unsigned i = 0; i < mm::kZoneTypes; ++i) print(out, "{}{}", i ? ", " : "", z.lowmem_reserve(i).value());
    out += ")\n";
  }
  return out;
}

std::string flag_names(const mm::Frame& f) {
  constexpr std::string_view kNames[] = {"locked", "referenced", "uptodate", "dirty", "lru", "active", "workingset", "writeback",
                                         "swapbacked", "swapcache", "unevictable", "mlocked", "reclaim", "readahead", "anon_exclusive", "head"};
  std::string names;
  for (unsigned i = 0; i < std::size(kNames); ++i)
    if (f.flags >> i & 1) names += (names.empty() ? "" : "|") + std::string(kNames[i]);
  return names.empty() ? "none" : names;
}

void append_walk(std::string& out, const hw::WalkResult& walk, VirtAddr a) {
  std::string line;
  for (unsigned i = 0; i < walk.references; ++i) {
    const hw::WalkStep& step = walk.steps[i];
    print(line, "{}{}[{}] {:#x}", i ? " -> " : "", kLevels[step.level], hw::table_index(a, step.level), step.entry.raw);
  }
  if (walk.ok) print(line, " = {} page at {:#x}", walk.size == hw::PageSize::k4K ? "a 4K" : walk.size == hw::PageSize::k2M ? "a 2M" : "a 1G", walk.leaf.pfn().address().value());
  else line += " = not present";
  row(out, "walk", std::move(line));
}

// The pages of an area and the frames behind them.
void append_pages(std::string& out, Session& s, const Allocation& a) {
  const uint64_t pages = Bytes{a.address.page_offset() + a.size}.pages_up().value();
  const VirtAddr first = a.address.page_floor();
  uint64_t runs = 0;
  std::optional<Pfn> previous;
  std::string rows;
  for (uint64_t i = 0; i < pages; ++i) {
    const VirtAddr page = first + Pages{i};
    const auto frame = s.frame_behind(page);
    if (!frame) continue;
    if (!previous || *frame != *previous + Pages{1}) ++runs;
    previous = frame;
    if (i < kMostRows) print(rows, "    {:#x} -> pfn {:#x} (zone {})\n", page.value(), frame->value(), s.zone_name_of(*frame));
  }
  if (pages > kMostRows) print(rows, "    ... and {} more\n", pages - kMostRows);
  row(out, "pages", fmt::format("{} contiguous in virtual addresses, in {} piece{} of RAM{}", pages, runs, runs == 1 ? "" : "s", runs > 1 ? ": not contiguous there" : ""));
  out += rows;
}

void append_frame(std::string& out, Session& s, Pfn pfn) {
  const Pfn head = s.frames().head_of(pfn);
  const mm::Frame& f = s.frames()[head];
  const mm::Zone& zone = s.zone_of(pfn);
  row(out, "zone", fmt::format("{}, pageblock {} ({})", zone.name(), pfn.value() / mm::kPageblockFrames, mm::migrate_type_name(zone.buddy().pageblock_type(pfn))));
  row(out, "frame", fmt::format("state {}, order {}, refcount {}, mapcount {}, flags {}{}", mm::frame_state_name(s.machine->physical().state_of(pfn)), f.order,
                                f.refcount, f.mapcount, flag_names(f), head == pfn ? "" : fmt::format(" (tail of the block at pfn {:#x})", head.value())));
}

void append_object(std::string& out, Session& s, const mm::SlabCache& cache, VirtAddr a, const Allocation* owner) {
  const Pfn slab = s.frames().head_of(mm::direct_map_physical(a).pfn());
  const mm::Frame& f = s.frames()[slab];
  const uint64_t offset = (a - mm::direct_map(slab.address())).value();
  std::string text = fmt::format("{}: object {} of {} in the slab of order {} at pfn {:#x}, {} bytes each", cache.name(), offset / cache.size().value(), f.slab_objects,
                                 f.order, slab.value(), cache.size().value());
  if (owner && owner->live() && owner->size < cache.object_size())
    text += fmt::format(" ({} asked for, {} unused)", owner->size.value(), (cache.object_size() - owner->size).value());
  row(out, "cache", std::move(text));
}

std::string show_cache_value(const LabCache& c) {
  return c.cache ? show_cache(*c.cache) : fmt::format("  {}: destroyed at line {}\n", c.name, c.destroyed_line);
}

}  // namespace

std::string show_cache(const mm::SlabCache& cache) {
  const mm::SlabCache::Counts c = cache.counts();
  std::string out = fmt::format("  {}: objects of {} bytes, {} with padding, {} in a slab of order {}\n", cache.name(), cache.object_size().value(), cache.size().value(),
                                cache.objects_per_slab(), cache.order().value());
  if (cache.is_debug() && cache.red_zone_left().value())
    print(out, "  red zones: {} bytes in front of each object, {} behind\n", cache.red_zone_left().value(), cache.red_zone_right().value());
  print(out, "  objects: {} in use of {} (slabinfo's active_objs {}: a CPU's own free objects count there)\n", c.allocated, c.objects, c.active_objects);
  print(out, "  slabs: {} = {} full + {} partial (of these {} empty) + {} of a CPU (its own, and at most {} partial ones)\n", c.slabs, c.full_slabs, c.partial_slabs,
        c.empty_slabs, c.cpu_slabs, cache.cpu_partial_slabs());
  print(out, "  empty slabs are kept while there are no more than {} partial ones (min_partial)\n", cache.min_partial());
  return out;
}

std::string show_value(Session& s, std::string_view name, const Value& v) {
  if (v.is_null()) return fmt::format("{}: NULL\n", name);
  if (v.kind == Value::Kind::Number || v.kind == Value::Kind::Text) return fmt::format("{}: {}\n", name, value_text(s, v));
  if (v.kind == Value::Kind::Cache) return fmt::format("{}: a cache since line {}\n", name, s.caches[v.allocation - 1].line) + show_cache_value(s.caches[v.allocation - 1]);
  const Allocation* owner = v.allocation ? &s.ledger.at(v.allocation) : nullptr;
  std::string out = fmt::format("{}: {}", name, owner ? Session::origin(*owner) : "a made-up address");
  if (owner && !owner->live()) print(out, " (freed at line {})", owner->freed_line);
  out += '\n';
  if (v.kind == Value::Kind::Memory) {
    uint64_t resident = 0;
    for (Pages i{0}; i < owner->size.pages_up(); ++i) resident += s.machine->process()->pagemap_entry((owner->address + i).vpn()) >> 63;
    row(out, "virtual", fmt::format("{:#x}..{:#x}, user memory", v.address.value(), (v.address + owner->size).value()));
    row(out, "frames", fmt::format("{} of {} pages have one", resident, owner->size.pages_up().value()));
    return out;
  }
  const bool high = v.kind == Value::Kind::Pages && v.address.value() == 0;
  const auto frame = v.kind == Value::Kind::Pages ? std::optional(v.frame) : s.frame_behind(v.address);
  if (high) row(out, "virtual", "none: high memory has no place in the direct map");
  else row(out, "virtual", fmt::format("{:#x} ({})", v.address.value(), s.in_direct_map(v.address) ? "direct map" : "mapped by page tables"));
  if (frame) {
    row(out, "physical", v.kind == Value::Kind::Pages && owner && owner->order.value()
                             ? fmt::format("{:#x}..{:#x} = pfn {:#x}..{:#x}, {} frames in a row", frame->address().value(), (frame->address() + owner->size).value() - 1,
                                           frame->value(), (*frame + owner->order.pages()).value() - 1, owner->order.pages().value())
                             : fmt::format("{:#x} = pfn {:#x} + {:#x}", (frame->address() + v.address.page_offset()).value(), frame->value(), v.address.page_offset().value()));
    append_frame(out, s, *frame);
    if (const mm::SlabCache* cache = high ? nullptr : s.machine->slabs().cache_of(v.address)) append_object(out, s, *cache, v.address, owner);
  } else {
    row(out, "physical", "nothing is mapped there");
  }
  if (!high) append_walk(out, s.machine->walk_kernel(v.address), v.address);
  if (owner && owner->live() && !s.in_direct_map(v.address)) append_pages(out, s, *owner);
  return out;
}

std::string leaks_text(const Session& s, size_t* count) {
  // Allocations of one line are one row: loops make many.
  struct Row {
    const Allocation* first;
    uint64_t n = 0, bytes = 0;
  };
  std::map<unsigned, Row> by_line;
  size_t total = 0;
  for (const Allocation& a : s.ledger.all()) {
    if (!a.live()) continue;
    Row& r = by_line.try_emplace(a.line, Row{&a}).first->second;
    ++r.n, ++total;
    r.bytes += a.size.value();
  }
  std::string out;
  for (const auto& [line, r] : by_line)
    print(out, "  line {}: {}: {}{} bytes\n", line, r.first->call, r.n > 1 ? fmt::format("{} allocations, ", r.n) : "", r.bytes);
  for (const LabCache& c : s.caches)
    if (c.cache) print(out, "  line {}: cache {} was not destroyed\n", c.line, c.name), ++total;
  if (count) *count = total;
  return out;
}

std::string show_topic(Session& s, std::string_view topic) {
  mm::PhysicalMemory& physical = s.machine->physical();
  if (topic == "buddyinfo") return physical.buddyinfo();
  if (topic == "pagetypeinfo") return physical.pagetypeinfo();
  if (topic == "zoneinfo") return physical.zoneinfo();
  if (topic == "slabinfo") return physical.slabinfo();
  if (topic == "meminfo") return fs::meminfo_text(s.machine->vm(), {});
  if (topic == "vmstat") return fs::vmstat_text(s.machine->vm());
  if (topic == "vmallocinfo") return s.machine->vm().vmalloc().vmallocinfo();
  if (topic == "zones") return zones_table(s);
  const std::string leaks = leaks_text(s);
  return leaks.empty() ? "  nothing is allocated\n" : leaks;
}

}  // namespace vitro::lab
