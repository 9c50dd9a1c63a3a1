// Dentries and mounts: the tree of names as the VFS remembers it.
//
// A dentry is cached where its parent's table of children holds it; from there lookups find it. One that is not (a removed name, a name under
// /proc) lives as long as somebody uses it. Each dentry belongs to one mount and keeps its parent alive, never the other way round for uncached ones.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "vitro/base/intrusive_list.h"
#include "vitro/fs/inode.h"
#include "vitro/mm/kernel_object.h"

namespace vitro::fs {

struct Dentry;
using DentryRef = std::shared_ptr<Dentry>;

struct Mount {
  std::shared_ptr<FileSystem> fs;
  std::string source, options;
  bool read_only = false;
  Dentry* mountpoint = nullptr;  // in the parent mount; pinned by `pinned_mountpoint`
  DentryRef pinned_mountpoint;
  DentryRef root;
  mm::SlabObject memory;
};

struct Dentry : std::enable_shared_from_this<Dentry> {
  std::string name;
  DentryRef parent;              // null: the root of a mount, or a file on no mounted file system
  std::shared_ptr<Inode> inode;  // null: negative, the name is known not to exist
  Mount* mount = nullptr;        // null: on no mounted file system
  Mount* mounted = nullptr;      // what is mounted here
  bool cached = false;           // in parent->children, or the root of a mount
  bool unlinked = false;         // its name was removed
  bool referenced = false;       // found by a lookup since the shrinker last looked
  std::map<std::string, DentryRef, std::less<>> children;
  ListLink lru_link;             // the cache's list of all cached dentries except roots
  mm::SlabObject memory;

  // References, the cache's own included.
  long users() const { return weak_from_this().use_count(); }
  ~Dentry();
};

// d_path: as seen from `root` (null: the root of everything). " (deleted)" and "(unreachable)" as Linux prints them.
std::string dentry_path(const DentryRef& d, const Dentry* root);

// The dentry to cross to: the root of what is mounted here, or `d` itself.
inline DentryRef cross_mounts(DentryRef d) {
  while (d->mounted) d = d->mounted->root;
  return d;
}

// True where `ancestor` lies on the way from `d` to the root of its mount, or is `d`.
bool is_ancestor(const Dentry& ancestor, const DentryRef& d);

}  // namespace vitro::fs
