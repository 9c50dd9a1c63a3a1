// Names: making, removing, linking, renaming, listing them; the working directory.
#include <array>
#include <cstring>

#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "vitro/fs/inode.h"

namespace vitro::syscalls {
namespace {

// A path and where it starts.
struct Place {
  std::string path;
  fs::DentryRef at;
};

Result<Place> place(Context& c, int directory_fd, size_t path_index) {
  Place p;
  p.path = TRY(path_argument(c, path_index));
  if (p.path.empty()) return fail(Errno::NoEntry);
  p.at = TRY(start_directory(c, directory_fd, p.path));
  return p;
}

Result<long> make_directory_at(Context& c, int fd, size_t path_index, unsigned mode) {
  const Place p = TRY(place(c, fd, path_index));
  return done(c.kernel.vfs().make_directory(c.kernel.path_context(c.task), p.at, p.path, mode & 01777));
}

Result<long> unlink_at(Context& c, int fd, size_t path_index) {
  const Place p = TRY(place(c, fd, path_index));
  return done(c.kernel.vfs().unlink(c.kernel.path_context(c.task), p.at, p.path));
}

Result<long> remove_directory_at(Context& c, int fd, size_t path_index) {
  const Place p = TRY(place(c, fd, path_index));
  return done(c.kernel.vfs().remove_directory(c.kernel.path_context(c.task), p.at, p.path));
}

Result<long> symlink_at(Context& c, int fd, size_t path_index) {
  const std::string target = TRY(path_argument(c, 0));
  if (target.empty()) return fail(Errno::NoEntry);
  const Place p = TRY(place(c, fd, path_index));
  return done(c.kernel.vfs().symlink(c.kernel.path_context(c.task), target, p.at, p.path));
}

Result<long> link_at(Context& c, int old_fd, size_t old_index, int new_fd, size_t new_index, unsigned flags) {
  if (flags & ~(kAtFollow | kAtEmptyPath)) return fail(Errno::Invalid);
  std::string old_path = TRY(path_argument(c, old_index));
  fs::DentryRef old_at;
  fs::Follow follow = flags & kAtFollow ? fs::Follow::Yes : fs::Follow::No;
  if (old_path.empty()) {
    // An open file by its /proc name, which is what AT_EMPTY_PATH stands for.
    if (!(flags & kAtEmptyPath)) return fail(Errno::NoEntry);
    if (!privileged(c)) return fail(Errno::NoEntry);
    TRY(descriptors(c).get(old_fd));
    old_path = "/proc/self/fd/" + std::to_string(old_fd);
    follow = fs::Follow::Yes;
  } else {
    old_at = TRY(start_directory(c, old_fd, old_path));
  }
  const Place to = TRY(place(c, new_fd, new_index));
  return done(c.kernel.vfs().link(c.kernel.path_context(c.task), old_at, old_path, to.at, to.path, follow));
}

Result<long> rename_at(Context& c, int old_fd, size_t old_index, int new_fd, size_t new_index, unsigned flags) {
  constexpr unsigned kNoReplace = 1, kExchange = 2, kWhiteout = 4;
  if (flags & ~(kNoReplace | kExchange | kWhiteout)) return fail(Errno::Invalid);
  if ((flags & (kNoReplace | kWhiteout)) && (flags & kExchange)) return fail(Errno::Invalid);
  const Place from = TRY(place(c, old_fd, old_index));
  const Place to = TRY(place(c, new_fd, new_index));
  return done(c.kernel.vfs().rename(c.kernel.path_context(c.task), from.at, from.path, to.at, to.path, flags));
}

Result<long> read_link_at(Context& c, int fd, size_t path_index) {
  const int size = int_argument(c, path_index + 2);
  if (size <= 0) return fail(Errno::Invalid);
  const std::string path = TRY(path_argument(c, path_index));
  std::string target;
  if (path.empty()) {  // an O_PATH|O_NOFOLLOW descriptor of a link
    if (fd == kAtCwd) return fail(Errno::NoEntry);
    auto file = TRY(descriptors(c).get(fd));
    if (type_of(*file) != fs::kSymlink) return fail(Errno::NoEntry);
    target = TRY(file->inode().read_link());
  } else {
    const auto at = TRY(start_directory(c, fd, path));
    target = TRY(c.kernel.vfs().read_link(c.kernel.path_context(c.task), at, path));
  }
  const auto bytes = std::as_bytes(std::span{target}).first(std::min<size_t>(target.size(), static_cast<size_t>(size)));
  TRY(c.user.copy_out(address_argument(c, path_index + 1), bytes));
  return static_cast<long>(bytes.size());
}

Result<long> make_node_at(Context& c, int fd, size_t path_index, unsigned mode, uint64_t device) {
  uint32_t type = mode & fs::kTypeMask;
  if (type == 0) type = fs::kRegular;
  // fs/namei.c: may_mknod
  if (type == fs::kDirectory) return fail(Errno::NotPermitted);
  if (type != fs::kRegular && type != fs::kCharDevice && type != fs::kBlockDevice && type != fs::kFifo && type != fs::kSocket) return fail(Errno::Invalid);
  if ((type == fs::kCharDevice || type == fs::kBlockDevice) && !privileged(c)) return fail(Errno::NotPermitted);
  const Place p = TRY(place(c, fd, path_index));
  return done(c.kernel.vfs().make_node(c.kernel.path_context(c.task), p.at, p.path, type | (mode & 07777), device & 0xffffffff));
}

uint8_t directory_type(uint32_t mode) { return static_cast<uint8_t>((mode & fs::kTypeMask) >> 12); }

enum class Form : bool { Old, New };

// Puts entries into the guest's buffer one by one; an entry that no longer fits stays for the next call (fs/readdir.c).
Result<long> list_entries(Context& c, Form form) {
  auto file = TRY(file_argument(c, 0));
  if (type_of(*file) != fs::kDirectory) return fail(Errno::NotDirectory);
  const uint64_t size = unsigned_argument(c, 2);
  uint64_t used = 0;
  Errno error{};
  const Status listed = file->list([&](const fs::DirectoryEntry& e) {
    std::array<std::byte, 512> record{};
    const size_t name = std::min<size_t>(e.name.size(), 255);
    const size_t head = form == Form::New ? kDirentNameOffset : kOldDirentNameOffset;
    // The old form keeps the type in the record's last byte.
    const size_t length = (head + name + (form == Form::New ? 1 : 2) + 7) & ~size_t{7};
    if (length > size - used) {
      if (used == 0) error = Errno::Invalid;
      return false;
    }
    const auto record_length = static_cast<uint16_t>(length);
    std::memcpy(record.data(), &e.inode, 8);
    std::memcpy(record.data() + 8, &e.next, 8);
    std::memcpy(record.data() + 16, &record_length, 2);
    std::memcpy(record.data() + head, e.name.data(), name);
    record[form == Form::New ? 18 : length - 1] = std::byte{directory_type(e.type)};
    if (!c.user.copy_out(VirtAddr{c[1] + used}, std::span{record}.first(length))) {
      if (used == 0) error = Errno::Fault;
      return false;
    }
    used += length;
    return true;
  });
  if (used == 0) {
    if (error != Errno{}) return fail(error);
    TRY(listed);
  }
  charge_copy(c, used);
  return static_cast<long>(used);
}

Status change_directory(Context& c, fs::DentryRef to) {
  const fs::PathContext context = c.kernel.path_context(c.task);
  fs::Inode& inode = c.kernel.vfs().inode_of(to);
  const fs::Attributes a = inode.attributes();
  if ((a.mode & fs::kTypeMask) != fs::kDirectory) return fail(Errno::NotDirectory);
  if (!fs::permitted(a, *context.credentials, fs::kMayExec)) return fail(Errno::Access);
  c.task.process->fs->cwd = std::move(to);
  return {};
}

}  // namespace

Result<long> sys_mkdir(Context& c) { return make_directory_at(c, kAtCwd, 0, unsigned_argument(c, 1)); }
Result<long> sys_mkdirat(Context& c) { return make_directory_at(c, int_argument(c, 0), 1, unsigned_argument(c, 2)); }
Result<long> sys_rmdir(Context& c) { return remove_directory_at(c, kAtCwd, 0); }
Result<long> sys_unlink(Context& c) { return unlink_at(c, kAtCwd, 0); }
Result<long> sys_unlinkat(Context& c) {
  const unsigned flags = unsigned_argument(c, 2);
  if (flags & ~kAtRemoveDirectory) return fail(Errno::Invalid);
  return flags ? remove_directory_at(c, int_argument(c, 0), 1) : unlink_at(c, int_argument(c, 0), 1);
}
Result<long> sys_symlink(Context& c) { return symlink_at(c, kAtCwd, 1); }
Result<long> sys_symlinkat(Context& c) { return symlink_at(c, int_argument(c, 1), 2); }
Result<long> sys_link(Context& c) { return link_at(c, kAtCwd, 0, kAtCwd, 1, 0); }
Result<long> sys_linkat(Context& c) { return link_at(c, int_argument(c, 0), 1, int_argument(c, 2), 3, unsigned_argument(c, 4)); }
Result<long> sys_rename(Context& c) { return rename_at(c, kAtCwd, 0, kAtCwd, 1, 0); }
Result<long> sys_renameat(Context& c) { return rename_at(c, int_argument(c, 0), 1, int_argument(c, 2), 3, 0); }
Result<long> sys_renameat2(Context& c) { return rename_at(c, int_argument(c, 0), 1, int_argument(c, 2), 3, unsigned_argument(c, 4)); }
Result<long> sys_readlink(Context& c) { return read_link_at(c, kAtCwd, 0); }
Result<long> sys_readlinkat(Context& c) { return read_link_at(c, int_argument(c, 0), 1); }
Result<long> sys_mknod(Context& c) { return make_node_at(c, kAtCwd, 0, unsigned_argument(c, 1), c[2]); }
Result<long> sys_mknodat(Context& c) { return make_node_at(c, int_argument(c, 0), 1, unsigned_argument(c, 2), c[3]); }
Result<long> sys_getdents(Context& c) { return list_entries(c, Form::Old); }
Result<long> sys_getdents64(Context& c) { return list_entries(c, Form::New); }

Result<long> sys_chdir(Context& c) {
  const std::string path = TRY(path_argument(c, 0));
  if (path.empty()) return fail(Errno::NoEntry);
  return done(change_directory(c, TRY(c.kernel.vfs().resolve(c.kernel.path_context(c.task), {}, path, fs::Follow::Yes))));
}

Result<long> sys_fchdir(Context& c) {
  auto file = TRY(any_file_argument(c, 0));
  if (!file->dentry()) return fail(Errno::NotDirectory);
  return done(change_directory(c, file->dentry()));
}

Result<long> sys_chroot(Context& c) {
  const std::string path = TRY(path_argument(c, 0));
  if (path.empty()) return fail(Errno::NoEntry);
  auto to = TRY(c.kernel.vfs().resolve(c.kernel.path_context(c.task), {}, path, fs::Follow::Yes));
  if (!c.kernel.vfs().inode_of(to).is_directory()) return fail(Errno::NotDirectory);
  if (!privileged(c)) return fail(Errno::NotPermitted);
  c.task.process->fs->root = std::move(to);
  return 0;
}

Result<long> sys_getcwd(Context& c) {
  const std::string path = c.kernel.vfs().path_of(c.task.process->fs->cwd, c.task.process->fs->root);
  if (path.ends_with(" (deleted)")) return fail(Errno::NoEntry);
  if (path.size() + 1 > kPathMax) return fail(Errno::NameTooLong);
  if (path.size() + 1 > c[1]) return fail(Errno::Range);
  TRY(c.user.copy_out(address_argument(c, 0), std::as_bytes(std::span{path.c_str(), path.size() + 1})));
  return static_cast<long>(path.size() + 1);
}

Result<long> sys_umask(Context& c) {
  const uint32_t old = c.task.process->fs->umask;
  c.task.process->fs->umask = unsigned_argument(c, 0) & 0777;
  return old;
}

}  // namespace vitro::syscalls
