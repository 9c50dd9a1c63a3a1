// wait4(2) and waitid(2) (kernel/exit.c: do_wait).
#include <algorithm>

#include "kernel/state.h"

namespace vitro::kernel {
namespace {

constexpr unsigned kNoHang = 1, kStopped = 2, kExited = 4, kContinued = 8, kNoWait = 0x1000000, kAll = 0x40000000, kClone = 0x80000000;

bool eligible(const Process& child, int which, Pid id, unsigned options) {
  if (which == 1 && child.pid != id) return false;
  if (which == 2 && child.group != id) return false;
  // Children that say their end by another signal are seen with __WCLONE only.
  return (options & kAll) || (child.exit_signal != kSigChld) == static_cast<bool>(options & kClone);
}

}  // namespace

Result<std::optional<Kernel::WaitResult>> Kernel::wait_for_child(Task& t, int which, Pid id, unsigned options) {
  State& s = *state_;
  Process& p = *t.process;
  if (which == 2 && id == Pid{0}) id = p.group;
  while (true) {
    bool any = false;
    for (Process* child : p.children) {
      if (!eligible(*child, which, id, options)) continue;
      WaitResult r;
      r.pid = child->pid;
      r.uid = child->credentials.uid;
      if (child->zombie) {
        // Its last thread may still be on its way out of the kernel.
        if (!(options & kExited)) continue;
        any = true;
        if (std::ranges::any_of(child->threads, [](const Task* other) { return other->fibre != nullptr; })) continue;
        r.status = child->exit_code;
        r.code = child->exit_code & 0x7f ? kCldKilled : kCldExited;
        r.usage = child->usage();
        r.usage += child->children_usage;
        if (!(options & kNoWait)) {
          // wait_task_zombie: what it and its own children used is now our children's.
          p.children_usage += child->usage();
          p.children_usage += child->children_usage;
          s.release_task(*child->threads.front());
        }
        return r;
      }
      any = true;
      if ((options & kStopped) && child->stopped && child->stop_unreported) {
        if (!(options & kNoWait)) child->stop_unreported = false;
        r.status = child->stop_signal << 8 | 0x7f;
        r.code = kCldStopped;
        r.usage = child->usage();
        return r;
      }
      if ((options & kContinued) && child->continued_unreported) {
        if (!(options & kNoWait)) child->continued_unreported = false;
        r.status = 0xffff;
        r.code = kCldContinued;
        r.usage = child->usage();
        return r;
      }
    }
    if (!any) return fail(Errno::NoChild);
    if (options & kNoHang) return std::optional<WaitResult>{};
    t.wait_channel = "do_wait";
    TRY(wait(p.child_events, Interruptible::Yes, std::nullopt));
  }
}

}  // namespace vitro::kernel
