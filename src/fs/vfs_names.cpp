// The calls that make and remove names (fs/namei.c: do_mkdirat, do_unlinkat, do_renameat2, ...).
#include "fs/path_walk.h"
#include "fs/vfs_rights.h"
#include "fs/vfs_state.h"
#include "vitro/fs/notify.h"
#include "vitro/fs/vfs.h"

namespace vitro::fs {
namespace {

constexpr unsigned kRenameNoReplace = 1, kRenameExchange = 2;

// filename_create: the negative dentry that a new name will fill.
struct NewName {
  LastComponent last;
  DentryRef dentry;
};
Result<NewName> new_name(PathWalk& walk, const Credentials& who, const DentryRef& at, std::string_view path, bool is_directory) {
  LastComponent last = TRY(walk.to_last(at, path));
  if (last.kind != LastComponent::Kind::Name) return fail(Errno::Exists);
  DentryRef d = TRY(walk.find(last));
  if (d->inode) return fail(Errno::Exists);
  if (last.trailing_slash && !is_directory) return fail(Errno::NoEntry);
  TRY(may_create(who, *last.directory));
  return NewName{std::move(last), std::move(d)};
}

// Where a file of a mounted system was replaced or removed its dentry keeps "last name" for users; the inode may live on under other names.
Status instantiate(Vfs::State& state, const NewName& made, Result<std::shared_ptr<Inode>> inode) {
  if (!inode) return fail(inode.error());
  state.dentries.instantiate(*made.dentry, std::move(*inode));
  notify(*made.last.directory->inode, kNotifyCreate | (is_directory(*made.dentry) ? kNotifyDirectory : 0), made.last.name);
  return {};
}

// fsnotify_change
uint32_t events_of(const AttributeChange& c) {
  uint32_t what = 0;
  if (c.uid || c.gid || c.mode || (c.accessed && c.modified)) what |= kNotifyAttributes;
  if (c.size || (c.modified && !c.accessed)) what |= kNotifyModify;
  if (c.accessed && !c.modified) what |= kNotifyAccess;
  return what;
}

}  // namespace

Status Vfs::make_directory(const PathContext& c, const DentryRef& at, std::string_view path, uint32_t mode) {
  const Credentials& who = credentials_of(c);
  PathWalk walk(*state_, c);
  const NewName made = TRY(new_name(walk, who, at, path, true));
  return instantiate(*state_, made, made.last.directory->inode->make_directory(made.last.name, mode & ~c.umask & 01777, who));
}

Status Vfs::symlink(const PathContext& c, std::string_view target, const DentryRef& at, std::string_view path) {
  if (target.empty()) return fail(Errno::NoEntry);
  if (target.size() >= kPathMax) return fail(Errno::NameTooLong);
  const Credentials& who = credentials_of(c);
  PathWalk walk(*state_, c);
  const NewName made = TRY(new_name(walk, who, at, path, false));
  return instantiate(*state_, made, made.last.directory->inode->make_symlink(made.last.name, target, who));
}

Status Vfs::make_node(const PathContext& c, const DentryRef& at, std::string_view path, uint32_t mode, uint64_t device) {
  const Credentials& who = credentials_of(c);
  const uint32_t type = mode & kTypeMask;
  if (type == kDirectory) return fail(Errno::NotPermitted);
  if (type != 0 && type != kRegular && type != kFifo && type != kSocket && type != kCharDevice && type != kBlockDevice) return fail(Errno::Invalid);
  PathWalk walk(*state_, c);
  const NewName made = TRY(new_name(walk, who, at, path, false));
  if ((type == kCharDevice || type == kBlockDevice) && !who.privileged()) return fail(Errno::NotPermitted);
  Inode& directory = *made.last.directory->inode;
  const uint32_t permissions = mode & ~c.umask & 07777;
  if (type == 0 || type == kRegular) return instantiate(*state_, made, directory.create(made.last.name, permissions, who));
  const uint64_t special = type == kCharDevice || type == kBlockDevice ? device : 0;
  return instantiate(*state_, made, directory.make_node(made.last.name, permissions | type, special, who));
}

Status Vfs::link(const PathContext& c, const DentryRef& old_at, std::string_view old_path, const DentryRef& new_at, std::string_view new_path, Follow follow) {
  const Credentials& who = credentials_of(c);
  PathWalk walk(*state_, c), new_walk(*state_, c);
  const DentryRef old = TRY(walk.resolve(old_at, old_path, follow));
  const NewName made = TRY(new_name(new_walk, who, new_at, new_path, false));
  if (old->mount != made.last.directory->mount) return fail(Errno::CrossDevice);
  const Attributes a = old->inode->attributes();
  if ((a.mode & kTypeMask) == kDirectory) return fail(Errno::NotPermitted);
  TRY(made.last.directory->inode->link(made.last.name, *old->inode));
  state_->dentries.instantiate(*made.dentry, old->inode);
  notify(*old->inode, kNotifyAttributes);  // one link more
  notify(*made.last.directory->inode, kNotifyCreate, made.last.name);
  return {};
}

Status Vfs::unlink(const PathContext& c, const DentryRef& at, std::string_view path) {
  PathWalk walk(*state_, c);
  const LastComponent last = TRY(walk.to_last(at, path));
  if (last.kind != LastComponent::Kind::Name) return fail(Errno::IsDirectory);
  const DentryRef d = TRY(walk.find(last));
  if (d->inode && last.trailing_slash) return fail(is_directory(*d) ? Errno::IsDirectory : Errno::NotDirectory);
  TRY(may_delete(credentials_of(c), *last.directory, *d, false));
  TRY(last.directory->inode->unlink(last.name));
  const std::shared_ptr<Inode> inode = d->inode;
  state_->dentries.remove(d);
  notify(*inode, kNotifyAttributes);  // one link less
  notify_if_gone(*inode);
  notify(*last.directory->inode, kNotifyDelete, last.name);
  return {};
}

Status Vfs::remove_directory(const PathContext& c, const DentryRef& at, std::string_view path) {
  PathWalk walk(*state_, c);
  const LastComponent last = TRY(walk.to_last(at, path));
  switch (last.kind) {
    case LastComponent::Kind::DotDot: return fail(Errno::NotEmpty);
    case LastComponent::Kind::Dot: return fail(Errno::Invalid);
    case LastComponent::Kind::Root: return fail(Errno::Busy);
    case LastComponent::Kind::Name: break;
  }
  const DentryRef d = TRY(walk.find(last));
  TRY(may_delete(credentials_of(c), *last.directory, *d, true));
  TRY(last.directory->inode->remove_directory(last.name));
  const std::shared_ptr<Inode> inode = d->inode;
  state_->dentries.remove(d);
  notify_if_gone(*inode);
  notify(*last.directory->inode, kNotifyDelete | kNotifyDirectory, last.name);
  return {};
}

Status Vfs::rename(const PathContext& c, const DentryRef& old_at, std::string_view old_path, const DentryRef& new_at, std::string_view new_path, unsigned flags) {
  if (flags & ~(kRenameNoReplace | kRenameExchange)) return fail(Errno::Invalid);
  if (flags == (kRenameNoReplace | kRenameExchange)) return fail(Errno::Invalid);
  const bool exchange = flags & kRenameExchange;
  const Credentials& who = credentials_of(c);
  PathWalk old_walk(*state_, c), new_walk(*state_, c);
  const LastComponent from = TRY(old_walk.to_last(old_at, old_path)), to = TRY(new_walk.to_last(new_at, new_path));
  if (from.directory->mount != to.directory->mount) return fail(Errno::CrossDevice);
  if (from.kind != LastComponent::Kind::Name) return fail(Errno::Busy);
  if (to.kind != LastComponent::Kind::Name) return fail((flags & kRenameNoReplace) ? Errno::Exists : Errno::Busy);
  const DentryRef source = TRY(old_walk.find(from));
  if (!source->inode) return fail(Errno::NoEntry);
  const DentryRef target = TRY(new_walk.find(to));
  if ((flags & kRenameNoReplace) && target->inode) return fail(Errno::Exists);
  if (exchange && !target->inode) return fail(Errno::NoEntry);
  const bool source_directory = is_directory(*source), target_directory = is_directory(*target);
  if (!source_directory && (from.trailing_slash || (!exchange && to.trailing_slash))) return fail(Errno::NotDirectory);
  if (exchange && !target_directory && to.trailing_slash) return fail(Errno::NotDirectory);
  if (is_ancestor(*source, to.directory)) return fail(Errno::Invalid);  // into itself
  if (target->inode && is_ancestor(*target, from.directory)) return fail(exchange ? Errno::Invalid : Errno::NotEmpty);
  // A mount on either name: the walk crossed it, so the dentry found is another mount's root.
  if (source->mount != from.directory->mount || target->mount != from.directory->mount) return fail(Errno::Busy);

  if (source->inode == target->inode) return {};  // two links to one file, or one name: nothing to do (POSIX; vfs_rename exchanges them as little)
  TRY(may_delete(who, *from.directory, *source, source_directory));
  if (!target->inode) {
    TRY(may_create(who, *to.directory));
  } else if (exchange) {
    TRY(may_delete(who, *to.directory, *target, target_directory));
  } else {
    TRY(may_delete(who, *to.directory, *target, source_directory));
  }
  // A directory that moves gets another "..": that is a write to it.
  if (from.directory != to.directory) {
    if (source_directory && !permitted(source->inode->attributes(), who, kMayWrite)) return fail(Errno::Access);
    if (exchange && target_directory && !permitted(target->inode->attributes(), who, kMayWrite)) return fail(Errno::Access);
  }
  TRY(from.directory->inode->rename(from.name, *to.directory->inode, to.name, flags));
  const std::shared_ptr<Inode> moved = source->inode, other = target->inode;
  state_->dentries.move(source, target, exchange);
  // fsnotify_move
  const auto told = [&](const LastComponent& was, const LastComponent& is, Inode& inode, bool directory) {
    const uint32_t kind = directory ? kNotifyDirectory : 0, cookie = ++state_->move_cookie;
    notify(*was.directory->inode, kNotifyMovedFrom | kind, was.name, cookie);
    notify(*is.directory->inode, kNotifyMovedTo | kind, is.name, cookie);
    notify(inode, kNotifyMoveSelf);
  };
  told(from, to, *moved, source_directory);
  if (exchange) {
    told(to, from, *other, target_directory);
  } else if (other) {
    if (!target_directory) notify(*other, kNotifyAttributes);
    notify_if_gone(*other);
  }
  return {};
}

Status Vfs::change_attributes(const PathContext& c, const DentryRef& at, std::string_view path, const AttributeChange& wanted, Follow follow) {
  const DentryRef d = TRY(resolve(c, at, path, follow));
  const Credentials& who = credentials_of(c);
  const Attributes a = d->inode->attributes();
  AttributeChange change = wanted;
  if (change.size) {
    if ((a.mode & kTypeMask) == kDirectory) return fail(Errno::IsDirectory);
    if ((a.mode & kTypeMask) != kRegular || *change.size > kMaxOffset) return fail(Errno::Invalid);
    if (!permitted(a, who, kMayWrite)) return fail(Errno::Access);
    if (*change.size > d->inode->max_size()) return fail(Errno::FileTooBig);
    if (d->inode->write_denials > 0) return fail(Errno::TextBusy);
  }
  if (change.mode && is_symlink(*d)) return fail(Errno::NotSupported);
  if (read_only(*d)) return fail(Errno::ReadOnly);
  TRY(may_change(who, a, change));
  TRY(d->inode->set_attributes(change));
  notify(*d, events_of(change));
  return {};
}

Status Vfs::change_attributes(const PathContext& c, File& file, const AttributeChange& wanted) {
  if (file.flags() & kOpenPath) return fail(Errno::BadFile);
  AttributeChange change = wanted;
  if (change.size) {
    if (*change.size > kMaxOffset) return fail(Errno::Invalid);
    TRY(file.truncate(*change.size));
    notify(file, kNotifyModify);
    change.size.reset();
  }
  if (file.dentry() && read_only(*file.dentry())) return fail(Errno::ReadOnly);
  TRY(may_change(credentials_of(c), file.inode().attributes(), change));
  if (!change.mode && !change.uid && !change.gid && !change.accessed && !change.modified) return {};
  TRY(file.inode().set_attributes(change));
  notify(file, events_of(change));
  return {};
}

}  // namespace vitro::fs
