// open(2) (fs/namei.c: path_openat, do_open, may_open; fs/open.c: do_dentry_open).
#include "fs/path_walk.h"
#include "fs/vfs_rights.h"
#include "fs/vfs_state.h"
#include "vitro/fs/notify.h"
#include "vitro/fs/vfs.h"

namespace vitro::fs {
namespace {

// O_PATH: a place, not an open file.
class PathFile final : public File {
 public:
  using File::File;
  Result<size_t> read(size_t, ByteSink&, Blocking&) override { return fail(Errno::BadFile); }
  Result<size_t> write(size_t, ByteSource&, Blocking&) override { return fail(Errno::BadFile); }
  Result<size_t> read_at(uint64_t, size_t, ByteSink&, Blocking&) override { return fail(Errno::BadFile); }
  Result<size_t> write_at(uint64_t, size_t, ByteSource&, Blocking&) override { return fail(Errno::BadFile); }
  Result<uint64_t> seek(int64_t, int) override { return fail(Errno::BadFile); }
  Result<long> ioctl(unsigned, uint64_t, UserCopy&) override { return fail(Errno::BadFile); }
  unsigned poll(PollTable*) override { return kPollInvalid; }
  Status sync(Inode::Sync, Bytes, Bytes) override { return fail(Errno::BadFile); }
  Status truncate(uint64_t) override { return fail(Errno::BadFile); }
  Status list(const std::function<bool(const DirectoryEntry&)>&) override { return fail(Errno::BadFile); }
  Result<std::shared_ptr<mm::MappedFile>> map(bool) override { return fail(Errno::BadFile); }
};

unsigned wanted_rights(unsigned flags) {
  unsigned wanted = 0;
  const unsigned mode = flags & kOpenAccessMode;
  if (mode != kOpenWrite) wanted |= kMayRead;
  if (mode != kOpenRead) wanted |= kMayWrite;
  if (flags & kOpenTruncate) wanted |= kMayWrite;
  return wanted;
}

// may_open. `created`: this call made the file, so its mode does not bind its maker.
Status may_open(const Credentials& who, const Dentry& d, unsigned flags, bool created) {
  const Attributes a = d.inode->attributes();
  const unsigned wanted = wanted_rights(flags);
  const uint32_t type = a.mode & kTypeMask;
  if (type == kSymlink) return fail(Errno::SymlinkLoop);
  if (type == kDirectory && (wanted & kMayWrite)) return fail(Errno::IsDirectory);
  if ((wanted & kMayWrite) && type == kRegular && read_only(d)) return fail(Errno::ReadOnly);
  if (!created && !permitted(a, who, wanted)) return fail(Errno::Access);
  if ((flags & kOpenNoAtime) && who.fsuid != a.uid && !who.privileged()) return fail(Errno::NotPermitted);
  if (type == kRegular && (wanted & kMayWrite) && d.inode->write_denials > 0) return fail(Errno::TextBusy);
  return {};
}

}  // namespace

Result<std::shared_ptr<File>> Vfs::open(const PathContext& c, const DentryRef& at, std::string_view path, unsigned flags, uint32_t mode) {
  const Credentials& who = credentials_of(c);
  const bool unnamed = (flags & kOpenTmpFile) == kOpenTmpFile;
  if (flags & kOpenPath) flags &= kOpenPath | kOpenDirectory | kOpenNoFollow | kOpenCloseOnExec;
  if ((flags & kOpenAccessMode) == 3) return fail(Errno::Invalid);
  PathWalk walk(*state_, c);
  DentryRef d;
  bool created = false;

  if (unnamed) {
    if ((flags & kOpenAccessMode) == kOpenRead || (flags & kOpenCreate)) return fail(Errno::Invalid);
    const DentryRef directory = TRY(walk.resolve(at, path, Follow::Yes));
    if (!is_directory(*directory)) return fail(Errno::NotDirectory);
    TRY(may_create(who, *directory));
    auto inode = TRY(directory->inode->create_unnamed(mode & ~c.umask & 07777, who));
    const std::string name = "#" + std::to_string(inode->attributes().inode);
    d = TRY(state_->dentries.make_unlinked(directory, std::move(inode), name));
    created = true;
    flags &= ~kOpenTmpFile | kOpenLargeFile;
  } else if (flags & kOpenCreate) {
    // The last component may be a chain of links whose end does not exist: it is created there.
    DentryRef from = at;
    std::string text(path);
    bool via_magic = false;
    while (true) {
      LastComponent last = TRY(walk.to_last(from, text));
      if (last.kind != LastComponent::Kind::Name || last.trailing_slash) {
        if (last.kind == LastComponent::Kind::Name && !TRY(walk.find(last))->inode) return fail(Errno::IsDirectory);
        return fail((flags & kOpenExclusive) ? Errno::Exists : Errno::IsDirectory);
      }
      d = TRY(walk.find(last));
      if (!d->inode) {
        TRY(may_create(who, *last.directory));
        auto inode = last.directory->inode->create(last.name, mode & ~c.umask & 07777, who);
        if (!inode) return fail(inode.error());
        state_->dentries.instantiate(*d, std::move(*inode));
        created = true;
        notify(*last.directory->inode, kNotifyCreate, last.name);
        break;
      }
      if (flags & kOpenExclusive) return fail(Errno::Exists);
      if (!is_symlink(*d)) break;
      if (flags & kOpenNoFollow) return fail(Errno::SymlinkLoop);
      PathWalk::Target target = TRY(walk.follow(d));
      if (target.object) {
        d = std::move(target.object);
        via_magic = true;
        break;
      }
      from = last.directory;
      text = std::move(target.path);
    }
    if (!created && !via_magic && is_directory(*d)) return fail(Errno::IsDirectory);
    if (flags & kOpenDirectory) return fail(Errno::NotDirectory);
  } else {
    d = TRY(walk.resolve(at, path, (flags & kOpenNoFollow) ? Follow::No : Follow::Yes));
  }

  if ((flags & kOpenDirectory) && !is_directory(*d)) return fail(is_symlink(*d) && !(flags & kOpenPath) ? Errno::SymlinkLoop : Errno::NotDirectory);
  if (flags & kOpenPath) {
    auto file = std::make_shared<PathFile>(d->inode, flags & (kOpenPath | kOpenDirectory | kOpenNoFollow));
    file->set_dentry(d);
    TRY(adopt(*file, {}));
    return file;
  }
  TRY(may_open(who, *d, flags, created));

  const OpenContext context{&who, c.blocking, c.pid, (flags & kOpenNoCtty) != 0};
  const unsigned kept = (flags & ~(kOpenCreate | kOpenExclusive | kOpenNoCtty | kOpenTruncate | kOpenCloseOnExec)) | kOpenLargeFile;
  mm::SlabObject filp = TRY(charge(*this, mm::KernelCache::Filp));
  auto file = TRY(d->inode->open(kept, context));
  if (!file->memory) file->memory = std::move(filp);
  if (!file->dentry()) file->set_dentry(d);
  const bool regular = (d->inode->attributes().mode & kTypeMask) == kRegular;
  if (regular && file->writable()) file->hold_write_access();
  if (regular && (flags & kOpenTruncate) && !created) {
    AttributeChange change;
    change.size = 0;
    TRY(d->inode->set_attributes(change));
    notify(*d, kNotifyModify);
  }
  notify(*file, kNotifyOpen);
  return file;
}

}  // namespace vitro::fs
