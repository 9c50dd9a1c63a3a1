// An inode of a TreeFileSystem in memory: operations on its node, and the page cache of its contents.
#pragma once

#include <memory>

#include "fs/tree_fs.h"
#include "vitro/mm/page_cache.h"
#include "vitro/mm/ports.h"
#include "vitro/mm/swap.h"

namespace vitro::fs {

class TreeInode final : public Inode, public mm::FileBacking {
 public:
  TreeInode(TreeFileSystem& fs, TreeNode& node, mm::SlabObject memory) : fs_(fs), node_(node), memory_(std::move(memory)) {}
  ~TreeInode() override;
  FileSystem& file_system() override { return fs_; }
  Attributes attributes() override;
  Status set_attributes(const AttributeChange& change) override;

  Result<std::shared_ptr<Inode>> lookup(std::string_view name) override;
  Result<std::shared_ptr<Inode>> create(std::string_view name, uint32_t mode, const Credentials& who) override;
  Result<std::shared_ptr<Inode>> make_directory(std::string_view name, uint32_t mode, const Credentials& who) override;
  Result<std::shared_ptr<Inode>> make_symlink(std::string_view name, std::string_view target, const Credentials& who) override;
  Result<std::shared_ptr<Inode>> make_node(std::string_view name, uint32_t mode, uint64_t device, const Credentials& who) override;
  Result<std::shared_ptr<Inode>> create_unnamed(uint32_t mode, const Credentials& who) override;
  Status link(std::string_view name, Inode& target) override;
  Status unlink(std::string_view name) override;
  Status remove_directory(std::string_view name) override;
  Status rename(std::string_view name, Inode& new_directory, std::string_view new_name, unsigned flags) override;
  Status list(uint64_t offset, const std::function<bool(const DirectoryEntry&)>& visit) override;
  uint64_t directory_version() override { return node_.version; }
  Result<std::string> read_link() override;

  Result<std::shared_ptr<File>> open(unsigned flags, const OpenContext& context) override;
  mm::PageCache* page_cache() override;
  Status sync(Sync what, Bytes from, Bytes to) override;
  ErrorSequence* write_errors() override { return pages_ && fs_.store() ? &pages_->write_errors() : nullptr; }
  Result<uint64_t> prepare_write(uint64_t offset, uint64_t count) override;
  void content_written(uint64_t end) override;
  void content_read() override;
  Status allocate(int mode, uint64_t offset, uint64_t length) override;
  uint64_t max_size() const override { return fs_.config().max_file_size; }

  // mm::FileBacking
  void read_pages(PageIndex first, Into pages, Done done) override;
  void write_pages(PageIndex first, From pages, Done done) override;
  Status reserve_page_of(PageIndex index) override;
  std::shared_ptr<void> hold() override { return shared_from_this(); }
  Bytes size() const override { return Bytes{node_.size}; }

  // mm/memfd.c: memfd_file_seals_ptr: every file of a tmpfs has them.
  uint32_t* seals() override { return !fs_.store() && node_.type() == kRegular ? &seals_ : nullptr; }

  Result<mm::SwapSource> lend_to_swap();  // see disk_device.h
  TreeNode& node() { return node_; }
  bool has_pages() const { return pages_ && pages_->cached_pages() != Pages{0}; }

 private:
  // Makes a child: checks that this directory still exists and has no such name.
  Result<std::shared_ptr<Inode>> make_child(std::string_view name, uint32_t mode, const Credentials& who, std::string_view target, uint64_t device);
  Status may_add(std::string_view name);
  Status reserve_removal(std::string_view name, TreeNode& child);
  Status resize(uint64_t size);
  Result<uint64_t> reserve_range(uint64_t offset, uint64_t count);
  void read_lower(uint64_t page, Into pages, Done done);
  Status zero_range(uint64_t from, uint64_t to);
  void changed() {
    node_.changed = fs_.vfs()->now(), node_.changed_here = true;
    fs_.mark(node_);
  }

  TreeFileSystem& fs_;
  TreeNode& node_;
  mm::SlabObject memory_;
  std::unique_ptr<mm::PageCache> pages_;
  uint32_t seals_ = kSealSeal;   // only a memfd that asked for it can be sealed further
};

}  // namespace vitro::fs
