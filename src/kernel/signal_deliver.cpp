// On the way back to user mode: pending signals become handler frames, stops or deaths, and interrupted calls restart
// (kernel/signal.c: get_signal, do_signal_stop; arch/x86/kernel/signal.c: arch_do_signal_or_restart, handle_signal).
#include <algorithm>
#include <bit>

#include "kernel/signal_sets.h"
#include "kernel/state.h"

namespace vitro::kernel {
namespace {

constexpr uint64_t kRestartSyscall = 219;  // __NR_restart_syscall

// The queued information of the lowest allowed signal, synchronous ones first; a set bit without one lost it to the queue's limit.
std::optional<SignalInfo> take(PendingSignals& pending, SignalSet allowed) {
  const SignalSet ready = pending.set & allowed;
  if (!ready) return std::nullopt;
  const int signal = std::countr_zero(ready & kSynchronous ? ready & kSynchronous : ready) + 1;
  SignalInfo info;
  info.signal = signal;
  auto first = std::ranges::find(pending.queue, signal, &SignalInfo::signal);
  if (first != pending.queue.end()) {
    info = *first;
    pending.queue.erase(first);
  }
  if (std::ranges::find(pending.queue, signal, &SignalInfo::signal) == pending.queue.end()) pending.set &= ~signal_bit(signal);
  return info;
}

}  // namespace

std::optional<SignalInfo> Kernel::State::dequeue(Task& t, SignalSet allowed) {
  if (auto own = take(t.pending, allowed)) return own;
  return take(t.process->pending, allowed);
}

void Kernel::State::handle_signals(Task& t) {
  Process& p = *t.process;
  while (!t.exiting) {
    if (p.group_exiting || (p.exec_task && p.exec_task != &t)) {
      t.exiting = true;
      t.exit_code = p.group_exiting ? p.exit_code : kSigKill;
      break;
    }
    if (t.stop_participant) {
      participate_in_stop(t);
      continue;
    }
    const auto info = dequeue(t, ~t.blocked);
    if (!info) {
      restart_without_handler(t);
      return;
    }
    SignalAction& action = p.handlers->actions[static_cast<size_t>(info->signal)];
    TRACE(tracer, Event::SignalDeliver, info->signal, info->error, info->code, action.handler, action.flags);
    if (action.handler == kIgnore) continue;
    if (action.handler != kDefault) {
      const SignalAction chosen = action;
      if (action.flags & kSaResetHand) action.handler = kDefault;
      restart_for_handler(t, chosen);
      // The frame must lead back to the abort handler, not into the sequence (rseq_signal_deliver).
      t.rseq_event = t.rseq_area != 0;
      settle_rseq(t);
      if (!push_frame(t, *info, chosen)) {
        force_default(t, kSigSegv);  // also when the handler was SIGSEGV's own: no endless loop
        continue;
      }
      SignalSet blocked = t.blocked | chosen.mask;
      if (!(chosen.flags & kSaNoDefer)) blocked |= signal_bit(info->signal);
      kernel.set_blocked(t, blocked);
      return;
    }
    if (in(kDefaultIgnored, info->signal) || p.unkillable) continue;
    if (in(kStopSignals, info->signal)) {
      // The terminal's stop signals do nothing in an orphaned group: nobody could continue it.
      if (info->signal != kSigStop && orphaned_group(p.group, nullptr)) continue;
      group_stop(t, info->signal);
      continue;
    }
    kernel.exit_group(t, info->signal);  // no core is written, so WCOREDUMP is never set
  }
}

void Kernel::State::restart_without_handler(Task& t) {
  if (!t.restart.armed) return;
  t.restart.armed = false;
  hw::UserRegisters r = cpu.registers();
  r.rax = t.restart.error == Errno::RestartRestartBlock ? kRestartSyscall : t.restart.number;
  r.rip -= 2;  // back to the SYSCALL instruction
  cpu.set_registers(r);
}

void Kernel::State::restart_for_handler(Task& t, const SignalAction& action) {
  if (!t.restart.armed) return;
  t.restart.armed = false;
  hw::UserRegisters r = cpu.registers();
  if (t.restart.error == Errno::RestartNoIntr || (t.restart.error == Errno::RestartSys && (action.flags & kSaRestart))) {
    r.rax = t.restart.number;
    r.rip -= 2;
  } else {
    r.rax = static_cast<uint64_t>(-static_cast<int64_t>(Errno::Interrupted));
    t.restart_block = nullptr;
  }
  cpu.set_registers(r);
}

// ---- job control ----

void Kernel::State::group_stop(Task& t, int signal) {
  Process& p = *t.process;
  if (!p.group_stop_pending) {
    p.group_stop_pending = true;
    p.stop_signal = signal;
    for (Task* other : p.threads) {
      if (other->zombie() || other->exiting || other->state == TaskState::Stopped) continue;
      other->stop_participant = true;
      if (other != &t) scheduler.wake_for_signal(*other, false);
    }
  }
  participate_in_stop(t);
}

void Kernel::State::participate_in_stop(Task& t) {
  Process& p = *t.process;
  t.stop_participant = false;
  const bool last = std::ranges::none_of(p.threads, [](const Task* other) { return other->stop_participant; });
  if (last && p.group_stop_pending) {
    p.group_stop_pending = false;
    p.stopped = true;
    p.stop_unreported = true;
    p.continued_unreported = false;
    notify_parent_of_stop(p, kCldStopped, p.stop_signal);
  }
  scheduler.stop();
}

// SIGCONT: runs again whatever was stopped, or was about to.
void Kernel::State::continue_group(Process& p) {
  const bool was_stopped = p.stopped;
  p.stopped = p.stop_unreported = p.group_stop_pending = false;
  for (Task* t : p.threads) {
    t->stop_participant = false;
    scheduler.wake_stopped(*t);
  }
  if (!was_stopped) return;
  p.continued_unreported = true;
  notify_parent_of_stop(p, kCldContinued, kSigCont);
}

bool Kernel::State::orphaned_group(Pid group_id, const Process* ignored_member) const {
  for (const Process* p : group(group_id)) {
    if (p == ignored_member || p->zombie || !p->parent || p->parent == init) continue;
    if (p->parent->group != group_id && p->parent->session == p->session) return false;
  }
  return true;
}

}  // namespace vitro::kernel
