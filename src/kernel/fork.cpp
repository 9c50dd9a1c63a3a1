// New tasks: clone(2) in all its forms, and the kernel's own threads (kernel/fork.c).
#include "kernel/clone_flags.h"
#include "kernel/signal_sets.h"
#include "kernel/state.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::kernel {
namespace {

// What the new task shares or copies; collected first, so that a failure leaves nothing behind.
struct Inheritance {
  std::shared_ptr<mm::AddressSpace> space;
  std::shared_ptr<FdTable> files;
  std::shared_ptr<FsContext> fs;
  std::shared_ptr<SignalHandlers> handlers;
};

Result<Inheritance> inherit(Kernel::State& s, Process& parent, uint64_t flags) {
  mm::KernelCaches& caches = s.vm.physical().caches();
  Inheritance result;
  if (flags & kCloneFiles)
    result.files = parent.files;
  else
    result.files = TRY(parent.files->copy(caches));
  if (flags & kCloneFs) {
    result.fs = parent.fs;
  } else {
    auto memory = TRY(caches.allocate(mm::KernelCache::FsCache));
    result.fs = std::make_shared<FsContext>();
    result.fs->root = parent.fs->root, result.fs->cwd = parent.fs->cwd, result.fs->umask = parent.fs->umask;
    result.fs->memory = std::move(memory);
  }
  if (flags & kCloneSighand) {
    result.handlers = parent.handlers;
  } else {
    auto memory = TRY(caches.allocate(mm::KernelCache::SighandCache));
    result.handlers = std::make_shared<SignalHandlers>();
    result.handlers->actions = parent.handlers->actions;
    result.handlers->memory = std::move(memory);
    if (flags & kCloneClearSighand)
      for (SignalAction& a : result.handlers->actions)
        if (a.handler != kIgnore) a = {};
  }
  if (flags & kCloneVm)
    result.space = parent.space;
  else
    result.space = s.share(TRY(parent.space->fork()));
  return result;
}

}  // namespace

