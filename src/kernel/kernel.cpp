// The kernel put together: creation, the first process, the run, and the ports that other layers call.
#include "vitro/kernel/kernel.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstring>

#include "kernel/profiler.h"
#include "kernel/oom_service.h"
#include "kernel/state.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::kernel {
Kernel::State::State(Kernel& kernel, const KernelConfig& config, hw::Cpu& cpu, hw::Clock& clock, const hw::TimingModel& timing,
                     mm::VirtualMemory& vm, fs::Vfs& vfs, Tracer& tracer)
    : kernel(kernel),
      config(config),
      cpu(cpu),
      clock(clock),
      timing(timing),
      vm(vm),
      vfs(vfs),
      tracer(tracer),
      rng(config.seed),
      scheduler(cpu, clock, vm.mmu(), timing, tracer, *this),
      jobs(*this) {
  // kernel/fork.c: set_max_threads: an eighth of memory for kernel stacks of 16 KiB.
  max_threads = std::max<uint64_t>(20, vm.physical().allocator().managed_frames().bytes().value() / (16384 * 8));
}

Kernel::State::~State() {
  if (profiler) vm.mmu().set_observer(nullptr);
  // A kernel that started nothing has only the tasks of boot_tasks(); anything else was ended by run() or start().
  for (auto& [tid, t] : tasks)
    if (t->fibre && !t->fibre->ended()) {
      spdlog::error("task {} ({}) was still waiting when the machine was taken down", tid, t->comm);
      t->fibre->abandon();
    }
  for (auto& [tid, t] : tasks) free_kernel_stack(*t);
}

Kernel::Kernel(const KernelConfig& config, hw::Cpu& cpu, hw::Clock& clock, const hw::TimingModel& timing, mm::VirtualMemory& vm,
               fs::Vfs& vfs, Tracer& tracer)
    : state_(std::make_unique<State>(*this, config, cpu, clock, timing, vm, vfs, tracer)) {
  cpu.set_fault_service(this);
  vm.set_fault_observer(this);
  vfs.set_job_control(&state_->jobs);
  vm.set_charge([&clock](Nanoseconds n) { clock.advance(n); });
  state_->vdso.emplace(vm);
  state_->boot_tasks();
  state_->oom = std::make_unique<OomService>(*state_);
  vm.oom().attach(state_->oom.get());
}

Kernel::~Kernel() {
  if (!state_->processes.empty()) state_->kill_everything();
  state_->cpu.set_fault_service(nullptr);
  state_->vm.set_fault_observer(nullptr);
  state_->vfs.set_job_control(nullptr);
  state_->vm.oom().attach(nullptr);
  state_->vm.set_charge(nullptr);
  if (state_->vm.blocking() == this) state_->vm.set_blocking(nullptr);
  if (state_->vm.reclaimer().tasks() == this) state_->vm.reclaimer().attach(nullptr);
}

void Kernel::set_syscall_table(SyscallTable* table) { state_->syscalls = table; }
void Kernel::set_watcher(Watcher* w) {
  if (state_->watcher && !w) state_->cpu.set_single_step(false);
  state_->watcher = w;
}
void Kernel::set_host_port(HostPort* port) { state_->host = port; }
void Kernel::set_block_devices(std::function<std::vector<fs::BlockDeviceView>()> devices) { state_->block_devices = std::move(devices); }

