// Host memory for guest RAM: whatever the order of use, every frame is there and zero, and going away in the middle of it is fine.
#include "hw/host_pages.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

namespace vitro::hw {
namespace {

constexpr uint64_t kFramesPerGroup = 512;

class HostPagesTest : public testing::Test {
 protected:
  static constexpr uint64_t kGroups = 40;
  static constexpr uint64_t kFrames = kGroups * kFramesPerGroup - 7;  // the last group is not whole
  HostPagesTest() {
    constexpr uint64_t kAlign = kFramesPerGroup * kPageSize;
    whole_ = ::mmap(nullptr, kFrames * kPageSize + kAlign, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    base_ = reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(whole_) + kAlign - 1) & ~(kAlign - 1));
    order_.resize(kFrames);
    std::iota(order_.begin(), order_.end(), 0);
  }
  ~HostPagesTest() override { ::munmap(whole_, kFrames * kPageSize + kFramesPerGroup * kPageSize); }
  void use_all() {
    HostPages pages(base_, Bytes{kFrames * kPageSize});
    for (const uint64_t f : order_) {
      pages.bring_in(Pfn{f});
      EXPECT_EQ(base_[f * kPageSize + 100], std::byte{0}) << f;
      base_[f * kPageSize + 100] = std::byte{1};
    }
  }
  void* whole_;
  std::byte* base_;
  std::vector<uint64_t> order_;
};

TEST_F(HostPagesTest, Upwards) { use_all(); }

TEST_F(HostPagesTest, BlocksDownwards) {
  std::ranges::sort(order_, [](uint64_t a, uint64_t b) {
    const uint64_t block_a = a / kFramesPerGroup / 2, block_b = b / kFramesPerGroup / 2;
    return block_a != block_b ? block_a > block_b : a < b;
  });
  use_all();
}

TEST_F(HostPagesTest, AnyOrder) {
  for (const unsigned seed : {1u, 2u, 3u}) {
    std::ranges::shuffle(order_, std::mt19937(seed));
    ::madvise(base_, kFrames * kPageSize, MADV_DONTNEED);
    use_all();
  }
}

TEST_F(HostPagesTest, GoesAwayWhileMoreIsFetched) {
  for (uint64_t groups = 8; groups < kGroups; ++groups) {
    HostPages pages(base_, Bytes{kFrames * kPageSize});
    for (uint64_t f = 0; f < groups * kFramesPerGroup; f += 64) pages.bring_in(Pfn{f});
  }
}

}  // namespace
}  // namespace vitro::hw
