#include "lab/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace vitro::lab {
namespace {

using enum OperationId;
using K = VariableKind;

constexpr Operation kOperations[] = {
    {Kmalloc, "kmalloc", K::Pointer, "sf", "p = kmalloc SIZE [FLAGS]", "contiguous memory from the kmalloc caches, or whole pages beyond 8K"},
    {Kzalloc, "kzalloc", K::Pointer, "sf", "p = kzalloc SIZE [FLAGS]", "the same, cleared"},
    {Krealloc, "krealloc", K::Pointer, "psf", "p = krealloc P SIZE [FLAGS]", "another size: in place where the object is large enough, else copied"},
    {Kfree, "kfree", K::None, "p", "kfree P", "gives back what kmalloc or kmem_cache_alloc gave; kfree NULL does nothing"},
    {AllocPages, "alloc_pages", K::Pages, "sf", "b = alloc_pages ORDER [FLAGS]", "2^ORDER contiguous frames from the buddy allocator"},
    {FreePages, "free_pages", K::None, "xS", "free_pages B [ORDER]", "gives frames back; ORDER is checked where it is given"},
    {FreePages, "__free_pages", K::None, "xS", "", ""},
    {FreePages, "free_page", K::None, "x", "", ""},
    {GetFreePages, "get_free_pages", K::Pointer, "sf", "p = get_free_pages ORDER [FLAGS]", "the same frames by their address in the direct map"},
    {GetFreePages, "__get_free_pages", K::Pointer, "sf", "", ""},
    {GetFreePages, "get_free_page", K::Pointer, "f", "p = get_free_page [FLAGS]", "one frame"},
    {GetFreePages, "__get_free_page", K::Pointer, "f", "", ""},
    {GetZeroedPage, "get_zeroed_page", K::Pointer, "f", "p = get_zeroed_page [FLAGS]", "one frame, cleared"},
    {CacheCreate, "kmem_cache_create", K::Cache, "nso", "c = kmem_cache_create NAME SIZE [OPTIONS]",
     "a slab cache; OPTIONS: align=N, ctor=BYTE (fills new objects with it), SLAB_FLAGS"},
    {CacheAlloc, "kmem_cache_alloc", K::Pointer, "cf", "o = kmem_cache_alloc C [FLAGS]", "an object of a cache"},
    {CacheZalloc, "kmem_cache_zalloc", K::Pointer, "cf", "o = kmem_cache_zalloc C [FLAGS]", "the same, cleared"},
    {CacheFree, "kmem_cache_free", K::None, "cp", "kmem_cache_free C O", "gives an object back to its cache"},
    {CacheShrink, "kmem_cache_shrink", K::None, "c", "kmem_cache_shrink C", "gives the cache's empty slabs back"},
    {CacheDestroy, "kmem_cache_destroy", K::None, "c", "kmem_cache_destroy C", "removes a cache, which must have no objects out"},
    {Vmalloc, "vmalloc", K::Pointer, "sf", "v = vmalloc SIZE [FLAGS]", "memory that is contiguous in virtual addresses only"},
    {Vzalloc, "vzalloc", K::Pointer, "sf", "v = vzalloc SIZE [FLAGS]", "the same, cleared"},
    {Vfree, "vfree", K::None, "p", "vfree V", "gives back what vmalloc gave; vfree NULL does nothing"},
    {Vmap, "vmap", K::Pointer, "aS", "v = vmap B [COUNT]", "one run of virtual addresses over the frames of B, or of B[0] to B[COUNT - 1]"},
    {Vunmap, "vunmap", K::None, "p", "vunmap V", "takes the addresses away; the frames stay allocated"},
    {Kmap, "kmap", K::Pointer, "b", "k = kmap B", "an address for the first frame of B: its own in low memory, a slot of pkmap in HighMem"},
    {Kunmap, "kunmap", K::None, "b", "kunmap B", "gives it back"},
    {KmapAtomic, "kmap_atomic", K::Pointer, "b", "k = kmap_atomic B", "one of the CPU's own few slots (also kmap_local_page)"},
    {KmapAtomic, "kmap_local_page", K::Pointer, "b", "", ""},
    {KunmapAtomic, "kunmap_atomic", K::None, "p", "kunmap_atomic K", "gives the slot back, the last one first (also kunmap_local)"},
    {KunmapAtomic, "kunmap_local", K::None, "p", "", ""},
    {Write, "write", K::None, "xssS", "write P OFFSET BYTE [COUNT]", "stores a byte COUNT times (1); OFFSET may be negative or beyond the object"},
    {Read, "read", K::None, "xsS", "read P OFFSET [COUNT]", "prints bytes (16)"},
    {Phys, "phys", K::None, "x", "phys P", "virt_to_phys: the physical address behind P"},
    {Virt, "virt", K::None, "x", "virt B", "page_address: the address of frames in the direct map"},
    {Mmap, "mmap", K::Memory, "s", "m = mmap SIZE", "anonymous memory of a process: addresses only, no frames yet"},
    {Touch, "touch", K::None, "mSS", "touch M [OFFSET [LENGTH]]", "the process writes to its memory: each new page is a fault that takes a movable frame"},
    {Munmap, "munmap", K::None, "mSS", "munmap M [OFFSET LENGTH]", "takes a part of it, or all, away"},
    {Drain, "drain", K::None, "", "drain", "empties the per-CPU page lists (drain_all_pages)"},
    {Shrink, "shrink", K::None, "", "shrink", "gives the empty slabs of all caches back"},
};

constexpr Field kFields[] = {
    {FieldId::Zone, "zone", "x", "zone(P)", "DMA, DMA32, Normal ..."},
    {FieldId::Pfn, "pfn", "xO", "pfn(P [, OFFSET])", "number of the frame behind P"},
    {FieldId::Phys, "phys", "xO", "phys(P [, OFFSET])", "physical address"},
    {FieldId::Virt, "virt", "x", "virt(P)", "virtual address"},
    {FieldId::Order, "order", "x", "order(P)", "of the block of frames: 2^order frames"},
    {FieldId::Size, "size", "x", "size(P)", "usable bytes (ksize)"},
    {FieldId::Pages, "pages", "x", "pages(P)", "how many frames lie behind P"},
    {FieldId::Cache, "cache", "x", "cache(P)", "the slab cache; none for memory that is no slab object"},
    {FieldId::Slab, "slab", "x", "slab(P)", "number of the first frame of the slab"},
    {FieldId::Object, "object", "x", "object(P)", "number of the object in its slab, from 0"},
    {FieldId::State, "state", "x", "state(P)", "of the frame: slab, kernel, vmalloc, free, per_cpu ..."},
    {FieldId::RefCount, "refcount", "x", "refcount(P)", "of the frame"},
    {FieldId::MigrateType, "migratetype", "x", "migratetype(P)", "of its pageblock: Unmovable, Movable, Reclaimable, HighAtomic"},
    {FieldId::Contiguous, "contiguous", "x", "contiguous(P)", "yes where the frames behind P follow each other in RAM"},
    {FieldId::Byte, "byte", "xo", "byte(P, OFFSET)", "the byte there"},
    {FieldId::Live, "live", "l", "live(P)", "yes until it is freed"},
    {FieldId::Free, "free", "ZOT", "free([ZONE [, ORDER [, TYPE]]])", "free frames; with an order: free blocks of it, as buddyinfo and pagetypeinfo count"},
    {FieldId::PerCpu, "pcp", "Z", "pcp([ZONE])", "frames on per-CPU lists"},
    {FieldId::Min, "min", "z", "min(ZONE)", "the min watermark"},
    {FieldId::Low, "low", "z", "low(ZONE)", "the low watermark"},
    {FieldId::High, "high", "z", "high(ZONE)", "the high watermark"},
    {FieldId::Managed, "managed", "Z", "managed([ZONE])", "frames that the allocator has to give in all"},
    {FieldId::Present, "present", "Z", "present([ZONE])", "frames of RAM"},
    {FieldId::Reserve, "reserve", "zz", "reserve(ZONE, HIGHEST)", "lowmem_reserve: what ZONE keeps from requests that could use HIGHEST"},
    {FieldId::Pageblocks, "pageblocks", "zt", "pageblocks(ZONE, TYPE)", "blocks of 2 MiB of a migrate type"},
    {FieldId::Largest, "largest", "Z", "largest([ZONE])", "the largest order with a free block; -1 for none"},
    {FieldId::Slabs, "slabs", "c", "slabs(C)", "slabs of a cache"},
    {FieldId::Objects, "objects", "c", "objects(C)", "objects in them, used or not"},
    {FieldId::InUse, "in_use", "c", "in_use(C)", "objects that somebody has"},
    {FieldId::Full, "full", "c", "full(C)", "slabs without a free object"},
    {FieldId::Partial, "partial", "c", "partial(C)", "slabs on the node's partial list"},
    {FieldId::Empty, "empty", "c", "empty(C)", "of these, slabs without a used object"},
    {FieldId::CpuSlabs, "cpu_slabs", "c", "cpu_slabs(C)", "slabs that belong to a CPU: its own and its partial ones"},
    {FieldId::PerSlab, "per_slab", "c", "per_slab(C)", "objects in one slab"},
    {FieldId::ObjectSize, "object_size", "c", "object_size(C)", "bytes an object takes, padding and red zones included"},
    {FieldId::SlabOrder, "slab_order", "c", "slab_order(C)", "order of a slab's frames"},
    {FieldId::Resident, "resident", "m", "resident(M)", "pages of user memory that have a frame"},
};

constexpr Topic kTopics[] = {
    {"buddyinfo", "free blocks by zone and order"}, {"pagetypeinfo", "the same by migrate type, and pageblocks"},
    {"zoneinfo", "watermarks, lowmem_reserve and counters of each zone"}, {"slabinfo", "all slab caches"},
    {"slab", "one cache: show slab foo"}, {"meminfo", "the machine's memory"}, {"vmstat", "all counters"},
    {"vmallocinfo", "areas of the vmalloc range"}, {"zones", "frames, watermarks and reserves of each zone, in a table"}, {"leaks", "what is allocated now"},
};

constexpr Topic kSettings[] = {
    {"min_free_kbytes", "sets the min watermarks"}, {"watermark_scale_factor", "distance between the watermarks, in 1/10000 of the zone"},
    {"watermark_boost_factor", "how much fragmentation raises the watermarks, in 1/10000 of high"},
    {"percpu_pagelist_high_fraction", "length of the per-CPU lists: 1/N of the zone; 0: from the low watermark"}, {"cpu", "the CPU that allocates from now on"},
};

constexpr Topic kStatements[] = {
    {"let NAME = EXPRESSION", "remembers a number or a word"},
    {"expect EXPRESSION == EXPRESSION", "(also != < <= > >=) ends the lab with status 1 where it does not hold"},
    {"expect_error \"TEXT\" OPERATION", "the operation must be reported as an error whose report contains TEXT"},
    {"repeat COUNT [as NAME] { ... }", "the counter is called i, or NAME, and starts at 0"},
    {"break if EXPRESSION == EXPRESSION", "leaves the innermost repeat"},
    {"print \"TEXT\" EXPRESSION ...", "one line of texts and values"},
    {"echo TEXT", "one line, as it stands"},
    {"show WHAT", "a /proc file, or everything about a variable"},
    {"set NAME NUMBER", "a setting of /proc/sys/vm, or cpu"},
};

struct GfpName {
  std::string_view name;
  mm::Gfp flags;
};
using mm::Gfp;
constexpr GfpName kGfp[] = {
    {"GFP_KERNEL", Gfp::Kernel}, {"GFP_ATOMIC", Gfp::Atomic}, {"GFP_USER", Gfp::User}, {"GFP_HIGHUSER", Gfp::HighUser},
    {"GFP_HIGHUSER_MOVABLE", Gfp::HighUserMovable}, {"GFP_DMA", Gfp::Dma}, {"GFP_DMA32", Gfp::Dma32}, {"GFP_NOWAIT", Gfp::NoWait},
    {"GFP_NOIO", Gfp::NoIo}, {"GFP_NOFS", Gfp::NoFs}, {"GFP_KERNEL_ACCOUNT", Gfp::KernelAccount}, {"GFP_TRANSHUGE", Gfp::TransHuge},
    {"GFP_TRANSHUGE_LIGHT", Gfp::TransHugeLight}, {"__GFP_DMA", Gfp::Dma}, {"__GFP_HIGHMEM", Gfp::HighMem}, {"__GFP_DMA32", Gfp::Dma32},
    {"__GFP_MOVABLE", Gfp::Movable}, {"__GFP_RECLAIMABLE", Gfp::Reclaimable}, {"__GFP_HIGH", Gfp::High}, {"__GFP_IO", Gfp::Io}, {"__GFP_FS", Gfp::Fs},
    {"__GFP_ZERO", Gfp::Zero}, {"__GFP_ATOMIC", Gfp::Atomic_}, {"__GFP_DIRECT_RECLAIM", Gfp::DirectReclaim}, {"__GFP_KSWAPD_RECLAIM", Gfp::KswapdReclaim},
    {"__GFP_RECLAIM", Gfp::Reclaim}, {"__GFP_WRITE", Gfp::Write}, {"__GFP_NOWARN", Gfp::NoWarn}, {"__GFP_RETRY_MAYFAIL", Gfp::RetryMayFail},
    {"__GFP_NOFAIL", Gfp::NoFail}, {"__GFP_NORETRY", Gfp::NoRetry}, {"__GFP_MEMALLOC", Gfp::MemAlloc}, {"__GFP_COMP", Gfp::Comp},
    {"__GFP_NOMEMALLOC", Gfp::NoMemAlloc}, {"__GFP_HARDWALL", Gfp::HardWall}, {"__GFP_THISNODE", Gfp::ThisNode}, {"__GFP_ACCOUNT", Gfp::Account},
};

struct SlabFlagName {
  std::string_view name;
  mm::SlabFlag flag;
};
using mm::SlabFlag;
// SLAB_PANIC is left out: a lab's cache that cannot be made is NULL, and no reason to end the machine.
constexpr SlabFlagName kSlabFlags[] = {
    {"SLAB_HWCACHE_ALIGN", SlabFlag::HwCacheAlign}, {"SLAB_POISON", SlabFlag::Poison}, {"SLAB_RED_ZONE", SlabFlag::RedZone},
    {"SLAB_CACHE_DMA", SlabFlag::CacheDma}, {"SLAB_RECLAIM_ACCOUNT", SlabFlag::ReclaimAccount}, {"SLAB_TYPESAFE_BY_RCU", SlabFlag::TypesafeByRcu},
    {"SLAB_ACCOUNT", SlabFlag::Account},
};

constexpr std::string_view kKeywords[] = {"let", "expect", "expect_error", "repeat", "as", "break", "if", "print", "echo", "show", "set", "NULL", "meminfo",
                                          "vmstat", "align", "ctor"};

unsigned distance(std::string_view a, std::string_view b) {
  std::vector<unsigned> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0u);
  for (size_t i = 0; i < a.size(); ++i) {
    unsigned diagonal = row[0]++;
    for (size_t j = 0; j < b.size(); ++j) {
      const unsigned replaced = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row[b.size()];
}

template <class Table>
auto find_in(const Table& table, std::string_view name) {
  const auto at = std::find_if(std::begin(table), std::end(table), [&](const auto& row) { return row.name == name; });
  return at == std::end(table) ? nullptr : &*at;
}

template <class Table>
std::vector<std::string_view> names_of(const Table& table) {
  std::vector<std::string_view> names;
  for (const auto& row : table) names.push_back(row.name);
  return names;
}

}  // namespace

std::string_view variable_kind_name(VariableKind k) {
  constexpr std::string_view kNames[] = {"nothing", "a number", "a pointer", "pages", "a cache", "user memory"};
  return kNames[static_cast<size_t>(k)];
}

std::span<const Operation> operations() { return kOperations; }
std::span<const Field> fields() { return kFields; }
std::span<const Topic> show_topics() { return kTopics; }
std::span<const Topic> settings() { return kSettings; }
std::span<const Topic> statements() { return kStatements; }
const Operation* find_operation(std::string_view name) { return find_in(kOperations, name); }
const Field* find_field(std::string_view name) { return find_in(kFields, name); }

std::optional<mm::Gfp> find_gfp(std::string_view name) {
  const auto* row = find_in(kGfp, name);
  return row ? std::optional(row->flags) : std::nullopt;
}
std::optional<mm::SlabFlag> find_slab_flag(std::string_view name) {
  const auto* row = find_in(kSlabFlags, name);
  return row ? std::optional(row->flag) : std::nullopt;
}
std::vector<std::string_view> gfp_names() { return names_of(kGfp); }
std::vector<std::string_view> slab_flag_names() { return names_of(kSlabFlags); }

bool is_reserved(std::string_view word) {
  return std::ranges::find(kKeywords, word) != std::end(kKeywords) || find_operation(word) || find_in(kTopics, word) || find_gfp(word) || find_slab_flag(word);
}

std::string suggestion(std::string_view word, std::span<const std::string_view> candidates) {
  std::string_view best;
  unsigned least = std::min<unsigned>(3, static_cast<unsigned>(word.size() + 1) / 2 + 1);
  for (std::string_view c : candidates)
    if (const unsigned d = distance(word, c); d < least) least = d, best = c;
  return best.empty() ? "" : fmt::format(": did you mean {}?", best);
}

std::string vocabulary_text() {
  std::string out = "Statements\n";
  const auto row = [&](std::string_view usage, std::string_view help) { fmt::format_to(std::back_inserter(out), "  {:<44} {}\n", usage, help); };
  for (const Topic& t : kStatements) row(t.name, t.help);
  out += "\nOperations (FLAGS: GFP_KERNEL where none are given)\n";
  for (const Operation& o : kOperations)
    if (!o.usage.empty()) row(o.usage, o.help);
  out += "\nFields in expressions\n";
  for (const Field& f : kFields) row(f.usage, f.help);
  row("meminfo.NAME, vmstat.NAME", "a line of these files: meminfo.Slab (in kB), vmstat.nr_free_pages");
  out += "\nshow\n";
  for (const Topic& t : kTopics) row(t.name, t.help);
  row("NAME", "a variable: addresses, frames, cache, page-table walk");
  out += "\nset\n";
  for (const Topic& t : kSettings) row(t.name, t.help);
  const auto words = [&](std::string_view title, const std::vector<std::string_view>& names) {
    fmt::format_to(std::back_inserter(out), "\n{}, joined with |\n", title);
    std::string line = " ";
    for (std::string_view name : names) {
      if (line.size() + name.size() > 110) out += std::exchange(line, " ") + "\n";
      line += fmt::format(" {}", name);
    }
    out += line + "\n";
  };
  words("FLAGS", gfp_names());
  words("SLAB_FLAGS", slab_flag_names());
  return out;
}

}  // namespace vitro::lab
