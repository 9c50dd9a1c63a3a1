// Where a simulated task sleeps until something happens. Any layer may own a WaitQueue and wake it; only the kernel's
// scheduler makes a task wait, behind the Blocking port.
//
//   while (pipe.empty()) TRY(blocking.wait(pipe.readers));   // in a reader's system call
//   pipe.readers.wake_all();                                  // in the writer's
#pragma once

#include <optional>

#include "vitro/base/intrusive_list.h"
#include "vitro/base/result.h"
#include "vitro/base/types.h"

namespace vitro {

// One sleeper's membership of one queue. The scheduler derives from it.
class Waiter {
 public:
  virtual ~Waiter() = default;
  virtual void wake() = 0;
  // Exclusive waiters (accept, futex) are woken one at a time.
  bool exclusive = false;
  ListLink queue_link;
};

class WaitQueue {
 public:
  void add(Waiter& w) { waiters_.push_back(w); }
  void remove(Waiter& w) {
    if (w.queue_link.linked()) waiters_.remove(w);
  }
  bool empty() const { return waiters_.empty(); }
  size_t size() const { return waiters_.size(); }
  // Wakes in arrival order; each woken waiter leaves the queue. Returns how many were woken.
  size_t wake_all() {
    size_t woken = 0;
    while (Waiter* w = waiters_.pop_front()) w->wake(), ++woken;
    return woken;
  }
  bool wake_one() {
    Waiter* w = waiters_.pop_front();
    if (w) w->wake();
    return w != nullptr;
  }

 private:
  IntrusiveList<Waiter, &Waiter::queue_link> waiters_;
};

enum class Interruptible : bool { No, Yes };  // No: only a wake-up or the deadline ends the wait (Linux's D state)

// Makes the current task sleep. Implemented by kernel::Scheduler; tests use a stub that fails or runs the event queue.
class Blocking {
 public:
  virtual ~Blocking() = default;
  // Sleeps until `queue` is woken or, where `deadline` is given, virtual time reaches it. Errors: RestartSys when a signal
  // arrived (Interruptible::Yes), TimedOut at the deadline. The caller re-checks its condition: wake-ups may be spurious.
  virtual Status wait(WaitQueue& queue, Interruptible interruptible = Interruptible::Yes,
                      std::optional<Nanoseconds> deadline = std::nullopt) = 0;
  // True where the caller is a task on its own kernel stack, so that wait() may be called.
  virtual bool may_wait() const = 0;
};

}  // namespace vitro