Result<Pid> Kernel::clone(Task& parent, const CloneArguments& a) {
  State& s = *state_;
  Process& from = *parent.process;
  const uint64_t flags = a.flags;
  const bool thread = flags & kCloneThread;
  TRY(check_clone_flags(flags));
  if (a.exit_signal > kSigCount) return fail(Errno::Invalid);
  if ((flags & kCloneParent) && from.parent == s.init && s.init->unkillable && from.pid == s.init->pid) return fail(Errno::Invalid);
  // A signal that is already here is handled before the fork, not copied into it.
  if (!thread && s.signal_pending(parent)) return fail(Errno::RestartNoIntr);
  if (from.credentials.uid != 0 && s.tasks_of_user(from.credentials.uid) >= from.limits[kLimitNproc].soft) return fail(Errno::Again);
  if (s.tasks.size() >= s.max_threads) return fail(Errno::Again);
  if ((flags & kCloneSetTls) && a.tls >= mm::kUserEnd.value()) return fail(Errno::NotPermitted);

  const auto pid = s.pids.allocate([&](Pid p) { return s.pid_in_use(p); });
  if (!pid) return fail(Errno::Again);
  struct StackGuard {  // until the task is in the table
    Kernel::State& s;
    std::unique_ptr<Task> task;
    ~StackGuard() {
      if (task) s.free_kernel_stack(*task);
    }
  } made{s, TRY(s.make_task(*pid, parent.comm))};
  std::unique_ptr<Process> new_process;
  Inheritance inheritance;
  if (!thread) {
    new_process = TRY(s.make_process(*pid));
    inheritance = TRY(inherit(s, from, flags));
  }
  if (s.fatal_signal_pending(parent)) return fail(Errno::Interrupted);  // copying the memory may have waited

  // Nothing below fails.
  Task& t = *made.task;
  Process& p = thread ? from : *new_process;
  t.process = &p;
  t.blocked = parent.blocked;
  t.nice = parent.nice;
  t.personality = parent.personality;
  t.dumpable = parent.dumpable;
  t.timer_slack = parent.timer_slack;
  t.start_time = s.clock.now();
  t.exiting = false;
  if (!(flags & kCloneVm) || (flags & kCloneVfork)) t.alternate_stack = parent.alternate_stack;
  t.clear_child_tid = flags & kCloneChildClearTid ? a.child_tid : 0;
  t.io_priority = parent.io_priority;
  t.set_child_tid = flags & kCloneChildSetTid ? a.child_tid : 0;
  if (!(flags & kCloneVm)) {
    t.rseq_area = parent.rseq_area, t.rseq_length = parent.rseq_length, t.rseq_signature = parent.rseq_signature;
    t.rseq_event = t.rseq_area != 0;
  }
  t.context = s.cpu.make_context();
  s.cpu.save(*t.context);  // the parent's registers: it is current
  hw::UserRegisters r = s.cpu.registers();
  r.rax = 0;
  if (a.stack) r.rsp = a.stack;
  if (flags & kCloneSetTls) r.fs_base = a.tls;
  t.saved_instruction_pointer = r.rip, t.saved_stack_pointer = r.rsp;

  std::shared_ptr<VforkCompletion> vfork;
  if (thread) {
    t.stop_participant = p.group_stop_pending;
    p.threads.push_back(&t);
  } else {
    p.space = std::move(inheritance.space);
    p.files = std::move(inheritance.files);
    p.fs = std::move(inheritance.fs);
    p.handlers = std::move(inheritance.handlers);
    p.credentials = from.credentials;
    p.limits = from.limits;
    p.terminal = from.terminal;
    p.group = from.group, p.session = from.session;
    p.oom_score_adj = from.oom_score_adj;
    p.executable_path = from.executable_path;
    p.exit_signal = flags & kCloneParent ? from.exit_signal : static_cast<int>(a.exit_signal);
    p.parent = flags & kCloneParent ? from.parent : &from;
    p.parent->children.push_back(&p);
    p.threads.push_back(&t);
    if ((p.pid_reference = a.pid_reference)) p.pid_reference->pid = p.pid;
    if (flags & kCloneVfork) p.vfork = vfork = std::make_shared<VforkCompletion>();
    s.processes.emplace(pid->value(), std::move(new_process));
  }
  // schedule_tail and ret_from_fork: the child's first steps, on its own stack.
  t.body = [&s, &t, r] {
    s.cpu.set_registers(r);
    if (t.set_child_tid) (void)t.user().put(VirtAddr{t.set_child_tid}, t.tid.value());
  };
  t.fibre = std::make_unique<Fibre>(s.scheduler.stacks(), [&s, &t] { s.task_main(t); });
  s.tasks.emplace(pid->value(), std::move(made.task));
  ++s.forks;
  TRACE(s.tracer, Event::SchedProcessFork, parent.comm, parent.tid.value(), t.comm, t.tid.value());
  if (flags & kCloneParentSetTid) (void)parent.user().put(VirtAddr{a.parent_tid}, pid->value());
  s.scheduler.start(t, &parent);
  while (vfork && !vfork->done) {
    parent.wait_channel = "kernel_clone";
    WaitQueue* queue = &vfork->queue;
    if (!s.scheduler.sleep(std::span{&queue, 1}, Sleep::Killable, std::nullopt)) break;  // killed: it dies on return
  }
  return *pid;
}

void Kernel::State::complete_vfork(Process& p) {
  if (!p.vfork) return;
  p.vfork->done = true;
  p.vfork->queue.wake_all();
  p.vfork.reset();
}

Result<Pid> Kernel::start_kernel_thread(std::string name, std::function<void()> body) {
  State& s = *state_;
  const auto pid = s.pids.allocate([&](Pid p) { return s.pid_in_use(p); });
  if (!pid) return fail(Errno::Again);
  auto process = TRY(s.make_process(*pid));
  auto task = TRY(s.make_task(*pid, name.substr(0, 15)));
  Process& p = *process;
  Task& t = *task;
  p.unkillable = true;
  p.parent = s.find_process(Pid{2});
  p.parent->children.push_back(&p);
  p.group = p.session = Pid{0};
  p.threads.push_back(&t);
  t.process = &p;
  t.reclaim.kernel_thread = true;
  t.start_time = s.clock.now();
  t.body = std::move(body);
  t.fibre = std::make_unique<Fibre>(s.scheduler.stacks(), [&s, &t] { s.task_main(t); });
  s.tasks.emplace(pid->value(), std::move(task));
  s.processes.emplace(pid->value(), std::move(process));
  ++s.forks;
  s.scheduler.start(t, nullptr);
  return *pid;
}

}  // namespace vitro::kernel
