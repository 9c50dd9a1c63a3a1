// A small machine that reclaims: VirtualMemoryRig with a task of its own and, where asked for, a swap disk. Nothing waits: the disk answers at once.
#pragma once

#include "mm/reclaim/reclaim_state.h"
#include "mm/swap/swap_state.h"
#include "unit/mm/virtual_memory_rig.h"
#include "vitro/hw/clock.h"
#include "vitro/hw/disk.h"

namespace vitro::mm::test {

class ReclaimRig : public VirtualMemoryRig, public ReclaimTasks {
 protected:
  explicit ReclaimRig(Bytes ram = mib(16)) : VirtualMemoryRig(ram), clock_(1000) {
    physical_->watermarks().set_watermark_boost_factor(0);
    vm_->reclaimer().attach(this);
  }
  ~ReclaimRig() override { vm_->reclaimer().attach(nullptr); }

  TaskReclaim* current_reclaim() override { return &task_; }
  bool current_is_dying() const override { return false; }
  void checkpoint(Nanoseconds work, bool) override { time_ += work; }
  Nanoseconds now() const override { return time_; }

  void swap_on(Bytes size, std::optional<int> priority = std::nullopt) {
    disks_.push_back(hw::make_memory_disk("vdb", size, clock_, timing_));
    const Pages pages = size.pages_down();
    SwapSource source{.path = "/dev/vdb", .disk = disks_.back().get(), .extents = {{0, pages.value(), 0}}, .partition = true, .identity = disks_.size()};
    ASSERT_TRUE(vm_->swap().swap_on(std::move(source), SwapSpace::make_header(pages), priority));
  }
  // Reclaims `pages` of this space, used or not (MADV_PAGEOUT).
  void page_out(AddressSpace& s, VirtAddr a, Bytes n) { ASSERT_TRUE(s.madvise(a, n, 21)); }
  static bool swapped(AddressSpace& s, VirtAddr a) { return is_swap(entry(s, a)); }

  hw::Clock clock_;
  TaskReclaim task_;
  Nanoseconds time_{1};
  std::vector<std::unique_ptr<hw::Disk>> disks_;
};

}  // namespace vitro::mm::test
