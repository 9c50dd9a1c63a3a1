// One descriptor for each frame of RAM (Linux's struct page and mem_map).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "vitro/base/types.h"

namespace vitro::mm {

// What a frame is used for: every frame is in exactly one state, and the counts add up to RAM.
enum class FrameState : uint8_t {
  Reserved,      // never managed: firmware, kernel image, descriptors
  Free,          // in the buddy allocator
  PerCpu,        // free, on a per-CPU list
  Allocated,     // handed out, its owner has not said what for yet
  Slab, PageTable, KernelStack, Vmalloc, Percpu,
  ZeroPage,
  Anonymous,     // private memory of a process
  FileCache,     // page cache of a file
  Shmem,         // page cache of tmpfs, shared anonymous memory
  BlockCache,    // page cache of a block device ("Buffers")
  SwapCacheOnly, // anonymous, only in the swap cache
  Hugetlb, Pipe, Kernel,  // Kernel: other kernel pages (large kmalloc, ...)
  Count,
};
std::string_view frame_state_name(FrameState s);  // "page_table", "anonymous", ...: keys of the JSON statistics

enum class FrameFlag : uint16_t {
  Locked = 1 << 0, Referenced = 1 << 1, Uptodate = 1 << 2, Dirty = 1 << 3, Lru = 1 << 4, Active = 1 << 5, Workingset = 1 << 6,
  Writeback = 1 << 7, SwapBacked = 1 << 8, SwapCache = 1 << 9, Unevictable = 1 << 10, Mlocked = 1 << 11, Reclaim = 1 << 12, Readahead = 1 << 13,
  AnonExclusive = 1 << 14, Head = 1 << 15,
};

class PageCache;
class SlabCache;
class AnonVma;

// 64 bytes, a cache line, like Linux's struct page. Plain data: the classes that own a state keep its fields.
//
// Whose descriptor is current:
// - A frame that is handed out has a descriptor of its own, for every frame of a block: PageAllocator writes all of them.
// - A free block (state Free, or PerCpu on a per-CPU list) is described by its first frame: state, order, migratetype, links. The others of
//   the block say the same state or, where they have never been handed out, still read as zero (Reserved); nothing else of them counts.
//   PhysicalMemory::state_of() knows the difference.
struct alignas(64) Frame {
  FrameState state = FrameState::Reserved;
  uint8_t order = 0;             // of the block that starts here (free or handed out); 0 in a tail
  uint8_t zone = 0;              // free and handed-out frames: index of the zone
  uint8_t migratetype = 0;       // free: of the list it is on. PageAllocator's; a handed-out frame's type is its pageblock's
  uint16_t flags = 0;
  uint16_t slab_inuse = 0;       // Slab: objects handed out, and those on a CPU's own free list (as SLUB counts)
  uint32_t refcount = 0;         // references of any kind; 0 = free
  uint32_t mapcount = 0;         // user page-table entries that map it
  // LRU list, buddy free list, per-CPU list or slab list: neighbours by frame number; kNone at the ends.
  uint32_t next = kNone, previous = kNone;
  union {
    void* owner = nullptr;
    PageCache* page_cache;       // FileCache, Shmem, BlockCache
    AnonVma* anon_vma;           // Anonymous: root of the reverse map
    SlabCache* slab;             // Slab
  };
  uint64_t index = 0;            // page index in the file, or virtual page number at first fault (Anonymous); swap slot is kept by the swap cache
  union {
    uint64_t private_data = 0;   // for the owner's use (Linux's page->private)
    uint64_t slab_freelist;      // Slab: virtual address of the first free object; 0: none
  };
  uint32_t compound_head = 0;    // tails of a block allocated with Gfp::Comp: its first frame; 0: not a tail (frame 0 is never handed out)
  uint16_t slab_objects = 0;     // Slab: objects the slab holds
  uint16_t slab_slabs = 0;       // Slab: slabs on the CPU's partial list from here on
  uint8_t slab_frozen = 0;       // Slab: belongs to a CPU (its slab, or on its partial list), not to the node's lists
  uint8_t written = 0;           // was handed out once: its bytes may be other than zero
  uint8_t poisoned = 0;          // free and filled with kFramePoison

  static constexpr uint32_t kNone = UINT32_MAX;
  bool is_tail() const { return compound_head != 0; }
  bool has(FrameFlag f) const { return flags & static_cast<uint16_t>(f); }
  void set(FrameFlag f) { flags = static_cast<uint16_t>(flags | static_cast<uint16_t>(f)); }
  void clear(FrameFlag f) { flags = static_cast<uint16_t>(flags & ~static_cast<uint16_t>(f)); }
};
static_assert(sizeof(Frame) == 64);

inline constexpr uint8_t kFramePoison = 0xaa;  // PAGE_POISON of include/linux/poison.h

// All descriptors, indexed by frame number; the array is mapped lazily so that a 64 GiB machine starts without touching all of it.
// Descriptors never touched read as a zero-filled Frame: state Reserved is 0 for that reason (see Frame). A few descriptors beyond size() exist
// and stay Reserved, so that looking at the buddy of the last block needs no bounds check.
// Where Linux has the frame's struct page (vmemmap with 4 levels, without KASLR): for traces, which name frames by it.
constexpr uint64_t descriptor_address(Pfn f) { return 0xffff'ea00'0000'0000 + f.value() * 64; }

class FrameTable {
 public:
  explicit FrameTable(Pages frames);
  ~FrameTable();
  FrameTable(const FrameTable&) = delete;
  FrameTable& operator=(const FrameTable&) = delete;

  Pages size() const { return size_; }
  Frame& operator[](Pfn f) { return frames_[f.value()]; }
  const Frame& operator[](Pfn f) const { return frames_[f.value()]; }
  // The first frame of the compound block that `f` lies in; `f` itself otherwise.
  Pfn head_of(Pfn f) const {
    const uint32_t head = frames_[f.value()].compound_head;
    return head ? Pfn{head} : f;
  }
  Pfn pfn_of(const Frame& f) const { return Pfn{static_cast<uint64_t>(&f - frames_)}; }

 private:
  Pages size_;
  Bytes mapped_;
  Frame* frames_;
};

}  // namespace vitro::mm
