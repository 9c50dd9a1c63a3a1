// Committing: what has changed goes to the journal as it is at one moment (fs/jbd2/commit.c: jbd2_journal_commit_transaction).
#include <algorithm>
#include <cstring>

#include "fs/disk_tree.h"
#include "fs/disk_volume.h"
#include "vitro/base/check.h"
#include "vitro/mm/address_space.h"
#include "vitro/mm/writeback.h"

namespace vitro::fs {

using disk::kBlock;

namespace {
constexpr Nanoseconds kCommitInterval = seconds(5);  // JBD2_DEFAULT_MAX_COMMIT_AGE
}

// One transaction on its way. The pages of its blocks are held until it is in the journal.
struct DiskVolume::Commit final : BlockWriter {
  explicit Commit(DiskVolume& v) : volume(v) {}
  ~Commit() override {
    for (const auto& [number, frame] : pages) volume.vm_->put_page(frame);
  }
  std::span<std::byte> block(uint32_t number) override {
    const auto it = pages.find(number);
    CHECK(it != pages.end(), "block {} was not prepared", number);
    touched.insert(number);
    return volume.vm_->physical().ram().write(it->second.address(), Bytes{kBlock});
  }
  DiskVolume& volume;
  std::map<uint32_t, Pfn> pages;
  std::set<uint32_t> touched;
};

void DiskVolume::arm_timer() {
  if (!clock_ || timer_ || !open_) return;
  timer_ = clock_->schedule(clock_->now() + kCommitInterval, [this] {
    timer_.reset();
    commit_due_ = true;
    commit_wanted_.wake_all();
  });
}

void DiskVolume::note_change(uint64_t blocks) {
  changed_ = true;
  pending_ += blocks;
  arm_timer();
}

Status DiskVolume::begin_change(uint64_t blocks) {
  if (!aborted_.empty()) return fail(Errno::ReadOnly);
  if (!vm_ || !blocking_.may_wait()) return {};
  // Half of the journal is as much as one transaction should be; the other half is for what one operation may add.
  const bool large = pending_ + dirty_bitmaps_.size() + dirty_slot_bitmaps_.size() > journal_->capacity() / 2;
  if (large || (free_ - reserved_ < blocks && !freed_.empty())) TRY(commit());
  return {};
}

uint64_t DiskVolume::begin_ordered_write() {
  ordered_.insert(next_ordered_);
  return next_ordered_++;
}

void DiskVolume::end_ordered_write(uint64_t number) {
  ordered_.erase(number);
  if (!ordered_done_.empty()) ordered_done_.wake_all();
}

void DiskVolume::run_commits(const std::function<bool()>& should_stop) {
  while (!should_stop()) {
    if (std::exchange(commit_due_, false)) (void)commit();
    else (void)blocking_.wait(commit_wanted_, Interruptible::Yes);
  }
}

Status DiskVolume::commit() {
  if (!vm_ || !open_) return {};
  if (!aborted_.empty()) return fail(Errno::IoError);
  const uint64_t wanted = running_;
  const bool anything = changed_;
  while (committing_) {
    if (!blocking_.may_wait()) return fail(Errno::Again);
    TRY(blocking_.wait(commit_done_, Interruptible::No));
  }
  if (!aborted_.empty()) return fail(Errno::IoError);
  if (committed_ >= wanted || (!changed_ && !anything)) return {};
  committing_ = true;
  const Status result = commit_running();
  committing_ = false;
  commit_done_.wake_all();
  return result;
}

// Everything that write() will touch is cached, held, and not on its way to the disk: a block must not reach its place before the journal.
Status DiskVolume::gather(Commit& c) {
  for (bool waited = true; waited;) {
    waited = false;
    std::map<uint32_t, bool> needed;
    const auto need = [&](uint32_t number, bool read) { needed[number] = needed[number] || read; };
    for (DiskTree* tree : trees_) tree->prepare(need);
    need_own_blocks(need);
    for (const uint32_t number : revoked_)
      if (cache_->find(PageIndex{number})) needed.try_emplace(number, false);
    for (const auto& [number, read] : needed) {
      const PageIndex index{number};
      if (!c.pages.contains(number)) {
        const bool there = cache_->find(index).has_value();
        const auto page = read ? cache_->get(index) : cache_->get_blank(index);
        if (!page) return fail(page.error());
        vm_->get_page(page->frame);
        c.pages.emplace(number, page->frame);
        waited = waited || !there;
      }
      if (vm_->physical().frames()[c.pages.at(number)].has(mm::FrameFlag::Writeback) && blocking_.may_wait()) {
        waited = true;
        TRY(cache_->wait_for_writing(index.offset(), (index + Pages{1}).offset()));
      }
      // Held, but perhaps not the cache's any more.
      if (cache_->find(index) != c.pages.at(number)) {
        vm_->put_page(c.pages.at(number));
        c.pages.erase(number);
        waited = true;
      }
    }
  }
  return {};
}

void DiskVolume::need_own_blocks(const std::function<void(uint32_t, bool)>& need) {
  for (const uint32_t b : dirty_bitmaps_) need(b, false);
  for (const uint32_t b : dirty_slot_bitmaps_) need(b, false);
  for (const uint32_t slot : cleared_slots_) need(inode_block(slot), true);
  if (roots_dirty_) need(roots_block_, false), need(inode_block(layout_.volume_table), true);
}

void DiskVolume::write_own_blocks(BlockWriter& to) {
  const auto write_bitmap = [&](uint32_t number, uint32_t start, const std::vector<uint64_t>& words) {
    const std::span<std::byte> block = to.block(number);
    const size_t at = uint64_t{number - start} * (kBlock / 8);
    for (size_t i = 0; i < kBlock / 8; ++i) {
      const uint64_t word = at + i < words.size() ? words[at + i] : 0;
      std::memcpy(block.data() + i * 8, &word, 8);
    }
  };
  for (const uint32_t b : dirty_bitmaps_) write_bitmap(b, layout_.block_bitmap_start, words_);
  for (const uint32_t b : freed_) {  // still marked in words_, so that nobody gets them before this is committed
    const std::span<std::byte> block = to.block(layout_.block_bitmap_start + static_cast<uint32_t>(b / (kBlock * 8)));
    block[b / 8 % kBlock] &= ~static_cast<std::byte>(1 << (b % 8));
  }
  for (const uint32_t b : dirty_slot_bitmaps_) write_bitmap(b, layout_.inode_bitmap_start, slot_words_);
  for (const uint32_t slot : cleared_slots_) std::ranges::fill(to.block(inode_block(slot)).subspan(slot % disk::kInodesPerBlock * sizeof(disk::Inode), sizeof(disk::Inode)), std::byte{0});
  if (roots_dirty_) {
    const std::span<std::byte> block = to.block(roots_block_);
    std::ranges::fill(block, std::byte{0});
    size_t at = 0;
    for (const auto& [name, slot] : roots_) {
      const disk::EntryHeader e{slot, static_cast<uint16_t>(disk::entry_size(name.size())), static_cast<uint8_t>(name.size()), 4};
      std::memcpy(block.data() + at, &e, sizeof e);
      std::memcpy(block.data() + at + sizeof e, name.data(), name.size());
      at += e.length;
    }
    disk::Inode table{};
    table.mode = kDirectory | 0700;
    table.links = 2;
    table.size = kBlock;
    table.direct[0] = roots_block_;
    table.checksum = disk::checksum_of(table);
    std::memcpy(to.block(inode_block(layout_.volume_table)).data() + layout_.volume_table * sizeof table, &table, sizeof table);
  }
}

Status DiskVolume::make_room(uint64_t size) {
  if (!journal_->has_room(size)) TRY(journal_->reclaim());
  if (journal_->has_room(size)) return {};
  // Everything that older transactions logged goes where it belongs.
  TRY(cache_->write_back());
  TRY(journal_->reclaim());
  return journal_->has_room(size) ? Status{} : fail(Errno::IoError);
}

void DiskVolume::abort(const char* why) {
  if (aborted_.empty()) aborted_ = why;
}

Status DiskVolume::commit_running() {
  Commit c(*this);
  // Room first: once a block is part of this transaction it stays out of its place until the commit, and so do the older transactions that logged it.
  for (;;) {
    if (Status s = gather(c); !s) {
      if (s.error() == Errno::NoMemory) return s;  // tried again by the next commit
      abort("metadata cannot be read");
      return fail(Errno::IoError);
    }
    const uint64_t most = std::min(Journal::size_of(c.pages.size(), revoked_.size()), journal_->capacity());
    if (journal_->has_room(most)) break;
    if (!make_room(most)) {
      abort("the journal has no room");
      return fail(Errno::IoError);
    }
  }

  // From here to the end of the copying nothing waits: this is the moment that the transaction describes.
  for (DiskTree* tree : trees_) tree->write(c);
  write_own_blocks(c);
  const std::set<uint32_t> freed = std::exchange(freed_, {});
  const std::vector<uint32_t> revoked = std::exchange(revoked_, {});
  dirty_bitmaps_.clear();
  dirty_slot_bitmaps_.clear();
  cleared_slots_.clear();
  roots_dirty_ = changed_ = false;
  pending_ = 0;
  const uint64_t number = running_++;
  const uint64_t ordered_before = next_ordered_;
  for (const uint32_t b : revoked) {
    journal_->forget(b);
    cache_->mark_clean(PageIndex{b});
  }
  std::vector<LoggedBlock> blocks;
  blocks.reserve(c.touched.size());
  for (const uint32_t b : c.touched) {
    const auto bytes = vm_->physical().ram().read(c.pages.at(b).address(), Bytes{kBlock});
    blocks.push_back({b, {bytes.begin(), bytes.end()}});
    cache_->mark_clean(PageIndex{b});  // not before it is in the journal
  }

  Status result;
  if (!blocks.empty() || !revoked.empty()) {
    const uint64_t size = Journal::size_of(blocks.size(), revoked.size());
    if (!journal_->has_room(size)) result = fail(Errno::NoSpace);
    if (result) {
      count_io(mm::VmItem::pgpgout, size);
      result = journal_->write(blocks, revoked, [&] {
        while (!ordered_.empty() && *ordered_.begin() < ordered_before)
          if (!blocking_.may_wait() || !blocking_.wait(ordered_done_, Interruptible::No)) break;
      });
    }
  }
  if (!result) {
    abort("the journal cannot be written");
    return fail(Errno::IoError);
  }
  for (const uint32_t b : c.touched) cache_->mark_dirty(PageIndex{b});
  for (const uint32_t b : revoked) cache_->drop_range(PageIndex{b}, Pages{1});
  for (const uint32_t b : freed) {
    words_[b / 64] &= ~(uint64_t{1} << (b % 64));  // the disk's bitmap says so already
    ++free_;
    disk_.discard(b * DiskAccess::kSectors, DiskAccess::kSectors);
  }
  committed_ = number;
  return {};
}

// The end of the machine: everything where it belongs, and an empty journal. Nothing waits any more.
Status DiskVolume::close() {
  if (!open_ || !vm_) return {};
  TRY(commit());
  TRY(cache_->write_back());
  return journal_->reclaim();
}

}  // namespace vitro::fs
