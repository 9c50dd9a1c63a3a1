// The file system on the simulated disk: who owns which block and inode slot, and how metadata gets there. Trees (disk_tree.h) keep their files in it.
//
// What is on the disk changes by transactions. A tree's changes are made in host memory, and a commit writes them, as they are at one moment, to the
// blocks of the block device's page cache (Buffers), from there to the journal, and later, like any dirty page, to where they belong.
//
// - A freed block is not given away before the transaction that frees it has committed.
// - A commit waits for the data that was written to blocks it makes part of files (data=ordered).
// - Blocks that hold metadata are set aside when the need arises, so that a commit never lacks one: what fails is the system call, with ENOSPC.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fs/disk_format.h"
#include "fs/journal.h"
#include "vitro/fs/vfs.h"
#include "vitro/mm/page_cache.h"
#include "vitro/mm/ports.h"

namespace vitro::fs {

class DiskTree;

// Where a tree writes one block of metadata during a commit.
class BlockWriter {
 public:
  virtual ~BlockWriter() = default;
  virtual std::span<std::byte> block(uint32_t number) = 0;
};

class DiskVolume final : public BlockStore, public mm::FileBacking {
 public:
  using Done = BlockStore::Done;
  DiskVolume(hw::Disk& disk, Blocking& blocking);
  ~DiskVolume() override;

  // Before the first tree is mounted: opens what is on the disk, or makes an empty file system on an empty disk. Again: nothing happens.
  Result<void, UserError> open(Vfs& vfs);

  // ---- BlockStore ----
  Result<uint64_t> allocate_block() override;
  void free_block(uint64_t block) override;
  void read_blocks(uint64_t first, std::span<const std::span<std::byte>> blocks, Done done) override;
  void write_blocks(uint64_t first, std::span<const std::span<const std::byte>> blocks, Done done) override;
  bool timed() const override { return blocking_.may_wait(); }
  void charge_read(Bytes n, Done done) override;
  uint64_t total_blocks() const override { return layout_.blocks - layout_.data_start; }
  uint64_t free_blocks() const override { return free_ + freed_.size() - reserved_; }
  Status reserve_blocks(uint64_t count) override;
  void unreserve_blocks(uint64_t count) override;
  uint64_t allocate_reserved_block() override;
  void run_commits(const std::function<bool()>& should_stop) override;
  Status close() override;
  Result<void, std::string> check() override;

  hw::Disk& disk() { return disk_; }

  // ---- Inode slots ----
  uint64_t total_slots() const { return layout_.inodes - 1; }
  uint64_t free_slots() const { return free_slots_; }
  Result<uint32_t> allocate_slot();  // NoSpace
  void free_slot(uint32_t slot);
  const std::set<uint32_t>& slots_in_use() const { return used_slots_; }
  // The slot of the root of the tree mounted at `name`; 0: the disk has none yet.
  uint32_t root_slot(const std::string& name) const;
  void set_root_slot(const std::string& name, uint32_t slot);

  // ---- Metadata ----
  void add_tree(DiskTree& tree) { trees_.push_back(&tree); }
  void remove_tree(DiskTree& tree) { std::erase(trees_, &tree); }
  disk::Inode read_inode(uint32_t slot);
  void read_block(uint32_t number, std::span<std::byte> into);
  // A tree has something to commit, about `blocks` more blocks of it.
  void note_change(uint64_t blocks = 1);
  // Before an operation that changes metadata or takes `blocks` blocks; what follows does not wait. Waits for a commit where the running transaction is
  // as large as one may get, or has freed blocks that are wanted now (fs/ext4/balloc.c: ext4_should_retry_alloc). ReadOnly: a commit has failed,
  // and nothing can be changed any more.
  Status begin_change(uint64_t blocks = 8);
  // A block of metadata is not needed any more.
  void free_metadata(uint32_t block);
  // Reads a block into the block device's page cache, as looking at an inode or a directory does; an error is nobody's yet.
  void touch(uint32_t block);
  uint32_t inode_block(uint32_t slot) const { return layout_.inode_table_start + slot / disk::kInodesPerBlock; }

  // Data is on its way to blocks that the running transaction makes part of a file: the number of the write, to be ended.
  uint64_t begin_ordered_write();
  void end_ordered_write(uint64_t number);

  // Commits everything that has changed up to now, and waits. IoError, ReadOnly.
  Status commit();
  // Where there is nothing to commit: makes what was written safe from power loss.
  Status flush() { return access_.flush(); }
  bool committing() const { return committing_; }
  uint64_t running() const { return running_; }
  uint64_t committed() const { return committed_; }
  mm::PageCache* block_cache() { return cache_.get(); }

 private:
  // mm::FileBacking: the block device itself.
  void read_pages(PageIndex first, Into pages, Done done) override;
  void write_pages(PageIndex first, From pages, Done done) override;
  Bytes size() const override { return Bytes{layout_.blocks * disk::kBlock}; }

  struct Commit;
  Status commit_running();
  Status gather(Commit& c);
  // Bitmaps, cleared slots, the table of roots.
  void need_own_blocks(const std::function<void(uint32_t, bool)>& need);
  void write_own_blocks(BlockWriter& to);
  Status make_room(uint64_t size);
  void abort(const char* why);
  Result<void, UserError> format();
  Result<void, UserError> load();
  void drop_orphans();
  void mark_bit(uint64_t block, bool used);
  uint64_t take();
  void arm_timer();
  void count_io(mm::VmItem item, uint64_t blocks);

  hw::Disk& disk_;
  Blocking& blocking_;
  DiskAccess access_;
  disk::Superblock layout_{};
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<mm::PageCache> cache_;
  Vfs* vfs_ = nullptr;
  mm::VirtualMemory* vm_ = nullptr;
  hw::Clock* clock_ = nullptr;
  bool open_ = false;
  std::string aborted_;                     // why; empty: it works

  // Blocks. A set bit is in use, or freed by a transaction that has not committed.
  std::vector<uint64_t> words_;
  uint64_t free_ = 0, reserved_ = 0, next_ = 0;
  std::set<uint32_t> freed_;                // by the running transaction
  std::vector<uint32_t> revoked_;           // of these, those that held metadata
  std::set<uint32_t> dirty_bitmaps_;        // numbers of bitmap blocks
  // Slots.
  std::vector<uint64_t> slot_words_;
  std::set<uint32_t> used_slots_;
  uint64_t free_slots_ = 0;
  uint32_t next_slot_ = 2;
  std::set<uint32_t> cleared_slots_, dirty_slot_bitmaps_;
  std::map<std::string, uint32_t> roots_;
  uint32_t roots_block_ = 0;
  bool roots_dirty_ = false;

  std::vector<DiskTree*> trees_;
  bool changed_ = false;
  uint64_t pending_ = 0;                    // blocks that the running transaction may need, at most
  uint64_t running_ = 1, committed_ = 0;
  bool committing_ = false;
  WaitQueue commit_done_, commit_wanted_, ordered_done_;
  bool commit_due_ = false;
  std::optional<hw::Clock::EventId> timer_;
  std::set<uint64_t> ordered_;
  uint64_t next_ordered_ = 1;
  struct Writing {  // outlives the volume in the disk's callbacks
    unsigned count = 0;
    WaitQueue room;
    DiskVolume* volume = nullptr;
  };
  std::shared_ptr<Writing> writing_ = std::make_shared<Writing>();
};

}  // namespace vitro::fs
