#include "fs/vfs_rights.h"

#include <algorithm>

namespace vitro::fs {

const Credentials& credentials_of(const PathContext& c) {
  static const Credentials kRoot;
  return c.credentials ? *c.credentials : kRoot;
}

bool in_group(const Credentials& who, uint32_t gid) {
  return who.fsgid == gid || std::find(who.groups.begin(), who.groups.end(), gid) != who.groups.end();
}

bool read_only(const Dentry& d) { return d.mount && d.mount->read_only; }

Status may_create(const Credentials& who, const Dentry& directory) {
  const Attributes a = directory.inode->attributes();
  if (a.links == 0) return fail(Errno::NoEntry);  // the directory itself is gone
  if (read_only(directory)) return fail(Errno::ReadOnly);
  if (!permitted(a, who, kMayWrite | kMayExec)) return fail(Errno::Access);
  return {};
}

Status may_delete(const Credentials& who, const Dentry& directory, const Dentry& victim, bool as_directory) {
  if (!victim.inode) return fail(Errno::NoEntry);
  if (read_only(directory)) return fail(Errno::ReadOnly);
  const Attributes parent = directory.inode->attributes(), child = victim.inode->attributes();
  if (!permitted(parent, who, kMayWrite | kMayExec)) return fail(Errno::Access);
  const bool sticky = parent.mode & 01000;
  if (sticky && !who.privileged() && who.fsuid != child.uid && who.fsuid != parent.uid) return fail(Errno::NotPermitted);
  const bool is_directory = (child.mode & kTypeMask) == kDirectory;
  if (as_directory && !is_directory) return fail(Errno::NotDirectory);
  if (!as_directory && is_directory) return fail(Errno::IsDirectory);
  if (victim.mounted || (victim.mount && victim.mount->root.get() == &victim)) return fail(Errno::Busy);
  return {};
}

Status may_change(const Credentials& who, const Attributes& now, AttributeChange& change) {
  const bool owner = who.fsuid == now.uid || who.privileged();
  if (change.uid && !who.privileged() && !(who.fsuid == now.uid && *change.uid == now.uid)) return fail(Errno::NotPermitted);
  if (change.gid && !who.privileged() && !(who.fsuid == now.uid && (*change.gid == now.gid || in_group(who, *change.gid)))) return fail(Errno::NotPermitted);
  if (change.mode) {
    if (!owner) return fail(Errno::NotPermitted);
    if (!who.privileged() && !in_group(who, change.gid.value_or(now.gid))) *change.mode &= ~02000u;
  } else if ((change.uid || change.gid) && (now.mode & kTypeMask) != kDirectory) {
    // fs/open.c: chown_common. A new owner must not inherit a set-id program; set-gid without group execution is no set-id bit.
    uint32_t mode = now.mode & 07777;
    mode &= ~04000u;
    if (mode & 010) mode &= ~02000u;
    if (mode != (now.mode & 07777)) change.mode = mode;
  }
  if ((change.accessed || change.modified) && !owner) {
    if (!change.times_are_now) return fail(Errno::NotPermitted);
    if (!permitted(now, who, kMayWrite)) return fail(Errno::Access);
  }
  return {};
}

}  // namespace vitro::fs
