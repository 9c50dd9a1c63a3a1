// The dentry cache (fs/dcache.c): finds, makes, moves and forgets dentries, each charged to guest memory.
#pragma once

#include "fs/dentry.h"
#include "vitro/base/result.h"
#include "vitro/fs/vfs.h"

namespace vitro::fs {

class DentryCache {
 public:
  explicit DentryCache(Vfs& vfs) : vfs_(vfs) {}
  ~DentryCache();

  Result<DentryRef> make_root(std::shared_ptr<Inode> inode, Mount& mount);
  // A dentry without a place in the tree: "pipe:[5]".
  Result<DentryRef> make_anonymous(std::shared_ptr<Inode> inode, std::string name);
  // The dentry of `name` in `directory`, asking the file system where it is not cached. Negative where there is no such name. Other errors as
  // the file system's.
  Result<DentryRef> lookup(const DentryRef& directory, std::string_view name);
  // An uncached child of `directory` whose name is gone already (O_TMPFILE).
  Result<DentryRef> make_unlinked(const DentryRef& directory, std::shared_ptr<Inode> inode, std::string name);

  // `negative` has come into being.
  void instantiate(Dentry& negative, std::shared_ptr<Inode> inode);
  // The name was removed: lookups no longer find it; users keep it.
  void remove(const DentryRef& d);
  // After a rename on the file system. `target` was replaced (or swapped, with `exchange`).
  void move(const DentryRef& source, const DentryRef& target, bool exchange);

  Vfs::DentryCounts counts() const;
  size_t shrink(size_t count);
  // Forgets everything under `root`, used or not, before its file system goes.
  void forget_tree(const DentryRef& root);

 private:
  Result<DentryRef> make(std::string name, DentryRef parent, std::shared_ptr<Inode> inode, Mount* mount);
  void attach(const DentryRef& d);
  void detach(const DentryRef& d);
  bool unused(const Dentry& d) const;

  Vfs& vfs_;
  IntrusiveList<Dentry, &Dentry::lru_link> lru_;  // oldest first
};

}  // namespace vitro::fs
