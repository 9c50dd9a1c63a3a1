// What a file is like, and changing that: stat, chmod, chown, utimes and their families.
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "vitro/fs/inode.h"
#include "vitro/base/device_number.h"

namespace vitro::syscalls {
namespace {

UserStat stat_of(const fs::Attributes& a) {
  UserStat s{};
  s.device = a.device;
  s.inode = a.inode;
  s.links = a.links;
  s.mode = a.mode;
  s.uid = a.uid;
  s.gid = a.gid;
  s.special_device = a.special_device;
  s.size = static_cast<int64_t>(a.size);
  s.block_size = static_cast<int64_t>(a.block_size);
  s.blocks = static_cast<int64_t>(a.blocks);
  s.accessed = {a.accessed.seconds, a.accessed.nanoseconds};
  s.modified = {a.modified.seconds, a.modified.nanoseconds};
  s.changed = {a.changed.seconds, a.changed.nanoseconds};
  return s;
}

// Attributes of a path, or of a descriptor (AT_EMPTY_PATH).
Result<fs::Attributes> attributes_at(Context& c, int directory_fd, size_t path_index, unsigned flags) {
  if (flags & ~(kAtNoFollow | kAtNoAutomount | kAtEmptyPath | kAtStatxSync)) return fail(Errno::Invalid);
  const std::string path = c[path_index] == 0 && (flags & kAtEmptyPath) ? std::string() : TRY(path_argument(c, path_index));
  const fs::PathContext context = c.kernel.path_context(c.task);
  if (path.empty()) {
    if (!(flags & kAtEmptyPath)) return fail(Errno::NoEntry);
    if (directory_fd == kAtCwd) return c.kernel.vfs().stat(context, {}, ".", fs::Follow::Yes);
    return TRY(descriptors(c).get(directory_fd))->inode().attributes();
  }
  const auto at = TRY(start_directory(c, directory_fd, path));
  return c.kernel.vfs().stat(context, at, path, flags & kAtNoFollow ? fs::Follow::No : fs::Follow::Yes);
}

Result<long> stat_at(Context& c, int directory_fd, size_t path_index, size_t out_index, unsigned flags) {
  const fs::Attributes a = TRY(attributes_at(c, directory_fd, path_index, flags));
  return done(c.user.put(address_argument(c, out_index), stat_of(a)));
}

UserStatxTime statx_time(const fs::Time& t) { return {t.seconds, t.nanoseconds, 0}; }

UserStatfs statfs_of(const fs::FileSystemStatistics& s) {
  UserStatfs out{};
  out.type = static_cast<int64_t>(s.type);
  out.block_size = out.fragment_size = static_cast<int64_t>(s.block_size);
  out.blocks = s.blocks;
  out.blocks_free = s.blocks_free;
  out.blocks_available = s.blocks_available;
  out.files = s.files;
  out.files_free = s.files_free;
  out.name_length = static_cast<int64_t>(s.name_max);
  out.flags = static_cast<int64_t>(s.flags | 0x20);  // ST_VALID
  return out;
}

Result<long> change_at(Context& c, int directory_fd, size_t path_index, const fs::AttributeChange& change, unsigned flags) {
  const std::string path = TRY(path_argument(c, path_index));
  const fs::PathContext context = c.kernel.path_context(c.task);
  if (path.empty()) {
    if (!(flags & kAtEmptyPath)) return fail(Errno::NoEntry);
    if (directory_fd == kAtCwd) return done(c.kernel.vfs().change_attributes(context, {}, ".", change, fs::Follow::Yes));
    auto file = TRY(descriptors(c).get(directory_fd));
    return done(c.kernel.vfs().change_attributes(context, *file, change));
  }
  const auto at = TRY(start_directory(c, directory_fd, path));
  return done(c.kernel.vfs().change_attributes(context, at, path, change, flags & kAtNoFollow ? fs::Follow::No : fs::Follow::Yes));
}

Result<long> change_file(Context& c, size_t fd_index, const fs::AttributeChange& change) {
  auto file = TRY(file_argument(c, fd_index));
  return done(c.kernel.vfs().change_attributes(c.kernel.path_context(c.task), *file, change));
}

fs::AttributeChange mode_change(unsigned mode) {
  fs::AttributeChange change;
  change.mode = mode & 07777;
  return change;
}

fs::AttributeChange owner_change(unsigned uid, unsigned gid) {
  fs::AttributeChange change;
  if (uid != ~0u) change.uid = uid;
  if (gid != ~0u) change.gid = gid;
  return change;
}

constexpr int64_t kTimeNow = (1 << 30) - 1, kTimeOmit = (1 << 30) - 2;

// Access and modification time as utimensat gives them; null: now.
Result<fs::AttributeChange> time_change(Context& c, uint64_t address) {
  fs::AttributeChange change;
  const fs::Time now = c.kernel.vfs().now();
  if (address == 0) {
    change.accessed = change.modified = now;
    return change;
  }
  const auto times = TRY((c.user.get<std::array<UserTimespec, 2>>(VirtAddr{address})));
  const auto one = [&](const UserTimespec& t) -> Result<std::optional<fs::Time>> {
    if (t.nanoseconds == kTimeOmit) return std::nullopt;
    if (t.nanoseconds == kTimeNow) return now;
    if (t.nanoseconds < 0 || t.nanoseconds >= 1'000'000'000) return fail(Errno::Invalid);
    return fs::Time{t.seconds, static_cast<uint32_t>(t.nanoseconds)};
  };
  change.accessed = TRY(one(times[0]));
  change.modified = TRY(one(times[1]));
  return change;
}

Result<fs::AttributeChange> timeval_change(Context& c, uint64_t address) {
  if (address == 0) return time_change(c, 0);
  const auto times = TRY((c.user.get<std::array<UserTimeval, 2>>(VirtAddr{address})));
  for (const UserTimeval& t : times)
    if (t.microseconds < 0 || t.microseconds >= 1'000'000) return fail(Errno::Invalid);
  fs::AttributeChange change;
  change.accessed = fs::Time{times[0].seconds, static_cast<uint32_t>(times[0].microseconds * 1000)};
  change.modified = fs::Time{times[1].seconds, static_cast<uint32_t>(times[1].microseconds * 1000)};
  return change;
}

}  // namespace

Result<long> sys_stat(Context& c) { return stat_at(c, kAtCwd, 0, 1, 0); }
Result<long> sys_lstat(Context& c) { return stat_at(c, kAtCwd, 0, 1, kAtNoFollow); }
Result<long> sys_newfstatat(Context& c) { return stat_at(c, int_argument(c, 0), 1, 2, unsigned_argument(c, 3)); }
Result<long> sys_fstat(Context& c) {
  auto file = TRY(any_file_argument(c, 0));
  return done(c.user.put(address_argument(c, 1), stat_of(file->inode().attributes())));
}

Result<long> sys_statx(Context& c) {
  constexpr unsigned kBasic = 0x7ff, kBirth = 0x800, kReserved = 0x80000000;
  const unsigned flags = unsigned_argument(c, 2), mask = unsigned_argument(c, 3);
  if ((mask & kReserved) || (flags & kAtStatxSync) == kAtStatxSync) return fail(Errno::Invalid);
  const fs::Attributes a = TRY(attributes_at(c, int_argument(c, 0), 1, flags));
  UserStatx s{};
  s.mask = kBasic;
  if (a.born.seconds != 0 || a.born.nanoseconds != 0) s.mask |= kBirth;
  s.block_size = static_cast<uint32_t>(a.block_size);
  s.links = static_cast<uint32_t>(a.links);
  s.uid = a.uid;
  s.gid = a.gid;
  s.mode = static_cast<uint16_t>(a.mode);
  s.inode = a.inode;
  s.size = a.size;
  s.blocks = a.blocks;
  s.accessed = statx_time(a.accessed);
  s.born = statx_time(a.born);
  s.changed = statx_time(a.changed);
  s.modified = statx_time(a.modified);
  s.special_major = static_cast<uint32_t>(device_major(a.special_device));
  s.special_minor = static_cast<uint32_t>(device_minor(a.special_device));
  s.device_major = static_cast<uint32_t>(device_major(a.device));
  s.device_minor = static_cast<uint32_t>(device_minor(a.device));
  return done(c.user.put(address_argument(c, 4), s));
}

Result<long> sys_statfs(Context& c) {
  const std::string path = TRY(path_argument(c, 0));
  if (path.empty()) return fail(Errno::NoEntry);
  const auto s = TRY(c.kernel.vfs().statistics(c.kernel.path_context(c.task), {}, path));
  return done(c.user.put(address_argument(c, 1), statfs_of(s)));
}

Result<long> sys_fstatfs(Context& c) {
  auto file = TRY(any_file_argument(c, 0));
  return done(c.user.put(address_argument(c, 1), statfs_of(file->inode().file_system().statistics())));
}

Result<long> sys_chmod(Context& c) { return change_at(c, kAtCwd, 0, mode_change(unsigned_argument(c, 1)), 0); }
Result<long> sys_fchmod(Context& c) { return change_file(c, 0, mode_change(unsigned_argument(c, 1))); }
Result<long> sys_fchmodat(Context& c) { return change_at(c, int_argument(c, 0), 1, mode_change(unsigned_argument(c, 2)), 0); }
Result<long> sys_chown(Context& c) { return change_at(c, kAtCwd, 0, owner_change(unsigned_argument(c, 1), unsigned_argument(c, 2)), 0); }
Result<long> sys_lchown(Context& c) { return change_at(c, kAtCwd, 0, owner_change(unsigned_argument(c, 1), unsigned_argument(c, 2)), kAtNoFollow); }
Result<long> sys_fchown(Context& c) { return change_file(c, 0, owner_change(unsigned_argument(c, 1), unsigned_argument(c, 2))); }
Result<long> sys_fchownat(Context& c) {
  const unsigned flags = unsigned_argument(c, 4);
  if (flags & ~(kAtNoFollow | kAtEmptyPath)) return fail(Errno::Invalid);
  return change_at(c, int_argument(c, 0), 1, owner_change(unsigned_argument(c, 2), unsigned_argument(c, 3)), flags);
}

Result<long> sys_utime(Context& c) {
  if (c[1] == 0) return change_at(c, kAtCwd, 0, TRY(time_change(c, 0)), 0);
  const auto times = TRY((c.user.get<std::array<int64_t, 2>>(address_argument(c, 1))));
  fs::AttributeChange change;
  change.accessed = fs::Time{times[0], 0};
  change.modified = fs::Time{times[1], 0};
  return change_at(c, kAtCwd, 0, change, 0);
}

Result<long> sys_utimes(Context& c) { return change_at(c, kAtCwd, 0, TRY(timeval_change(c, c[1])), 0); }
Result<long> sys_futimesat(Context& c) {
  const auto change = TRY(timeval_change(c, c[2]));
  if (c[1] == 0) return change_file(c, 0, change);
  return change_at(c, int_argument(c, 0), 1, change, 0);
}

Result<long> sys_utimensat(Context& c) {
  const unsigned flags = unsigned_argument(c, 3);
  const auto change = TRY(time_change(c, c[2]));
  // Both UTIME_OMIT: nothing is looked at (fs/utimes.c).
  if (!change.accessed && !change.modified) return 0;
  if (c[1] == 0) {
    if (int_argument(c, 0) == kAtCwd) return fail(Errno::Fault);
    if (flags != 0) return fail(Errno::Invalid);
    return change_file(c, 0, change);
  }
  if (flags & ~(kAtNoFollow | kAtEmptyPath)) return fail(Errno::Invalid);
  return change_at(c, int_argument(c, 0), 1, change, flags);
}

}  // namespace vitro::syscalls
