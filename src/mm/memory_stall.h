// While it lives the current task counts as losing time for want of memory (psi_memstall_enter, psi_memstall_leave).
#pragma once

#include "mm/reclaim_state.h"

namespace vitro::mm {

class MemoryStall {
 public:
  explicit MemoryStall(Reclaimer& reclaimer) : tasks_(reclaimer.tasks()), task_(tasks_ ? tasks_->current_reclaim() : nullptr) {
    if (!task_ || task_->stalled) {
      task_ = nullptr;  // somebody further out ends it
      return;
    }
    task_->stalled = true;
    tasks_->set_stalled(true);
  }
  ~MemoryStall() {
    if (!task_) return;
    task_->stalled = false;
    tasks_->set_stalled(false);
  }
  MemoryStall(const MemoryStall&) = delete;
  MemoryStall& operator=(const MemoryStall&) = delete;
  // A page that was thrown out a short while ago is waited for (mm/filemap.c: folio_wait_bit_common).
  static bool is_refault(const Frame& f) { return f.has(FrameFlag::Locked) && !f.has(FrameFlag::Uptodate) && f.has(FrameFlag::Workingset); }

 private:
  ReclaimTasks* tasks_;
  TaskReclaim* task_;
};

}  // namespace vitro::mm
