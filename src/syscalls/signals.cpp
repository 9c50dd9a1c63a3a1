// Signals: actions, masks, sending, waiting.
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "syscalls/signal_arguments.h"

namespace vitro::syscalls {
namespace {

using kernel::SignalInfo;
using kernel::SignalSet;

constexpr SignalSet kUnblockable = kernel::signal_bit(kernel::kSigKill) | kernel::signal_bit(kernel::kSigStop);
constexpr int kSiUser = 0, kSiTkill = -6;

Status check_set_size(uint64_t size) {
  if (size != sizeof(SignalSet)) return fail(Errno::Invalid);
  return {};
}

}  // namespace

SignalInfo own_info(Context& c, int signal, int code) {
  SignalInfo info;
  info.signal = signal;
  info.code = code;
  info.sender = c.task.process->pid;
  info.sender_uid = c.task.process->credentials.uid;
  return info;
}

bool valid_signal(int signal) { return signal >= 0 && signal <= kernel::kSigCount; }

// kernel/signal.c: check_kill_permission
bool may_signal(Context& c, const kernel::Process& to, int signal) {
  const fs::Credentials &me = c.task.process->credentials, &other = to.credentials;
  if (me.euid == 0 || me.euid == other.suid || me.euid == other.uid || me.uid == other.suid || me.uid == other.uid) return true;
  return signal == kernel::kSigCont && to.session == c.task.process->session;
}

namespace {

Result<long> send_to_thread(Context& c, int group, int tid, const SignalInfo& info) {
  kernel::Task* task = c.kernel.find_task(Pid{tid});
  if (!task || task->state == kernel::TaskState::Zombie || task->state == kernel::TaskState::Dead) return fail(Errno::NoProcess);
  if (group > 0 && task->process->pid != Pid{group}) return fail(Errno::NoProcess);
  if (!may_signal(c, *task->process, info.signal)) return fail(Errno::NotPermitted);
  if (info.signal == 0) return 0;
  return done(c.kernel.send_signal_to_task(*task, info));
}

}  // namespace

Result<SignalInfo> queued_info(Context& c, size_t i, int signal, Pid to) {
  const auto u = TRY(c.user.get<UserSiginfo>(address_argument(c, i)));
  if ((u.code >= 0 || u.code == kSiTkill) && to != c.task.process->pid) return fail(Errno::NotPermitted);
  SignalInfo info;
  info.signal = signal;
  info.error = u.error;
  info.code = u.code;
  info.sender = Pid{u.sent.pid};
  info.sender_uid = u.sent.uid;
  info.value = u.sent.value;
  return info;
}

UserSiginfo user_siginfo(const SignalInfo& info) {
  constexpr int kSiTimer = -2;
  UserSiginfo u{};
  u.signal = info.signal;
  u.error = info.error;
  u.code = info.code;
  const bool fault = info.signal == kernel::kSigSegv || info.signal == kernel::kSigBus || info.signal == kernel::kSigIll || info.signal == kernel::kSigFpe ||
                     info.signal == kernel::kSigTrap;
  if (info.code == kSiTimer) {
    u.timer.id = info.timer_id;
    u.timer.overrun = info.overrun;
    u.timer.value = info.value;
  } else if (info.signal == kernel::kSigChld && info.code > 0) {
    u.child.pid = info.sender.value();
    u.child.uid = info.sender_uid;
    u.child.status = info.status;
    u.child.user_time = static_cast<int64_t>(info.user_time);
    u.child.system_time = static_cast<int64_t>(info.system_time);
  } else if (fault && info.code > 0) {
    u.fault.address = info.address;
  } else {
    u.sent.pid = info.sender.value();
    u.sent.uid = info.sender_uid;
    u.sent.value = info.value;
  }
  return u;
}

Result<long> sys_rt_sigaction(Context& c) {
  constexpr uint64_t kKnownFlags = 0xdc000c07;  // UAPI_SA_FLAGS with SA_RESTORER; unknown ones are dropped (Linux 5.11 on)
  const int signal = int_argument(c, 0);
  TRY(check_set_size(c[3]));
  kernel::SignalAction action, old;
  if (c[1] != 0) {
    const auto u = TRY(c.user.get<UserSigaction>(address_argument(c, 1)));
    action = {u.handler, u.flags & kKnownFlags, u.restorer, u.mask & ~kUnblockable};
  }
  if (signal < 1 || signal > kernel::kSigCount) return fail(Errno::Invalid);
  if (c[1] != 0 && (signal == kernel::kSigKill || signal == kernel::kSigStop)) return fail(Errno::Invalid);
  TRY(c.kernel.set_action(c.task, signal, c[1] ? &action : nullptr, &old));
  if (c[2] != 0) TRY(c.user.put(address_argument(c, 2), UserSigaction{old.handler, old.flags, old.restorer, old.mask}));
  return 0;
}

Result<long> sys_rt_sigprocmask(Context& c) {
  constexpr int kBlock = 0, kUnblock = 1, kSetMask = 2;
  TRY(check_set_size(c[3]));
  const SignalSet old = c.task.blocked;
  if (c[1] != 0) {
    const SignalSet set = TRY(c.user.get<SignalSet>(address_argument(c, 1))) & ~kUnblockable;
    switch (int_argument(c, 0)) {
      case kBlock: c.kernel.set_blocked(c.task, old | set); break;
      case kUnblock: c.kernel.set_blocked(c.task, old & ~set); break;
      case kSetMask: c.kernel.set_blocked(c.task, set); break;
      default: return fail(Errno::Invalid);
    }
  }
  if (c[2] != 0) TRY(c.user.put(address_argument(c, 2), old));
  return 0;
}

Result<long> sys_rt_sigreturn(Context& c) { return c.kernel.sigreturn(c.task); }

Result<long> sys_rt_sigpending(Context& c) {
  if (c[1] > sizeof(SignalSet)) return fail(Errno::Invalid);
  const SignalSet pending = (c.task.pending.set | c.task.process->pending.set) & c.task.blocked;
  return done(c.user.copy_out(address_argument(c, 0), std::as_bytes(std::span{&pending, 1}).first(c[1])));
}

Result<long> sys_rt_sigsuspend(Context& c) {
  TRY(check_set_size(c[1]));
  const SignalSet mask = TRY(c.user.get<SignalSet>(address_argument(c, 0))) & ~kUnblockable;
  c.task.saved_mask = c.task.blocked;
  c.kernel.set_blocked(c.task, mask);
  return done(c.kernel.pause(c.task));
}

Result<long> sys_pause(Context& c) { return done(c.kernel.pause(c.task)); }

Result<long> sys_rt_sigtimedwait(Context& c) {
  TRY(check_set_size(c[3]));
  const SignalSet set = TRY(c.user.get<SignalSet>(address_argument(c, 0))) & ~kUnblockable;
  std::optional<Nanoseconds> deadline;
  if (c[2] != 0) deadline = add_saturating(c.kernel.now(), TRY(duration_of(TRY(c.user.get<UserTimespec>(address_argument(c, 2))))));
  const auto got = c.kernel.wait_for_signal(c.task, set, deadline);
  if (!got) {
    if (got.error() == Errno::TimedOut) return fail(Errno::Again);
    if (got.error() == Errno::RestartSys || got.error() == Errno::RestartNoHand) return fail(Errno::Interrupted);
    return fail(got.error());
  }
  if (c[1] != 0) TRY(c.user.put(address_argument(c, 1), user_siginfo(*got)));
  return got->signal;
}

Result<long> sys_rt_sigqueueinfo(Context& c) {
  const int signal = int_argument(c, 1);
  const SignalInfo info = TRY(queued_info(c, 2, signal, Pid{int_argument(c, 0)}));
  if (!valid_signal(signal)) return fail(Errno::Invalid);
  kernel::Process* to = c.kernel.find_process(Pid{int_argument(c, 0)});
  if (!to) return fail(Errno::NoProcess);
  if (!may_signal(c, *to, signal)) return fail(Errno::NotPermitted);
  if (signal == 0) return 0;
  return done(c.kernel.send_signal(*to, info));
}

Result<long> sys_rt_tgsigqueueinfo(Context& c) {
  const int group = int_argument(c, 0), tid = int_argument(c, 1), signal = int_argument(c, 2);
  const SignalInfo info = TRY(queued_info(c, 3, signal, Pid{group}));
  if (group <= 0 || tid <= 0 || !valid_signal(signal)) return fail(Errno::Invalid);
  return send_to_thread(c, group, tid, info);
}

Result<long> sys_sigaltstack(Context& c) {
  constexpr uint32_t kOnStack = 1, kDisable = 2, kAutoDisarm = 1u << 31;
  constexpr uint64_t kMinimum = 2048;
  kernel::AlternateStack& current = c.task.alternate_stack;
  const kernel::AlternateStack old = current;
  const uint64_t sp = c.kernel.cpu().stack_pointer();
  const bool on_it = !(old.flags & (kDisable | kAutoDisarm)) && old.size != 0 && sp > old.base && sp - old.base <= old.size;
  if (c[0] != 0) {
    const auto u = TRY(c.user.get<UserStack>(address_argument(c, 0)));
    if (on_it) return fail(Errno::NotPermitted);
    const auto flags = static_cast<uint32_t>(u.flags);
    const uint32_t mode = flags & ~kAutoDisarm;
    if (mode != kDisable && mode != kOnStack && mode != 0) return fail(Errno::Invalid);
    if (mode == kDisable) {
      current = {0, 0, flags};
    } else {
      if (u.size < kMinimum) return fail(Errno::NoMemory);
      current = {u.base, u.size, flags};
    }
  }
  if (c[1] != 0) {
    UserStack out{};
    out.base = old.base;
    out.size = old.size;
    out.flags = static_cast<int32_t>((old.size == 0 ? kDisable : on_it ? kOnStack : 0) | (old.flags & kAutoDisarm));
    TRY(c.user.put(address_argument(c, 1), out));
  }
  return 0;
}

Result<long> sys_kill(Context& c) {
  const int signal = int_argument(c, 1);
  if (!valid_signal(signal)) return fail(Errno::Invalid);
  if (int_argument(c, 0) == INT32_MIN) return fail(Errno::NoProcess);
  return done(c.kernel.kill(c.task, int_argument(c, 0), own_info(c, signal, kSiUser)));
}

Result<long> sys_tkill(Context& c) {
  const int tid = int_argument(c, 0), signal = int_argument(c, 1);
  if (tid <= 0 || !valid_signal(signal)) return fail(Errno::Invalid);
  return send_to_thread(c, 0, tid, own_info(c, signal, kSiTkill));
}

Result<long> sys_tgkill(Context& c) {
  const int group = int_argument(c, 0), tid = int_argument(c, 1), signal = int_argument(c, 2);
  if (group <= 0 || tid <= 0 || !valid_signal(signal)) return fail(Errno::Invalid);
  return send_to_thread(c, group, tid, own_info(c, signal, kSiTkill));
}

}  // namespace vitro::syscalls
