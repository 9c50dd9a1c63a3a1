// Who a process is: numbers, groups, sessions, users, capabilities.
#include <algorithm>

#include "syscalls/arguments.h"
#include "syscalls/handlers.h"

namespace vitro::syscalls {
namespace {

constexpr uint32_t kUnchanged = ~0u;
fs::Credentials& credentials(Context& c) { return c.task.process->credentials; }

Result<kernel::Process*> process_or_self(Context& c, int pid) {
  if (pid < 0) return fail(Errno::NoProcess);
  kernel::Process* p = pid == 0 ? c.task.process : c.kernel.find_process(Pid{pid});
  if (!p) return fail(Errno::NoProcess);
  return p;
}

// The real, effective, saved and file-system number of a user or a group.
struct Ids {
  uint32_t &real, &effective, &saved, &fs;
};
Ids user_ids(fs::Credentials& w) { return {w.uid, w.euid, w.suid, w.fsuid}; }
Ids group_ids(fs::Credentials& w) { return {w.gid, w.egid, w.sgid, w.fsgid}; }

// kernel/sys.c: __sys_setuid, __sys_setgid
Result<long> set_id(bool root, Ids i, uint32_t id) {
  if (id == kUnchanged) return fail(Errno::Invalid);
  if (root) i.real = i.saved = id;
  else if (id != i.real && id != i.saved) return fail(Errno::NotPermitted);
  i.effective = i.fs = id;
  return 0;
}

Result<long> set_two_ids(bool root, Ids i, uint32_t real, uint32_t effective) {
  if (real != kUnchanged && !root && real != i.real && real != i.effective) return fail(Errno::NotPermitted);
  if (effective != kUnchanged && !root && effective != i.real && effective != i.effective && effective != i.saved) return fail(Errno::NotPermitted);
  const uint32_t old_real = i.real;
  if (real != kUnchanged) i.real = real;
  if (effective != kUnchanged) i.effective = effective;
  if (real != kUnchanged || (effective != kUnchanged && effective != old_real)) i.saved = i.effective;
  i.fs = i.effective;
  return 0;
}

Result<long> set_three_ids(bool root, Ids i, uint32_t real, uint32_t effective, uint32_t saved) {
  const auto allowed = [&](uint32_t id) { return id == kUnchanged || root || id == i.real || id == i.effective || id == i.saved; };
  if (!allowed(real) || !allowed(effective) || !allowed(saved)) return fail(Errno::NotPermitted);
  if (real != kUnchanged) i.real = real;
  if (effective != kUnchanged) i.effective = effective;
  if (saved != kUnchanged) i.saved = saved;
  i.fs = i.effective;
  return 0;
}

Result<long> set_fs_id(bool root, Ids i, uint32_t id) {
  const uint32_t old = i.fs;
  if (id != kUnchanged && (root || id == i.real || id == i.effective || id == i.saved || id == i.fs)) i.fs = id;
  return old;
}

Result<long> put_three(Context& c, Ids i) {
  TRY(c.user.put(address_argument(c, 0), i.real));
  TRY(c.user.put(address_argument(c, 1), i.effective));
  return done(c.user.put(address_argument(c, 2), i.saved));
}

}  // namespace

Result<long> sys_getpid(Context& c) { return c.task.process->pid.value(); }
Result<long> sys_gettid(Context& c) { return c.task.tid.value(); }
Result<long> sys_getppid(Context& c) { return c.task.process->parent ? c.task.process->parent->pid.value() : 0; }
Result<long> sys_getpgrp(Context& c) { return c.task.process->group.value(); }
Result<long> sys_getpgid(Context& c) { return TRY(process_or_self(c, int_argument(c, 0)))->group.value(); }
Result<long> sys_getsid(Context& c) { return TRY(process_or_self(c, int_argument(c, 0)))->session.value(); }

// kernel/sys.c: setpgid
Result<long> sys_setpgid(Context& c) {
  kernel::Process& self = *c.task.process;
  const Pid pid = int_argument(c, 0) == 0 ? self.pid : Pid{int_argument(c, 0)};
  const Pid group = int_argument(c, 1) == 0 ? pid : Pid{int_argument(c, 1)};
  if (group < Pid{0}) return fail(Errno::Invalid);
  kernel::Process* p = c.kernel.find_process(pid);
  if (!p) return fail(Errno::NoProcess);
  if (p->parent == &self) {
    if (p->session != self.session) return fail(Errno::NotPermitted);
    if (p->has_executed) return fail(Errno::Access);
  } else if (p != &self) {
    return fail(Errno::NoProcess);
  }
  if (p->session == p->pid) return fail(Errno::NotPermitted);
  if (group != pid) {
    const auto members = c.kernel.group(group);
    if (std::none_of(members.begin(), members.end(), [&](const kernel::Process* m) { return m->session == self.session; })) return fail(Errno::NotPermitted);
  }
  p->group = group;
  return 0;
}

Result<long> sys_setsid(Context& c) {
  kernel::Process& self = *c.task.process;
  if (self.session == self.pid || !c.kernel.group(self.pid).empty()) return fail(Errno::NotPermitted);
  self.session = self.group = self.pid;
  self.terminal = nullptr;
  return self.pid.value();
}

Result<long> sys_getuid(Context& c) { return credentials(c).uid; }
Result<long> sys_geteuid(Context& c) { return credentials(c).euid; }
Result<long> sys_getgid(Context& c) { return credentials(c).gid; }
Result<long> sys_getegid(Context& c) { return credentials(c).egid; }
Result<long> sys_getresuid(Context& c) { return put_three(c, user_ids(credentials(c))); }
Result<long> sys_getresgid(Context& c) { return put_three(c, group_ids(credentials(c))); }

Result<long> sys_setuid(Context& c) { return set_id(privileged(c), user_ids(credentials(c)), unsigned_argument(c, 0)); }
Result<long> sys_setgid(Context& c) { return set_id(privileged(c), group_ids(credentials(c)), unsigned_argument(c, 0)); }
Result<long> sys_setreuid(Context& c) { return set_two_ids(privileged(c), user_ids(credentials(c)), unsigned_argument(c, 0), unsigned_argument(c, 1)); }
Result<long> sys_setregid(Context& c) { return set_two_ids(privileged(c), group_ids(credentials(c)), unsigned_argument(c, 0), unsigned_argument(c, 1)); }
Result<long> sys_setresuid(Context& c) {
  return set_three_ids(privileged(c), user_ids(credentials(c)), unsigned_argument(c, 0), unsigned_argument(c, 1), unsigned_argument(c, 2));
}
Result<long> sys_setresgid(Context& c) {
  return set_three_ids(privileged(c), group_ids(credentials(c)), unsigned_argument(c, 0), unsigned_argument(c, 1), unsigned_argument(c, 2));
}
Result<long> sys_setfsuid(Context& c) { return set_fs_id(privileged(c), user_ids(credentials(c)), unsigned_argument(c, 0)); }
Result<long> sys_setfsgid(Context& c) { return set_fs_id(privileged(c), group_ids(credentials(c)), unsigned_argument(c, 0)); }

Result<long> sys_getgroups(Context& c) {
  const int size = int_argument(c, 0);
  const auto& groups = credentials(c).groups;
  if (size < 0) return fail(Errno::Invalid);
  if (size != 0) {
    if (groups.size() > static_cast<size_t>(size)) return fail(Errno::Invalid);
    TRY(c.user.copy_out(address_argument(c, 1), std::as_bytes(std::span{groups})));
  }
  return static_cast<long>(groups.size());
}

Result<long> sys_setgroups(Context& c) {
  constexpr unsigned kMost = 65536;  // NGROUPS_MAX
  if (!privileged(c)) return fail(Errno::NotPermitted);
  const unsigned n = unsigned_argument(c, 0);
  if (n > kMost) return fail(Errno::Invalid);
  std::vector<uint32_t> groups(n);
  if (n) TRY(c.user.copy_in(address_argument(c, 1), std::as_writable_bytes(std::span{groups})));
  std::sort(groups.begin(), groups.end());
  credentials(c).groups = std::move(groups);
  return 0;
}

namespace {

constexpr uint32_t kCapabilityVersion1 = 0x19980330, kCapabilityVersion2 = 0x20071026, kCapabilityVersion3 = 0x20080522;
constexpr uint64_t kAllCapabilities = (uint64_t{1} << 41) - 1;

// How many 32-bit words of each set the header's version has. Invalid, with the version we know written back, for another.
Result<unsigned> capability_words(Context& c, const UserCapabilityHeader& h) {
  if (h.version == kCapabilityVersion1) return 1u;
  if (h.version == kCapabilityVersion2 || h.version == kCapabilityVersion3) return 2u;
  TRY(c.user.put(address_argument(c, 0), kCapabilityVersion3));
  return fail(Errno::Invalid);
}

// Root has every capability, all others none: sets of their own are not kept.
uint64_t capabilities_of(const kernel::Process& p) { return p.credentials.euid == 0 ? kAllCapabilities : 0; }

}  // namespace

Result<long> sys_capget(Context& c) {
  const auto header = TRY(c.user.get<UserCapabilityHeader>(address_argument(c, 0)));
  const auto words = capability_words(c, header);
  if (!words) return c[1] == 0 && words.error() == Errno::Invalid ? Result<long>{0} : fail(words.error());
  if (header.pid < 0) return fail(Errno::Invalid);
  kernel::Process* p = c.task.process;
  if (header.pid != 0) {
    kernel::Task* t = c.kernel.find_task(Pid{header.pid});
    if (!t) return fail(Errno::NoProcess);
    p = t->process;
  }
  if (c[1] == 0) return 0;
  const uint64_t all = capabilities_of(*p);
  std::array<UserCapabilityData, 2> data{};
  for (unsigned i = 0; i < 2; ++i) data[i].effective = data[i].permitted = static_cast<uint32_t>(all >> (32 * i));
  return done(c.user.copy_out(address_argument(c, 1), std::as_bytes(std::span{data}.first(*words))));
}

Result<long> sys_capset(Context& c) {
  const auto header = TRY(c.user.get<UserCapabilityHeader>(address_argument(c, 0)));
  const unsigned words = TRY(capability_words(c, header));
  if (header.pid != 0 && header.pid != c.task.process->pid.value()) return fail(Errno::NotPermitted);
  std::array<UserCapabilityData, 2> data{};
  TRY(c.user.copy_in(address_argument(c, 1), std::as_writable_bytes(std::span{data}.first(words))));
  uint64_t effective = 0, permitted = 0;
  for (unsigned i = 0; i < words; ++i) {
    effective |= static_cast<uint64_t>(data[i].effective) << (32 * i);
    permitted |= static_cast<uint64_t>(data[i].permitted) << (32 * i);
  }
  // Only what changes nothing can be granted, as capabilities follow the user.
  const uint64_t all = capabilities_of(*c.task.process);
  if ((effective & kAllCapabilities) == all && (permitted & kAllCapabilities) == all) return 0;
  return fail(Errno::NotPermitted);
}

}  // namespace vitro::syscalls
