#include "vitro/fs/vfs_shrinker.h"

#include <algorithm>

#include "vitro/fs/vfs.h"

namespace vitro::fs {

uint64_t VfsShrinker::count(mm::Gfp gfp) {
  // Whoever holds locks of a file system must not wait for them here.
  if (!mm::has(gfp, mm::Gfp::Fs) || busy_) return 0;
  const uint64_t objects = vfs_.dentry_counts().unused + vfs_.inode_counts().unused;
  return objects / 100 * static_cast<uint64_t>(pressure_) + objects % 100 * static_cast<uint64_t>(pressure_) / 100;  // vfs_pressure_ratio
}

std::optional<uint64_t> VfsShrinker::scan(uint64_t n, mm::Gfp gfp) {
  if (!mm::has(gfp, mm::Gfp::Fs) || busy_) return std::nullopt;
  const uint64_t dentries = vfs_.dentry_counts().unused, inodes = vfs_.inode_counts().unused;
  if (dentries + inodes == 0) return std::nullopt;
  busy_ = true;
  // In proportion, dentries first: they hold the inodes.
  const uint64_t share = n * dentries / (dentries + inodes + 1);
  uint64_t freed = vfs_.shrink_dentries(std::min<uint64_t>(share + 1, n));
  freed += vfs_.shrink_inodes(n - std::min(share, n));
  busy_ = false;
  return freed;
}

}  // namespace vitro::fs
