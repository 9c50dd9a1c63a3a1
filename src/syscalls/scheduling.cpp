// Scheduling: CPUs, priorities, policies. Every task runs under SCHED_OTHER; the real-time policies are refused.
#include <algorithm>

#include "syscalls/arguments.h"
#include "syscalls/handlers.h"

namespace vitro::syscalls {
namespace {

constexpr int kOther = 0, kFifo = 1, kRoundRobin = 2, kBatch = 3, kIdle = 5, kDeadline = 6;

Result<kernel::Task*> task_or_self(Context& c, int pid) {
  if (pid < 0) return fail(Errno::Invalid);
  kernel::Task* t = pid == 0 ? &c.task : c.kernel.find_task(Pid{pid});
  if (!t) return fail(Errno::NoProcess);
  return t;
}

bool may_schedule(Context& c, const kernel::Task& t) {
  const uint32_t me = c.task.process->credentials.euid;
  return me == 0 || me == t.process->credentials.euid || me == t.process->credentials.uid;
}

uint64_t all_cpus(Context& c) {
  const unsigned n = c.kernel.system().cpus;
  return n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1;
}

Status check_policy(Context& c, const kernel::Task& t, int policy, int priority) {
  if (policy < 0 || (policy > kBatch && policy != kIdle && policy != kDeadline)) return fail(Errno::Invalid);
  const bool real_time = policy == kFifo || policy == kRoundRobin;
  if (policy == kDeadline || (real_time && (priority < 1 || priority > 99)) || (!real_time && priority != 0)) return fail(Errno::Invalid);
  if (!may_schedule(c, t)) return fail(Errno::NotPermitted);
  // As for one who has no right to them (RLIMIT_RTPRIO 0); batch and idle would have to weigh less than they do here.
  if (policy != kOther) return fail(Errno::NotPermitted);
  return {};
}

}  // namespace

Result<long> sys_sched_yield(Context& c) {
  c.kernel.yield();
  return 0;
}

Result<long> sys_sched_getaffinity(Context& c) {
  const uint64_t length = unsigned_argument(c, 1);
  if (length * 8 < c.kernel.system().cpus || length % 8 != 0) return fail(Errno::Invalid);
  TRY(task_or_self(c, int_argument(c, 0)).map_error([](Errno) { return Errno::NoProcess; }));
  const uint64_t mask = all_cpus(c);
  TRY(c.user.put(address_argument(c, 2), mask));
  return sizeof mask;
}

Result<long> sys_sched_setaffinity(Context& c) {
  uint64_t mask = 0;
  const size_t length = std::min<uint64_t>(unsigned_argument(c, 1), sizeof mask);
  TRY(c.user.copy_in(address_argument(c, 2), std::as_writable_bytes(std::span{&mask, 1}).first(length)));
  kernel::Task* t = TRY(task_or_self(c, int_argument(c, 0)).map_error([](Errno) { return Errno::NoProcess; }));
  if (!may_schedule(c, *t)) return fail(Errno::NotPermitted);
  const uint64_t all = all_cpus(c);
  if ((mask & all) == 0) return fail(Errno::Invalid);
  // A task may run on every CPU or none can be kept from it: only a mask that allows all of them changes nothing.
  if ((mask & all) != all) return fail(Errno::NotPermitted);
  return 0;
}

Result<long> sys_sched_getparam(Context& c) {
  if (c[1] == 0) return fail(Errno::Invalid);
  TRY(task_or_self(c, int_argument(c, 0)));
  return done(c.user.put(address_argument(c, 1), UserSchedParam{0}));
}

Result<long> sys_sched_setparam(Context& c) {
  if (c[1] == 0) return fail(Errno::Invalid);
  const auto p = TRY(c.user.get<UserSchedParam>(address_argument(c, 1)));
  kernel::Task* t = TRY(task_or_self(c, int_argument(c, 0)));
  return done(check_policy(c, *t, kOther, p.priority));
}

Result<long> sys_sched_getscheduler(Context& c) {
  TRY(task_or_self(c, int_argument(c, 0)));
  return kOther;
}

Result<long> sys_sched_setscheduler(Context& c) {
  constexpr int kResetOnFork = 0x40000000;
  if (c[2] == 0 || int_argument(c, 1) < 0) return fail(Errno::Invalid);
  const auto p = TRY(c.user.get<UserSchedParam>(address_argument(c, 2)));
  kernel::Task* t = TRY(task_or_self(c, int_argument(c, 0)));
  return done(check_policy(c, *t, int_argument(c, 1) & ~kResetOnFork, p.priority));
}

Result<long> sys_sched_getattr(Context& c) {
  struct Attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
  };
  static_assert(sizeof(Attributes) == 48);
  const unsigned size = unsigned_argument(c, 2);
  if (c[1] == 0 || size < sizeof(Attributes) || size > kPageSize || c[3] != 0) return fail(Errno::Invalid);
  kernel::Task* t = TRY(task_or_self(c, int_argument(c, 0)));
  Attributes a{};
  a.size = sizeof a;
  a.nice = t->nice;
  return done(c.user.put(address_argument(c, 1), a));
}

Result<long> sys_sched_get_priority_max(Context& c) {
  switch (int_argument(c, 0)) {
    case kFifo:
    case kRoundRobin: return 99;
    case kOther:
    case kBatch:
    case kIdle:
    case kDeadline: return 0;
    default: return fail(Errno::Invalid);
  }
}

