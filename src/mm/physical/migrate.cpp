#include "mm/physical/migrate.h"

#include "mm/cache/page_cache_state.h"
#include "mm/space/virtual_memory_state.h"
#include "vitro/base/check.h"
#include "vitro/mm/rmap.h"

namespace vitro::mm {
namespace {

VmItem isolated_item(const Frame& f) { return f.has(FrameFlag::SwapBacked) ? VmItem::nr_isolated_anon : VmItem::nr_isolated_file; }
bool cached(const Frame& f) { return f.state == FrameState::FileCache || f.state == FrameState::Shmem || f.state == FrameState::BlockCache; }

}  // namespace

bool isolate_from_lru(VirtualMemory& vm, Pfn frame) {
  Frame& f = vm.physical().frames()[frame];
  if (!f.has(FrameFlag::Lru)) return false;
  vm.lru().remove(frame);
  ++f.refcount;
  vm.physical().stat().add(isolated_item(f));
  return true;
}

void put_back_on_lru(VirtualMemory& vm, Pfn frame) {
  Frame& f = vm.physical().frames()[frame];
  vm.physical().stat().add(isolated_item(f), -1);
  vm.lru().add(frame);
  --f.refcount;
}

bool migrate_frame(VirtualMemory& vm, Pfn from, Pfn to) {
  PhysicalMemory& physical = vm.physical();
  Frame& f = physical.frames()[from];
  Frame& t = physical.frames()[to];
  // expected_page_refs: one for each entry, one of the cache, and ours. Whoever holds another one counts on the frame staying where it is.
  const uint32_t expected = f.mapcount + (cached(f) ? 1 : 0) + 1;
  if (f.refcount != expected || f.has(FrameFlag::Locked) || f.has(FrameFlag::Writeback) || f.has(FrameFlag::SwapCache)) return false;
  DCHECK(f.zone == t.zone && t.refcount == 1, "moving pfn {} of zone {} to {} of zone {}", from.value(), f.zone, to.value(), t.zone);

  physical.ram().copy_frame(to, from);
  uint32_t entries = 0;
  rmap_for_each(vm, from, [&](AddressSpace& space, VirtAddr a) {
    AddressSpace::State& s = space.state();
    const auto entry = s.tables.find_entry(a);
    const Pte pte = s.tables.at(*entry);
    TlbGather tlb = s.gather();
    s.tables.change(a, *entry, Pte{(pte.raw & ~Pte::kFrameMask) | to.address().value()}, tlb);
    ++entries;
  });
  CHECK(entries == f.mapcount, "pfn {}: mapped {} times, the reverse map finds {}", from.value(), f.mapcount, entries);
  if (cached(f)) f.page_cache->internals().pages.replace(PageIndex{f.index}, to);

  const FrameState state = f.state;
  physical.stat().add(isolated_item(f), -1);
  t.flags = f.flags;
  t.owner = f.owner;
  t.index = f.index;
  t.private_data = f.private_data;
  t.mapcount = f.mapcount;
  t.refcount = f.refcount - 1;
  physical.allocator().set_state(to, Order{0}, state);
  f.flags = 0;
  f.owner = nullptr;
  f.index = 0;
  f.mapcount = 0;
  f.refcount = 1;
  physical.allocator().free(from);
  vm.lru().add(to);
  return true;
}

}  // namespace vitro::mm
