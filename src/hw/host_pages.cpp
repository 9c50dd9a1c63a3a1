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
  stop_ = true;
  ++asked_;
  asked_.notify_all();
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
    bring_in_group(group);
    in_[group] = 0xff;
    fetch_ahead(group);
    return;
  }
  if (few_ != 0) --few_;
  learn(populate(portion, 1) * kGroup);
  in_[group] = static_cast<uint8_t>(in_[group] | 1u << (portion % kGroup));
}

// Whether the next group is to be a huge page: as long as they are cheaper, or as a try.
bool HostPages::next_is_huge() {
  if (huge_is_cheaper_) return true;
  if (until_huge_ > 0) {
    --until_huge_;
    return false;
  }
  until_huge_ = pause_;
  return true;
}

void HostPages::note_huge(Time cost) {
  huge_is_cheaper_ = cost <= small_cost_;
  pause_ = huge_is_cheaper_ ? kShortestPause : std::min(pause_ * 2, kLongestPause);
  if (!huge_is_cheaper_) until_huge_ = pause_;
}

HostPages::Time HostPages::populate_huge(uint64_t group) {
  ::madvise(base_ + group * kGroup * kPortion * kPageSize, kGroup * kPortion * kPageSize, MADV_HUGEPAGE);
  return populate(group * kGroup, kGroup);
}

// The job is finished: its group is there, whether it is needed now, later or never.
void HostPages::retire(Job& job) {
  if (job.parts == 1) note_huge(job.cost);
  in_[job.group] = 0xff;
  job.pending = false;
}

void HostPages::bring_in_group(uint64_t group) {
  for (Job& job : jobs_) {
    if (!job.pending || job.group != group) continue;
    work_on(job, job.number);
    for (uint32_t n = job.finished.load(std::memory_order_acquire); n < job.parts; n = job.finished.load(std::memory_order_acquire)) job.finished.wait(n);
    retire(job);
    return;
  }
  if (next_is_huge()) {
    return note_huge(populate_huge(group));
  }
  learn(populate(group * kGroup, kGroup));
}

// Runs in either thread.
void HostPages::work_on(Job& job, uint64_t number) {
  uint64_t claims = job.claims.load(std::memory_order_acquire);
  for (;;) {
    const uint64_t part = claims & 0xff, parts = claims >> 8 & 0xff;
    if (claims >> 16 != number || part == parts) return;
    if (!job.claims.compare_exchange_weak(claims, claims + 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
    if (parts == kGroup) populate(job.group * kGroup + part, 1);
    else job.cost = populate_huge(job.group);
    job.finished.fetch_add(1, std::memory_order_release);
    job.finished.notify_all();
    claims = job.claims.load(std::memory_order_acquire);
  }
}

// What will be needed after `group`: the rest of its block, then the blocks that lie in the direction of use.
void HostPages::fetch_ahead(uint64_t group) {
  const uint64_t block = group / kBlock;
  if (block == last_block_ + 1) direction_ = 1;
  else if (block + 1 == last_block_) direction_ = -1;
  else if (block != last_block_) direction_ = 0;
  last_block_ = block;
  uint64_t next = group;
  for (size_t n = 0; n < kAhead; ++n) {
    if (next % kBlock + 1 < kBlock) {
      ++next;
    } else {
      if (direction_ == 0 || (direction_ < 0 && next < 2 * kBlock)) return;
      next = (next / kBlock + static_cast<uint64_t>(direction_)) * kBlock;
    }
    if (next >= in_.size() || !whole(next)) return;
    if (in_[next] == 0 && !ask_for(next)) return;
  }
}

// False: there is no room for one more, or nobody who would do it.
bool HostPages::ask_for(uint64_t group) {
  for (const Job& job : jobs_)
    if (job.pending && job.group == group) return true;
  Job& job = jobs_[posted_ % jobs_.size()];
  if (job.pending) {
    if (job.finished.load(std::memory_order_acquire) < job.parts) return false;
    retire(job);
  }
  if (!worker_.joinable()) {
    if (std::thread::hardware_concurrency() < 2) return false;
    // Signals are for the thread that runs the machine.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    worker_ = std::thread([this] { work(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  job.number = ++posted_;
  job.group = group;
  job.parts = next_is_huge() ? 1 : kGroup;
  job.pending = true;
  job.finished.store(0, std::memory_order_relaxed);
  job.claims.store(job.number << 16 | job.parts << 8, std::memory_order_release);
  asked_.store(posted_, std::memory_order_release);
  asked_.notify_all();
  return true;
}

void HostPages::work() {
  for (uint64_t seen = 0; !stop_; ++seen) {
    asked_.wait(seen);
    if (!stop_) work_on(jobs_[seen % jobs_.size()], seen + 1);
  }
}

}  // namespace vitro::hw
