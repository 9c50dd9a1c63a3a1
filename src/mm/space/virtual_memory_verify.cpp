// The machine's law for the virtual side (DESIGN 6): page tables, descriptors, lists and counters agree with a recount from scratch.
#include <map>
#include <unordered_map>

#include "mm/space/anon_vma.h"
#include "mm/reclaim/reclaim_state.h"
#include "mm/swap/swap_state.h"
#include "vitro/base/check.h"
#include "vitro/mm/rmap.h"

namespace vitro::mm {
namespace {

// What the recount finds about one frame.
struct Recount {
  uint32_t mappings = 0;
  bool cached = false;
  bool mapped_locked = false;
};
// Looked up by frame only, and sorted before anything is printed.
using Recounts = std::unordered_map<uint64_t, Recount>;

void verify_area(const AddressSpace::State& s, const Vma& v, Recounts& frames, AddressSpace::Usage& found) {
  VirtualMemory& vm = s.vm;
  const Pfn zero = vm.physical().zero_frame();
  CHECK(v.space == s.self, "area {:#x} belongs to another address space", v.start.value());
  CHECK(!v.anon_vma || !v.anon_chain.empty(), "area {:#x} has an anon_vma without a chain", v.start.value());
  bool own = !v.anon_vma;
  for (const AnonVmaChain& c : v.anon_chain) {
    CHECK(c.vma == &v && c.anon_vma->chains.holds(c), "area {:#x} is not in its anon_vma's tree", v.start.value());
    own |= c.anon_vma == v.anon_vma;
  }
  CHECK(own, "area {:#x} has no chain to its anon_vma", v.start.value());
  CHECK(v.file ? v.file->page_cache().internals().mappings.holds(v) : !v.in_mappings.linked(), "area {:#x} is not in its file's tree", v.start.value());
  s.tables.for_each(v.start, v.end, [&](VirtAddr a, PhysAddr, Pte pte) {
    if (is_swap(pte)) {
      CHECK(vm.swap().state().valid(slot_of(pte)), "entry of {:#x} is {:#x}", a.value(), pte.raw);
      return;
    }
    CHECK((pte.raw & Pte::kUser) && !(pte.present() && pte.global()), "entry of {:#x} is {:#x}", a.value(), pte.raw);
    CHECK(pte.present() == v.accessible(), "entry of {:#x} is {:#x}, area flags {:#x}", a.value(), pte.raw, static_cast<uint64_t>(v.flags));
    CHECK(!pte.writable() || has(v.flags, VmFlag::Write), "entry of {:#x} is writable, the area is not", a.value());
    CHECK(pte.no_execute() == !has(v.flags, VmFlag::Exec), "entry of {:#x}: wrong right to execute", a.value());
    if (pte.pfn() == zero) {
      CHECK(!pte.writable(), "the zero page is writable at {:#x}", a.value());
      return;
    }
    const Frame& f = vm.physical().frames()[pte.pfn()];
    Recount& r = frames[pte.pfn().value()];
    ++r.mappings;
    r.mapped_locked |= has(v.flags, VmFlag::Locked);
    CHECK(f.index == v.index_of(a).value(), "pfn {} has index {}, {:#x} needs {}", pte.pfn().value(), f.index, a.value(), v.index_of(a).value());
    switch (f.state) {
      case FrameState::Anonymous: {
        ++found.rss_anon;
        bool linked = false;
        for (const AnonVmaChain& c : v.anon_chain) linked |= c.anon_vma == f.anon_vma;
        CHECK(linked, "pfn {} at {:#x}: its anon_vma does not lead here", pte.pfn().value(), a.value());
        CHECK(!pte.writable() || f.mapcount == 1, "pfn {} is writable at {:#x} and mapped {} times", pte.pfn().value(), a.value(), f.mapcount);
        break;
      }
      case FrameState::Shmem: ++found.rss_shmem; break;
      case FrameState::FileCache:
      case FrameState::BlockCache:
        ++found.rss_file;
        CHECK(!pte.writable() || f.has(FrameFlag::Dirty), "pfn {} is writable at {:#x} and clean", pte.pfn().value(), a.value());
        break;
      case FrameState::Kernel:
        ++found.rss_file;
        CHECK(v.special && !pte.writable(), "pfn {} at {:#x} is the kernel's", pte.pfn().value(), a.value());
        return;
      default: CHECK(false, "pfn {} at {:#x} is in state {}", pte.pfn().value(), a.value(), frame_state_name(f.state));
    }
    if (f.state != FrameState::Anonymous) {
      CHECK(v.file && f.page_cache == &v.file->page_cache(), "pfn {} at {:#x} belongs to another file", pte.pfn().value(), a.value());
      CHECK(!pte.writable() || v.shared(), "pfn {}: a private mapping writes to the file's page at {:#x}", pte.pfn().value(), a.value());
    }
  });
}

uint64_t verify_space(const AddressSpace::State& s, Recounts& frames, uint64_t& table_frames, uint64_t& counted_tables) {
  s.vmas.verify();
  AddressSpace::Usage found;
  uint64_t committed = 0, covered_entries = 0, all_entries = 0;
  AddressSpace::State counter(s.vm, SlabObject{});  // for account(): the same rules, from zero
  for (const Vma* v = s.vmas.first(); v; v = v->tree.next) {
    verify_area(s, *v, frames, found);
    counter.account(v->flags, static_cast<int64_t>(v->pages().value()));
    if (has(v->flags, VmFlag::Locked)) found.locked_vm += v->pages().value();
    if (has(v->flags, VmFlag::Account)) committed += v->pages().value();
    s.tables.for_each(v->start, v->end, [&](VirtAddr, PhysAddr, Pte) { ++covered_entries; });
  }
  s.tables.for_each(VirtAddr{0}, kUserEnd, [&](VirtAddr, PhysAddr, Pte) { ++all_entries; });
  CHECK(covered_entries == all_entries, "{} entries outside all areas", all_entries - covered_entries);
  const AddressSpace::Usage& u = s.usage;
  CHECK(u.rss_anon == found.rss_anon && u.rss_file == found.rss_file && u.rss_shmem == found.rss_shmem, "rss {} {} {}, counted {} {} {}", u.rss_anon, u.rss_file,
        u.rss_shmem, found.rss_anon, found.rss_file, found.rss_shmem);
  CHECK(u.total_vm == counter.usage.total_vm && u.data_vm == counter.usage.data_vm && u.exec_vm == counter.usage.exec_vm && u.stack_vm == counter.usage.stack_vm,
        "vm {} data {} exec {} stack {}, counted {} {} {} {}", u.total_vm, u.data_vm, u.exec_vm, u.stack_vm, counter.usage.total_vm, counter.usage.data_vm,
        counter.usage.exec_vm, counter.usage.stack_vm);
  CHECK(u.locked_vm == found.locked_vm, "locked_vm {}, counted {}", u.locked_vm, found.locked_vm);
  uint64_t tables = 0;
  s.tables.for_each_table([&](Pfn f, hw::Level level) {
    CHECK(s.vm.physical().frames()[f].state == FrameState::PageTable, "table pfn {} is in state {}", f.value(), frame_state_name(s.vm.physical().frames()[f].state));
    ++table_frames;
    if (level < 4) ++tables;
    if (level <= 2) ++counted_tables;
  });
  CHECK(tables == s.tables.tables(), "{} tables, counted {}", tables, s.tables.tables());
  return committed;
}

// The trees of the reverse map: each in order, and its elements those that the areas know of, neither more nor fewer.
void verify_reverse_map(const VirtualMemory::State& state) {
  struct Seen {
    size_t chains = 0;
    unsigned children = 0, active = 0;
  };
  std::unordered_map<const AnonVma*, Seen> anon_vmas;  // looked up, never walked: the order is of addresses
  std::vector<const AnonVma*> in_order;
  size_t file_areas = 0;
  bool all_linked = true;  // an area in the making has chains before it is linked; whoever makes one holds a lock
  for (const AddressSpace::State& s : state.spaces) {
    all_linked &= !s.locked;
    for (const Vma* v = s.vmas.first(); v; v = v->tree.next) {
      file_areas += v->file != nullptr;
      for (const AnonVmaChain& c : v->anon_chain) {
        if (anon_vmas[c.anon_vma].chains++ == 0) in_order.push_back(c.anon_vma);
        anon_vmas[c.anon_vma].active += v->anon_vma == c.anon_vma;
      }
    }
  }
  for (const AnonVma* a : in_order) ++anon_vmas[a->parent].children;
  for (const AnonVma* a : in_order) {
    a->chains.verify([a](const AnonVmaChain& c) { CHECK(c.anon_vma == a, "a chain of area {:#x} is in another anon_vma's tree", c.vma->start.value()); });
    if (!all_linked) continue;
    const Seen& seen = anon_vmas[a];
    CHECK(a->chains.size() == seen.chains, "{} areas in the tree of an anon_vma, {} know of it", a->chains.size(), seen.chains);
    CHECK(a->num_children == seen.children && a->num_active_vmas == seen.active, "an anon_vma has {} children and {} active areas, counted {} and {}", a->num_children,
          a->num_active_vmas, seen.children, seen.active);
  }
  size_t in_trees = 0;
  for (const PageCache::State& c : state.caches) {
    uint64_t writable = 0;
    c.mappings.verify([&](const Vma& v) {
      CHECK(v.file && &v.file->page_cache() == &c.cache, "area {:#x} is in another file's tree", v.start.value());
      writable += has(v.flags, VmFlag::Shared | VmFlag::MayWrite);
    });
    CHECK(c.mapped_writable == writable, "{} mappings write to inode {}, counted {}", c.mapped_writable, c.inode_number, writable);
    in_trees += c.mappings.size();
  }
  CHECK(in_trees == file_areas, "{} areas in the trees of files, {} map one", in_trees, file_areas);
}

}  // namespace

void VirtualMemory::verify(Verify level) const {
  if (level == Verify::Off) return;
  const State& state = *state_;
  VirtualMemory& self = const_cast<VirtualMemory&>(*this);
  if (level == Verify::Cheap) {
    // Sums that need no walk.
    uint64_t cached = 0;
    for (const PageCache::State& c : state.caches) cached += c.pages.size();
    cached += state.swap.cached().value();
    CHECK(static_cast<int64_t>(cached) == physical_.stat().get(VmItem::nr_file_pages), "nr_file_pages {}, caches hold {}", physical_.stat().get(VmItem::nr_file_pages), cached);
    uint64_t tables = state.kernel_table.tables();
    for (const AddressSpace::State& s : state.spaces) tables += s.tables.tables() + s.tables.root_frames();
    const uint64_t frames = physical_.frames_by_state()[static_cast<size_t>(FrameState::PageTable)];
    CHECK(tables == frames, "{} frames in page tables, counted {}", frames, tables);
    return;
  }
  state.lru.verify();
  state.swap.verify();

  verify_reverse_map(state);

  Recounts frames;
  uint64_t table_frames = state.kernel_table.tables(), counted_tables = state.kernel_table.counted_tables(), committed = 0;
  for (const AddressSpace::State& s : state.spaces) committed += verify_space(s, frames, table_frames, counted_tables);
  std::array<uint64_t, static_cast<size_t>(FrameState::Count)> cached{};
  int64_t dirty = 0, writeback = static_cast<int64_t>(state.orphan_writeback);
  for (const PageCache::State& c : state.caches) {
    c.cache.verify();
    cached[static_cast<size_t>(c.state)] += c.pages.size();
    dirty += static_cast<int64_t>(c.dirty);
    writeback += static_cast<int64_t>(c.writeback);
    for (auto e = c.pages.next(PageIndex{0}); e; e = c.pages.next(e->index + Pages{1})) frames[e->frame.value()].cached = true;
  }

  // Every frame: who maps it, who refers to it, and whether the reverse map finds the same.
  uint64_t off_list = 0;  // isolated by reclaim, which waits
  int64_t anon_mapped = 0, file_mapped = 0, mlocked = 0, pins = 0;
  uint64_t anonymous = 0;
  const std::map<uint64_t, Recount> sorted(frames.begin(), frames.end());
  for (const auto& [number, r] : sorted) {
    const Pfn pfn{number};
    const Frame& f = physical_.frames()[pfn];
    CHECK(f.mapcount == r.mappings, "pfn {}: mapcount {}, {} entries map it", number, f.mapcount, r.mappings);
    if (f.state == FrameState::Kernel) {
      // Of a special mapping: in no list, and the kernel's own reference beside those of the entries.
      CHECK(f.refcount == r.mappings + 1, "pfn {}: refcount {}, {} entries", number, f.refcount, r.mappings);
      ++file_mapped;
      continue;
    }
    const uint32_t owners = r.mappings + (r.cached ? 1 : 0) + (f.has(FrameFlag::SwapCache) ? 1 : 0);
    CHECK(f.refcount >= owners, "pfn {}: refcount {}, {} owners", number, f.refcount, owners);
    pins += f.refcount - owners;
    off_list += !f.has(FrameFlag::Lru);
    CHECK(f.has(FrameFlag::Mlocked) == r.mapped_locked, "pfn {}: flags {:#x}, mapped in a locked area: {}", number, f.flags, r.mapped_locked);
    CHECK(f.has(FrameFlag::Mlocked) == f.has(FrameFlag::Unevictable), "pfn {}: flags {:#x}", number, f.flags);
    mlocked += f.has(FrameFlag::Mlocked);
    uint32_t reached = 0;
    rmap_for_each(self, pfn, [&reached](AddressSpace&, VirtAddr) { ++reached; });
    CHECK(reached == r.mappings, "pfn {}: the reverse map finds {} of {} entries", number, reached, r.mappings);
    if (f.state == FrameState::Anonymous) ++anonymous, anon_mapped += r.mappings > 0;
    else file_mapped += r.mappings > 0;
  }
  const uint64_t isolated = self.reclaimer().state().isolated;
  CHECK(off_list <= isolated, "{} pages are on no LRU list, reclaim has isolated {}", off_list, isolated);
  VmStat& stat = physical_.stat();
  CHECK(anon_mapped == stat.get(VmItem::nr_anon_pages), "nr_anon_pages {}, counted {}", stat.get(VmItem::nr_anon_pages), anon_mapped);
  CHECK(file_mapped == stat.get(VmItem::nr_mapped), "nr_mapped {}, counted {}", stat.get(VmItem::nr_mapped), file_mapped);
  CHECK(mlocked == stat.get(VmItem::nr_mlock), "nr_mlock {}, counted {}", stat.get(VmItem::nr_mlock), mlocked);
  CHECK(dirty == stat.get(VmItem::nr_dirty), "nr_dirty {}, counted {}", stat.get(VmItem::nr_dirty), dirty);
  CHECK(writeback <= stat.get(VmItem::nr_writeback), "nr_writeback {}, counted {}", stat.get(VmItem::nr_writeback), writeback);
  const auto of = [&](FrameState st) { return cached[static_cast<size_t>(st)]; };
  const uint64_t shmem = of(FrameState::Shmem), files = of(FrameState::FileCache) + of(FrameState::BlockCache) + shmem + state.swap.cached().value();
  CHECK(static_cast<int64_t>(files) == stat.get(VmItem::nr_file_pages), "nr_file_pages {}, counted {}", stat.get(VmItem::nr_file_pages), files);
  CHECK(static_cast<int64_t>(shmem) == stat.get(VmItem::nr_shmem), "nr_shmem {}, counted {}", stat.get(VmItem::nr_shmem), shmem);
  CHECK(of(FrameState::BlockCache) == state.block_pages, "{} frames of block devices, counted {}", state.block_pages, of(FrameState::BlockCache));
  // A pin on a frame that nobody owns any more is not seen here, hence not equal.
  CHECK(pins <= static_cast<int64_t>(state.pins + isolated), "{} references too many, {} are pins", pins, state.pins);

  state.vmalloc.verify();
  state.kmap.verify();
  CHECK(static_cast<int64_t>(counted_tables) == stat.get(VmItem::nr_page_table_pages), "nr_page_table_pages {}, counted {}", stat.get(VmItem::nr_page_table_pages), counted_tables);

  const auto by_state = physical_.frames_by_state();
  const auto in = [&](FrameState st) { return by_state[static_cast<size_t>(st)]; };
  CHECK(in(FrameState::PageTable) == table_frames, "{} frames in page tables, counted {}", in(FrameState::PageTable), table_frames);
  CHECK(in(FrameState::Anonymous) == anonymous, "{} anonymous frames, counted {}", in(FrameState::Anonymous), anonymous);
  for (const FrameState st : {FrameState::FileCache, FrameState::Shmem, FrameState::BlockCache})
    CHECK(in(st) >= of(st), "{} frames in state {}, counted {}", in(st), frame_state_name(st), of(st));
  CHECK(committed <= committed_.value(), "{} pages committed, areas need {}", committed_.value(), committed);
}

}  // namespace vitro::mm
