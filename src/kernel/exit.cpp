// The end of tasks and processes (kernel/exit.c).
#include <fmt/format.h>

#include <algorithm>

#include "kernel/signal_sets.h"
#include "kernel/state.h"
#include "kernel/user_exit.h"

namespace vitro::kernel {

void Kernel::exit_thread(Task& t, int code) {
  t.exiting = true;
  t.exit_code = (code & 0xff) << 8;
}

void Kernel::exit_group(Task& t, int wait_status) {
  state_->start_group_exit(*t.process, wait_status);
  t.exiting = true;
  t.exit_code = t.process->exit_code;
}

// The first to ask decides the status; every thread gets SIGKILL (zap_other_threads).
void Kernel::State::start_group_exit(Process& p, int wait_status) {
  if (!p.group_exiting) {
    p.group_exiting = true;
    p.exit_code = wait_status;
  }
  p.group_stop_pending = p.stopped = false;
  for (Task* t : p.threads) {
    if (t->zombie()) continue;
    t->stop_participant = false;
    t->pending.set |= signal_bit(kSigKill);
    scheduler.wake_for_signal(*t, true);
  }
}

// do_exit. On the task's own kernel stack, the last thing that runs there; may still wait.
void Kernel::State::exit_task(Task& t) {
  Process& p = *t.process;
  t.exiting = true;
  if (p.group_exiting) t.exit_code = p.exit_code;
  if (p.space) release_user_claims(kernel, t);  // may wait: who is last is decided after it
  const bool last = std::ranges::none_of(p.threads, [&](const Task* other) { return other != &t && !other->finishing; });
  t.finishing = true;
  if (last && !p.group_exiting) p.exit_code = t.tid == p.pid ? t.exit_code : p.threads.front()->exit_code;
  TRACE(tracer, Event::SchedProcessExit, t.comm, t.tid.value(), t.exit_code);
  if (last && p.pid == first && !first_ended && on_first_exit) (*on_first_exit)();
  if (last) {
    exit_memory(p);
    exit_process(p);
  }

  const bool leader = t.tid == p.pid;
  t.state = leader ? TaskState::Zombie : TaskState::Dead;
  if (!last) {
    if (leader) p.thread_events.wake_all();
    return;
  }
  p.zombie = true;
  if (p.pid_reference) {
    p.pid_reference->ended = true;
    p.pid_reference->ending.wake_all();
  }
  if (p.pid == first && !first_ended) {
    first_ended = true;
    exit = {p.exit_code >> 8 & 0xff, p.exit_code & 0x7f};
  }
  reparent_children(p);
  if (!notify_parent_of_exit(p)) return;
  // Nobody waits for it: the leader goes with us.
  if (leader)
    t.state = TaskState::Dead;
  else
    release_task(*p.threads.front());
}

void release_user_claims(Kernel& kernel, Task& t) {
  release_robust_futexes(kernel, t);
  const uint64_t address = std::exchange(t.clear_child_tid, 0);
  Process& p = *t.process;
  // Only where somebody else can see it.
  const bool shared =
      p.space.use_count() > 1 || std::ranges::any_of(p.threads, [&](const Task* other) { return other != &t && !other->finishing; });
  if (!address || !shared) return;
  (void)t.user().put(VirtAddr{address}, uint32_t{0});
  (void)kernel.futex(t, address, 1, 1, std::nullopt, 0, 0, 0);  // FUTEX_WAKE
}

// exit_mm for the last thread: the memory itself.
void Kernel::State::exit_memory(Process& p) {
  if (!p.space) return;
  complete_vfork(p);
  const auto& usage = p.space->usage();
  const uint64_t rss = usage.rss_anon + usage.rss_file + usage.rss_shmem;
  p.dead_threads.max_rss_kb = std::max(p.dead_threads.max_rss_kb, std::max(usage.hiwater_rss, rss) * 4);
  // Out of the process first: nobody may find a space that is being taken down.
  auto space = std::move(p.space);
  p.freeing_memory = space.use_count() == 1;
  space.reset();
  p.freeing_memory = false;
}

void Kernel::State::exit_process(Process& p) {
  cancel_timers(p);
  auto files = std::move(p.files);
  files.reset();
  if (syscalls) {
    syscalls->descriptors_closed();
    syscalls->process_ended(p);
  }
  auto fs_context = std::move(p.fs);
  fs_context.reset();
  // disassociate_ctty: the session leader takes the terminal along.
  if (p.terminal && p.session == p.pid) {
    const auto terminal = p.terminal;
    terminal->leave_session(true);
  }
  p.terminal.reset();
}

// forget_original_parent: to the nearest ancestor that adopts, or to init.
void Kernel::State::reparent_children(Process& p) {
  Process* reaper = init;
  for (Process* a = p.parent; a && a != init; a = a->parent)
    if (a->child_subreaper && !a->zombie && !a->group_exiting) {
      reaper = a;
      break;
    }
  std::vector<Process*> children = std::exchange(p.children, {});
  for (Process* child : children) {
    child->parent = reaper;
    reaper->children.push_back(child);
    for (Task* t : child->threads)
      if (t->parent_death_signal && !child->zombie && !ending) {
        SignalInfo info;
        info.signal = t->parent_death_signal;
        info.code = kSiKernel;
        (void)send(*child, nullptr, info, false);
        break;
      }
    child->exit_signal = kSigChld;
    if (!ending) hang_up_orphaned_group(*child, p);
  }
  if (!ending && p.parent) hang_up_orphaned_group(p, *p.parent);
  // Zombies among them have told only the old parent.
  for (Process* child : children)
    if (child->zombie && notify_parent_of_exit(*child)) release_task(*child->threads.front());
}

// kill_orphaned_pgrp: a group that nobody can continue any more, and that has stopped members, is hung up.
void Kernel::State::hang_up_orphaned_group(Process& p, Process& parent) {
  if (parent.group == p.group || parent.session != p.session) return;  // p was not what kept the group attached
  const Process* leaving = p.zombie ? &p : nullptr;
  if (!orphaned_group(p.group, leaving)) return;
  bool any_stopped = false;
  for (const Process* member : group(p.group)) any_stopped |= member->stopped && !member->zombie;
  if (!any_stopped) return;
  for (int signal : {kSigHup, kSigCont})
    for (Process* member : group(p.group)) {
      SignalInfo info;
      info.signal = signal;
      info.code = kSiKernel;
      (void)send(*member, nullptr, info, false);
    }
}

// do_notify_parent
bool Kernel::State::notify_parent_of_exit(Process& p) {
  Process* parent = p.parent;
  if (!parent || parent->unkillable) return true;  // init reaps at once
  bool autoreap = false;
  int signal = p.exit_signal;
  if (signal == kSigChld && parent->handlers) {
    const SignalAction& action = parent->handlers->actions[kSigChld];
    if (action.handler == kIgnore || (action.flags & kSaNoCldWait)) {
      autoreap = true;
      if (action.handler == kIgnore) signal = 0;
    }
  }
  if (signal && !parent->zombie) {
    const ResourceUsage usage = p.usage();
    SignalInfo info;
    info.signal = signal;
    info.code = p.exit_code & 0x7f ? kCldKilled : kCldExited;
    info.sender = p.pid;
    info.sender_uid = p.credentials.uid;
    info.status = p.exit_code & 0x7f ? p.exit_code & 0x7f : p.exit_code >> 8;
    info.user_time = usage.user.value(), info.system_time = usage.system.value();
    (void)send(*parent, nullptr, info, false);
  }
  parent->child_events.wake_all();
  return autoreap;
}

// do_notify_parent_cldstop
void Kernel::State::notify_parent_of_stop(Process& p, int code, int status) {
  Process* parent = p.parent;
  if (!parent || parent->unkillable || parent->zombie) return;
  const SignalAction& action = parent->handlers->actions[kSigChld];
  if (action.handler != kIgnore && !(action.flags & kSaNoCldStop)) {
    const ResourceUsage usage = p.usage();
    SignalInfo info;
    info.signal = kSigChld;
    info.code = code;
    info.sender = p.pid;
    info.sender_uid = p.credentials.uid;
    info.status = status;
    info.user_time = usage.user.value(), info.system_time = usage.system.value();
    (void)send(*parent, nullptr, info, false);
  }
  parent->child_events.wake_all();
}

}  // namespace vitro::kernel
