// The file system behind the root overlay, tmpfs, devtmpfs and memfd: a tree of nodes in host memory, file data in page caches over the simulated
// disk (overlay) or in shared memory (tmpfs), and for the overlay a lower layer of host trees.
//
// A file of the lower layer is known by its host identity, so it can be found again by any of its names once it has changed: copying up is
// remembering its node, nothing is copied until pages are written. A renamed directory takes its lower path along.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fs/disk_tree.h"
#include "fs/tree_node.h"
#include "vitro/fs/inode.h"
#include "vitro/fs/vfs.h"
#include "vitro/mm/frame.h"
#include "vitro/mm/kernel_object.h"
#include "vitro/mm/vm_stat.h"

namespace vitro::fs {

struct TreeConfig {
  std::string type_name;
  uint64_t magic = 0;
  mm::KernelCache inode_cache = mm::KernelCache::ShmemInodeCache;
  mm::FrameState pages = mm::FrameState::Shmem;
  BlockStore* store = nullptr;         // null: contents are memory
  DiskVolume* volume = nullptr;        // the store, where files are kept on it
  std::string name;                    // which of the volume's trees this is: where it is mounted
  uint64_t page_limit = UINT64_MAX;    // without a store
  uint64_t max_file_size = kMaxOffset;
  uint32_t root_mode = 0755;
  bool only_world_readable = true;     // of the lower layer
};

class TreeFileSystem final : public FileSystem, public std::enable_shared_from_this<TreeFileSystem> {
 public:
  TreeFileSystem(Vfs& vfs, TreeConfig config);
  ~TreeFileSystem() override;
  std::string_view type_name() const override { return config_.type_name; }
  std::shared_ptr<Inode> root() override;
  FileSystemStatistics statistics() override;
  uint64_t device() const override { return device_; }
  Status sync() override;
  ErrorSequence* write_errors() override { return config_.store ? &write_errors_ : nullptr; }
  Vfs* vfs() override { return &vfs_; }
  uint64_t cached_inodes() const override { return lru_.size(); }
  uint64_t unused_inodes() const override;
  size_t shrink_inodes(size_t count) override;

  const TreeConfig& config() const { return config_; }
  TreeNode& root_node() { return *nodes_.at(kRootNumber); }
  TreeNode& node(uint64_t number) { return *nodes_.at(number); }
  const TreeNode* find_node(uint64_t number) const {
    const auto it = nodes_.find(number);
    return it == nodes_.end() ? nullptr : it->second.get();
  }

  // ---- What is kept on the disk: nothing happens, and nothing fails, without a volume ----
  DiskTree* disk() { return disk_.get(); }
  // Before an operation that changes something; the last thing that may wait.
  Status begin_change(uint64_t blocks = 8) { return config_.volume ? config_.volume->begin_change(blocks) : Status{}; }
  Status keep_on_disk(TreeNode& node) { return disk_ ? disk_->keep(node) : Status{}; }
  Status reserve_name(TreeNode& directory, std::string_view name) { return disk_ ? disk_->reserve_name(directory, name) : Status{}; }
  void mark(TreeNode& node, DiskTree::What what = DiskTree::What::Data) {
    if (disk_) disk_->mark(node, what);
  }
  // Takes back a node that got no name.
  void discard_node(TreeNode& node);
  // Once the lower layer's trees are known: what the disk has.
  void load();
  bool restored() const { return restored_; }
  // A node that the disk knows: by its lower file, where that is still there and nobody's yet.
  TreeNode& restore_node(uint32_t slot, const Lower* lower);
  std::unique_ptr<Lower> find_lower(const std::string& tree, const std::string& path) const;
  const std::string& tree_name(const HostTree& tree) const { return tree_names_.at(&tree); }

  // ---- Nodes and the inodes on top of them (for TreeInode and for setting a tree up) ----
  TreeNode& make_node(uint32_t mode, uint32_t uid, uint32_t gid);
  // The node of a lower file: the one that is known, or a fresh one. IoError, Access.
  Result<TreeNode*> lower_node(const HostTree& tree, const std::string& path);
  // NoEntry; Access where the lower directory is closed to others.
  Result<TreeNode*> find_child(TreeNode& directory, std::string_view name);
  // The inode of a node; `memory` is used up where one has to be made. Null where it is needed and empty.
  std::shared_ptr<TreeInode> inode_of(TreeNode& node, mm::SlabObject& memory);
  Result<mm::SlabObject> charge_inode();
  void add_name(TreeNode& directory, std::string_view name, TreeNode& child);
  void remove_name(TreeNode& directory, std::string_view name);
  // One name fewer (a directory: none left); the node goes when its last user does.
  void drop_link(TreeNode& node);
  void touch_directory(TreeNode& directory);
  // A node whose inode is in use has got its first name: the cache keeps it from now on.
  void keep(TreeNode& node);
  bool is_empty(TreeNode& directory, Status& trouble);
  uint64_t guest_number(uint64_t host_device, uint64_t host_inode);
  // Whether "others" on the host may do this with the lower file (4 read, 1 search).
  bool lower_allows(const TreeNode& node, unsigned rights) const;
  // Makes parent directories as needed; for setting up. NotDirectory.
  Result<TreeNode*> ensure_directory(std::string_view path, uint32_t mode = 0755);

  // `name`: where the guest sees it.
  const HostTree& add_tree(std::unique_ptr<HostTree> tree, std::string name) {
    tree_names_[tree.get()] = std::move(name);
    return *trees_.emplace_back(std::move(tree));
  }
  HostDescriptors& host_descriptors() { return host_descriptors_; }

  // ---- Storage ----
  Status reserve_page(TreeNode& node, uint64_t page);
  // Gives up the pages of [first, last].
  void release_pages(TreeNode& node, uint64_t first, uint64_t last);
  BlockStore* store() { return config_.store; }
  // Counts a transfer in /proc/vmstat, in sectors (block/blk-core.c: submit_bio).
  void count_io(mm::VmItem item, Bytes n);

  // The inode object of `node` is being destroyed.
  void inode_gone(TreeNode& node);
  // Forgets a node that nobody uses and nothing needs.
  void forget_if_dead(TreeNode& node);

 private:
  static constexpr uint64_t kRootNumber = 2;               // as ext4's
  static constexpr uint64_t kFirstOwnNumber = uint64_t{1} << 40;
  static constexpr uint64_t kFirstMappedNumber = uint64_t{1} << 48;

  Vfs& vfs_;
  TreeConfig config_;
  uint64_t device_;
  bool closing_ = false;
  ErrorSequence write_errors_;
  std::map<uint64_t, std::unique_ptr<TreeNode>> nodes_;
  IntrusiveList<TreeNode, &TreeNode::lru_link> lru_;       // nodes with a cached inode, least recently looked up first
  uint64_t next_number_ = kFirstOwnNumber;
  uint64_t pages_used_ = 0;                                // without a store
  HostDescriptors host_descriptors_;
  std::vector<std::unique_ptr<HostTree>> trees_;
  std::map<const HostTree*, std::string> tree_names_;
  std::unique_ptr<DiskTree> disk_;
  bool restored_ = false;
  std::vector<uint64_t> host_devices_;                     // in order of encounter
  std::map<std::pair<uint64_t, uint64_t>, uint64_t> mapped_numbers_;
};

}  // namespace vitro::fs
