// What a writable file system remembers of one file, whether or not anybody uses it: the "inode on disk". Names are entries of directories, so
// the tree of nodes holds no pointers and can be as deep as a guest likes.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "fs/block_map.h"
#include "fs/disk_node.h"
#include "fs/host_tree.h"
#include "vitro/base/intrusive_list.h"
#include "vitro/fs/types.h"

namespace vitro::fs {

class TreeInode;

// The file of the lower layer that a node began as.
struct Lower {
  const HostTree* tree;
  std::string path;  // inside the tree
  HostAttributes host;
};

struct TreeNode {
  static constexpr uint64_t kWhiteout = 0;  // an entry that hides a name of the lower layer

  uint64_t number = 0;
  uint32_t mode = 0, uid = 0, gid = 0;
  uint64_t links = 0;
  uint64_t special_device = 0;
  uint64_t size = 0;
  Time accessed, modified, changed, born;
  std::string link_target;

  // Directories. With `lower`, names that are not here are looked for there.
  std::map<std::string, uint64_t, std::less<>> entries;  // name -> node number, or kWhiteout
  uint64_t version = 0;
  uint64_t parent = 0;

  // Regular files. A page is in its block; without one it is the lower layer's below `lower_bytes`, and zero beyond.
  BlockMap blocks;
  uint64_t lower_bytes = 0;

  std::unique_ptr<Lower> lower;
  bool changed_here = false;  // differs from the lower layer (or has none), so it must be remembered
  std::unique_ptr<DiskNode> disk;  // what it has on the disk; null: nothing of it is kept there
  bool linkable = false;      // has no name yet, but may get one (O_TMPFILE)

  // The inode in memory: `cached` keeps it between uses.
  std::shared_ptr<TreeInode> cached;
  std::weak_ptr<TreeInode> live;
  std::shared_ptr<TreeInode> swap_file;  // itself, as long as it is a swap area (S_SWAPFILE)
  ListLink lru_link;          // in the list of cached inodes

  uint32_t type() const { return mode & kTypeMask; }
};

}  // namespace vitro::fs
