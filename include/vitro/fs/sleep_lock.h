// A lock that a task may hold while it waits for a disk or for user memory (Linux's mutex). Simulated tasks only; nothing to do with host threads.
//
//   auto held = TRY(inode.write_lock.acquire(blocking));   // released at the end of the scope
#pragma once

#include <utility>

#include "vitro/base/wait_queue.h"

namespace vitro::fs {

class SleepLock {
 public:
  class Held {
   public:
    Held() = default;
    explicit Held(SleepLock& lock) : lock_(&lock) {}
    Held(Held&& other) noexcept : lock_(std::exchange(other.lock_, nullptr)) {}
    Held& operator=(Held&& other) noexcept {
      release();
      lock_ = std::exchange(other.lock_, nullptr);
      return *this;
    }
    ~Held() { release(); }
    void release() {
      if (lock_) std::exchange(lock_, nullptr)->unlock();
    }

   private:
    SleepLock* lock_ = nullptr;
  };

  // Deadlock where the lock is held and the caller is not a task that can wait.
  Result<Held> acquire(Blocking& blocking, Interruptible interruptible = Interruptible::No) {
    while (held_) {
      if (!blocking.may_wait()) return fail(Errno::Deadlock);
      TRY(blocking.wait(waiters_, interruptible));
    }
    held_ = true;
    return Held{*this};
  }
  bool held() const { return held_; }

 private:
  void unlock() {
    held_ = false;
    waiters_.wake_one();
  }
  bool held_ = false;
  WaitQueue waiters_;
};

}  // namespace vitro::fs
