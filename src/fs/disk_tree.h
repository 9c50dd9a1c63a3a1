// A TreeFileSystem's files on a DiskVolume: what has changed since the last commit, and how it is written and read.
#pragma once

#include <map>
#include <set>
#include <string>

#include "fs/disk_node.h"
#include "fs/disk_volume.h"
#include "fs/tree_node.h"

namespace vitro::fs {

class TreeFileSystem;

class DiskTree {
 public:
  DiskTree(TreeFileSystem& fs, DiskVolume& volume, std::string name);
  ~DiskTree();
  DiskVolume& volume() { return volume_; }
  uint32_t root_slot() const { return root_slot_; }

  // Makes the nodes that the disk has of this tree; the root's slot is made where there is none. The lower layer's trees must be known.
  void load();

  // ---- Told of changes, before they are made where they can fail ----
  // The node gets a slot, so that it is kept from now on. NoSpace, NameTooLong (the place in the lower layer fits in no block), ReadOnly.
  Status keep(TreeNode& node);
  // Room for one more name. NoSpace. The directory is kept.
  Status reserve_name(TreeNode& directory, std::string_view name);
  void add_name(TreeNode& directory, std::string_view name);
  void remove_name(TreeNode& directory, std::string_view name);
  // A block for a page that has none, and the map blocks that lead to it. NoSpace. The page is BlockMap::kReserved then.
  Status reserve_page(TreeNode& node, uint64_t page);
  // A page's block has been chosen or given up.
  void page_mapped(TreeNode& node, uint64_t page);
  // Pages of [first, last] were given up: map blocks that nothing needs go as well.
  void pages_removed(TreeNode& node, uint64_t first, uint64_t last);
  enum class What : bool { Times, Data };
  void mark(TreeNode& node, What what = What::Data);
  // The node is no more.
  void forget(TreeNode& node);
  // Whether the node has changes that are not committed; `what` Data: other than times.
  bool uncommitted(const TreeNode& node, What what) const;

  // ---- A commit ----
  // Chooses blocks that were set aside, and tells every block that write() will write: `read` says whether the old contents matter.
  void prepare(const std::function<void(uint32_t block, bool read)>& need);
  void write(BlockWriter& to);

 private:
  struct Located {
    std::string tree, path;
  };
  void load_map(TreeNode& node, const disk::Inode& inode);
  void load_names(TreeNode& node, const std::map<uint32_t, uint64_t>& number_of);
  std::string text_of(const TreeNode& node) const;
  void write_inode(const TreeNode& node, std::span<std::byte> block) const;
  void write_names(TreeNode& node, uint32_t page, std::span<std::byte> block) const;
  void write_map(const TreeNode& node, uint64_t key, std::span<std::byte> block) const;
  void release(uint32_t block);
  uint32_t slot_of(uint64_t number) const;

  TreeFileSystem& fs_;
  DiskVolume& volume_;
  const std::string name_;
  uint32_t root_slot_ = 0;
  std::set<uint64_t> dirty_;  // numbers of nodes
};

}  // namespace vitro::fs
