#include "mm/readahead.h"

#include <algorithm>
#include <bit>

namespace vitro::mm {
namespace {

uint64_t initial_size(uint64_t request) {
  const uint64_t size = std::bit_ceil(std::max<uint64_t>(request, 1));
  if (size <= kReadaheadPages / 32) return size * 4;
  if (size <= kReadaheadPages / 4) return size * 2;
  return kReadaheadPages;
}

uint64_t next_size(uint64_t size) {
  if (size < kReadaheadPages / 16) return 4 * size;
  if (size <= kReadaheadPages / 2) return 2 * size;
  return kReadaheadPages;
}

}  // namespace

ReadaheadPlan plan_readahead(ReadaheadWindow& ra, uint64_t index, uint64_t request, bool hit_marker, const CachedRuns& cache) {
  const auto begin = [&] {
    ra.start = index;
    ra.size = initial_size(std::min(request, kReadaheadPages));
    ra.async_size = ra.size > request ? ra.size - request : ra.size;
  };
  if (index == 0) {
    begin();
  } else if (index == ra.start + ra.size - ra.async_size || index == ra.start + ra.size) {
    ra.start += ra.size;  // sequential, as expected: the next window, larger
    ra.size = std::max(ra.size, next_size(ra.size));
    ra.async_size = ra.size;
  } else if (hit_marker) {
    // A marker of somebody else's window, interleaved readers: what is cached from here on is as good as a window.
    const uint64_t missing = cache.first_missing(index + 1, kReadaheadPages);
    if (missing - index > kReadaheadPages) return {};
    ra.start = missing;
    ra.size = next_size(missing - index + request);
    ra.async_size = ra.size;
  } else if (request > kReadaheadPages || index - ra.previous <= 1) {
    begin();
  } else if (uint64_t history = cache.cached_before(index, kReadaheadPages); history > request) {
    if (history >= index) history *= 2;  // from the file's beginning: a whole-file read
    ra.start = index;
    ra.size = std::min(history + request, kReadaheadPages);
    ra.async_size = 1;
  } else {
    return {index, request, 0};  // a random read: as it is, and the window stays
  }
  if (index == ra.start && ra.size == ra.async_size) {
    const uint64_t more = next_size(ra.size);
    if (ra.size + more <= kReadaheadPages) {
      ra.async_size = more;
      ra.size += more;
    } else {
      ra.size = kReadaheadPages;
      ra.async_size = kReadaheadPages / 2;
    }
  }
  return {ra.start, ra.size, ra.async_size};
}

ReadaheadPlan plan_read_around(ReadaheadWindow& ra, uint64_t index) {
  if (ra.mmap_miss < kLotsOfMisses * 10) ++ra.mmap_miss;
  if (ra.mmap_miss > kLotsOfMisses) return {};
  ra.start = index > kReadaheadPages / 2 ? index - kReadaheadPages / 2 : 0;
  ra.size = kReadaheadPages;
  ra.async_size = kReadaheadPages / 4;
  return {ra.start, ra.size, ra.async_size};
}

}  // namespace vitro::mm
