// Life and death of tasks, and what a task sets for itself.
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "syscalls/pidfd.h"

namespace vitro::syscalls {
namespace {

constexpr uint64_t kCloneVm = 0x100, kCloneFs = 0x200, kCloneFiles = 0x400, kCloneSighand = 0x800, kClonePidfd = 0x1000, kCloneVfork = 0x4000, kCloneParent = 0x8000,
                   kCloneThread = 0x10000, kCloneNewNs = 0x20000, kCloneNewCgroup = 0x02000000, kCloneNewUts = 0x04000000, kCloneNewIpc = 0x08000000,
                   kCloneNewUser = 0x10000000, kCloneNewPid = 0x20000000, kCloneNewNet = 0x40000000, kCloneIo = 0x80000000, kCloneNewTime = 0x80,
                   kCloneIntoCgroup = 0x200000000, kCloneClearSighand = 0x100000000, kClonePtrace = 0x2000, kCloneParentSetTid = 0x100000;
constexpr uint64_t kNamespaces = kCloneNewNs | kCloneNewCgroup | kCloneNewUts | kCloneNewIpc | kCloneNewUser | kCloneNewPid | kCloneNewNet;

// kernel/fork.c: copy_process's checks of the flags. Namespaces do not exist here, as in a kernel built without them.
Result<long> clone_checked(Context& c, kernel::Kernel::CloneArguments a) {
  constexpr uint64_t kCloneDetached = 0x400000;
  if ((a.flags & kNamespaces) || (a.flags & kClonePtrace)) return fail(Errno::Invalid);
  if ((a.flags & kCloneThread) && !(a.flags & kCloneSighand)) return fail(Errno::Invalid);
  if ((a.flags & kCloneSighand) && !(a.flags & kCloneVm)) return fail(Errno::Invalid);
  if (!(a.flags & kClonePidfd)) return static_cast<long>(TRY(c.kernel.clone(c.task, a)).value());
  if (a.flags & (kCloneDetached | kCloneThread)) return fail(Errno::Invalid);
  a.flags &= ~kClonePidfd;
  // The descriptor comes first: a child must not be left without it.
  const auto reference = std::make_shared<kernel::PidReference>();
  const auto fd = TRY(install(c, TRY(make_pidfd(c, reference, 0)), true));
  if (const Status put = c.user.put(VirtAddr{a.pidfd}, static_cast<int32_t>(fd)); !put) {
    (void)descriptors(c).close(static_cast<int>(fd));
    return fail(put.error());
  }
  a.pid_reference = reference;
  const auto pid = c.kernel.clone(c.task, a);
  if (!pid) (void)descriptors(c).close(static_cast<int>(fd));
  return static_cast<long>(TRY(pid).value());
}

}  // namespace

Result<long> sys_clone(Context& c) {
  kernel::Kernel::CloneArguments a;
  a.flags = c[0] & 0xffffff00;
  a.exit_signal = c[0] & 0xff;
  a.stack = c[1];
  a.parent_tid = a.pidfd = c[2];
  if ((a.flags & kClonePidfd) && (a.flags & kCloneParentSetTid)) return fail(Errno::Invalid);  // one argument for both
  a.child_tid = c[3];
  a.tls = c[4];
  return clone_checked(c, a);
}

Result<long> sys_clone3(Context& c) {
  constexpr uint64_t kFirstVersion = 64;
  const uint64_t size = c[1];
  if (size > kPageSize) return fail(Errno::TooBig);
  if (size < kFirstVersion) return fail(Errno::Invalid);
  UserCloneArguments u{};
  TRY(c.user.copy_in(address_argument(c, 0), std::as_writable_bytes(std::span{&u, 1}).first(std::min<size_t>(size, sizeof u))));
  // Fields of a later version must be zero (copy_struct_from_user).
  for (uint64_t at = sizeof u; at < size; ++at)
    if (TRY(c.user.get<uint8_t>(VirtAddr{c[0] + at})) != 0) return fail(Errno::TooBig);
  if (u.set_tid_size != 0 || u.set_tid != 0 || (u.flags & kCloneIntoCgroup)) return fail(Errno::Invalid);
  if ((u.flags & 0xff & ~kCloneNewTime) || (u.flags & kCloneNewTime) || (u.exit_signal & ~uint64_t{0xff}) || u.exit_signal > kernel::kSigCount) return fail(Errno::Invalid);
  if (u.flags & ~(0xffffffffull | kCloneClearSighand)) return fail(Errno::Invalid);
  if ((u.flags & (kCloneThread | kCloneParent)) && u.exit_signal) return fail(Errno::Invalid);
  if ((u.flags & kCloneClearSighand) && (u.flags & kCloneSighand)) return fail(Errno::Invalid);
  if ((u.stack == 0) != (u.stack_size == 0)) return fail(Errno::Invalid);
  if (u.stack != 0 && !in_user_range(u.stack, u.stack_size)) return fail(Errno::Invalid);
  kernel::Kernel::CloneArguments a;
  a.flags = u.flags;
  a.exit_signal = u.exit_signal;
  a.stack = u.stack + u.stack_size;
  a.parent_tid = u.parent_tid;
  a.pidfd = u.pidfd;
  a.child_tid = u.child_tid;
  a.tls = u.tls;
  return clone_checked(c, a);
}

Result<long> sys_fork(Context& c) { return clone_checked(c, {.exit_signal = kernel::kSigChld}); }
Result<long> sys_vfork(Context& c) { return clone_checked(c, {.flags = kCloneVfork | kCloneVm, .exit_signal = kernel::kSigChld}); }

Result<long> sys_exit(Context& c) {
  c.kernel.exit_thread(c.task, int_argument(c, 0) & 0xff);
  return 0;
}

Result<long> sys_exit_group(Context& c) {
  c.kernel.exit_group(c.task, (int_argument(c, 0) & 0xff) << 8);
  return 0;
}

namespace {

constexpr unsigned kNoHang = 1, kStopped = 2, kExited = 4, kContinued = 8, kNoWait = 0x01000000, kNoThread = 0x20000000, kAll = 0x40000000, kClone = 0x80000000;
constexpr int kIdAll = 0, kIdPid = 1, kIdGroup = 2, kIdPidfd = 3;

}  // namespace

Result<long> sys_wait4(Context& c) {
  const int pid = int_argument(c, 0);
  const unsigned options = unsigned_argument(c, 2);
  if (options & ~(kNoHang | kStopped | kContinued | kNoThread | kAll | kClone)) return fail(Errno::Invalid);
  if (pid == INT32_MIN) return fail(Errno::NoProcess);
  int which = kIdAll;
  Pid id{0};
  if (pid > 0) which = kIdPid, id = Pid{pid};
  else if (pid == 0) which = kIdGroup, id = c.task.process->group;
  else if (pid < -1) which = kIdGroup, id = Pid{-pid};
  const auto result = TRY(c.kernel.wait_for_child(c.task, which, id, (options & (kNoHang | kStopped | kContinued)) | kExited));
  if (!result) return 0;
  if (c[1] != 0) TRY(c.user.put(address_argument(c, 1), static_cast<int32_t>(result->status)));
  if (c[3] != 0) TRY(c.user.put(address_argument(c, 3), rusage_of(result->usage)));
  return result->pid.value();
}

Result<long> sys_waitid(Context& c) {
  int which = int_argument(c, 0);
  unsigned options = unsigned_argument(c, 3);
  bool non_blocking = false;
  if (options & ~(kNoHang | kStopped | kExited | kContinued | kNoWait | kNoThread | kAll | kClone)) return fail(Errno::Invalid);
  if (!(options & (kStopped | kExited | kContinued))) return fail(Errno::Invalid);
  Pid id{int_argument(c, 1)};
  switch (which) {
    case kIdAll: break;
    case kIdPid:
      if (id <= Pid{0}) return fail(Errno::Invalid);
      break;
    case kIdGroup:
      if (id < Pid{0}) return fail(Errno::Invalid);
      if (id == Pid{0}) id = c.task.process->group;
      break;
    case kIdPidfd: {
      const auto file = std::dynamic_pointer_cast<PidFile>(TRY(descriptors(c).get(id.value())));
      if (!file) return fail(Errno::BadFile);
      if (file->reference().gone) return fail(Errno::NoChild);
      which = kIdPid;
      id = file->reference().pid;
      non_blocking = file->non_blocking() && !(options & kNoHang);
      if (non_blocking) options |= kNoHang;
      break;
    }
    default: return fail(Errno::Invalid);
  }
  const auto result = TRY(c.kernel.wait_for_child(c.task, which, id, options & (kNoHang | kStopped | kExited | kContinued | kNoWait)));
  if (!result && non_blocking) return fail(Errno::Again);
  if (result && c[4] != 0) TRY(c.user.put(address_argument(c, 4), rusage_of(result->usage)));
  if (c[2] != 0) {
    UserSiginfo info{};
    if (result) {
      constexpr int kCldExited = 1, kCldStopped = 5, kCldContinued = 6;
      info.signal = kernel::kSigChld;
      info.code = result->code;
      info.child.pid = result->pid.value();
      info.child.uid = result->uid;
      if (result->code == kCldExited || result->code == kCldStopped) info.child.status = result->status >> 8 & 0xff;
      else if (result->code == kCldContinued) info.child.status = kernel::kSigCont;
      else info.child.status = result->status & 0x7f;
    }
    // Only these fields are written, one by one, as Linux does; the rest of the caller's siginfo stays.
    TRY(c.user.copy_out(address_argument(c, 2), std::as_bytes(std::span{&info, 1}).first(28)));
  }
  return 0;
}

Result<long> sys_set_tid_address(Context& c) {
  c.task.clear_child_tid = c[0];
  return c.task.tid.value();
}

Result<long> sys_set_robust_list(Context& c) {
  if (c[1] != 24) return fail(Errno::Invalid);
  c.task.robust_list = c[0];
  c.task.robust_list_size = c[1];
  return 0;
}

Result<long> sys_get_robust_list(Context& c) {
  const int pid = int_argument(c, 0);
  kernel::Task* task = pid == 0 ? &c.task : c.kernel.find_task(Pid{pid});
  if (!task) return fail(Errno::NoProcess);
  if (task->process != c.task.process && !privileged(c)) return fail(Errno::NotPermitted);
  TRY(c.user.put(address_argument(c, 2), uint64_t{24}));
  return done(c.user.put(address_argument(c, 1), task->robust_list));
}

Result<long> sys_arch_prctl(Context& c) {
  constexpr int kSetGs = 0x1001, kSetFs = 0x1002, kGetFs = 0x1003, kGetGs = 0x1004;
  const int code = int_argument(c, 0);
  hw::UserRegisters r = c.kernel.cpu().registers();
  switch (code) {
    case kSetGs:
    case kSetFs:
      if (!in_user_range(c[1], 1)) return fail(Errno::NotPermitted);
      (code == kSetFs ? r.fs_base : r.gs_base) = c[1];
      c.kernel.cpu().set_registers(r);
      return 0;
    case kGetFs: return done(c.user.put(address_argument(c, 1), r.fs_base));
    case kGetGs: return done(c.user.put(address_argument(c, 1), r.gs_base));
    default: return fail(Errno::Invalid);
  }
}

Result<long> sys_prctl(Context& c) {
  constexpr int kSetPdeathsig = 1, kGetPdeathsig = 2, kGetDumpable = 3, kSetDumpable = 4, kGetKeepcaps = 7, kGetTiming = 13, kSetTiming = 14, kSetName = 15, kGetName = 16,
                kGetSeccomp = 21, kCapbsetRead = 23, kGetTsc = 25, kGetSecurebits = 27, kSetTimerslack = 29, kGetTimerslack = 30, kSetChildSubreaper = 36,
                kGetChildSubreaper = 37, kGetNoNewPrivs = 39, kGetTidAddress = 40, kGetThpDisable = 42;
  const int option = int_argument(c, 0);
  kernel::Process& process = *c.task.process;
  const bool rest_zero = c[1] == 0 && c[2] == 0 && c[3] == 0 && c[4] == 0;
  switch (option) {
    case kSetPdeathsig:
      if (c[1] > kernel::kSigCount) return fail(Errno::Invalid);
      c.task.parent_death_signal = int_argument(c, 1);
      return 0;
    case kGetPdeathsig: return done(c.user.put(address_argument(c, 1), static_cast<int32_t>(c.task.parent_death_signal)));
    case kGetDumpable: return c.task.dumpable ? 1 : 0;
    case kSetDumpable:
      if (c[1] > 1) return fail(Errno::Invalid);
      c.task.dumpable = c[1] == 1;
      return 0;
    case kGetKeepcaps: return 0;
    case kGetTiming: return 0;
    case kSetTiming: return c[1] == 0 ? Result<long>{0} : fail(Errno::Invalid);
    case kSetName: {
      std::array<char, 16> name{};
      for (size_t i = 0; i + 1 < name.size(); ++i) {
        name[i] = TRY(c.user.get<char>(VirtAddr{c[1] + i}));
        if (name[i] == 0) break;
      }
      c.task.comm = name.data();
      c.kernel.tracer().set_task(c.task.tid, c.task.comm);
      return 0;
    }
    case kGetName: {
      std::array<char, 16> name{};
      c.task.comm.copy(name.data(), 15);
      return done(c.user.put(address_argument(c, 1), name));
    }
    case kGetSeccomp: return 0;
    case kCapbsetRead:
      if (c[1] > 40) return fail(Errno::Invalid);
      return 1;
    case kGetTsc: return done(c.user.put(address_argument(c, 1), int32_t{1}));
    case kGetSecurebits: return 0;
    case kSetTimerslack:
      c.task.timer_slack = c[1] == 0 ? 50000 : c[1];
      return 0;
    case kGetTimerslack: return static_cast<long>(c.task.timer_slack);
    case kSetChildSubreaper:
      process.child_subreaper = c[1] != 0;
      return 0;
    case kGetChildSubreaper: return done(c.user.put(address_argument(c, 1), static_cast<int32_t>(process.child_subreaper)));
    case kGetNoNewPrivs: return rest_zero ? Result<long>{0} : fail(Errno::Invalid);
    case kGetTidAddress: return done(c.user.put(address_argument(c, 1), c.task.clear_child_tid));
    case kGetThpDisable: return rest_zero ? Result<long>{0} : fail(Errno::Invalid);
    default: return fail(Errno::Invalid);
  }
}

Result<long> sys_personality(Context& c) {
  const auto old = static_cast<long>(c.task.personality);
  if (unsigned_argument(c, 0) != 0xffffffff) c.task.personality = unsigned_argument(c, 0);
  return old;
}

Result<long> sys_rseq(Context& c) { return c.kernel.rseq(c.task, c[0], unsigned_argument(c, 1), unsigned_argument(c, 2), unsigned_argument(c, 3)); }

}  // namespace vitro::syscalls
