// What the swap space consists of, for the files that implement it.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <vector>

#include "mm/cache/frame_index.h"
#include "mm/space/page_table.h"
#include "vitro/base/wait_queue.h"
#include "vitro/mm/swap.h"

namespace vitro::mm {

struct Vma;

// --- slots in page-table entries (arch/x86: __swp_entry; include/linux/swapops.h) ---
// Not present, not PROTNONE, never zero. The exclusive bit: the page belongs to this entry alone. The soft-dirty bit: what the entry of the page had.
inline constexpr uint64_t kPteSwap = 1u << 1, kPteSwapSoftDirty = 1u << 2, kPteSwapExclusive = 1u << 3;
constexpr bool is_swap(Pte pte) { return pte.raw != 0 && !holds_frame(pte); }
inline Pte swap_pte(SwapSlot slot, bool exclusive, bool soft_dirty) {
  return Pte{uint64_t{slot.area()} << 59 | slot.offset() << 9 | kPteSwap | (exclusive ? kPteSwapExclusive : 0) | (soft_dirty ? kPteSwapSoftDirty : 0)};
}
inline SwapSlot slot_of(Pte pte) { return SwapSlot{static_cast<unsigned>(pte.raw >> 59), pte.raw >> 9 & ((uint64_t{1} << 50) - 1)}; }
constexpr bool is_exclusive_swap(Pte pte) { return pte.raw & kPteSwapExclusive; }
constexpr bool is_soft_dirty_swap(Pte pte) { return is_swap(pte) && (pte.raw & kPteSwapSoftDirty); }

inline constexpr uint64_t kSwapfileCluster = 256;           // SWAPFILE_CLUSTER
inline constexpr uint64_t kSwapBatch = 64;                  // SWAP_BATCH
inline constexpr uint64_t kSwapAddressSpacePages = 1 << 14; // SWAP_ADDRESS_SPACE_PAGES
inline constexpr unsigned kMaxSwapfiles = 23;               // MAX_SWAPFILES with migration, poison and device entries configured

// One area (struct swap_info_struct).
struct SwapArea {
  // In the map of slots: users (entries, and shared memory counts as one), and whether the swap cache or a batch holds it.
  static constexpr uint32_t kHasCache = 1u << 31, kBad = 1u << 30, kCount = kBad - 1;

  SwapSource source;
  unsigned number = 0;
  int priority = 0;
  uint64_t max = 0;        // slots, the header included
  uint64_t pages = 0;      // usable ones
  uint64_t in_use = 0;
  uint64_t lowest = 1, highest = 0;   // where free slots may be; highest 0: nowhere
  uint64_t cluster_next = 1, cluster_left = 0;
  bool writable = false;   // SWP_WRITEOK: not being taken away
  std::vector<uint32_t> map;
  std::vector<std::unique_ptr<FrameIndex>> cache;   // 64 MiB each
  SlabObject memory;       // its swap_info_struct
  VirtAddr map_memory{0};  // what the map costs in vmalloc'ed memory

  FrameIndex& index_of(uint64_t offset) { return *cache[offset / kSwapAddressSpacePages]; }
  uint64_t sector_of(uint64_t offset) const;
};

struct SwapSpace::State {
  State(SwapSpace& space, VirtualMemory& machine) : self(space), vm(machine) {}

  SwapSpace& self;
  VirtualMemory& vm;
  std::vector<std::unique_ptr<SwapArea>> areas;   // by number; null: free
  std::vector<SwapArea*> order;                   // by priority, highest first; equals take turns
  int64_t free_slots = 0;                         // nr_swap_pages
  uint64_t total = 0, cached = 0;
  int next_priority = -1;                         // least_priority
  WaitQueue page_waiters;                         // a page was read or written

  // Slots taken or given back in batches (mm/swap_slots.c).
  bool batching = false;
  std::array<SwapSlot, kSwapBatch> taken, returned;
  size_t taken_at = 0, taken_size = 0, returned_size = 0;

  // Readahead (swap_state.c).
  uint64_t readahead_hits = 4, previous_offset = 0, last_readahead = 0;

