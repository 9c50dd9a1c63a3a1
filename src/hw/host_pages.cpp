#include "hw/host_pages.h"

#include <sys/mman.h>

#include <algorithm>

// Newer than some C libraries' headers.
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace vitro::hw {

HostPages::HostPages(std::byte* base, Bytes size) : base_(base), size_(size.value()), in_((size_ / kPageSize + kPortion * kHuge - 1) / (kPortion * kHuge)) {}

HostPages::Time HostPages::populate(uint64_t first_portion, uint64_t portions) {
  const uint64_t from = first_portion * kPortion * kPageSize;
  const auto start = std::chrono::steady_clock::now();
  // A host that cannot (Linux before 5.14, no memory left) gives page by page as they are touched.
  ::madvise(base_ + from, std::min(portions * kPortion * kPageSize, size_ - from), MADV_POPULATE_WRITE);
  return std::chrono::steady_clock::now() - start;
}

void HostPages::bring_in_portion(uint64_t portion) {
  uint8_t& group = in_[portion / kHuge];
  const uint64_t first = portion / kHuge * kHuge;
  const bool whole = (first + kHuge) * kPortion * kPageSize <= size_;
  if (group == 0 && whole && few_ == 0) {
    const bool huge = until_huge_ == 0;
    if (huge) ::madvise(base_ + first * kPortion * kPageSize, kHuge * kPortion * kPageSize, MADV_HUGEPAGE);
    const Time cost = populate(first, kHuge);
    group = 0xff;
    if (!huge) {
      --until_huge_;
      learn(cost);
    } else if (cost > small_cost_) {
      pause_ = std::min(pause_ * 2, kLongestPause);
      until_huge_ = pause_;
    } else {
      pause_ = kShortestPause;
    }
    return;
  }
  if (few_ != 0) --few_;
  learn(populate(portion, 1) * kHuge);
  group = static_cast<uint8_t>(group | 1u << (portion % kHuge));
}

void HostPages::learn(Time cost) { small_cost_ = small_cost_ == Time{0} ? cost : (small_cost_ * 7 + cost) / 8; }

}  // namespace vitro::hw
