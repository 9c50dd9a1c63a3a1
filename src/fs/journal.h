// The journal: metadata blocks go here first, so that a machine that stops at any moment leaves either all of a transaction or nothing of it
// (fs/jbd2/commit.c, recovery.c).
//
//   journal.write(blocks, revoked);      // on return they are safe; then they may be written where they belong
//   journal.written_home(block, seq);    // once they are: the transaction's room can be used again
//
// A ring of transactions: descriptor blocks with the numbers of what follows, those blocks, and a commit block whose checksum covers all of it.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fs/disk_format.h"
#include "vitro/base/result.h"
#include "vitro/base/wait_queue.h"
#include "vitro/hw/disk.h"

namespace vitro::fs {

// Whole blocks of a disk, waited for where the caller can wait and untimed where it cannot.
class DiskAccess {
 public:
  DiskAccess(hw::Disk& disk, Blocking& blocking) : disk_(disk), blocking_(blocking) {}
  Status write(uint64_t block, std::vector<std::byte> bytes);
  Status flush();
  Status peek(uint64_t block, std::span<std::byte> into) const { return disk_.peek(block * kSectors, into); }
  Status poke(uint64_t block, std::span<const std::byte> from) { return disk_.poke(block * kSectors, from); }
  hw::Disk& disk() { return disk_; }

  static constexpr uint64_t kSectors = disk::kBlock / hw::Disk::kSectorSize;

 private:
  hw::Disk& disk_;
  Blocking& blocking_;
};

struct LoggedBlock {
  uint32_t number;
  std::vector<std::byte> bytes;
};

class Journal {
 public:
  Journal(DiskAccess& disk, const disk::Superblock& layout) : disk_(disk), start_(layout.journal_start), ring_(layout.journal_blocks - 1) {}

  // An empty journal on a new disk.
  Status format();
  // Writes what committed transactions say to where it belongs, and empties the journal. Untimed. The error says what is wrong with it.
  Result<void, std::string> recover();

  // Blocks that one transaction of `blocks` blocks and `revokes` numbers takes in the ring.
  static uint64_t size_of(uint64_t blocks, uint64_t revokes);
  uint64_t capacity() const { return ring_; }
  // Room is left for a transaction of this size without anything being written home first.
  bool has_room(uint64_t size) const { return used_ + size <= ring_; }
  // Frees the room of transactions that are written home; they must be safe from power loss, so this flushes the disk. IoError.
  Status reclaim();

  // Writes one transaction; `before_commit` runs when everything but the commit block is on its way: it waits for what must be on the disk first.
  // IoError. There must be room.
  Status write(std::span<const LoggedBlock> blocks, std::span<const uint32_t> revoked, const std::function<void()>& before_commit);
  // The transaction that a block was last logged in; 0: it is written home.
  uint64_t logged_in(uint32_t block) const;
  void written_home(uint32_t block, uint64_t sequence);
  void forget(uint32_t block) { written_home(block, logged_in(block)); }
  uint64_t last_committed() const { return next_sequence_ - 1; }

 private:
  struct Transaction {
    uint64_t sequence, first, size;
  };
  uint64_t at(uint64_t offset) const { return start_ + 1 + offset % ring_; }
  std::vector<std::byte> superblock(uint64_t sequence, uint64_t first) const;

  DiskAccess& disk_;
  const uint64_t start_, ring_;
  uint64_t next_sequence_ = 1, head_ = 0, used_ = 0;
  std::deque<Transaction> log_;                  // on the disk, oldest first
  std::map<uint32_t, uint64_t> unwritten_;       // block -> transaction it was last logged in
  std::map<uint64_t, uint64_t> unwritten_in_;    // transaction -> how many such blocks
};

}  // namespace vitro::fs
