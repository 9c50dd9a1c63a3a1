// Extended attributes: no file system here keeps any. Paths and descriptors are checked, then the answer is that of such a file system (fs/xattr.c).
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "vitro/fs/inode.h"

namespace vitro::syscalls {
namespace {

Status named_exists(Context& c, fs::Follow follow) {
  const std::string path = TRY(path_argument(c, 0));
  if (path.empty()) return fail(Errno::NoEntry);
  TRY(c.kernel.vfs().stat(c.kernel.path_context(c.task), {}, path, follow));
  return {};
}

// The attribute's name: Range where it is empty or longer than 255 bytes.
Status check_name(Context& c) {
  const auto name = c.user.string_in(address_argument(c, 1), 255);
  if (!name) return fail(name.error() == Errno::NameTooLong ? Errno::Range : name.error());
  if (name->empty()) return fail(Errno::Range);
  return {};
}

Result<long> refuse_path(Context& c, fs::Follow follow) {
  TRY(check_name(c));
  TRY(named_exists(c, follow));
  return fail(Errno::NotSupported);
}

Result<long> refuse_file(Context& c) {
  TRY(file_argument(c, 0));
  TRY(check_name(c));
  return fail(Errno::NotSupported);
}

}  // namespace

Result<long> sys_setxattr(Context& c) { return refuse_path(c, fs::Follow::Yes); }
Result<long> sys_lsetxattr(Context& c) { return refuse_path(c, fs::Follow::No); }
Result<long> sys_fsetxattr(Context& c) { return refuse_file(c); }
Result<long> sys_getxattr(Context& c) { return refuse_path(c, fs::Follow::Yes); }
Result<long> sys_lgetxattr(Context& c) { return refuse_path(c, fs::Follow::No); }
Result<long> sys_fgetxattr(Context& c) { return refuse_file(c); }
Result<long> sys_removexattr(Context& c) { return refuse_path(c, fs::Follow::Yes); }
Result<long> sys_lremovexattr(Context& c) { return refuse_path(c, fs::Follow::No); }
Result<long> sys_fremovexattr(Context& c) { return refuse_file(c); }

// The list is empty, and an empty list is no error.
Result<long> sys_listxattr(Context& c) { return done(named_exists(c, fs::Follow::Yes)); }
Result<long> sys_llistxattr(Context& c) { return done(named_exists(c, fs::Follow::No)); }
Result<long> sys_flistxattr(Context& c) {
  TRY(file_argument(c, 0));
  return 0;
}

}  // namespace vitro::syscalls