Result<Pid, UserError> Kernel::start(const FirstProcess& first) {
  State& s = *state_;
  auto out_of_memory = [] { return fail(UserError{"not enough memory for the first process", "give the machine more --ram"}); };
  const auto pid = s.pids.allocate([&](Pid p) { return s.pid_in_use(p); });
  CHECK(pid, "no process number for the first process");
  auto made = s.make_process(*pid);
  auto task = s.make_task(*pid, first.program.substr(first.program.rfind('/') + 1).substr(0, 15));
  auto files = FdTable::create(s.vm.physical().caches());
  auto fs_memory = s.vm.physical().caches().allocate(mm::KernelCache::FsCache);
  auto handlers_memory = s.vm.physical().caches().allocate(mm::KernelCache::SighandCache);
  if (!made || !task || !files || !fs_memory || !handlers_memory) {
    if (task) s.free_kernel_stack(**task);
    return out_of_memory();
  }
  Process& p = **made;
  Task& t = **task;
  p.parent = s.init;
  p.group = p.session = *pid;
  p.credentials = first.credentials;
  p.limits[kLimitStack] = {8u << 20, ~0ull};
  p.limits[kLimitCore] = {0, ~0ull};
  p.limits[kLimitNproc] = p.limits[kLimitSigpending] = {s.max_threads / 2, s.max_threads / 2};
  p.limits[kLimitNofile] = {1024, 1u << 20};
  p.limits[kLimitMemlock] = {8u << 20, 8u << 20};
  p.limits[kLimitMsgqueue] = {819200, 819200};
  p.limits[kLimitNice] = p.limits[kLimitRtprio] = {0, 0};
  p.files = std::move(*files);
  for (const auto& file : first.standard)
    if (file) {
      if (auto installed = p.files->install(file, false, p.limits[kLimitNofile].soft); !installed) return out_of_memory();
    }
  p.fs = std::make_shared<FsContext>();
  p.fs->memory = std::move(*fs_memory);
  p.fs->root = p.fs->cwd = s.vfs.root();
  p.handlers = std::make_shared<SignalHandlers>();
  p.handlers->memory = std::move(*handlers_memory);
  if (first.terminal) {
    p.terminal = first.terminal;
    p.terminal->set_owner(p.session, p.group);
  }

  // The program is loaded by the task itself, which can wait for the disk; the outcome decides whether it goes on to user mode.
  std::optional<UserError> error;
  bool loaded = false;
  t.process = &p;
  t.start_time = s.clock.now();
  t.context = s.cpu.make_context();
  t.body = [&s, &first, &t, &error, &loaded] {
    auto refuse = [&](std::string what, std::string hint) {
      error = UserError{std::move(what), std::move(hint)};
      t.exiting = true;
    };
    auto directory = s.vfs.resolve(s.kernel.path_context(t), nullptr, first.working_directory, fs::Follow::Yes);
    if (!directory || !s.vfs.inode_of(*directory).is_directory())
      return refuse(fmt::format("the guest has no directory {}", first.working_directory),
                    "offer it with --bind, or choose another working directory");
    t.process->fs->cwd = *directory;
    std::string why;
    const Status status = s.load_program(t, nullptr, first.program, first.arguments, first.environment, 0, &why);
    if (!status) {
      if (why.empty()) why = std::string(errno_name(status.error()));
      return refuse(fmt::format("cannot run {}: {}", first.program, why),
                    status.error() == Errno::NoEntry    ? "name a program that exists inside the guest"
                    : status.error() == Errno::NoMemory ? "give the machine more --ram"
                                                        : "vitro runs ELF programs for x86-64 Linux, and scripts that start with #!");
    }
    loaded = true;
    s.scheduler.give_way();  // back to start(), whose locals are gone when this goes on
  };
  p.threads.push_back(&t);
  s.init->children.push_back(&p);
  s.first = *pid;
  s.tasks.emplace(pid->value(), std::move(*task));
  s.processes.emplace(pid->value(), std::move(*made));
  t.fibre = std::make_unique<Fibre>(s.scheduler.stacks(), [&s, &t] { s.task_main(t); });
  ++s.forks;
  s.scheduler.start(t, nullptr);
  const auto ended = s.scheduler.run([&] { return loaded || s.first_ended; });
  if (error || !loaded) {
    s.kill_everything();
    if (error) return fail(std::move(*error));
    return fail(UserError{fmt::format("{} was killed while it was loaded", first.program),
                          ended == Scheduler::Ended::HostAsked ? "" : "give the machine more --ram"});
  }
  return *pid;
}

Exit Kernel::run(const std::function<void()>& on_first_exit) {
  State& s = *state_;
  s.on_first_exit = on_first_exit ? &on_first_exit : nullptr;
  const auto ended = s.scheduler.run([&] { return s.first_ended; });
  if (ended == Scheduler::Ended::Deadlock) {
    const std::string who = s.waiting_tasks();
    spdlog::warn("the run ends here: every task waits for something that can never happen: {}", who);
    log("vitro: every task waits for something that can never happen: " + who);
  }
  s.kill_everything();
  s.exit.deadlocked = ended == Scheduler::Ended::Deadlock;
  s.on_first_exit = nullptr;
  return s.exit;
}

