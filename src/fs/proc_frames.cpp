// /proc/kpagecount, kpageflags and kpagecgroup: 64 bits a frame, indexed by frame number (Documentation/admin-guide/mm/pagemap.rst).
#include <algorithm>
#include <cstring>

#include "fs/proc_tree.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::fs {
namespace {

using mm::FrameFlag;
using mm::FrameState;

// include/uapi/linux/kernel-page-flags.h
enum KernelPageFlag : unsigned {
  kLocked = 0,
  kReferenced = 2,
  kUptodate = 3,
  kDirty = 4,
  kLru = 5,
  kActive = 6,
  kSlab = 7,
  kWriteback = 8,
  kReclaim = 9,
  kBuddy = 10,
  kMmap = 11,
  kAnon = 12,
  kSwapCache = 13,
  kSwapBacked = 14,
  kUnevictable = 18,
  kHuge = 17,
  kCompoundHead = 15,
  kCompoundTail = 16,
  kNoPage = 20,
  kZeroPage = 24,
  kPageTable = 26,
  kReserved = 32,
  kMlocked = 33,
};

uint64_t flags_of(mm::PhysicalMemory& physical, Pfn pfn) {
  const mm::Frame& f = physical.frames()[pfn];
  uint64_t flags = 0;
  const auto set = [&](unsigned bit, bool on) { flags |= uint64_t{on} << bit; };
  const FrameState state = physical.state_of(pfn);
  if (state == FrameState::Free) return flags | uint64_t{1} << kBuddy;
  set(kCompoundHead, f.has(FrameFlag::Head));
  set(kCompoundTail, f.is_tail());
  set(kSlab, state == FrameState::Slab);
  set(kPageTable, state == FrameState::PageTable);
  set(kReserved, state == FrameState::Reserved);
  set(kZeroPage, state == FrameState::ZeroPage);
  set(kHuge, state == FrameState::Hugetlb);
  set(kAnon, state == FrameState::Anonymous || state == FrameState::SwapCacheOnly);
  set(kMmap, f.mapcount != 0);
  if (state == FrameState::Slab || state == FrameState::PageTable || state == FrameState::Reserved) return flags;
  set(kLocked, f.has(FrameFlag::Locked));
  set(kReferenced, f.has(FrameFlag::Referenced));
  set(kUptodate, f.has(FrameFlag::Uptodate));
  set(kDirty, f.has(FrameFlag::Dirty));
  set(kLru, f.has(FrameFlag::Lru));
  set(kActive, f.has(FrameFlag::Active));
  set(kWriteback, f.has(FrameFlag::Writeback));
  set(kReclaim, f.has(FrameFlag::Reclaim));
  set(kSwapCache, f.has(FrameFlag::SwapCache));
  set(kSwapBacked, f.has(FrameFlag::SwapBacked));
  set(kUnevictable, f.has(FrameFlag::Unevictable));
  set(kMlocked, f.has(FrameFlag::Mlocked));
  return flags;
}

// A file of 64-bit words, one a frame: fs/proc/page.c reads whole words at multiples of eight only.
template <class Word>
BinaryReader words(mm::PhysicalMemory& physical, Word word) {
  return [&physical, word](uint64_t offset, std::span<std::byte> out) -> Result<size_t> {
    if (offset % sizeof(uint64_t) != 0 || out.size() % sizeof(uint64_t) != 0) return fail(Errno::Invalid);
    const uint64_t first = offset / sizeof(uint64_t), frames = physical.frames().size().value();
    if (first >= frames) return 0;
    const uint64_t n = std::min<uint64_t>(frames - first, out.size() / sizeof(uint64_t));
    for (uint64_t i = 0; i < n; ++i) {
      const uint64_t value = word(physical, Pfn{first + i});
      std::memcpy(out.data() + i * sizeof value, &value, sizeof value);
    }
    return n * sizeof(uint64_t);
  };
}

}  // namespace

void add_frame_files(PseudoDirectory& root, const ProcContext& c) {
  mm::PhysicalMemory& physical = c.vm.physical();
  root.binary("kpagecount", words(physical, [](mm::PhysicalMemory& p, Pfn f) -> uint64_t {
                const FrameState s = p.state_of(f);
                return s == FrameState::Slab || s == FrameState::Free ? 0 : p.frames()[f].mapcount;
              }));
  // Which memory cgroup owns a frame: there are none.
  root.binary("kpagecgroup", words(physical, [](mm::PhysicalMemory&, Pfn) -> uint64_t { return 0; }));
  root.binary("kpageflags", words(physical, [](mm::PhysicalMemory& p, Pfn f) { return flags_of(p, f); }));
}

}  // namespace vitro::fs
