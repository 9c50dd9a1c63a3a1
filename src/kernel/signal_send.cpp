// Sending signals: who may, whether it is ignored, where it is queued, and which thread wakes up (kernel/signal.c).
#include <algorithm>
#include <bit>

#include "kernel/signal_sets.h"
#include "kernel/state.h"

namespace vitro::kernel {
namespace {

bool valid(int signal) { return signal >= 1 && signal <= kSigCount; }

void remove(PendingSignals& pending, SignalSet set) {
  pending.set &= ~set;
  std::erase_if(pending.queue, [&](const SignalInfo& i) { return in(set, i.signal); });
}

}  // namespace

SignalSet Kernel::State::pending(const Task& t) const { return (t.pending.set | t.process->pending.set) & ~t.blocked; }

bool Kernel::State::signal_pending(const Task& t) const {
  return pending(t) != 0 || t.stop_participant || t.process->group_exiting || (ending && t.kernel_thread());
}

bool Kernel::State::fatal_signal_pending(const Task& t) const { return in(t.pending.set, kSigKill) || (ending && t.kernel_thread()); }

bool Kernel::signal_deliverable(const Task& t) const { return state_->signal_pending(t); }

// sig_task_ignored: what would be thrown away on delivery is not even queued.
bool Kernel::State::ignored(const Process& p, int signal) const {
  if (p.unkillable) return true;
  if (!p.handlers) return true;
  const uint64_t handler = p.handlers->actions[static_cast<size_t>(signal)].handler;
  return handler == kIgnore || (handler == kDefault && in(kDefaultIgnored, signal));
}

void Kernel::State::flush(Process& p, SignalSet set) {
  remove(p.pending, set);
  for (Task* t : p.threads) remove(t->pending, set);
}

// prepare_signal: the effects that sending has whatever becomes of the signal. False: it goes nowhere.
bool Kernel::State::prepare(Process& p, Task* thread, int signal, bool forced) {
  if (p.zombie) return false;
  if (p.group_exiting) return signal == kSigKill;
  if (in(kStopSignals, signal)) {
    flush(p, signal_bit(kSigCont));
  } else if (signal == kSigCont) {
    flush(p, kStopSignals);
    continue_group(p);
  }
  // A blocked signal is kept: its handler may have changed when it is let in.
  const Task& t = thread ? *thread : *p.threads.front();
  if (in(t.blocked | t.real_blocked, signal)) return true;
  return forced ? !p.unkillable : !ignored(p, signal);
}

bool Kernel::State::wants_signal(const Task& t, int signal) const {
  if (in(t.blocked, signal) || t.zombie() || t.exiting || !t.fibre) return false;
  if (signal == kSigKill) return true;
  if (t.state == TaskState::Stopped) return false;
  return &t == scheduler.current() || (pending(t) & ~signal_bit(signal)) == 0;  // one with another signal is awake already
}

// complete_signal: finds a thread to take it, and starts the end of the process at once where the signal is deadly.
void Kernel::State::complete(Process& p, Task* thread, int signal) {
  Task* taker = nullptr;
  if (thread) {
    if (wants_signal(*thread, signal)) taker = thread;
  } else {
    for (Task* t : p.threads)
      if (wants_signal(*t, signal)) {
        taker = t;
        break;
      }
  }
  if (!taker) return;
  const bool deadly = !p.group_exiting && !p.unkillable && p.handlers->actions[static_cast<size_t>(signal)].handler == kDefault &&
                      !in(kDefaultIgnored | kStopSignals, signal) && !in(taker->real_blocked, signal);
  if (deadly && !in(kCoreDumping, signal)) return start_group_exit(p, signal);
  scheduler.wake_for_signal(*taker, signal == kSigKill);
}

Status Kernel::State::send(Process& p, Task* thread, const SignalInfo& info, bool forced) {
  const int signal = info.signal;
  const bool delivered = prepare(p, thread, signal, forced);
  TRACE(tracer, Event::SignalGenerate, signal, info.error, info.code, (thread ? thread : p.threads.front())->comm,
        (thread ? thread->tid : p.pid).value(), !thread, delivered ? 0 : 1);  // TRACE_SIGNAL_DELIVERED, _IGNORED
  if (!delivered) return {};
  PendingSignals& queue = thread ? thread->pending : p.pending;
  if (signal < 32 && in(queue.set, signal)) return {};               // ordinary signals queue once
  const bool unlimited = signal < 32 && (info.code >= 0 || forced);  // kill(2) and the kernel may always
  size_t queued = p.pending.queue.size();
  for (const Task* t : p.threads) queued += t->pending.queue.size();
  if (unlimited || queued < p.limits[kLimitSigpending].soft) {
    queue.queue.push_back(info);
  } else if (info.code != kSiUser && signal >= 32) {
    return fail(Errno::Again);  // a queued real-time signal must not lose its value
  }
  queue.set |= signal_bit(signal);
  p.signal_arrivals.wake_all();
  complete(p, thread, signal);
  return {};
}

Status Kernel::send_signal(Process& to, const SignalInfo& info) {
  if (!valid(info.signal)) return fail(Errno::Invalid);
  if (to.threads.empty()) return fail(Errno::NoProcess);
  return state_->send(to, nullptr, info, info.code == kSiKernel);
}

Status Kernel::send_signal_to_task(Task& to, const SignalInfo& info) {
  if (!valid(info.signal)) return fail(Errno::Invalid);
  if (to.zombie()) return {};
  return state_->send(*to.process, &to, info, info.code == kSiKernel);
}

Status Kernel::kill(Task& sender, int pid, const SignalInfo& info) {
  if (info.signal < 0 || info.signal > kSigCount) return fail(Errno::Invalid);
  const fs::Credentials& who = sender.process->credentials;
  // kill_ok_by_cred, and SIGCONT inside a session.
  auto may = [&](const Process& to) {
    const fs::Credentials& c = to.credentials;
    return who.euid == 0 || who.euid == c.suid || who.euid == c.uid || who.uid == c.suid || who.uid == c.uid ||
           (info.signal == kSigCont && sender.process->session == to.session);
  };
  auto one = [&](Process& to) -> Status {
    if (!may(to)) return fail(Errno::NotPermitted);
    if (info.signal == 0) return {};
    return state_->send(to, nullptr, info, info.code == kSiKernel);
  };
  if (pid > 0) {
    Task* t = state_->find_task(Pid{pid});
    if (!t) return fail(Errno::NoProcess);
    return one(*t->process);
  }
  std::vector<Process*> targets;
  if (pid == -1) {
    for (Process* p : all_processes())
      if (!p->unkillable && p != sender.process) targets.push_back(p);
    if (targets.empty()) return fail(Errno::NoProcess);
    Status result;
    for (Process* p : targets)
      if (Status s = one(*p); !s && s.error() != Errno::NotPermitted) result = s;
    return result;
  }
  if (pid == INT32_MIN) return fail(Errno::NoProcess);
  targets = state_->group(pid == 0 ? sender.process->group : Pid{-pid});
  if (targets.empty()) return fail(Errno::NoProcess);
  // Succeeds where it did for any of them (__kill_pgrp_info).
  bool any = false;
  Status last;
  for (Process* p : targets) {
    last = one(*p);
    any |= last.has_value();
  }
  if (any) return {};
  return last;
}

bool Kernel::signal_foreground(int signal) {
  Process* first = state_->find_process(state_->first);
  if (!first || first->zombie) return false;
  SignalInfo info;
  info.signal = signal;
  info.code = kSiKernel;
  std::vector<Process*> targets;
  if (first->terminal) targets = state_->group(first->terminal->foreground());
  if (targets.empty()) targets.push_back(first);
  bool any = false;
  for (Process* p : targets)
    if (!p->zombie) any |= state_->send(*p, nullptr, info, false).has_value();
  return any;
}

// force_sig_info_to_task: a signal that the task's own instruction caused cannot wait: a blocked or ignored one gets its default action.
void Kernel::force_signal(Task& t, const SignalInfo& info) {
  SignalAction& action = t.process->handlers->actions[static_cast<size_t>(info.signal)];
  const bool blocked = in(t.blocked, info.signal);
  if (blocked || action.handler == kIgnore) {
    action.handler = kDefault;
    if (blocked) t.blocked &= ~signal_bit(info.signal);
  }
  (void)state_->send(*t.process, &t, info, true);
}

// force_sigsegv and force_fatal_sig: the default action, whatever the program asked for.
void Kernel::State::force_default(Task& t, int signal) {
  SignalAction& action = t.process->handlers->actions[static_cast<size_t>(signal)];
  action.handler = kDefault;
  t.blocked &= ~signal_bit(signal);
  SignalInfo info;
  info.signal = signal;
  info.code = kSiKernel;
  (void)send(*t.process, &t, info, true);
}

void Kernel::set_blocked(Task& t, SignalSet blocked) {
  blocked &= ~kUnblockable;
  const SignalSet newly = blocked & ~t.blocked & t.process->pending.set;
  t.blocked = blocked;
  // retarget_shared_pending: another thread may have to take what this one no longer wants.
  for (SignalSet left = newly; left; left &= left - 1) {
    const int signal = std::countr_zero(left) + 1;
    for (Task* other : t.process->threads)
      if (other != &t && state_->wants_signal(*other, signal)) {
        state_->scheduler.wake_for_signal(*other, false);
        break;
      }
  }
}

Status Kernel::set_action(Task& t, int signal, const SignalAction* action, SignalAction* old) {
  if (!valid(signal) || (action && in(kUnblockable, signal))) return fail(Errno::Invalid);
  SignalAction& current = t.process->handlers->actions[static_cast<size_t>(signal)];
  if (old) *old = current;
  if (!action) return {};
  current = *action;
  current.mask &= ~kUnblockable;
  // POSIX: what is pending and now ignored is discarded.
  if (current.handler == kIgnore || (current.handler == kDefault && in(kDefaultIgnored, signal)))
    state_->flush(*t.process, signal_bit(signal));
  return {};
}

Status Kernel::pause(Task&) {
  WaitQueue nobody;
  while (true) {
    const Status s = wait(nobody, Interruptible::Yes, std::nullopt);
    if (!s) return fail(Errno::RestartNoHand);
  }
}

std::optional<SignalInfo> Kernel::take_signal(Task& t, SignalSet set) { return state_->dequeue(t, set & ~kUnblockable); }

Result<SignalInfo> Kernel::wait_for_signal(Task& t, SignalSet set, std::optional<Nanoseconds> deadline) {
  set &= ~kUnblockable;
  if (auto info = state_->dequeue(t, set)) return *info;
  if (deadline && *deadline <= now()) return fail(Errno::Again);
  // Open the set while sleeping, so that senders wake us; real_blocked keeps them from acting on it as if it were not blocked.
  t.real_blocked = t.blocked;
  t.blocked &= ~set;
  WaitQueue nobody;
  const Status slept = wait(nobody, Interruptible::Yes, deadline);
  set_blocked(t, t.real_blocked);
  t.real_blocked = 0;
  if (auto info = state_->dequeue(t, set)) return *info;
  return fail(!slept && slept.error() == Errno::TimedOut ? Errno::Again : Errno::Interrupted);
}

}  // namespace vitro::kernel
