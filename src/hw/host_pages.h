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
// Most of that time goes into clearing. The page allocator uses up blocks of 4 MiB, one beside the other; so where a program uses much memory a second
// thread of the host fetches the groups that come next. It never runs far ahead, and whoever needs a group that is not there yet helps with it.
#pragma once

#include <array>
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
  static constexpr uint32_t kGroup = 8;          // portions: 2 MiB
  static constexpr uint64_t kBlock = 2;          // groups: 4 MiB, what the page allocator takes apart at a time
  static constexpr uint32_t kFew = 64;           // portions before the first whole group: most programs need no more
  static constexpr uint32_t kShortestPause = 4, kLongestPause = 256;  // groups of small pages between two tries of a huge one
  static constexpr size_t kAhead = 3;            // groups fetched before they are needed, at most
  using Time = std::chrono::nanoseconds;

  // A group that is being fetched, by the other thread or by both: whoever has time claims the next part and does it. Its place is free for another
  // one when all parts are finished; a claim names the job it means, so that who comes late finds nothing to do.
  struct Job {
    std::atomic<uint64_t> claims{0};             // number << 16 | parts << 8 | parts that are claimed
    std::atomic<uint32_t> finished{0};
    uint64_t number = 0, group = 0;
    uint32_t parts = 0;                          // kGroup portions, or 1: a huge page
    Time cost{0};                                // of a huge page, written before `finished`
    bool pending = false;                        // not retired; the machine's side alone looks at it
  };

  void bring_in_portion(uint64_t portion);
  void bring_in_group(uint64_t group);
  void fetch_ahead(uint64_t group);
  bool ask_for(uint64_t group);
  void work_on(Job& job, uint64_t number);
  Time populate_huge(uint64_t group);
  void note_huge(Time cost);
  void retire(Job& job);
  bool whole(uint64_t group) const { return (group + 1) * kGroup * kPortion * kPageSize <= size_; }
  Time populate(uint64_t first_portion, uint64_t portions);
  void learn(Time cost);
  bool next_is_huge();
  void work();

  std::byte* base_;
  uint64_t size_;
  std::vector<uint8_t> in_;                      // a bit for each portion that came in, a byte for each group
  uint32_t few_ = kFew;
  bool huge_is_cheaper_ = false;
  uint32_t until_huge_ = 0, pause_ = kShortestPause;  // groups until the next try
  Time small_cost_{0};                           // of a group in small pages, averaged
  uint64_t last_block_ = 0;
  int64_t direction_ = 0;                        // from block to block; 0: not known

  std::array<Job, kAhead + 1> jobs_;             // job n is jobs_[n % size]; it is free again when it is finished and used
  uint64_t posted_ = 0;
  // Between the threads: how many jobs there are to look at, and whether to stop.
  std::atomic<uint64_t> asked_{0};
  std::atomic<bool> stop_{false};
  std::thread worker_;
};

}  // namespace vitro::hw
