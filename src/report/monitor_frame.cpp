// frame: everything that is known of one frame of RAM.
#include <fmt/format.h>

#include <iterator>

#include "report/monitor_view.h"
#include "vitro/fs/process_view.h"
#include "vitro/mm/lru.h"
#include "vitro/mm/page_cache.h"
#include "vitro/mm/physical_memory.h"
#include "vitro/mm/rmap.h"
#include "vitro/mm/slab.h"

namespace vitro::report {
namespace {

using mm::Frame;
using mm::FrameFlag;
using mm::FrameState;

std::string flags_text(const Frame& f) {
  struct Named {
    FrameFlag flag;
    const char* name;
  };
  constexpr Named kNames[] = {{FrameFlag::Locked, "locked"}, {FrameFlag::Referenced, "referenced"}, {FrameFlag::Uptodate, "uptodate"},
                              {FrameFlag::Dirty, "dirty"}, {FrameFlag::Lru, "lru"}, {FrameFlag::Active, "active"}, {FrameFlag::Workingset, "workingset"},
                              {FrameFlag::Writeback, "writeback"}, {FrameFlag::SwapBacked, "swapbacked"}, {FrameFlag::SwapCache, "swapcache"},
                              {FrameFlag::Unevictable, "unevictable"}, {FrameFlag::Mlocked, "mlocked"}, {FrameFlag::Reclaim, "reclaim"},
                              {FrameFlag::Readahead, "readahead"}, {FrameFlag::AnonExclusive, "anon_exclusive"}, {FrameFlag::Head, "head"}};
  std::string text;
  for (const Named& n : kNames)
    if (f.has(n.flag)) (text += text.empty() ? "" : " ") += n.name;
  return text.empty() ? "-" : text;
}

const char* lru_text(const Frame& f) {
  if (!f.has(FrameFlag::Lru)) return "on none";
  constexpr const char* kNames[] = {"inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable"};
  return kNames[static_cast<size_t>(mm::Lru::list_of(f))];
}

bool is_free(FrameState s) { return s == FrameState::Free || s == FrameState::PerCpu; }
bool is_user(FrameState s) {
  return s == FrameState::Anonymous || s == FrameState::FileCache || s == FrameState::Shmem || s == FrameState::BlockCache || s == FrameState::SwapCacheOnly ||
         s == FrameState::Hugetlb;
}

}  // namespace

MonitorText MonitorView::frame(uint64_t number) {
  mm::PhysicalMemory& physical = machine_.physical();
  const Pfn pfn{number};
  if (number >= physical.frames().size().value())
    return fail(UserError{fmt::format("there is no frame {:#x}", number), fmt::format("RAM has frames 0 to {:#x}", physical.frames().size().value() - 1)});
  const FrameState state = physical.state_of(pfn);
  std::string out = fmt::format("frame {:#x} at physical {:#x}: {}", number, pfn.address().value(), mm::frame_state_name(state));
  auto to = std::back_inserter(out);
  // Only the first frame of a free block is described by its own descriptor.
  Pfn head = pfn;
  if (is_free(state))
    for (unsigned order = 0; order <= 10; ++order) {
      const Pfn candidate{number & ~((uint64_t{1} << order) - 1)};
      const Frame& c = physical.frames()[candidate];
      if (c.state == state && c.order >= order && number - candidate.value() < uint64_t{1} << c.order) head = candidate;
    }
  const Frame& f = physical.frames()[head];
  if (state == FrameState::Reserved) return out + ", never managed\n";
  fmt::format_to(to, ", zone {}\n", physical.zones()[f.zone].name());
  if (is_free(state)) {
    fmt::format_to(to, "in a free block of order {} ({} frames) from {:#x} on{}\n", f.order, 1u << f.order, head.value(),
                   state == FrameState::PerCpu ? ", on a CPU's list" : "");
    return out;
  }
  fmt::format_to(to, "refcount {}, mapcount {}, order {}", f.refcount, f.mapcount, f.order);
  if (f.is_tail()) fmt::format_to(to, ", tail of the block at {:#x}", f.compound_head);
  fmt::format_to(to, "\nflags {}\n", flags_text(f));
  if (is_user(state)) fmt::format_to(to, "LRU list {}\n", lru_text(f));
  if (state == FrameState::Slab && f.slab)
    fmt::format_to(to, "slab of cache {}: {} of {} objects in use{}\n", f.slab->name(), f.slab_inuse, f.slab_objects, f.slab_frozen ? ", held by a CPU" : "");
  if (state == FrameState::FileCache || state == FrameState::Shmem || state == FrameState::BlockCache) {
    fmt::format_to(to, "page {:#x} of ", f.index);
    if (f.page_cache)
      fmt::format_to(to, "inode {}\n", f.page_cache->inode_number());
    else
      out += "a file that is gone\n";
  }
  if (state == FrameState::Anonymous) fmt::format_to(to, "anonymous page at index {:#x}\n", f.index);
  mm::rmap_for_each_vma(machine_.vm(), pfn, [&](mm::Vma& area, VirtAddr a) {
    fmt::format_to(to, "mapped by {} at {:#x}: {}\n", process_name(*area.space), a.value(), fs::area_label(area));
  });
  return out;
}

}  // namespace vitro::report