// "cat[4] in read, sh[3] in wait4"; a long list is cut.
std::string Kernel::State::waiting_tasks() const {
  constexpr size_t kMost = 8;
  std::string text;
  size_t n = 0;
  for (const auto& [tid, t] : tasks) {
    if (!t->fibre || t->zombie() || t->kernel_thread()) continue;
    if (++n > kMost) continue;
    if (n > 1) text += ", ";
    const std::string_view where = t->state == TaskState::Stopped ? "a stop" : t->in_syscall && syscalls ? syscalls->name_of(t->syscall_number) : "the kernel";
    text += fmt::format("{}[{}] in {}", t->comm, tid, where);
  }
  if (n > kMost) text += fmt::format(" and {} more", n - kMost);
  return text;
}

// Ends whatever is left, the ordinary way: every task gets SIGKILL and unwinds its own kernel stack.
void Kernel::State::kill_everything() {
  ending = true;
  for (auto& [pid, p] : processes) {
    if (p->unkillable) continue;
    start_group_exit(*p, kSigKill);
  }
  for (auto& [tid, t] : tasks)
    if (t->fibre && t->kernel_thread() && !t->zombie()) scheduler.wake(*t);
  auto gone = [this] {
    for (auto& [tid, t] : tasks)
      if (t->fibre && !t->zombie()) return false;
    return true;
  };
  if (!gone() && scheduler.run(gone) == Scheduler::Ended::Deadlock)
    spdlog::error("tasks that cannot be killed are left at the end of the run");
  // Zombies whose parent is gone or never waited.
  std::vector<Task*> zombies;
  for (auto& [tid, t] : tasks)
    if (t->zombie()) zombies.push_back(t.get());
  for (Task* t : zombies) release_task(*t);
}

// ---- what the scheduler asks ----

bool Kernel::State::poll_host() {
  if (ending || !host) return true;
  return !host_asked && host->poll_host();
}

bool Kernel::State::wait_for_host() { return !ending && host && host->wait_for_input(); }
bool Kernel::State::wait_for_host_until(Nanoseconds until) { return !ending && host && host->wait_for_input_until(until); }

// ---- waiting ----

Status Kernel::wait(WaitQueue& queue, Interruptible interruptible, std::optional<Nanoseconds> deadline) {
  WaitQueue* one = &queue;
  return state_->scheduler.sleep(std::span{&one, 1}, interruptible == Interruptible::Yes ? Sleep::Interruptible : Sleep::Uninterruptible,
                                 deadline);
}

Status Kernel::wait_any(std::span<WaitQueue* const> queues, std::optional<Nanoseconds> deadline) {
  return state_->scheduler.sleep(queues, Sleep::Interruptible, deadline);
}

bool Kernel::may_wait() const {
  return state_->scheduler.on_task() && !state_->scheduler.in_event() && !state_->resolving && !state_->untimed;
}
void Kernel::yield() { state_->scheduler.yield(); }

mm::TaskReclaim* Kernel::current_reclaim() {
  Task* t = state_->scheduler.current();
  return t && !state_->scheduler.in_event() ? &t->reclaim : nullptr;
}

bool Kernel::current_is_dying() const {
  const Task* t = state_->scheduler.current();
  return t && (t->exiting || state_->fatal_signal_pending(*t));
}

void Kernel::set_stalled(bool on) { state_->scheduler.set_stalled(on); }

void Kernel::checkpoint(Nanoseconds work, bool may_sleep) {
  State& s = *state_;
  if (s.untimed || s.resolving || s.scheduler.in_event()) return;
  s.clock.advance(work);
  if (!s.scheduler.on_task()) return;
  s.scheduler.run_due_events();
  if (may_sleep && s.scheduler.preemption_pending()) s.scheduler.preempt_if_needed();
}

bool Kernel::should_yield() const { return state_->scheduler.preemption_pending(); }

bool Kernel::kernel_thread_should_stop() const { return state_->ending; }

Nanoseconds Kernel::now() const { return state_->clock.now(); }
Nanoseconds Kernel::realtime() const { return seconds(state_->config.boot_time) + state_->clock.now(); }

