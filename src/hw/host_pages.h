// Where guest RAM gets its host memory from, and in what portions: only about speed, nothing of it can be seen by a guest.
//
//   HostPages pages(base, size);   // base: 2 MiB aligned, mapped, untouched
//   pages.bring_in(pfn);           // before a frame is used for the first time
//
// One fault of the host for each frame costs as much as a page fault of a real program. So frames come in by groups: at first 256 KiB, then 2 MiB, of small
// pages or as a huge one. Which is cheaper depends on the host at that moment: a huge page that the host has ready costs a third of as many small ones,
// one that it has to compact memory for, or that a hypervisor has taken back from it, several times as much. So both are timed, and the
// dearer one is only tried again now and then.
//
// Most of that time goes into clearing. The page allocator uses up blocks of 4 MiB; so where a program uses much memory a second thread of the host
// fetches the other half of a block meanwhile.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "vitro/base/types.h"

namespace vitro::hw {

class HostPages {
 public:
  HostPages(std::byte* base, Bytes size);
  ~HostPages();
  HostPages(const HostPages&) = delete;
  void bring_in(Pfn f) {
    const uint64_t portion = f.value() / kPortion;
    if (!(in_[portion / kGroup] >> (portion % kGroup) & 1)) [[unlikely]] bring_in_portion(portion);
  }

 private:
  static constexpr uint64_t kPortion = 64;       // frames: 256 KiB
  static constexpr uint64_t kGroup = 8;          // portions: 2 MiB
  static constexpr uint32_t kFew = 64;           // portions before the first whole group: most programs need no more
  static constexpr uint32_t kShortestPause = 4, kLongestPause = 256;  // groups of small pages between two tries of a huge one
  static constexpr uint64_t kNobody = UINT64_MAX, kStop = UINT64_MAX - 1;
  using Time = std::chrono::nanoseconds;

  void bring_in_portion(uint64_t portion);
  void bring_in_group(uint64_t group);
  bool fetched_ahead(uint64_t group);
  void fetch_ahead(uint64_t group);
  bool whole(uint64_t group) const { return (group + 1) * kGroup * kPortion * kPageSize <= size_; }
  Time populate(uint64_t first_portion, uint64_t portions);
  void learn(Time cost);
  void work();

  std::byte* base_;
  uint64_t size_;
  std::vector<uint8_t> in_;                      // a bit for each portion that came in, a byte for each group
  uint32_t few_ = kFew, until_huge_ = 0, pause_ = kShortestPause;
  Time small_cost_{0};                           // of a group in small pages, averaged
  uint64_t ahead_ = kNobody;                     // the one that the other thread was asked for, and not used yet
  // Between the threads: the group to fetch, and kNobody again when it is there.
  std::atomic<uint64_t> wanted_{kNobody};
  std::thread worker_;
};

}  // namespace vitro::hw
