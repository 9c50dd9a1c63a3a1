#include "fs/path_walk.h"

#include "fs/vfs_rights.h"
#include "fs/vfs_state.h"

namespace vitro::fs {
namespace {

uint32_t type_of(const Dentry& d) { return d.inode ? d.inode->attributes().mode & kTypeMask : 0; }

// Splits the first component off: leading slashes go, so do those after it. True where slashes followed it.
struct Component {
  std::string_view name, rest;
  bool slash_after = false;
};
Component split(std::string_view path) {
  const size_t begin = path.find_first_not_of('/');
  if (begin == std::string_view::npos) return {};
  path.remove_prefix(begin);
  const size_t end = path.find('/');
  if (end == std::string_view::npos) return {path, {}, false};
  const size_t next = path.find_first_not_of('/', end);
  return {path.substr(0, end), next == std::string_view::npos ? std::string_view{} : path.substr(next), true};
}

}  // namespace

bool is_symlink(const Dentry& d) { return type_of(d) == kSymlink; }
bool is_directory(const Dentry& d) { return type_of(d) == kDirectory; }

DentryRef PathWalk::start(const DentryRef& at, std::string_view path) const {
  const DentryRef& root = context_.root ? context_.root : state_.mounts.front()->root;
  if (!path.empty() && path.front() == '/') return cross_mounts(root);
  if (at) return at;
  return context_.cwd ? context_.cwd : cross_mounts(root);
}

DentryRef PathWalk::up(const DentryRef& from) const {
  DentryRef at = from;
  while (true) {
    if (at == context_.root) return at;
    if (at->parent) return cross_mounts(at->parent);
    if (!at->mount || !at->mount->mountpoint) return at;
    at = at->mount->pinned_mountpoint;
  }
}

Status PathWalk::may_search(const DentryRef& directory) const {
  const Attributes a = directory->inode->attributes();
  if ((a.mode & kTypeMask) != kDirectory) return fail(Errno::NotDirectory);
  if (!permitted(a, credentials_of(context_), kMayExec)) return fail(Errno::Access);
  return {};
}

Result<DentryRef> PathWalk::step(const DentryRef& directory, std::string_view name) {
  if (name.size() > kNameMax) return fail(Errno::NameTooLong);
  return cross_mounts(TRY(state_.dentries.lookup(directory, name)));
}

Result<PathWalk::Target> PathWalk::follow(const DentryRef& link) {
  if (++links_followed_ > kMaxSymlinks) return fail(Errno::SymlinkLoop);
  if (const auto file = link->inode->magic_target()) {
    if (!file->dentry()) return fail(Errno::NoEntry);
    return Target{file->dentry(), {}};
  }
  std::string path = TRY(link->inode->read_link());
  if (path.empty()) return fail(Errno::NoEntry);
  if (path.size() >= kPathMax) return fail(Errno::NameTooLong);
  return Target{nullptr, std::move(path)};
}

Result<LastComponent> PathWalk::to_last(const DentryRef& at, std::string_view path) {
  if (path.empty()) return fail(Errno::NoEntry);
  if (path.size() >= kPathMax) return fail(Errno::NameTooLong);
  DentryRef here = start(at, path);
  if (!here->inode) return fail(Errno::NoEntry);
  std::string left(path);  // what is still to be walked; a followed link's text goes before the rest
  size_t position = 0;
  Component c = split(left);
  if (c.name.empty()) return LastComponent{here, {}, LastComponent::Kind::Root, true};
  while (true) {
    TRY(may_search(here));
    LastComponent::Kind kind = LastComponent::Kind::Name;
    if (c.name == ".") kind = LastComponent::Kind::Dot;
    else if (c.name == "..") kind = LastComponent::Kind::DotDot;
    if (c.rest.empty()) {
      if (c.name.size() > kNameMax) return fail(Errno::NameTooLong);
      return LastComponent{here, kind == LastComponent::Kind::Name ? std::string(c.name) : std::string{}, kind, c.slash_after};
    }
    position = static_cast<size_t>(c.rest.data() - left.data());
    if (kind == LastComponent::Kind::DotDot) here = up(here);
    else if (kind == LastComponent::Kind::Name) {
      DentryRef next = TRY(step(here, c.name));
      if (!next->inode) return fail(Errno::NoEntry);
      if (is_symlink(*next)) {
        Target target = TRY(follow(next));
        if (target.object) here = cross_mounts(std::move(target.object));
        else {
          if (target.path.front() == '/') here = start(nullptr, target.path);
          target.path += '/';
          left = std::move(target.path.append(left, position));
          position = 0;
        }
      } else {
        here = std::move(next);
      }
    }
    c = split(std::string_view(left).substr(position));
  }
}

Result<DentryRef> PathWalk::find(const LastComponent& last) {
  switch (last.kind) {
    case LastComponent::Kind::Root:
    case LastComponent::Kind::Dot: return last.directory;
    case LastComponent::Kind::DotDot: return up(last.directory);
    case LastComponent::Kind::Name: break;
  }
  return step(last.directory, last.name);
}

Result<DentryRef> PathWalk::resolve(const DentryRef& at, std::string_view path, Follow last_follow) {
  DentryRef from = at;
  std::string text(path);
  bool must_be_directory = false;
  while (true) {
    const LastComponent last = TRY(to_last(from, text));
    must_be_directory |= last.trailing_slash;
    DentryRef d = TRY(find(last));
    if (!d->inode) return fail(Errno::NoEntry);
    if (is_symlink(*d) && (last_follow == Follow::Yes || must_be_directory)) {
      Target target = TRY(follow(d));
      if (!target.object) {
        from = last.directory;
        text = std::move(target.path);
        continue;
      }
      d = std::move(target.object);
    }
    if (must_be_directory && !is_directory(*d)) return fail(Errno::NotDirectory);
    return d;
  }
}

}  // namespace vitro::fs
