#include "fs/dentry_cache.h"

#include "fs/vfs_state.h"

namespace vitro::fs {

// Lets go of the way up in a loop: a chain of removed directories may be deeper than any stack.
Dentry::~Dentry() {
  DentryRef up = std::move(parent);
  while (up && up.use_count() == 1) {
    DentryRef next = std::move(up->parent);
    up = std::move(next);
  }
}

DentryCache::~DentryCache() { CHECK(lru_.empty(), "{} dentries outlive their mounts", lru_.size()); }

Result<DentryRef> DentryCache::make(std::string name, DentryRef parent, std::shared_ptr<Inode> inode, Mount* mount) {
  mm::SlabObject memory = TRY(charge(vfs_, mm::KernelCache::Dentry));
  auto d = std::make_shared<Dentry>();
  d->name = std::move(name);
  d->parent = std::move(parent);
  d->inode = std::move(inode);
  d->mount = mount;
  d->memory = std::move(memory);
  return d;
}

Result<DentryRef> DentryCache::make_root(std::shared_ptr<Inode> inode, Mount& mount) {
  DentryRef d = TRY(make("/", nullptr, std::move(inode), &mount));
  d->cached = true;
  return d;
}

Result<DentryRef> DentryCache::make_anonymous(std::shared_ptr<Inode> inode, std::string name) {
  return make(std::move(name), nullptr, std::move(inode), nullptr);
}

Result<DentryRef> DentryCache::make_unlinked(const DentryRef& directory, std::shared_ptr<Inode> inode, std::string name) {
  DentryRef d = TRY(make(std::move(name), directory, std::move(inode), directory->mount));
  d->unlinked = true;
  return d;
}

Result<DentryRef> DentryCache::lookup(const DentryRef& directory, std::string_view name) {
  if (const auto found = directory->children.find(name); found != directory->children.end()) {
    found->second->referenced = true;
    return found->second;
  }
  auto inode = directory->inode->lookup(name);
  if (!inode && inode.error() != Errno::NoEntry) return fail(inode.error());
  DentryRef d = TRY(make(std::string(name), directory, inode ? std::move(*inode) : nullptr, directory->mount));
  // The file system or the allocation may have waited, and another task may have looked the same name up meanwhile.
  if (const auto found = directory->children.find(name); found != directory->children.end()) return found->second;
  // A cached child of an uncached directory could never be found again, and the two would keep each other alive.
  if (directory->cached && directory->inode->names_are_stable()) attach(d);
  return d;
}

void DentryCache::attach(const DentryRef& d) {
  d->cached = true;
  d->parent->children.emplace(d->name, d);
  lru_.push_back(*d);
}

void DentryCache::detach(const DentryRef& d) {
  if (!d->cached) return;
  d->cached = false;
  lru_.remove(*d);
  d->parent->children.erase(d->name);
}

void DentryCache::instantiate(Dentry& negative, std::shared_ptr<Inode> inode) { negative.inode = std::move(inode); }

void DentryCache::remove(const DentryRef& d) {
  const DentryRef keep = d;
  // What is cached below a removed directory are negative entries only; they must not keep it alive.
  while (!d->children.empty()) detach(DentryRef(d->children.begin()->second));
  detach(keep);
  keep->unlinked = true;
}

void DentryCache::move(const DentryRef& source, const DentryRef& target, bool exchange) {
  const DentryRef a = source, b = target;
  const bool a_cached = a->cached, b_cached = b->cached;
  detach(a), detach(b);
  std::swap(a->name, b->name);
  std::swap(a->parent, b->parent);
  if (a_cached) attach(a);
  if (exchange) {
    if (b_cached) attach(b);
  } else {
    // The replaced file keeps the name it was known by for " (deleted)".
    b->name = a->name;
    b->parent = a->parent;
    while (!b->children.empty()) detach(DentryRef(b->children.begin()->second));
    b->unlinked = true;
  }
}

bool DentryCache::unused(const Dentry& d) const {
  if (!d.children.empty() || d.mounted) return false;
  return d.users() == 1;
}

Vfs::DentryCounts DentryCache::counts() const {
  Vfs::DentryCounts c;
  for (const Dentry& d : lru_) {
    ++c.cached;
    if (unused(d)) ++c.unused;
    if (!d.inode) ++c.negative;
  }
  return c;
}

size_t DentryCache::shrink(size_t count) {
  size_t freed = 0;
  // Each dentry is looked at no more than twice: referenced ones get a second chance at the end of the list.
  for (size_t looks = 2 * lru_.size(); looks > 0 && freed < count && !lru_.empty(); --looks) {
    Dentry& d = lru_.front();
    if (!unused(d) || d.referenced) {
      d.referenced = false;
      lru_.remove(d);
      lru_.push_back(d);
      continue;
    }
    const DentryRef keep = d.parent->children.find(d.name)->second;
    detach(keep);
    ++freed;
  }
  return freed;
}

void DentryCache::forget_tree(const DentryRef& root) {
  // Leaves first, without recursion.
  DentryRef at = root;
  while (true) {
    if (!at->children.empty()) {
      at = at->children.begin()->second;
      continue;
    }
    if (at == root) break;
    DentryRef up = at->parent;
    detach(at);
    at = std::move(up);
  }
}

bool is_ancestor(const Dentry& ancestor, const DentryRef& d) {
  for (const Dentry* at = d.get(); at; at = at->parent.get())
    if (at == &ancestor) return true;
  return false;
}

std::string dentry_path(const DentryRef& d, const Dentry* root) {
  if (!d->parent && !d->mount) return d->name;
  std::vector<const std::string*> names;
  bool reached = false;
  const Dentry* at = d.get();
  while (true) {
    if (at == root) {
      reached = true;
      break;
    }
    if (at->parent) {
      names.push_back(&at->name);
      at = at->parent.get();
      continue;
    }
    if (!at->mount || !at->mount->mountpoint) break;
    at = at->mount->mountpoint;
  }
  std::string path;
  if (root && !reached) path = "(unreachable)";
  for (auto n = names.rbegin(); n != names.rend(); ++n) path += '/', path += **n;
  if (names.empty()) path += '/';
  if (d->unlinked) path += " (deleted)";
  return path;
}

}  // namespace vitro::fs
