#include "hw/host_pages.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include <algorithm>

// Newer than some C libraries' headers.
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace vitro::hw {

HostPages::HostPages(std::byte* base, Bytes size) : base_(base), size_(size.value()), in_((size_ / kPageSize + kPortion * kGroup - 1) / (kPortion * kGroup)) {}

HostPages::~HostPages() {
  if (!worker_.joinable()) return;
  while (wanted_.load() != kNobody) wanted_.wait(wanted_.load());
  wanted_ = kStop;
  wanted_.notify_all();
  worker_.join();
}

HostPages::Time HostPages::populate(uint64_t first_portion, uint64_t portions) {
  const uint64_t from = first_portion * kPortion * kPageSize;
  const auto start = std::chrono::steady_clock::now();
  // A host that cannot (Linux before 5.14, no memory left) gives page by page as they are touched.
  ::madvise(base_ + from, std::min(portions * kPortion * kPageSize, size_ - from), MADV_POPULATE_WRITE);
  return std::chrono::steady_clock::now() - start;
}

void HostPages::learn(Time cost) { small_cost_ = small_cost_ == Time{0} ? cost : (small_cost_ * 7 + cost) / 8; }

void HostPages::bring_in_portion(uint64_t portion) {
  const uint64_t group = portion / kGroup;
  if (in_[group] == 0 && whole(group) && few_ == 0) {
    if (!fetched_ahead(group)) {
      fetch_ahead(group ^ 1);
      bring_in_group(group);
    }
    in_[group] = 0xff;
    return;
  }
  if (few_ != 0) --few_;
  learn(populate(portion, 1) * kGroup);
  in_[group] = static_cast<uint8_t>(in_[group] | 1u << (portion % kGroup));
}

void HostPages::bring_in_group(uint64_t group) {
  if (until_huge_ != 0) {
    --until_huge_;
    return learn(populate(group * kGroup, kGroup));
  }
  ::madvise(base_ + group * kGroup * kPortion * kPageSize, kGroup * kPortion * kPageSize, MADV_HUGEPAGE);
  const bool dear = populate(group * kGroup, kGroup) > small_cost_;
  pause_ = dear ? std::min(pause_ * 2, kLongestPause) : kShortestPause;
  until_huge_ = dear ? pause_ : 0;
}

bool HostPages::fetched_ahead(uint64_t group) {
  if (ahead_ != group) return false;
  ahead_ = kNobody;
  // Where the other thread is not done, what is left is fetched here too: pages that are there cost next to nothing.
  if (wanted_.load(std::memory_order_acquire) == group) populate(group * kGroup, kGroup);
  return true;
}

void HostPages::fetch_ahead(uint64_t group) {
  if (group >= in_.size() || in_[group] != 0 || !whole(group)) return;
  // Not while an earlier one lies unused; and huge pages that are cheap need no help.
  if ((ahead_ != kNobody && in_[ahead_] == 0) || until_huge_ < 2 || wanted_.load(std::memory_order_acquire) != kNobody) return;
  if (!worker_.joinable()) {
    if (std::thread::hardware_concurrency() < 2) return;
    // Signals are for the thread that runs the machine.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    worker_ = std::thread([this] { work(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  --until_huge_;
  ahead_ = group;
  wanted_.store(group, std::memory_order_release);
  wanted_.notify_all();
}

void HostPages::work() {
  for (;;) {
    wanted_.wait(kNobody);
    const uint64_t group = wanted_.load(std::memory_order_acquire);
    if (group == kStop) return;
    if (group == kNobody) continue;
    populate(group * kGroup, kGroup);
    wanted_.store(kNobody, std::memory_order_release);
    wanted_.notify_all();
  }
}

}  // namespace vitro::hw
