// Resource limits and what was used.
#include <algorithm>

#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "vitro/mm/address_space.h"

namespace vitro::syscalls {
namespace {

// mm looks at its own copy of the limits that concern it.
void update_memory_limits(kernel::Process& p) {
  if (!p.space) return;
  p.space->limits.stack = p.limits[kernel::kLimitStack].soft;
  p.space->limits.data = p.limits[kernel::kLimitData].soft;
  p.space->limits.address_space = p.limits[kernel::kLimitAs].soft;
  p.space->limits.locked = p.limits[kernel::kLimitMemlock].soft;
}

// kernel/sys.c: do_prlimit
Status set_limit(Context& c, kernel::Process& p, unsigned which, const UserRlimit& to) {
  constexpr uint64_t kMostFiles = 1048576;  // fs.nr_open
  if (to.soft > to.hard) return fail(Errno::Invalid);
  if (which == kernel::kLimitNofile && to.hard > kMostFiles) return fail(Errno::NotPermitted);
  kernel::ResourceLimit& limit = p.limits[which];
  if (to.hard > limit.hard && !privileged(c)) return fail(Errno::NotPermitted);
  limit = {to.soft, to.hard};
  update_memory_limits(p);
  return {};
}

}  // namespace

Result<long> sys_getrlimit(Context& c) {
  const unsigned which = unsigned_argument(c, 0);
  if (which >= kernel::kLimitCount) return fail(Errno::Invalid);
  const kernel::ResourceLimit& l = c.task.process->limits[which];
  return done(c.user.put(address_argument(c, 1), UserRlimit{l.soft, l.hard}));
}

Result<long> sys_setrlimit(Context& c) {
  const auto to = TRY(c.user.get<UserRlimit>(address_argument(c, 1)));
  if (unsigned_argument(c, 0) >= kernel::kLimitCount) return fail(Errno::Invalid);
  return done(set_limit(c, *c.task.process, unsigned_argument(c, 0), to));
}

Result<long> sys_prlimit64(Context& c) {
  const int pid = int_argument(c, 0);
  const unsigned which = unsigned_argument(c, 1);
  UserRlimit to{};
  if (c[2] != 0) to = TRY(c.user.get<UserRlimit>(address_argument(c, 2)));
  kernel::Process* p = c.task.process;
  if (pid != 0) {
    kernel::Task* t = c.kernel.find_task(Pid{pid});
    if (!t) return fail(Errno::NoProcess);
    p = t->process;
    const fs::Credentials &me = c.task.process->credentials, &other = p->credentials;
    const bool same = me.uid == other.euid && me.uid == other.suid && me.uid == other.uid && me.gid == other.egid && me.gid == other.sgid && me.gid == other.gid;
    if (!same && !privileged(c)) return fail(Errno::NotPermitted);
  }
  if (which >= kernel::kLimitCount) return fail(Errno::Invalid);
  const UserRlimit old{p->limits[which].soft, p->limits[which].hard};
  if (c[2] != 0) TRY(set_limit(c, *p, which, to));
  if (c[3] != 0) TRY(c.user.put(address_argument(c, 3), old));
  return 0;
}

Result<long> sys_getrusage(Context& c) {
  constexpr int kSelf = 0, kChildren = -1, kThread = 1;
  kernel::Process& p = *c.task.process;
  kernel::ResourceUsage usage;
  switch (int_argument(c, 0)) {
    case kSelf: usage = p.usage(); break;
    case kChildren: usage = p.children_usage; break;
    case kThread: usage = c.task.usage; break;
    default: return fail(Errno::Invalid);
  }
  if (int_argument(c, 0) != kChildren && c.task.space()) {
    const auto& pages = c.task.space()->usage();
    const uint64_t now = pages.rss_anon + pages.rss_file + pages.rss_shmem;
    usage.max_rss_kb = std::max(usage.max_rss_kb, std::max(pages.hiwater_rss, now) * (kPageSize / 1024));
  }
  return done(c.user.put(address_argument(c, 1), rusage_of(usage)));
}

}  // namespace vitro::syscalls
