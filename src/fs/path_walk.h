// Path resolution (fs/namei.c: link_path_walk; path_resolution(7)): one walk from a start to the last component.
#pragma once

#include <string>
#include <string_view>

#include "fs/dentry_cache.h"
#include "vitro/base/result.h"
#include "vitro/fs/vfs.h"

namespace vitro::fs {

// The last component of a path, not looked up yet, and the directory that it is to be looked up in.
struct LastComponent {
  enum class Kind : uint8_t { Name, Dot, DotDot, Root };
  DentryRef directory;
  std::string name;             // Kind::Name only
  Kind kind = Kind::Root;
  bool trailing_slash = false;  // so it must be a directory
};

class PathWalk {
 public:
  PathWalk(Vfs::State& state, const PathContext& context) : state_(state), context_(context) {}

  // Everything but the last component, with rights. Errors: NoEntry (also for an empty path), NotDirectory, Access, SymlinkLoop, NameTooLong.
  Result<LastComponent> to_last(const DentryRef& at, std::string_view path);
  // Looks the last component up, mounts crossed; a symbolic link is not followed. Negative where the name does not exist.
  Result<DentryRef> find(const LastComponent& last);
  // Where the symbolic link `link`, found in `directory`, leads: one more path, or an object.
  struct Target {
    DentryRef object;  // of a magic link
    std::string path;
  };
  Result<Target> follow(const DentryRef& link);
  // All of it: never negative.
  Result<DentryRef> resolve(const DentryRef& at, std::string_view path, Follow last);

  DentryRef up(const DentryRef& from) const;
  Status may_search(const DentryRef& directory) const;

 private:
  DentryRef start(const DentryRef& at, std::string_view path) const;
  Result<DentryRef> step(const DentryRef& directory, std::string_view name);

  Vfs::State& state_;
  const PathContext& context_;
  unsigned links_followed_ = 0;
};

bool is_symlink(const Dentry& d);
bool is_directory(const Dentry& d);

}  // namespace vitro::fs
