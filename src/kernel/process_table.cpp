// Tasks and processes: making and releasing them, finding them, and what /proc shows of them.
#include <algorithm>

#include "kernel/state.h"
#include "vitro/mm/kernel_stacks.h"
#include "vitro/mm/physical_memory.h"
#include "vitro/mm/swap.h"
#include "vitro/base/tick.h"

namespace vitro::kernel {
namespace {

constexpr uint64_t kPfExiting = 0x4, kPfForkNoExec = 0x40, kPfKthread = 0x200000;

char state_letter(const Task& t) {
  switch (t.state) {
    case TaskState::Running:
      return 'R';
    case TaskState::Sleeping:
      return 'S';
    case TaskState::DiskSleep:
      return 'D';
    case TaskState::Stopped:
      return 'T';
    case TaskState::Zombie:
      return 'Z';
    case TaskState::Dead:
      return 'X';
  }
  return 'R';
}

}  // namespace

// ---- making and releasing ----

Result<std::unique_ptr<Task>> Kernel::State::make_task(Pid tid, std::string comm) {
  mm::KernelCaches& caches = vm.physical().caches();
  auto t = std::make_unique<Task>();
  t->tid = tid;
  t->comm = std::move(comm);
  t->memory = TRY(caches.allocate(mm::KernelCache::TaskStruct, mm::Gfp::KernelAccount));
  t->credentials_memory = TRY(caches.allocate(mm::KernelCache::CredJar, mm::Gfp::KernelAccount));
  t->pid_memory = TRY(caches.allocate(mm::KernelCache::Pid, mm::Gfp::KernelAccount));
  t->kernel_stack = TRY(vm.kernel_stacks().allocate());
  return t;
}

void Kernel::State::free_kernel_stack(Task& t) {
  if (!t.kernel_stack) return;
  vm.kernel_stacks().free(*t.kernel_stack);
  t.kernel_stack.reset();
}

Result<std::unique_ptr<Process>> Kernel::State::make_process(Pid pid) {
  auto p = std::make_unique<Process>();
  p->pid = pid;
  p->memory = TRY(vm.physical().caches().allocate(mm::KernelCache::SignalCache, mm::Gfp::KernelAccount));
  return p;
}

// pid 1 and 2 exist in the kernel only: init adopts and reaps, kthreadd is every kernel thread's parent.
void Kernel::State::boot_tasks() {
  auto boot = [this](const char* name, Process* parent) -> Process* {
    const Pid pid = *pids.allocate([](Pid) { return false; });
    auto p = make_process(pid);
    auto t = make_task(pid, name);
    CHECK(p && t, "no memory for {}", name);
    (*p)->unkillable = true;
    (*p)->exit_signal = kSigChld;
    (*p)->parent = parent;
    (*p)->group = (*p)->session = Pid{0};
    (*t)->process = p->get();
    (*t)->state = TaskState::Sleeping;
    (*p)->threads.push_back(t->get());
    Process* result = p->get();
    tasks.emplace(pid.value(), std::move(*t));
    processes.emplace(pid.value(), std::move(*p));
    return result;
  };
  init = boot("init", nullptr);
  init->group = init->session = init->pid;
  boot("kthreadd", nullptr);
  log.append(Nanoseconds{0}, "Linux version 6.1.0-vitro: simulated memory management");
}

void Kernel::State::task_ended(Task& t) {
  t.fibre.reset();
  t.context.reset();
  free_kernel_stack(t);
  Process& p = *t.process;
  if (t.state == TaskState::Dead)
    release_task(t);
  else
    p.thread_events.wake_all();
}

void Kernel::State::release_task(Task& t) {
  Process& p = *t.process;
  const bool leader = t.tid == p.pid;
  free_kernel_stack(t);
  p.dead_threads += t.usage;
  std::erase(p.threads, &t);
  tasks.erase(t.tid.value());  // `t` is gone
  if (!p.threads.empty()) {
    p.thread_events.wake_all();
    return;
  }
  CHECK(leader || p.zombie || ending, "process {} lost its last thread alive", p.pid.value());
  if (p.parent) {
    std::erase(p.parent->children, &p);
  }
  for (Process* child : p.children) child->parent = init, init->children.push_back(child);
  if (p.pid_reference) p.pid_reference->gone = true;
  processes.erase(p.pid.value());
}

std::shared_ptr<mm::AddressSpace> Kernel::State::share(std::unique_ptr<mm::AddressSpace> space) {
  return {space.release(), [this](mm::AddressSpace* s) {
            delete s;                     // its own flushes still go by its PCID
            scheduler.asids().forget(s);  // by address only
          }};
}

mm::MemoryLimits Kernel::State::memory_limits(const Process& p) const {
  // CAP_IPC_LOCK: root locks as much as there is (mm/mlock.c: can_do_mlock).
  const uint64_t locked = p.credentials.privileged() ? ~0ull : p.limits[kLimitMemlock].soft;
  return {p.limits[kLimitStack].soft, p.limits[kLimitData].soft, p.limits[kLimitAs].soft, locked};
}

// ---- finding ----

Task* Kernel::State::find_task(Pid tid) const {
  auto it = tasks.find(tid.value());
  return it == tasks.end() ? nullptr : it->second.get();
}

Process* Kernel::State::find_process(Pid pid) const {
  auto it = processes.find(pid.value());
  return it == processes.end() ? nullptr : it->second.get();
}

bool Kernel::State::pid_in_use(Pid pid) const {
  if (tasks.contains(pid.value()) || processes.contains(pid.value())) return true;
  for (const auto& [number, p] : processes)
    if (p->group == pid || p->session == pid) return true;
  return false;
}

std::vector<Process*> Kernel::State::group(Pid group) const {
  std::vector<Process*> members;
  for (const auto& [pid, p] : processes)
    if (p->group == group) members.push_back(p.get());
  return members;
}

uint64_t Kernel::State::tasks_of_user(uint32_t uid) const {
  uint64_t n = 0;
  for (const auto& [tid, t] : tasks) n += t->process->credentials.uid == uid;
  return n;
}

Task* Kernel::find_task(Pid tid) { return state_->find_task(tid); }
Process* Kernel::find_process(Pid pid) { return state_->find_process(pid); }
std::vector<Process*> Kernel::group(Pid group) { return state_->group(group); }

std::vector<Process*> Kernel::all_processes() {
  std::vector<Process*> all;
  for (const auto& [pid, p] : state_->processes) all.push_back(p.get());
  return all;
}

// ---- fs::ProcessTable ----

std::vector<Pid> Kernel::processes() const {
  std::vector<Pid> all;
  for (const auto& [pid, p] : state_->processes) all.push_back(Pid{pid});
  return all;
}

std::vector<Pid> Kernel::threads(Pid process) const {
  std::vector<Pid> all;
  if (const Process* p = state_->find_process(process))
    for (const Task* t : p->threads) all.push_back(t->tid);
  std::ranges::sort(all);
  return all;
}

Pid Kernel::current() const {
  const Task* t = state_->scheduler.current();
  return t ? t->process->pid : Pid{0};
}

Pid Kernel::current_thread() const {
  const Task* t = state_->scheduler.current();
  return t ? t->tid : Pid{0};
}

std::optional<fs::ProcessView> Kernel::view(Pid task) const {
  const Task* t = state_->find_task(task);
  if (!t) return std::nullopt;
  const Process& p = *t->process;
  const bool leader = t->tid == p.pid;
  if (t == state_->scheduler.current()) state_->scheduler.account_system();
  fs::ProcessView v;
  v.pid = t->tid, v.tgid = p.pid;
  v.ppid = p.parent ? p.parent->pid : Pid{0};
  v.pgrp = p.group, v.session = p.session;
  v.comm = t->comm;
  v.state = state_letter(*t);
  v.kernel_thread = t->kernel_thread() && !t->zombie() && t->tid != state_->init->pid;
  v.space = t->space();
  // do_task_stat: a process's line sums up its threads.
  const ResourceUsage usage = leader ? p.usage() : t->usage;
  v.user_time = usage.user, v.system_time = usage.system;
  v.min_flt = usage.min_flt, v.maj_flt = usage.maj_flt;
  v.voluntary_switches = t->usage.voluntary_switches, v.involuntary_switches = t->usage.involuntary_switches;
  v.children_user_time = p.children_usage.user, v.children_system_time = p.children_usage.system;
  v.children_min_flt = p.children_usage.min_flt, v.children_maj_flt = p.children_usage.maj_flt;
  v.start_time = t->start_time;
  v.threads = static_cast<unsigned>(p.threads.size());
  v.priority = 20 + t->nice, v.nice = t->nice;
  v.exit_signal = leader ? p.exit_signal : -1;
  v.exit_code = t->zombie() ? (leader ? p.exit_code : t->exit_code) : 0;
  if (p.terminal) {
    v.tty = p.terminal->device_number();
    v.tty_pgrp = p.terminal->foreground().value();
  }
  v.flags = (t->exiting ? kPfExiting : 0) | (p.has_executed || !p.parent ? 0 : kPfForkNoExec) | (v.kernel_thread ? kPfKthread : 0);
  v.signals_pending = t->pending.set, v.signals_shared_pending = p.pending.set, v.signals_blocked = t->blocked;
  if (p.handlers)
    for (int s = 1; s <= kSigCount; ++s) {
      const uint64_t handler = p.handlers->actions[static_cast<size_t>(s)].handler;
      if (handler == 1)
        v.signals_ignored |= signal_bit(s);
      else if (handler != 0)
        v.signals_caught |= signal_bit(s);
    }
  v.signal_queue = p.pending.queue.size();
  for (const Task* other : p.threads) v.signal_queue += other->pending.queue.size();
  v.signal_queue_limit = p.limits[kLimitSigpending].soft;
  if (t == state_->scheduler.current() && t->context) {
    v.instruction_pointer = state_->cpu.instruction_pointer();
    v.stack_pointer = state_->cpu.stack_pointer();
  } else {
    v.instruction_pointer = t->saved_instruction_pointer, v.stack_pointer = t->saved_stack_pointer;
  }
  v.wait_channel = t->state == TaskState::Running ? "0" : t->wait_channel;
  v.credentials = p.credentials;
  v.oom_score_adj = p.oom_score_adj;
  if (p.files) {
    v.fd_size = p.files->capacity();
    for (int fd : p.files->open_numbers()) {
      v.descriptors[fd] = *p.files->get(fd);
      v.close_on_exec[fd] = *p.files->close_on_exec_flag(fd);
    }
  }
  if (p.fs) {
    v.umask = p.fs->umask;
    v.cwd = p.fs->cwd, v.root = p.fs->root;
  }
  if (v.space) v.executable = v.space->executable;
  for (size_t i = 0; i < p.limits.size(); ++i) v.limits[i] = {p.limits[i].soft, p.limits[i].hard};
  v.io = {t->io_rchar, t->io_wchar, t->io_syscr, t->io_syscw, t->usage.in_blocks * 512, t->usage.out_blocks * 512, 0};
  return v;
}

fs::SystemView Kernel::system() const {
  State& s = *state_;
  if (s.scheduler.current()) s.scheduler.account_system();
  const Scheduler::Totals totals = s.scheduler.totals();
  fs::SystemView v;
  v.uptime = s.clock.now();
  v.idle = s.clock.idle_time();
  v.boot_time = s.config.boot_time;
  v.user = totals.user, v.system = totals.system, v.idle_cpu = totals.idle, v.iowait = totals.iowait;
  v.context_switches = totals.context_switches;
  v.processes_forked = s.forks;
  v.running = std::max<uint64_t>(1, totals.running);
  v.blocked = totals.blocked;
  if (s.block_devices) v.block_devices = s.block_devices();
  // The tick runs only while the CPU is busy (CONFIG_NO_HZ_IDLE, HZ 250).
  v.timer_interrupts = (v.uptime - v.idle) / kTick;
  v.interrupts = v.timer_interrupts + totals.events;
  v.load = s.scheduler.load().read(s.clock.now());
  v.pressure = s.scheduler.pressure().read(s.clock.now());
  v.tasks = static_cast<unsigned>(s.tasks.size());
  v.last_pid = s.pids.last();
  std::vector<const fs::File*> files;
  for (const auto& [pid, p] : s.processes)
    if (p->files)
      for (int fd : p->files->open_numbers()) files.push_back(p->files->get(fd)->get());
  std::ranges::sort(files);
  v.open_files = static_cast<uint64_t>(std::ranges::unique(files).begin() - files.begin());
  // fs/file_table.c: files_maxfiles_init: a tenth of memory, at 1 KiB a file.
  v.file_max = std::max<uint64_t>(8192, s.vm.physical().allocator().managed_frames().value() * 4 / 10);
  for (const mm::SwapAreaState& a : s.vm.swap().areas()) v.swap_areas.push_back({a.path, a.partition, a.size, a.used, a.priority});
  return v;
}

Status Kernel::set_comm(Pid task, std::string_view comm) {
  Task* t = state_->find_task(task);
  if (!t) return fail(Errno::NoProcess);
  t->comm = std::string(comm.substr(0, 15));
  if (t == state_->scheduler.current()) state_->tracer.set_task(t->tid, t->comm);
  return {};
}

Status Kernel::set_oom_score_adj(Pid process, int adj) {
  Process* p = state_->find_process(process);
  if (!p) return fail(Errno::NoProcess);
  if (adj < -1000 || adj > 1000) return fail(Errno::Invalid);
  const Task* by = state_->scheduler.current();
  // Lowering it takes CAP_SYS_RESOURCE (fs/proc/base.c: __set_oom_adj).
  if (adj < p->oom_score_adj && by && by->process->credentials.euid != 0) return fail(Errno::Access);
  p->oom_score_adj = adj;
  TRACE(state_->tracer, Event::OomScoreAdjUpdate, p->pid.value(), p->threads.empty() ? "" : p->threads.front()->comm, adj);
  return {};
}

Result<std::unique_ptr<fs::PressureTrigger>> Kernel::add_pressure_trigger(fs::PressureResource resource, std::string_view text, bool privileged) {
  return state_->scheduler.pressure_triggers().add(resource, text, privileged);
}

std::string Kernel::kernel_log() const { return state_->log.text(); }
std::string Kernel::hostname() const { return state_->config.hostname; }

Status Kernel::set_hostname(std::string_view name) {
  if (name.size() > 64) return fail(Errno::Invalid);
  state_->config.hostname = std::string(name);
  return {};
}

}  // namespace vitro::kernel
