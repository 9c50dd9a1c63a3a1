// What a PageCache consists of, for the files that implement it.
#pragma once

#include <memory>
#include <vector>

#include "mm/cache/frame_index.h"
#include "vitro/base/interval_tree.h"
#include "vitro/base/intrusive_list.h"
#include "vitro/base/wait_queue.h"
#include "vitro/mm/address_space.h"
#include "vitro/mm/page_cache.h"
#include "vitro/mm/readahead.h"
#include "vitro/mm/swap.h"
#include "vitro/mm/vma.h"

namespace vitro::mm {

// Pages that one request reads or writes: it holds a reference on each, and outlives the cache where the file is gone before the disk is done.
struct PageTransfer {
  PageCache::State* cache = nullptr;  // null: the cache is gone
  PageIndex first{0};
  std::vector<Pfn> frames;
  uint64_t number = 0;                // of writes: in order of submission
  bool done = false;
  Status result;
  ListLink link;                      // the cache's list
};

struct PageCache::State final : CachedRuns {
  State(VirtualMemory& machine, PageCache& self, FileBacking& storage, FrameState frames, uint64_t inode, uint64_t fs_device)
      : vm(machine), cache(self), backing(storage), state(frames), inode_number(inode), device(fs_device), pages(machine.physical().caches(), shadow_nodes()) {}

  VirtualMemory& vm;
  PageCache& cache;
  FileBacking& backing;
  const FrameState state;
  const uint64_t inode_number, device;  // for traces
  FrameIndex pages;
  uint64_t dirty = 0;       // pages with a dirty mark; none for Shmem
  uint64_t writeback = 0;   // pages of transfers in `writes`
  uint64_t next_write = 1;
  IntrusiveList<PageTransfer, &PageTransfer::link> reads, writes;  // that the disk works on, in order of submission
  ErrorSequence errors;     // of writing
  Nanoseconds dirtied_when{0};  // when it got its first dirty page, or the flusher last put it back
  PageIndex writeback_index{0};  // where the flusher goes on; the last page that a whole write-out reached
  // Begins to write up to `most` dirty pages of [at, end); `at` is then where to go on. Returns how many.
  uint64_t begin_writing(PageIndex& at, PageIndex end, uint64_t most);
  // The same for the flusher: from where it stopped the last time to the file's end, and then from the start (range_cyclic).
  uint64_t begin_writing_on(uint64_t most);
  ListLink dirty_link;      // VirtualMemory's list of caches with dirty pages
  uint64_t swapped = 0;     // Shmem: pages in swap
  bool accounted_up_front = false;
  ReadaheadWindow window;   // of readers without an open file
  IntervalTree<Vma, MappedPages> mappings;
  uint64_t mapped_writable = 0;  // of them, shared by somebody who may write
  WaitQueue page_waiters;   // woken when a page is unlocked or written
  ListLink all_link;        // VirtualMemory's list

  // What is remembered of evicted pages may be forgotten again; where a page of Shmem was swapped to may not.
  ShadowNodes* shadow_nodes() const;
  bool has_storage() const { return state != FrameState::Shmem; }
  Frame& frame(Pfn f) const { return vm.physical().frames()[f]; }
  Gfp allocation_flags() const { return state == FrameState::BlockCache ? Gfp::User : Gfp::HighUserMovable; }

  // A frame for this cache, not in it yet, contents undefined unless `flags` has Zero. Nullopt: no memory.
  std::optional<Pfn> allocate(Gfp flags);
  // Enters it: index, counters, LRU. The allocation's reference becomes the cache's. Exists, NoMemory: the caller still owns it.
  Status add(PageIndex index, Pfn f, Gfp flags);
  // Takes it out; nobody may map it. Frees it unless somebody has pinned it. `shadow`: what is remembered in its place; 0: nothing.
  void remove(PageIndex index, Pfn f, uint64_t shadow = 0);
  // --- swap_shmem.cpp ---
  bool swap_out(PageIndex index, Pfn f);
  // Null: it waited, look again.
  Result<std::optional<Pfn>> swap_in(PageIndex index, Gfp flags, bool& major);
  std::optional<SwapSlot> swapped_to(PageIndex index) const;
  // Forgets what the slots of [first, last] hold instead of pages.
  void drop_values(PageIndex first, PageIndex last);
  void unlock(Pfn f);
  Status wait_for_page();

  // Who asks for a page, which decides how much more is read.
  enum class Reader : uint8_t { Read, Fault, FaultSequential, FaultRandom };
  // The page's frame, up to date. `request`: pages wanted from here on. May wait.
  Result<Cached> fetch(PageIndex index, Reader reader, uint64_t request, ReadaheadWindow& ra);
  // The frame of a Shmem page, made if it is a hole.
  Result<Pfn> fetch_shmem(PageIndex index, Gfp flags);
  // Reads those of [start, start + size) that are not cached and inside the file. The error is that of page `wanted`.
  // `*out_of_memory`: it ended early for lack of memory.
  Status read_pages(uint64_t start, uint64_t size, uint64_t async_size, PageIndex wanted, Gfp flags, bool* out_of_memory = nullptr);
  // Begins to read the locked pages of `batch`.
  std::shared_ptr<PageTransfer> submit_read(PageIndex first, std::span<const Pfn> batch);
  void read_done(PageTransfer& t);
  void read_ahead_from_marker(PageIndex index, Pfn f, uint64_t request, ReadaheadWindow& ra);

  uint64_t cached_before(uint64_t index, uint64_t limit) const override;
  uint64_t first_missing(uint64_t index, uint64_t limit) const override;

  void mark_dirty(PageIndex index, Pfn f);
  void clear_dirty(PageIndex index, Pfn f, bool written);
  // Whoever writes through a mapping from now on faults and makes the page dirty again (mm/rmap.c: page_mkclean).
  void write_protect(Pfn f);
  // Begins to write consecutive dirty pages that nobody is writing.
  void submit_write(PageIndex first, std::span<const Pfn> frames);
  void write_done(PageTransfer& t);
  // The file goes away: whatever is in flight completes without it.
  void abandon_transfers();
  bool waits_possible() const { return vm.blocking() && vm.blocking()->may_wait(); }
  // Unmaps [first, last] of the file everywhere.
  void unmap(PageIndex first, PageIndex last, bool private_copies_too);
};

}  // namespace vitro::mm
