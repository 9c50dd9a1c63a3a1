// Who may do what to a name (fs/namei.c: may_create, may_delete; fs/attr.c: setattr_prepare).
#pragma once

#include "fs/dentry.h"
#include "vitro/base/result.h"
#include "vitro/fs/vfs.h"

namespace vitro::fs {

const Credentials& credentials_of(const PathContext& c);
bool in_group(const Credentials& who, uint32_t gid);
bool read_only(const Dentry& d);

// A name may be added to `directory`.
Status may_create(const Credentials& who, const Dentry& directory);
// `victim` may be removed from `directory` (sticky directories included), by unlink or rmdir as `as_directory` says.
Status may_delete(const Credentials& who, const Dentry& directory, const Dentry& victim, bool as_directory);
// Rights for a change of attributes; drops from `change` the set-id bits that this caller may not set, and adds what a chown takes away.
Status may_change(const Credentials& who, const Attributes& now, AttributeChange& change);

}  // namespace vitro::fs