Result<long> sys_sched_get_priority_min(Context& c) { return TRY(sys_sched_get_priority_max(c)) ? 1 : 0; }

Result<long> sys_sched_rr_get_interval(Context& c) {
  TRY(task_or_self(c, int_argument(c, 0)));
  return done(c.user.put(address_argument(c, 1), timespec_of(c.kernel.timing().time_slice)));
}

namespace {

constexpr int kWhichProcess = 0, kWhichGroup = 1, kWhichUser = 2;

// The tasks that getpriority and setpriority are about.
Result<std::vector<kernel::Task*>> priority_targets(Context& c) {
  const int which = int_argument(c, 0), who = int_argument(c, 1);
  std::vector<kernel::Task*> tasks;
  if (which == kWhichProcess) {
    if (kernel::Task* t = who == 0 ? &c.task : c.kernel.find_task(Pid{who})) tasks.push_back(t);
  } else if (which == kWhichGroup) {
    for (kernel::Process* p : c.kernel.group(who == 0 ? c.task.process->group : Pid{who})) tasks.insert(tasks.end(), p->threads.begin(), p->threads.end());
  } else if (which == kWhichUser) {
    const uint32_t uid = who == 0 ? c.task.process->credentials.uid : static_cast<uint32_t>(who);
    for (kernel::Process* p : c.kernel.all_processes())
      if (p->credentials.uid == uid) tasks.insert(tasks.end(), p->threads.begin(), p->threads.end());
  } else {
    return fail(Errno::Invalid);
  }
  if (tasks.empty()) return fail(Errno::NoProcess);
  return tasks;
}

}  // namespace

// 20 - nice, so that the result is never negative.
Result<long> sys_getpriority(Context& c) {
  long best = 0;
  for (const kernel::Task* t : TRY(priority_targets(c))) best = std::max<long>(best, 20 - t->nice);
  return best;
}

Result<long> sys_setpriority(Context& c) {
  const int nice = std::clamp(int_argument(c, 2), -20, 19);
  for (kernel::Task* t : TRY(priority_targets(c))) {
    if (!may_schedule(c, *t)) return fail(Errno::NotPermitted);
    // Down is free, up needs the right (RLIMIT_NICE: 20 - nice).
    if (nice < t->nice && !privileged(c) && static_cast<uint64_t>(20 - nice) > t->process->limits[kernel::kLimitNice].soft) return fail(Errno::Access);
    t->nice = nice;
  }
  return 0;
}

Result<long> sys_getcpu(Context& c) {
  const uint32_t cpu = c.kernel.view(c.task.tid).value_or(fs::ProcessView{}).cpu, node = 0;
  if (c[0] != 0) TRY(c.user.put(address_argument(c, 0), cpu));
  if (c[1] != 0) TRY(c.user.put(address_argument(c, 1), node));
  return 0;
}

namespace {

constexpr int kClassShift = 13, kClassNone = 0, kClassRealtime = 1, kClassBestEffort = 2, kClassIdle = 3, kLevels = 8;
constexpr int kWhoProcess = 1, kWhoGroup = 2, kWhoUser = 3;

// The tasks that `which` and `who` name, in order. NoProcess.
Result<std::vector<kernel::Task*>> io_tasks(Context& c) {
  const int which = int_argument(c, 0), who = int_argument(c, 1);
  std::vector<kernel::Task*> tasks;
  if (which == kWhoProcess) {
    if (kernel::Task* t = who == 0 ? &c.task : c.kernel.find_task(Pid{who})) tasks.push_back(t);
  } else if (which == kWhoGroup || which == kWhoUser) {
    const kernel::Process& self = *c.task.process;
    for (kernel::Process* p : c.kernel.all_processes())
      if (which == kWhoGroup ? p->group == (who == 0 ? self.group : Pid{who}) : p->credentials.uid == (who == 0 ? self.credentials.uid : static_cast<uint32_t>(who)))
        tasks.insert(tasks.end(), p->threads.begin(), p->threads.end());
  } else {
    return fail(Errno::Invalid);
  }
  if (tasks.empty()) return fail(Errno::NoProcess);
  return tasks;
}

}  // namespace

// Kept with the task, as Linux does whatever the disk's I/O scheduler makes of it; "none" makes nothing of it (block/ioprio.c).
Result<long> sys_ioprio_get(Context& c) {
  int best = -1;
  const auto rank = [](int priority) { return priority >> kClassShift == kClassNone ? kClassBestEffort << kClassShift | kLevels / 2 : priority; };
  for (const kernel::Task* t : TRY(io_tasks(c)))
    if (best < 0 || rank(t->io_priority) < rank(best)) best = t->io_priority;
  return best;
}

Result<long> sys_ioprio_set(Context& c) {
  const int priority = int_argument(c, 2), io_class = priority >> kClassShift, level = priority & ((1 << kClassShift) - 1);
  switch (io_class) {
    case kClassRealtime:
      if (!privileged(c)) return fail(Errno::NotPermitted);
      [[fallthrough]];
    case kClassBestEffort:
      if (level >= kLevels) return fail(Errno::Invalid);
      break;
    case kClassIdle: break;
    case kClassNone:
      if (level != 0) return fail(Errno::Invalid);
      break;
    default: return fail(Errno::Invalid);
  }
  for (kernel::Task* t : TRY(io_tasks(c))) t->io_priority = priority;
  return 0;
}

}  // namespace vitro::syscalls