  // Writes and reads that wait to be merged.
  struct Pending {
    SwapArea* area;
    uint64_t offset;
    Pfn frame;
  };
  std::vector<Pending> writes, reads;
  uint64_t in_flight = 0;                         // requests
  WaitQueue room;                                 // a request has ended

  Frame& frame(Pfn f) const;
  SwapArea& area(SwapSlot s) const { return *areas[s.area()]; }
  uint32_t& map(SwapSlot s) const { return area(s).map[s.offset()]; }
  bool nearly_full() const { return self.nearly_full(); }
  bool valid(SwapSlot s) const { return s && s.area() < areas.size() && areas[s.area()] && s.offset() < areas[s.area()]->max; }

  // --- swap_slots.cpp ---
  SwapSlot allocate();                            // folio_alloc_swap: its map says kHasCache. Null: none
  uint64_t take_slots(uint64_t n, std::span<SwapSlot> to);
  uint64_t scan_map(SwapArea& a, uint64_t n, std::span<SwapSlot> to);
  void duplicate(SwapSlot s) { ++map(s); }        // swap_duplicate
  void release(SwapSlot s, uint32_t use);         // one user (1) or the cache (kHasCache) less
  void free_slot(SwapSlot s);                     // nobody uses it: back, in batches
  void return_slot(SwapSlot s);                   // swap_range_free
  void flush_returned();
  void check_batching();
  void drop_batches();
  // One entry less; its page goes from the cache where nobody needs it there (free_swap_and_cache).
  void free_entry(SwapSlot s);
  uint64_t users(SwapSlot s) const { return map(s) & SwapArea::kCount; }

  // --- swap_cache.cpp ---
  std::optional<Pfn> find(SwapSlot s);            // without side effects
  std::optional<Pfn> lookup(SwapSlot s);          // swap_cache_get_folio: counts hits of readahead
  Status add_to_cache(Pfn f, SwapSlot s, Gfp flags, uint64_t* shadow);
  void remove_from_cache(Pfn f, uint64_t shadow); // __delete_from_swap_cache and put_swap_folio; the cache's reference goes
  bool add_to_swap(Pfn f);                        // add_to_swap
  bool try_free(Pfn f);                           // folio_free_swap
  static SwapSlot slot_of(const Frame& f) { return SwapSlot{f.private_data}; }
  // The page of a slot, being read where it was not cached. Nullopt: no memory, or the slot is not used any more.
  std::optional<Pfn> read_async(SwapSlot s, Gfp flags, bool& started);
  std::optional<Pfn> read_cluster(SwapSlot s, Gfp flags);   // swap_cluster_readahead
  uint64_t readahead_pages(uint64_t offset);
  Status wait_for_page(Pfn f);                    // until it is unlocked. May wait

  // --- swapoff.cpp ---
  Status bring_back(SwapArea& a);
  Status bring_back_space(SwapArea& a, uint64_t number);

  // --- swap_io.cpp ---
  void write(Pfn f);                              // swap_writepage; the page is in the cache
  void submit();                                  // sends what was collected
  void send(std::vector<Pending>& queue, bool writing);
  void wait_for_room();
  using Moved = std::vector<std::pair<Pfn, SwapSlot>>;
  // One request on its way. Its data are taken when it is sent: a page may be used, and written to, while it is being written.
  struct Transfer {
    std::unique_ptr<std::byte[]> data;
    Moved pages;
  };
  std::vector<std::shared_ptr<Transfer>> spare;
  static void written(State& s, const Moved& pages, Status result);
  static void arrived(State& s, const Moved& pages, const std::byte* data, Status result);
  uint64_t write_errors = 0;
};

// A swapped page of private memory comes back into `entry` of `v`, which holds the slot; `f` is in the swap cache and read. Takes over one reference.
// Used by faults (write: made writable if it may be) and by swapoff. Returns the entry it wrote.
Pte map_swapped_page(VirtualMemory& vm, Vma& v, VirtAddr a, PhysAddr entry, Pte old, Pfn f, bool write, bool young);

}  // namespace vitro::mm
