// Descriptors: duplicating, pipes, fcntl and flock.
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "syscalls/runtime.h"
#include "vitro/mm/page_cache.h"

namespace vitro::syscalls {
namespace {

Result<long> duplicate_to(Context& c, int to, unsigned flags) {
  kernel::FdTable& files = descriptors(c);
  auto file = TRY(files.get(int_argument(c, 0)));
  if (to < 0 || static_cast<uint64_t>(to) >= descriptor_limit(c)) return fail(Errno::BadFile);
  // Whatever the number held is closed, and the process's record locks on it go.
  if (const auto replaced = files.get(to); replaced && !c.runtime.record_locks.empty())
    c.runtime.record_locks.remove_owner_from(lock_key(**replaced), process_lock_owner(*c.task.process));
  TRY(files.install_at(to, std::move(file), flags & fs::kOpenCloseOnExec, descriptor_limit(c)));
  c.runtime.whole_locks.owners_may_be_gone();
  c.runtime.record_locks.owners_may_be_gone();
  return to;
}

Result<long> make_pipe(Context& c, unsigned flags) {
  constexpr unsigned kNotification = 0200;  // O_EXCL
  if (flags & ~(fs::kOpenCloseOnExec | fs::kOpenNonBlock | fs::kOpenDirect | kNotification)) return fail(Errno::Invalid);
  if (flags & kNotification) return fail(Errno::Invalid);  // a watch queue, as without CONFIG_WATCH_QUEUE
  auto [reader, writer] = TRY(c.kernel.vfs().make_pipe(flags & ~fs::kOpenCloseOnExec));
  const bool close_on_exec = flags & fs::kOpenCloseOnExec;
  std::array<int32_t, 2> fds{};
  fds[0] = static_cast<int32_t>(TRY(install(c, reader, close_on_exec)));
  const auto second = install(c, writer, close_on_exec);
  if (!second) {
    (void)descriptors(c).close(fds[0]);
    return fail(second.error());
  }
  fds[1] = static_cast<int32_t>(*second);
  if (const Status s = c.user.put(address_argument(c, 0), fds); !s) {
    (void)descriptors(c).close(fds[0]);
    (void)descriptors(c).close(fds[1]);
    return fail(s.error());
  }
  return 0;
}

constexpr int16_t kReadLock = 0, kWriteLock = 1, kUnlock = 2;

// fs/locks.c: flock64_to_posix_lock
Result<LockRange> lock_range(fs::File& file, const UserFlock& f) {
  int64_t start = f.start;
  switch (f.whence) {
    case 0: break;
    case 1:
      if (__builtin_add_overflow(start, static_cast<int64_t>(file.position), &start)) return fail(Errno::Overflow);
      break;
    case 2:
      if (__builtin_add_overflow(start, static_cast<int64_t>(file.inode().attributes().size), &start)) return fail(Errno::Overflow);
      break;
    default: return fail(Errno::Invalid);
  }
  if (start < 0) return fail(Errno::Invalid);
  if (f.length == 0) return LockRange{static_cast<uint64_t>(start), UINT64_MAX};
  if (f.length > 0) {
    if (f.length - 1 > INT64_MAX - start) return fail(Errno::Overflow);
    return LockRange{static_cast<uint64_t>(start), static_cast<uint64_t>(start + f.length - 1)};
  }
  if (f.length == INT64_MIN || start + f.length < 0) return fail(Errno::Invalid);
  return LockRange{static_cast<uint64_t>(start + f.length), static_cast<uint64_t>(start - 1)};
}

Status wait_for_lock(Context& c, RecordLocks& locks, LockKey key) { return c.kernel.wait(locks.changed(key), Interruptible::Yes, std::nullopt); }

Result<long> set_lock(Context& c, const std::shared_ptr<fs::File>& file, const UserFlock& f, const LockOwner& owner, bool waits, bool by_process) {
  RecordLocks& locks = c.runtime.record_locks;
  const LockRange range = TRY(lock_range(*file, f));
  const LockKey key = lock_key(*file);
  if (f.type == kUnlock) {
    locks.unlock(key, owner, range);
    return 0;
  }
  if (f.type != kReadLock && f.type != kWriteLock) return fail(Errno::Invalid);
  if (f.type == kReadLock ? !file->readable() : !file->writable()) return fail(Errno::BadFile);
  const LockKind kind = f.type == kReadLock ? LockKind::Read : LockKind::Write;
  while (!locks.try_lock(key, owner, kind, range)) {
    if (!waits) return fail(Errno::Again);
    const auto holder = locks.find_conflict(key, owner, kind, range)->owner;
    if (by_process && locks.would_deadlock(owner, holder)) return fail(Errno::Deadlock);
    locks.begin_wait(owner, holder);
    const Status waited = wait_for_lock(c, locks, key);
    locks.end_wait(owner);
    TRY(waited);
  }
  return 0;
}

Result<long> get_lock(Context& c, const std::shared_ptr<fs::File>& file, UserFlock f, const LockOwner& owner) {
  if (f.type != kReadLock && f.type != kWriteLock) return fail(Errno::Invalid);
  const LockRange range = TRY(lock_range(*file, f));
  const auto conflict = c.runtime.record_locks.find_conflict(lock_key(*file), owner, f.type == kReadLock ? LockKind::Read : LockKind::Write, range);
  if (!conflict) {
    f.type = kUnlock;
  } else {
    f.type = conflict->kind == LockKind::Read ? kReadLock : kWriteLock;
    f.whence = 0;
    f.start = static_cast<int64_t>(conflict->range.first);
    f.length = conflict->range.last == UINT64_MAX ? 0 : static_cast<int64_t>(conflict->range.last - conflict->range.first + 1);
    f.pid = conflict->owner.pid.value();
  }
  return done(c.user.put(address_argument(c, 2), f));
}

constexpr int kDupFd = 0, kGetFd = 1, kSetFd = 2, kGetFl = 3, kSetFl = 4, kGetLk = 5, kSetLk = 6, kSetLkw = 7, kSetOwn = 8, kGetOwn = 9, kSetSig = 10, kGetSig = 11,
              kOfdGetLk = 36, kOfdSetLk = 37, kOfdSetLkw = 38, kDupFdCloseOnExec = 1030, kGetPipeSize = 1032, kSetPipeSize = 1031, kAddSeals = 1033, kGetSeals = 1034;

Result<long> lock_call(Context& c, const std::shared_ptr<fs::File>& file, int command) {
  const UserFlock f = TRY(c.user.get<UserFlock>(address_argument(c, 2)));
  const bool by_process = command <= kSetLkw;
  if (!by_process && f.pid != 0) return fail(Errno::Invalid);
  const LockOwner owner = by_process ? process_lock_owner(*c.task.process) : file_lock_owner(file);
  if (command == kGetLk || command == kOfdGetLk) return get_lock(c, file, f, owner);
  return set_lock(c, file, f, owner, command == kSetLkw || command == kOfdSetLkw, by_process);
}

// mm/memfd.c: memfd_add_seals
Status add_seals(fs::File& file, unsigned wanted) {
  using fs::Inode;
  if (!file.writable()) return fail(Errno::NotPermitted);
  if (wanted & ~(Inode::kSealSeal | Inode::kSealShrink | Inode::kSealGrow | Inode::kSealWrite | Inode::kSealFutureWrite)) return fail(Errno::Invalid);
  uint32_t* seals = file.inode().seals();
  if (!seals) return fail(Errno::Invalid);
  if (*seals & Inode::kSealSeal) return fail(Errno::NotPermitted);
  if ((wanted & Inode::kSealWrite) && !(*seals & Inode::kSealWrite) && file.inode().page_cache() && file.inode().page_cache()->mapped_for_writing()) return fail(Errno::Busy);
  *seals |= wanted;
  return {};
}

}  // namespace

Result<long> sys_dup(Context& c) {
  auto file = TRY(any_file_argument(c, 0));
  return install(c, std::move(file), false);
}

Result<long> sys_dup2(Context& c) {
  if (int_argument(c, 0) == int_argument(c, 1)) {
    TRY(any_file_argument(c, 0));
    return int_argument(c, 1);
  }
  return duplicate_to(c, int_argument(c, 1), 0);
}

Result<long> sys_dup3(Context& c) {
  const unsigned flags = unsigned_argument(c, 2);
  if ((flags & ~fs::kOpenCloseOnExec) || int_argument(c, 0) == int_argument(c, 1)) return fail(Errno::Invalid);
  return duplicate_to(c, int_argument(c, 1), flags);
}

Result<long> sys_pipe(Context& c) { return make_pipe(c, 0); }
Result<long> sys_pipe2(Context& c) { return make_pipe(c, unsigned_argument(c, 1)); }

Result<long> sys_fcntl(Context& c) {
  auto file = TRY(any_file_argument(c, 0));
  const int command = int_argument(c, 1);
  kernel::FdTable& files = descriptors(c);
  const bool path_only = file->flags() & fs::kOpenPath;
  if (path_only && command != kDupFd && command != kDupFdCloseOnExec && command != kGetFd && command != kSetFd && command != kGetFl) return fail(Errno::BadFile);
  switch (command) {
    case kDupFd:
    case kDupFdCloseOnExec:
      if (c[2] >= descriptor_limit(c)) return fail(Errno::Invalid);
      return TRY(files.install(std::move(file), command == kDupFdCloseOnExec, descriptor_limit(c), int_argument(c, 2)));
    case kGetFd: return TRY(files.close_on_exec_flag(int_argument(c, 0))) ? 1 : 0;
    case kSetFd: return done(files.set_close_on_exec(int_argument(c, 0), c[2] & 1));
    case kGetFl: return static_cast<long>(file->flags() & ~(fs::kOpenCloseOnExec | fs::kOpenCreate | fs::kOpenExclusive | fs::kOpenNoCtty | fs::kOpenTruncate));
    case kSetFl: {
      constexpr unsigned kAsync = 020000, kSettable = fs::kOpenAppend | fs::kOpenNonBlock | fs::kOpenDirect | fs::kOpenNoAtime;
      if (c[2] & kAsync) return fail(Errno::Invalid);  // SIGIO is not sent by any file here
      file->set_flags((file->flags() & ~kSettable) | (static_cast<unsigned>(c[2]) & kSettable));
      return 0;
    }
    case kGetLk:
    case kSetLk:
    case kSetLkw:
    case kOfdGetLk:
    case kOfdSetLk:
    case kOfdSetLkw: return lock_call(c, file, command);
    case kGetOwn: return 0;
    case kGetSig: return 0;
    case kGetPipeSize:
      return static_cast<long>(TRY(file->pipe_size()));
    case kSetPipeSize: return static_cast<long>(TRY(file->set_pipe_size(unsigned_argument(c, 2), privileged(c))));
    case kAddSeals: return done(add_seals(*file, unsigned_argument(c, 2)));
    case kGetSeals: {
      const uint32_t* seals = file->inode().seals();
      return seals ? Result<long>{*seals} : fail(Errno::Invalid);
    }
    case kSetOwn:
    case kSetSig:
    default: return fail(Errno::Invalid);
  }
}

Result<long> sys_flock(Context& c) {
  constexpr unsigned kShared = 1, kExclusive = 2, kNonBlock = 4, kUnlockAll = 8;
  auto file = TRY(file_argument(c, 0));
  const unsigned operation = unsigned_argument(c, 1) & ~kNonBlock;
  const LockOwner owner = file_lock_owner(file);
  const LockKey key = lock_key(*file);
  RecordLocks& locks = c.runtime.whole_locks;
  if (operation == kUnlockAll) {
    locks.unlock(key, owner, {});
    return 0;
  }
  if (operation != kShared && operation != kExclusive) return fail(Errno::Invalid);
  const LockKind kind = operation == kShared ? LockKind::Read : LockKind::Write;
  while (!locks.try_lock(key, owner, kind, {})) {
    if (unsigned_argument(c, 1) & kNonBlock) return fail(Errno::Again);
    // A conversion gives up the old lock while it waits (flock(2)).
    locks.unlock(key, owner, {});
    TRY(wait_for_lock(c, locks, key));
  }
  return 0;
}

namespace {

Result<long> make_eventfd(Context& c, unsigned flags) {
  constexpr unsigned kSemaphore = 1;
  if (flags & ~(kSemaphore | fs::kOpenCloseOnExec | fs::kOpenNonBlock)) return fail(Errno::Invalid);
  auto file = TRY(c.kernel.vfs().make_eventfd(unsigned_argument(c, 0), flags & ~fs::kOpenCloseOnExec));
  return install(c, std::move(file), flags & fs::kOpenCloseOnExec);
}

}  // namespace

Result<long> sys_eventfd(Context& c) { return make_eventfd(c, 0); }
Result<long> sys_eventfd2(Context& c) { return make_eventfd(c, unsigned_argument(c, 1)); }

}  // namespace vitro::syscalls
