#include "vitro/mm/readahead.h"

#include <algorithm>
#include <bit>

namespace vitro::mm {
namespace {

uint64_t initial_size(uint64_t request, uint64_t most) {  // get_init_ra_size
  const uint64_t size = std::bit_ceil(std::max<uint64_t>(request, 1));
  if (size <= most / 32) return size * 4;
  if (size <= most / 4) return size * 2;
  return most;
}

uint64_t next_size(uint64_t size, uint64_t most) {  // get_next_ra_size
  if (size < most / 16) return 4 * size;
  if (size <= most / 2) return 2 * size;
  return most;
}

}  // namespace

ReadaheadPlan plan_readahead(ReadaheadWindow& ra, uint64_t index, uint64_t request, bool hit_marker, const CachedRuns& cache) {
  if (ra.random) return hit_marker ? ReadaheadPlan{} : ReadaheadPlan{index, std::min(request, std::max(kDiskIoPages, ra.pages)), 0};
  uint64_t most = ra.pages;
  if (request > most && kDiskIoPages > most) most = std::min(request, kDiskIoPages);  // one that asks for more gets as much as the disk likes
  const auto begin = [&] {
    ra.start = index;
    ra.size = initial_size(request, most);
    ra.async_size = ra.size > request ? ra.size - request : ra.size;
  };
  if (index == 0) {
    begin();
  } else if (index == ra.start + ra.size - ra.async_size || index == ra.start + ra.size) {
    ra.start += ra.size;  // sequential, as expected: the next window, larger
    ra.size = std::max(ra.size, next_size(ra.size, most));
    ra.async_size = ra.size;
  } else if (hit_marker) {
    // A marker of somebody else's window, interleaved readers: what is cached from here on is as good as a window.
    const uint64_t missing = cache.first_missing(index + 1, most);
    if (missing - index > most) return {};
    ra.start = missing;
    ra.size = next_size(missing - index + request, most);
    ra.async_size = ra.size;
  } else if (request > most || index - (ra.previous >> kPageShift) <= 1) {
    begin();
  } else if (uint64_t history = cache.cached_before(index, most); history > request) {
    if (history >= index) history *= 2;  // from the file's beginning: a whole-file read
    ra.start = index;
    ra.size = std::min(history + request, most);
    ra.async_size = 1;
  } else {
    return {index, std::min(request, most), 0};  // a random read: as it is, and the window stays
  }
  if (index == ra.start && ra.size == ra.async_size) {
    const uint64_t more = next_size(ra.size, most);
    if (ra.size + more <= most) {
      ra.async_size = more;
      ra.size += more;
    } else {
      ra.size = most;
      ra.async_size = most / 2;
    }
  }
  return {ra.start, ra.size, ra.async_size};
}

ReadaheadPlan plan_read_around(ReadaheadWindow& ra, uint64_t index) {
  if (ra.mmap_miss < kLotsOfMisses * 10) ++ra.mmap_miss;
  if (ra.mmap_miss > kLotsOfMisses) return {};
  ra.start = index > ra.pages / 2 ? index - ra.pages / 2 : 0;
  ra.size = ra.pages;
  ra.async_size = ra.pages / 4;
  return {ra.start, ra.size, ra.async_size};
}

}  // namespace vitro::mm