Nanoseconds Kernel::cpu_time(const Task& t) const {
  if (&t == state_->scheduler.current()) state_->scheduler.account_system();
  return t.usage.user + t.usage.system;
}

Nanoseconds Kernel::cpu_time(const Process& p) const {
  if (state_->scheduler.current()) state_->scheduler.account_system();
  const ResourceUsage u = p.usage();
  return u.user + u.system;
}

// ---- who is who ----

Task& Kernel::current_task() {
  Task* t = state_->scheduler.current();
  CHECK(t, "no task is running");
  return *t;
}

fs::PathContext Kernel::path_context(Task& t) {
  fs::PathContext c;
  c.root = t.process->fs->root;
  c.cwd = t.process->fs->cwd;
  c.credentials = &t.process->credentials;
  c.umask = t.process->fs->umask;
  c.pid = t.process->pid;
  c.tid = t.tid;
  c.blocking = this;
  return c;
}

fs::OpenContext Kernel::open_context(Task& t) { return {&t.process->credentials, this, t.process->pid}; }

std::string Kernel::symbolize(Task& t, VirtAddr a) {
  mm::AddressSpace* space = t.space();
  return space ? symbolize(*space, a) : "-";
}

std::string Kernel::symbolize(mm::AddressSpace& space, VirtAddr a) {
  const bool before = std::exchange(state_->untimed, true);
  std::string name = state_->symbols.name(space, a);
  state_->untimed = before;
  return name;
}

void Kernel::start_profile() {
  state_->profiler = std::make_unique<Profiler>(*state_);
  state_->cpu.set_attribution(true);
  state_->vm.mmu().set_observer(state_->profiler.get());
}

std::optional<ProfileReport> Kernel::profile_report(size_t top) const {
  if (!state_->profiler) return std::nullopt;
  return state_->profiler->report(top);
}

std::optional<VirtAddr> Kernel::find_symbol(mm::AddressSpace& space, std::string_view name) {
  const bool before = std::exchange(state_->untimed, true);
  const std::optional<VirtAddr> found = state_->symbols.find(space, name);
  state_->untimed = before;
  return found;
}

Task* Kernel::running_task() { return state_->scheduler.current(); }

Kernel::UserState Kernel::user_state(Task& t) {
  hw::Cpu& cpu = state_->cpu;
  if (state_->scheduler.holds_registers_of(t) || !t.context) return {cpu.registers(), cpu.fpu_state()};
  const std::unique_ptr<hw::CpuContext> now = cpu.make_context();
  cpu.save(*now);
  cpu.restore(*t.context);
  UserState state{cpu.registers(), cpu.fpu_state()};
  cpu.restore(*now);
  return state;
}

void Kernel::log(std::string line) { state_->log.append(state_->clock.now(), line); }

hw::Cpu& Kernel::cpu() { return state_->cpu; }
hw::Clock& Kernel::clock() { return state_->clock; }
const hw::TimingModel& Kernel::timing() const { return state_->timing; }
mm::VirtualMemory& Kernel::vm() { return state_->vm; }
fs::Vfs& Kernel::vfs() { return state_->vfs; }
Tracer& Kernel::tracer() { return state_->tracer; }
Rng& Kernel::rng() { return state_->rng; }

void Kernel::verify(mm::Verify level) const {
  if (level == mm::Verify::Off) return;
  const State& s = *state_;
  s.scheduler.verify();
  for (const auto& [pid, p] : s.processes) {
    CHECK(p->pid.value() == pid, "process {} is filed under {}", p->pid.value(), pid);
    CHECK(!p->threads.empty(), "process {} has no thread", pid);
    if (p->parent) CHECK(std::ranges::count(p->parent->children, p.get()) == 1, "process {} is not among its parent's children", pid);
    for (const Task* t : p->threads) CHECK(t->process == p.get(), "thread {} is in two processes", t->tid.value());
  }
  for (const auto& [tid, t] : s.tasks) {
    CHECK(t->tid.value() == tid, "task {} is filed under {}", t->tid.value(), tid);
    CHECK(std::ranges::count(t->process->threads, t.get()) == 1, "task {} is not among its process's threads", tid);
  }
}

}  // namespace vitro::kernel
