// Opening a disk, blocks and inode slots, and the transfers of file data.
#include "fs/disk_volume.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "fs/disk_tree.h"
#include "fs/disk_verify.h"
#include "vitro/base/check.h"
#include "vitro/mm/address_space.h"
#include "vitro/mm/writeback.h"

namespace vitro::fs {
namespace {

constexpr unsigned kMostRequests = 256;       // BLKDEV_DEFAULT_RQ, doubled by the scheduler (block/blk-mq-sched.c)
constexpr uint64_t kDeviceNumber = 254 << 8;  // vda

bool bit(const std::vector<uint64_t>& words, uint64_t i) { return words[i / 64] >> (i % 64) & 1; }

}  // namespace

using disk::kBlock;

DiskVolume::DiskVolume(hw::Disk& disk, Blocking& blocking) : disk_(disk), blocking_(blocking), access_(disk, blocking) {
  layout_ = disk::layout_of(std::max(disk.size().value() / kBlock, disk::kSmallestDisk));
  writing_->volume = this;
}

DiskVolume::~DiskVolume() {
  writing_->volume = nullptr;
  if (timer_ && clock_) clock_->cancel(*timer_);
}

Result<void, UserError> DiskVolume::open(Vfs& vfs) {
  if (open_) return {};
  const uint64_t blocks = disk_.size().value() / kBlock;
  if (blocks < disk::kSmallestDisk)
    return fail(UserError{fmt::format("a disk of {} bytes is too small for a file system", disk_.size().value()), fmt::format("give --disk at least {}K", disk::kSmallestDisk * 4)});
  vfs_ = &vfs;
  vm_ = vfs.services().vm;
  layout_ = disk::layout_of(blocks);
  words_.assign((blocks + 63) / 64, 0);
  slot_words_.assign((uint64_t{layout_.inodes} + 64) / 64, 0);
  journal_ = std::make_unique<Journal>(access_, layout_);
  std::vector<std::byte> first(kBlock);
  if (!access_.peek(0, first)) return fail(UserError{"the disk's first block cannot be read", "use another image"});
  const bool empty = std::ranges::all_of(first, [](std::byte b) { return b == std::byte{0}; });
  TRY(empty ? format() : load());
  if (vm_) {
    clock_ = vm_->writeback().clock();
    cache_ = std::make_unique<mm::PageCache>(*vm_, *this, mm::FrameState::BlockCache, kDeviceNumber, kDeviceNumber);
  }
  open_ = true;
  if (!empty) drop_orphans();
  return {};
}

Result<void, UserError> DiskVolume::format() {
  const auto failed = [] { return fail(UserError{"the disk cannot be written", "use another image"}); };
  std::vector<std::byte> block(kBlock);
  for (uint64_t b = 0; b < layout_.data_start; ++b) words_[b / 64] |= uint64_t{1} << (b % 64);
  if (layout_.blocks % 64) words_.back() |= ~uint64_t{0} << (layout_.blocks % 64);  // what lies beyond the end is never free
  free_ = layout_.blocks - layout_.data_start;
  next_ = layout_.data_start;
  for (uint32_t i = layout_.block_bitmap_start; i < layout_.inode_bitmap_start; ++i) dirty_bitmaps_.insert(i);
  slot_words_[0] = 3;  // no slot has the number 0; 1 is the table of roots
  used_slots_.insert(layout_.volume_table);
  free_slots_ = layout_.inodes - 2;
  dirty_slot_bitmaps_.insert(layout_.inode_bitmap_start);
  roots_block_ = static_cast<uint32_t>(take());
  roots_dirty_ = true;
  // The bitmaps go out at once, so that the disk is whole from here on; the superblock comes last.
  class Direct final : public BlockWriter {
   public:
    std::span<std::byte> block(uint32_t number) override {
      auto& b = blocks[number];
      b.resize(kBlock);
      return b;
    }
    std::map<uint32_t, std::vector<std::byte>> blocks;
  } direct;
  write_own_blocks(direct);
  for (const auto& [number, bytes] : direct.blocks)
    if (std::ranges::any_of(bytes, [](std::byte b) { return b != std::byte{0}; }) && !access_.poke(number, bytes)) return failed();
  if (!journal_->format()) return failed();
  std::memcpy(block.data(), &layout_, sizeof layout_);
  if (!access_.poke(0, block)) return failed();
  return {};
}

Result<void, UserError> DiskVolume::load() {
  const auto refuse = [](const std::string& why) { return fail(UserError{fmt::format("the disk image cannot be used: {}", why), "use another image, or remove this one to start afresh"}); };
  std::vector<std::byte> block(kBlock);
  if (!access_.peek(0, block)) return refuse("it cannot be read");
  disk::Superblock super;
  std::memcpy(&super, block.data(), sizeof super);
  if (super.magic != disk::kMagic) return refuse("it holds no file system of vitro");
  if (super.version != disk::kVersion) return refuse(fmt::format("its format has version {}, this vitro knows {}", super.version, disk::kVersion));
  if (super.checksum != disk::checksum_of(super)) return refuse("its superblock is damaged");
  if (!disk::plausible(super, layout_.blocks)) return refuse(fmt::format("its superblock speaks of {} blocks, it has {}", super.blocks, layout_.blocks));
  if (auto recovered = journal_->recover(); !recovered) return refuse(recovered.error());
  if (auto sound = verify_disk(disk_); !sound) return refuse(sound.error());

  const auto load_bitmap = [&](uint32_t start, uint32_t end, std::vector<uint64_t>& words) {
    for (uint32_t b = start; b < end; ++b) {
      read_block(b, block);
      const size_t at = uint64_t{b - start} * (kBlock / 8);
      for (size_t i = 0; i < kBlock / 8 && at + i < words.size(); ++i) std::memcpy(&words[at + i], block.data() + i * 8, 8);
    }
  };
  load_bitmap(layout_.block_bitmap_start, layout_.inode_bitmap_start, words_);
  load_bitmap(layout_.inode_bitmap_start, layout_.inode_table_start, slot_words_);
  uint64_t used = 0;
  for (const uint64_t w : words_) used += static_cast<uint64_t>(std::popcount(w));
  free_ = words_.size() * 64 - used;
  next_ = layout_.data_start;
  for (uint32_t slot = 1; slot < layout_.inodes; ++slot)
    if (bit(slot_words_, slot)) used_slots_.insert(slot);
  free_slots_ = layout_.inodes - 1 - used_slots_.size();

  roots_block_ = read_inode(layout_.volume_table).direct[0];
  read_block(roots_block_, block);
  for (size_t at = 0; at + sizeof(disk::EntryHeader) <= kBlock;) {
    disk::EntryHeader e;
    std::memcpy(&e, block.data() + at, sizeof e);
    if (e.length == 0) break;
    roots_[std::string(reinterpret_cast<const char*>(block.data()) + at + sizeof e, e.name_length)] = e.inode;
    at += e.length;
  }
  return {};
}

// Files that had no name any more when the machine stopped.
void DiskVolume::drop_orphans() {
  std::vector<uint32_t> orphans;
  for (const uint32_t slot : used_slots_)
    if (slot != layout_.volume_table && read_inode(slot).links == 0) orphans.push_back(slot);
  for (const uint32_t slot : orphans) {
    const disk::Inode inode = read_inode(slot);
    for (const uint32_t b : inode.direct)
      if (b) free_block(b);
    const std::function<void(unsigned, uint32_t)> drop = [&](unsigned level, uint32_t block) {
      if (level > 0) {
        std::vector<std::byte> bytes(kBlock);
        read_block(block, bytes);
        for (uint32_t i = 0; i < disk::kMapFanout; ++i) {
          uint32_t below = 0;
          std::memcpy(&below, bytes.data() + i * 4, 4);
          if (below) drop(level - 1, below);
        }
      }
      level > 0 ? free_metadata(block) : free_block(block);
    };
    for (unsigned k = 0; k < disk::kMapLevels; ++k)
      if (inode.roots[k]) drop(k + 1, inode.roots[k]);
    if (inode.text) free_metadata(inode.text);
    free_slot(slot);
  }
}

Result<void, std::string> DiskVolume::check() { return verify_disk(disk_); }

// ---- blocks ----

void DiskVolume::mark_bit(uint64_t block, bool used) {
  const uint64_t mask = uint64_t{1} << (block % 64);
  if (used) words_[block / 64] |= mask;
  else words_[block / 64] &= ~mask;
  dirty_bitmaps_.insert(layout_.block_bitmap_start + static_cast<uint32_t>(block / (kBlock * 8)));
}

// Next fit, so that what is written together lies together.
uint64_t DiskVolume::take() {
  CHECK(free_ > 0, "the block bitmap disagrees with its count");
  const uint64_t words = words_.size();
  uint64_t w = next_ / 64;
  uint64_t open = ~words_[w] & (~uint64_t{0} << (next_ % 64));
  while (open == 0) {
    w = w + 1 == words ? 0 : w + 1;
    open = ~words_[w];
  }
  const uint64_t block = w * 64 + static_cast<uint64_t>(std::countr_zero(open));
  mark_bit(block, true);
  --free_;
  next_ = block + 1 >= layout_.blocks ? 0 : block + 1;
  note_change(0);
  return block;
}

Result<uint64_t> DiskVolume::allocate_block() {
  if (free_ <= reserved_) return fail(Errno::NoSpace);
  return take();
}

Status DiskVolume::reserve_blocks(uint64_t count) {
  if (count > free_ - reserved_) return fail(Errno::NoSpace);
  reserved_ += count;
  return {};
}

void DiskVolume::unreserve_blocks(uint64_t count) {
  CHECK(count <= reserved_, "{} blocks given back, {} reserved", count, reserved_);
  reserved_ -= count;
}

uint64_t DiskVolume::allocate_reserved_block() {
  CHECK(reserved_ > 0, "no block was reserved");
  --reserved_;
  return take();
}

void DiskVolume::free_block(uint64_t block) {
  CHECK(block >= layout_.data_start && block < layout_.blocks && bit(words_, block), "block {} of {} is free already", block, layout_.blocks);
  const bool fresh = freed_.insert(static_cast<uint32_t>(block)).second;
  CHECK(fresh, "block {} is freed twice", block);
  dirty_bitmaps_.insert(layout_.block_bitmap_start + static_cast<uint32_t>(block / (kBlock * 8)));
  note_change(0);
}

void DiskVolume::free_metadata(uint32_t block) {
  free_block(block);
  revoked_.push_back(block);
}

void DiskVolume::read_blocks(uint64_t first, std::span<const std::span<std::byte>> blocks, Done done) {
  if (blocking_.may_wait()) return disk_.submit_read(first * DiskAccess::kSectors, hw::Disk::Into(blocks.begin(), blocks.end()), std::move(done));
  Status result;
  for (size_t i = 0; i < blocks.size() && result; ++i) result = access_.peek(first + i, blocks[i]);
  done(result);
}

void DiskVolume::write_blocks(uint64_t first, std::span<const std::span<const std::byte>> blocks, Done done) {
  if (!blocking_.may_wait()) {
    Status result;
    for (size_t i = 0; i < blocks.size() && result; ++i) result = access_.poke(first + i, blocks[i]);
    return done(result);
  }
  hw::Disk::From pieces(blocks.begin(), blocks.end());
  while (writing_->count >= kMostRequests)
    if (!blocking_.wait(writing_->room, Interruptible::No)) break;
  ++writing_->count;
  disk_.submit_write(first * DiskAccess::kSectors, std::move(pieces), [writing = writing_, done = std::move(done)](Status s) {
    --writing->count;
    writing->room.wake_one();
    done(s);
  });
}

// The lower layer shares this disk's queue and latency, as if its files lay here.
void DiskVolume::charge_read(Bytes n, Done done) {
  const uint64_t sectors = std::min((n.value() + hw::Disk::kSectorSize - 1) / hw::Disk::kSectorSize, layout_.blocks * DiskAccess::kSectors);
  if (sectors == 0 || !timed()) return done({});
  auto buffer = std::make_shared<std::vector<std::byte>>(sectors * hw::Disk::kSectorSize);
  disk_.submit_read(0, std::span(*buffer), [buffer, done = std::move(done)](Status s) { done(s); });
}

// ---- inode slots ----

Result<uint32_t> DiskVolume::allocate_slot() {
  if (free_slots_ == 0) return fail(Errno::NoSpace);
  while (bit(slot_words_, next_slot_)) next_slot_ = next_slot_ + 1 >= layout_.inodes ? 2 : next_slot_ + 1;
  const uint32_t slot = next_slot_;
  slot_words_[slot / 64] |= uint64_t{1} << (slot % 64);
  used_slots_.insert(slot);
  cleared_slots_.erase(slot);
  --free_slots_;
  dirty_slot_bitmaps_.insert(layout_.inode_bitmap_start + slot / static_cast<uint32_t>(kBlock * 8));
  note_change();
  return slot;
}

void DiskVolume::free_slot(uint32_t slot) {
  CHECK(bit(slot_words_, slot), "inode slot {} is free already", slot);
  slot_words_[slot / 64] &= ~(uint64_t{1} << (slot % 64));
  used_slots_.erase(slot);
  cleared_slots_.insert(slot);
  ++free_slots_;
  next_slot_ = std::min(next_slot_, slot);
  dirty_slot_bitmaps_.insert(layout_.inode_bitmap_start + slot / static_cast<uint32_t>(kBlock * 8));
  note_change();
}

uint32_t DiskVolume::root_slot(const std::string& name) const {
  const auto it = roots_.find(name);
  return it == roots_.end() ? 0 : it->second;
}

void DiskVolume::set_root_slot(const std::string& name, uint32_t slot) {
  uint64_t size = 0;
  for (const auto& [n, s] : roots_) size += disk::entry_size(n.size());
  // A tree whose name does not fit is not found again; its slots are its own all the same.
  if (name.size() > 255 || size + disk::entry_size(name.size()) > kBlock) return;
  roots_[name] = slot;
  roots_dirty_ = true;
  note_change();
}

// ---- reading metadata, untimed: what the page cache has is newer than the disk ----

void DiskVolume::read_block(uint32_t number, std::span<std::byte> into) {
  if (cache_) {
    if (const auto frame = cache_->find(PageIndex{number})) {
      std::ranges::copy(vm_->physical().ram().read(frame->address(), Bytes{kBlock}), into.begin());
      return;
    }
  }
  if (!access_.peek(number, into)) std::ranges::fill(into, std::byte{0});
}

disk::Inode DiskVolume::read_inode(uint32_t slot) {
  std::vector<std::byte> block(kBlock);
  read_block(inode_block(slot), block);
  disk::Inode inode;
  std::memcpy(&inode, block.data() + slot % disk::kInodesPerBlock * sizeof inode, sizeof inode);
  return inode;
}

void DiskVolume::touch(uint32_t block) {
  if (cache_ && blocking_.may_wait()) (void)cache_->get(PageIndex{block});
}

// ---- the block device's page cache ----

void DiskVolume::count_io(mm::VmItem item, uint64_t blocks) {
  if (vm_ && timed()) vm_->physical().stat().add(item, static_cast<int64_t>(blocks * DiskAccess::kSectors));
}

void DiskVolume::read_pages(PageIndex first, Into pages, Done done) {
  count_io(mm::VmItem::pgpgin, pages.size());
  read_blocks(first.value(), pages, std::move(done));
}

void DiskVolume::write_pages(PageIndex first, From pages, Done done) {
  count_io(mm::VmItem::pgpgout, pages.size());
  std::vector<uint64_t> logged;
  for (size_t i = 0; i < pages.size(); ++i) logged.push_back(journal_->logged_in(static_cast<uint32_t>(first.value() + i)));
  write_blocks(first.value(), pages, [writing = writing_, first, logged = std::move(logged), done = std::move(done)](Status s) {
    if (s && writing->volume)
      for (size_t i = 0; i < logged.size(); ++i)
        if (logged[i]) writing->volume->journal_->written_home(static_cast<uint32_t>(first.value() + i), logged[i]);
    done(s);
  });
}

}  // namespace vitro::fs
