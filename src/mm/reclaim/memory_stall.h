// While it lives the current task counts as losing time for want of memory (psi_memstall_enter, psi_memstall_leave).
#pragma once

#include "mm/reclaim/reclaim_state.h"

namespace vitro::mm {

class MemoryStall {
 public:
  explicit MemoryStall(Reclaimer& reclaimer) : tasks_(reclaimer.tasks()) {
    const TaskReclaim* task = tasks_ ? tasks_->current_reclaim() : nullptr;
    if (!task || task->stalled) tasks_ = nullptr;  // nobody, or somebody further out ends it
    else tasks_->set_stalled(true);
  }
  ~MemoryStall() {
    if (tasks_) tasks_->set_stalled(false);
  }
  MemoryStall(const MemoryStall&) = delete;
  MemoryStall& operator=(const MemoryStall&) = delete;
  // A page that was thrown out a short while ago is waited for (mm/filemap.c: folio_wait_bit_common).
  static bool is_refault(const Frame& f) { return f.has(FrameFlag::Locked) && !f.has(FrameFlag::Uptodate) && f.has(FrameFlag::Workingset); }

 private:
  ReclaimTasks* tasks_;  // null: nothing to end
};

}  // namespace vitro::mm
