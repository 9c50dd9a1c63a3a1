// A bitmap of the disk's blocks, next-fit, with delayed allocation; transfers wait for the disk where the caller is a task.
#include <algorithm>
#include <cstring>
#include <vector>

#include "vitro/base/check.h"
#include "vitro/fs/vfs.h"
#include "vitro/hw/disk.h"

namespace vitro::fs {
namespace {

constexpr uint64_t kSectorsPerBlock = kPageSize / hw::Disk::kSectorSize;

constexpr unsigned kMostRequests = 256;  // BLKDEV_DEFAULT_RQ, doubled by the scheduler (block/blk-mq-sched.c)

class DiskBlockStore final : public BlockStore {
 public:
  DiskBlockStore(hw::Disk& disk, Blocking& blocking)
      : disk_(disk), blocking_(blocking), total_(disk.size().value() / kPageSize), free_(total_), words_((total_ + 63) / 64) {
    if (total_ % 64) words_.back() = ~uint64_t{0} << (total_ % 64);  // what lies beyond the end is never free
  }

  Result<uint64_t> allocate_block() override {
    if (free_ - reserved_ == 0) return fail(Errno::NoSpace);
    return take();
  }
  Status reserve_blocks(uint64_t count) override {
    if (count > free_ - reserved_) return fail(Errno::NoSpace);
    reserved_ += count;
    return {};
  }
  void unreserve_blocks(uint64_t count) override {
    CHECK(count <= reserved_, "{} blocks given back, {} reserved", count, reserved_);
    reserved_ -= count;
  }
  uint64_t allocate_reserved_block() override {
    CHECK(reserved_ > 0, "no block was reserved");
    --reserved_;
    return take();
  }
  void free_block(uint64_t block) override {
    CHECK(block < total_ && (words_[block / 64] >> (block % 64) & 1), "block {} of {} is free already", block, total_);
    words_[block / 64] &= ~(uint64_t{1} << (block % 64));
    ++free_;
    disk_.discard(block * kSectorsPerBlock, kSectorsPerBlock);
  }

  void read_blocks(uint64_t first, std::span<const std::span<std::byte>> blocks, Done done) override {
    if (blocking_.may_wait()) return disk_.submit_read(first * kSectorsPerBlock, hw::Disk::Into(blocks.begin(), blocks.end()), std::move(done));
    Status result;
    for (size_t i = 0; i < blocks.size() && result; ++i) result = disk_.peek((first + i) * kSectorsPerBlock, blocks[i]);
    done(result);
  }
  void write_blocks(uint64_t first, std::span<const std::span<const std::byte>> blocks, Done done) override {
    if (!blocking_.may_wait()) {
      Status result;
      for (size_t i = 0; i < blocks.size() && result; ++i) result = disk_.poke((first + i) * kSectorsPerBlock, blocks[i]);
      return done(result);
    }
    hw::Disk::From pieces(blocks.begin(), blocks.end());
    while (writing_->count >= kMostRequests)
      if (!blocking_.wait(writing_->room, Interruptible::No)) break;
    ++writing_->count;
    disk_.submit_write(first * kSectorsPerBlock, std::move(pieces), [writing = writing_, done = std::move(done)](Status s) {
      --writing->count;
      writing->room.wake_one();
      done(s);
    });
  }
  // The lower layer shares this disk's queue and latency, as if its files lay here.
  bool timed() const override { return blocking_.may_wait(); }
  void charge_read(Bytes n, Done done) override {
    const uint64_t sectors = std::min((n.value() + hw::Disk::kSectorSize - 1) / hw::Disk::kSectorSize, total_ * kSectorsPerBlock);
    if (sectors == 0 || !timed()) return done({});
    auto buffer = std::make_shared<std::vector<std::byte>>(sectors * hw::Disk::kSectorSize);
    disk_.submit_read(0, std::span(*buffer), [buffer, done = std::move(done)](Status s) { done(s); });
  }
  uint64_t total_blocks() const override { return total_; }
  uint64_t free_blocks() const override { return free_ - reserved_; }

 private:
  uint64_t take() {
    CHECK(free_ > 0, "the block bitmap disagrees with its count");
    while (words_[next_ / 64] == ~uint64_t{0}) next_ = (next_ / 64 + 1) * 64 >= total_ ? 0 : (next_ / 64 + 1) * 64;
    while (words_[next_ / 64] >> (next_ % 64) & 1) {
      // From the middle of a word the free bit may lie below: go on to the next word and come round.
      if (++next_ >= total_) next_ = 0;
      if (next_ % 64 == 0)
        while (words_[next_ / 64] == ~uint64_t{0}) next_ = (next_ / 64 + 1) * 64 >= total_ ? 0 : (next_ / 64 + 1) * 64;
    }
    const uint64_t block = next_;
    words_[block / 64] |= uint64_t{1} << (block % 64);
    --free_;
    next_ = block + 1 >= total_ ? 0 : block + 1;
    return block;
  }
  struct Writing {  // outlives the store in the disk's callbacks
    unsigned count = 0;
    WaitQueue room;
  };

  hw::Disk& disk_;
  Blocking& blocking_;
  uint64_t total_, free_, reserved_ = 0, next_ = 0;
  std::shared_ptr<Writing> writing_ = std::make_shared<Writing>();
  std::vector<uint64_t> words_;  // a set bit is a block in use
};

}  // namespace

std::unique_ptr<BlockStore> make_block_store(hw::Disk& disk, Blocking& blocking) { return std::make_unique<DiskBlockStore>(disk, blocking); }

}  // namespace vitro::fs
