// Where guest RAM gets its host memory from, and in what portions: only about speed, nothing of it can be seen by a guest.
//
//   HostPages pages(base, size);   // base: 2 MiB aligned, mapped, untouched
//   pages.bring_in(pfn);           // before a frame is used for the first time
//
// One fault of the host for each frame costs as much as a page fault of a real program. So frames come in by groups: at first 256 KiB, then 2 MiB, of small
// pages or as a huge one. Which is cheaper depends on the host at that moment: a huge page that the host has ready costs a third of as many small ones,
// one that it has to compact memory for, or that a hypervisor has taken back from it, several times as much. So both are timed, and the
// dearer one is only tried again now and then.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "vitro/base/types.h"

namespace vitro::hw {

class HostPages {
 public:
  HostPages(std::byte* base, Bytes size);
  void bring_in(Pfn f) {
    const uint64_t portion = f.value() / kPortion;
    if (!(in_[portion / 8] >> (portion % 8) & 1)) [[unlikely]] bring_in_portion(portion);
  }

 private:
  static constexpr uint64_t kPortion = 64;       // frames: 256 KiB
  static constexpr uint64_t kHuge = 8;           // portions: 2 MiB
  static constexpr uint32_t kFew = 64;           // portions before the first whole 2 MiB: most programs need no more
  static constexpr uint32_t kShortestPause = 4, kLongestPause = 256;  // 2 MiB of small pages between two tries of a huge one
  using Time = std::chrono::nanoseconds;

  void bring_in_portion(uint64_t portion);
  void learn(Time cost);
  Time populate(uint64_t first_portion, uint64_t portions);

  std::byte* base_;
  uint64_t size_;
  std::vector<uint8_t> in_;                      // a bit for each portion that came in, a byte for each 2 MiB
  uint32_t few_ = kFew, until_huge_ = 0, pause_ = kShortestPause;
  Time small_cost_{0};                           // of 2 MiB in small pages, averaged
};

}  // namespace vitro::hw
