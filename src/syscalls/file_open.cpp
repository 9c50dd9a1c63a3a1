// Opening and closing files, and asking whether one may.
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "syscalls/runtime.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::syscalls {
namespace {

// VALID_OPEN_FLAGS (include/linux/fcntl.h): open and openat ignore all others, openat2 refuses them.
constexpr uint64_t kValidFlags = 3 | fs::kOpenCreate | fs::kOpenExclusive | fs::kOpenNoCtty | fs::kOpenTruncate | fs::kOpenAppend | fs::kOpenNonBlock | fs::kOpenSync |
                                 fs::kOpenDsync | 020000 | fs::kOpenDirect | fs::kOpenLargeFile | fs::kOpenDirectory | fs::kOpenNoFollow | fs::kOpenNoAtime |
                                 fs::kOpenCloseOnExec | fs::kOpenPath | fs::kOpenTmpFile;

Result<long> open_at(Context& c, int directory_fd, size_t path_index, uint64_t flags, uint32_t mode) {
  flags &= kValidFlags;
  const bool creates = (flags & fs::kOpenCreate) || (flags & fs::kOpenTmpFile & ~fs::kOpenDirectory);
  mode = creates ? mode & 07777 : 0;
  if (flags & fs::kOpenPath) flags &= fs::kOpenDirectory | fs::kOpenNoFollow | fs::kOpenPath | fs::kOpenCloseOnExec;  // build_open_flags
  const std::string path = TRY(path_argument(c, path_index));
  if (path.empty()) return fail(Errno::NoEntry);
  const auto at = TRY(start_directory(c, directory_fd, path));
  auto file = TRY(c.kernel.vfs().open(c.kernel.path_context(c.task), at, path, static_cast<unsigned>(flags) | fs::kOpenLargeFile, mode));
  return install(c, std::move(file), flags & fs::kOpenCloseOnExec);
}

Result<long> access_at(Context& c, int directory_fd, size_t path_index, unsigned mode, unsigned flags) {
  if (mode & ~7u) return fail(Errno::Invalid);
  if (flags & ~(kAtEaccess | kAtNoFollow | kAtEmptyPath)) return fail(Errno::Invalid);
  const std::string path = TRY(path_argument(c, path_index));
  const bool effective = flags & kAtEaccess;
  if (path.empty()) {
    if (!(flags & kAtEmptyPath)) return fail(Errno::NoEntry);
    if (directory_fd == kAtCwd) return done(c.kernel.vfs().access(c.kernel.path_context(c.task), {}, ".", mode, effective, fs::Follow::Yes));
    auto file = TRY(descriptors(c).get(directory_fd));
    fs::Credentials who = c.task.process->credentials;
    if (!effective) who.fsuid = who.uid, who.fsgid = who.gid;
    if (!fs::permitted(file->inode().attributes(), who, mode)) return fail(Errno::Access);
    return 0;
  }
  const auto at = TRY(start_directory(c, directory_fd, path));
  return done(c.kernel.vfs().access(c.kernel.path_context(c.task), at, path, mode, effective, flags & kAtNoFollow ? fs::Follow::No : fs::Follow::Yes));
}

}  // namespace

Result<long> sys_open(Context& c) { return open_at(c, kAtCwd, 0, c[1], unsigned_argument(c, 2)); }
Result<long> sys_openat(Context& c) { return open_at(c, int_argument(c, 0), 1, unsigned_argument(c, 2), unsigned_argument(c, 3)); }
Result<long> sys_creat(Context& c) { return open_at(c, kAtCwd, 0, fs::kOpenCreate | fs::kOpenWrite | fs::kOpenTruncate, unsigned_argument(c, 1)); }

Result<long> sys_openat2(Context& c) {
  constexpr uint64_t kNoXdev = 1, kNoMagicLinks = 2, kNoSymlinks = 4, kBeneath = 8, kInRoot = 16, kCached = 32;
  if (c[3] < sizeof(UserOpenHow)) return fail(Errno::Invalid);
  if (c[3] > sizeof(UserOpenHow)) return fail(Errno::TooBig);  // a later version's fields
  const auto how = TRY(c.user.get<UserOpenHow>(address_argument(c, 2)));
  if ((how.flags & ~kValidFlags) || (how.resolve & ~(kNoXdev | kNoMagicLinks | kNoSymlinks | kBeneath | kInRoot | kCached))) return fail(Errno::Invalid);
  const bool creates = (how.flags & fs::kOpenCreate) || (how.flags & fs::kOpenTmpFile & ~fs::kOpenDirectory);
  if ((how.mode & ~07777ull) || (!creates && how.mode != 0)) return fail(Errno::Invalid);
  // Path walks know no such bounds here; EAGAIN is what RESOLVE_CACHED means by "not without more work".
  if (how.resolve & kCached) return fail(Errno::Again);
  if (how.resolve != 0) return fail(Errno::NotSupported);
  return open_at(c, int_argument(c, 0), 1, how.flags, static_cast<uint32_t>(how.mode));
}

namespace {

// Closing any descriptor of a file drops all record locks that the process has on it (fs/locks.c: locks_remove_posix).
Result<long> close_one(Context& c, int fd) {
  kernel::FdTable& files = descriptors(c);
  if (!c.runtime.record_locks.empty()) {
    const auto file = TRY(files.get(fd));
    c.runtime.record_locks.remove_owner_from(lock_key(*file), process_lock_owner(*c.task.process));
  }
  const Status closed = files.close(fd);
  if (!c.runtime.whole_locks.empty()) c.runtime.whole_locks.owners_may_be_gone();
  if (!c.runtime.record_locks.empty()) c.runtime.record_locks.owners_may_be_gone();
  return done(closed);
}

}  // namespace

Result<long> sys_close(Context& c) { return close_one(c, int_argument(c, 0)); }

Result<long> sys_close_range(Context& c) {
  constexpr unsigned kUnshare = 2, kCloseOnExec = 4;
  const unsigned first = unsigned_argument(c, 0), last = unsigned_argument(c, 1), flags = unsigned_argument(c, 2);
  if ((flags & ~(kUnshare | kCloseOnExec)) || first > last) return fail(Errno::Invalid);
  if ((flags & kUnshare) && c.task.process->files.use_count() > 1) {
    c.task.process->files = TRY(descriptors(c).copy(c.kernel.vm().physical().caches()));
  }
  for (int fd : descriptors(c).open_numbers()) {
    if (static_cast<unsigned>(fd) < first || static_cast<unsigned>(fd) > last) continue;
    if (flags & kCloseOnExec) TRY(descriptors(c).set_close_on_exec(fd, true));
    else (void)close_one(c, fd);
  }
  return 0;
}

Result<long> sys_access(Context& c) { return access_at(c, kAtCwd, 0, unsigned_argument(c, 1), 0); }
Result<long> sys_faccessat(Context& c) { return access_at(c, int_argument(c, 0), 1, unsigned_argument(c, 2), 0); }
Result<long> sys_faccessat2(Context& c) { return access_at(c, int_argument(c, 0), 1, unsigned_argument(c, 2), unsigned_argument(c, 3)); }

}  // namespace vitro::syscalls
