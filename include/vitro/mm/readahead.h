// How far to read ahead of a sequential reader (mm/readahead.c: ondemand_readahead): the window's arithmetic, without any I/O.
#pragma once

#include <cstdint>

#include "vitro/base/types.h"

namespace vitro::mm {

inline constexpr uint64_t kReadaheadPages = 32;  // VM_READAHEAD_PAGES: 128 KiB
inline constexpr uint64_t kDiskIoPages = 320;    // bdi->io_pages: a request of max_sectors_kb, 1280 KiB
inline constexpr unsigned kLotsOfMisses = 100;   // MMAP_LOTSAMISS

// What one open file remembers of its reader (struct file_ra_state).
struct ReadaheadWindow {
  uint64_t start = 0;
  uint64_t size = 0;
  uint64_t async_size = 0;      // from the window's end: reaching this many pages before it starts the next window
  uint64_t previous = ~0ull;    // byte after the last one read (prev_pos)
  unsigned mmap_miss = 0;       // faults that missed, less those that hit
  uint64_t pages = kReadaheadPages;  // ra_pages: the largest window; doubled by POSIX_FADV_SEQUENTIAL
  bool random = false;          // FMODE_RANDOM, by POSIX_FADV_RANDOM: nothing but what is asked for
};

// What to read now. `size` 0: nothing. The page at start + size - async_size gets the Readahead flag; async_size 0: none does.
struct ReadaheadPlan {
  uint64_t start = 0, size = 0, async_size = 0;
};

// What the window rules ask about the cache.
class CachedRuns {
 public:
  virtual ~CachedRuns() = default;
  virtual uint64_t cached_before(uint64_t index, uint64_t limit) const = 0;  // consecutive cached pages that end at index - 1
  virtual uint64_t first_missing(uint64_t index, uint64_t limit) const = 0;  // the first page at or after `index` that is not cached
};

// A read of `request` pages at `index`, which is not cached (hit_marker false) or carries the Readahead flag.
ReadaheadPlan plan_readahead(ReadaheadWindow& ra, uint64_t index, uint64_t request, bool hit_marker, const CachedRuns& cache);
// A fault at `index`, which is not cached (mm/filemap.c: do_sync_mmap_readahead): reads around it.
ReadaheadPlan plan_read_around(ReadaheadWindow& ra, uint64_t index);

}  // namespace vitro::mm
