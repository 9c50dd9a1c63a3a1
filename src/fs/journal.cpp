#include "fs/journal.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "vitro/base/check.h"

namespace vitro::fs {

using disk::JournalHeader;
using disk::kBlock;

namespace {

enum : uint32_t { kSuperblock = 1, kDescriptor = 2, kCommit = 3 };

// A transfer that a task sleeps on. Shared with the disk's callback, which may come after the sleeper was turned away.
struct Pending {
  std::vector<std::byte> bytes;
  bool done = false;
  Status result;
  WaitQueue queue;
};

hw::Disk::Done finish(const std::shared_ptr<Pending>& p) {
  return [p](Status s) {
    p->result = s;
    p->done = true;
    p->queue.wake_all();
  };
}

Status wait_for(Blocking& blocking, Pending& p) {
  while (!p.done) TRY(blocking.wait(p.queue, Interruptible::No));
  return p.result;
}

std::vector<std::byte> header_block(const JournalHeader& h) {
  std::vector<std::byte> block(kBlock);
  std::memcpy(block.data(), &h, sizeof h);
  return block;
}

JournalHeader header_of(std::span<const std::byte> block) {
  JournalHeader h;
  std::memcpy(&h, block.data(), sizeof h);
  return h;
}

}  // namespace

Status DiskAccess::write(uint64_t block, std::vector<std::byte> bytes) {
  if (!blocking_.may_wait()) return disk_.poke(block * kSectors, bytes);
  auto p = std::make_shared<Pending>();
  p->bytes = std::move(bytes);
  disk_.submit_write(block * kSectors, std::span<const std::byte>(p->bytes), finish(p));
  return wait_for(blocking_, *p);
}

Status DiskAccess::flush() {
  if (!blocking_.may_wait()) return {};
  auto p = std::make_shared<Pending>();
  disk_.submit_flush(finish(p));
  return wait_for(blocking_, *p);
}

std::vector<std::byte> Journal::superblock(uint64_t sequence, uint64_t first) const {
  JournalHeader h{disk::kJournalMagic, kSuperblock, sequence, static_cast<uint32_t>(first), 0, 0, 0};
  h.checksum = disk::checksum_of(h);
  return header_block(h);
}

Status Journal::format() { return disk_.poke(start_, superblock(next_sequence_, 0)); }

uint64_t Journal::size_of(uint64_t blocks, uint64_t revokes) {
  return blocks + (blocks + revokes + disk::kTagsPerDescriptor - 1) / disk::kTagsPerDescriptor + 2;
}

Result<void, std::string> Journal::recover() {
  std::vector<std::byte> block(kBlock);
  const auto read = [&](uint64_t number) { return disk_.peek(number, block).has_value(); };
  if (!read(start_)) return tl::unexpected(std::string("its journal cannot be read"));
  const JournalHeader super = header_of(block);
  if (super.magic != disk::kJournalMagic || super.type != kSuperblock || super.checksum != disk::checksum_of(super) || super.first >= ring_)
    return tl::unexpected(std::string("its journal is damaged"));

  struct Found {
    uint64_t sequence;
    std::vector<std::pair<uint32_t, uint64_t>> blocks;  // number, and where its copy lies in the ring
    std::vector<uint32_t> revoked;
  };
  std::vector<Found> found;
  uint64_t offset = super.first, sequence = super.sequence, seen = 0;
  for (;; ++sequence) {
    Found t{sequence, {}, {}};
    uint32_t sum = 0;
    bool committed = false;
    uint64_t position = offset, length = 0;
    while (seen + length < ring_) {
      if (!read(at(position))) break;
      const JournalHeader h = header_of(block);
      if (h.magic != disk::kJournalMagic || h.sequence != sequence) break;
      ++position, ++length;
      if (h.type == kCommit) {
        committed = h.checksum == sum;
        break;
      }
      if (h.type != kDescriptor || h.tags > disk::kTagsPerDescriptor || h.revokes > disk::kTagsPerDescriptor - h.tags || seen + length + h.tags >= ring_) break;
      sum = disk::checksum(block, sum);
      std::vector<uint32_t> numbers(h.tags + h.revokes);
      std::memcpy(numbers.data(), block.data() + sizeof h, numbers.size() * 4);
      for (uint32_t i = 0; i < h.tags; ++i, ++position, ++length) {
        t.blocks.emplace_back(numbers[i], position);
        if (!read(at(position))) break;
        sum = disk::checksum(block, sum);
      }
      t.revoked.insert(t.revoked.end(), numbers.begin() + h.tags, numbers.end());
    }
    if (!committed) break;
    offset = position;
    seen += length;
    found.push_back(std::move(t));
  }

  std::map<uint32_t, uint64_t> revoked;
  for (const Found& t : found)
    for (const uint32_t b : t.revoked) revoked[b] = t.sequence;
  const uint64_t blocks = disk_.disk().size().value() / kBlock;
  for (const Found& t : found)
    for (const auto& [number, position] : t.blocks) {
      const auto r = revoked.find(number);
      if (r != revoked.end() && r->second >= t.sequence) continue;
      if (number >= blocks || (number >= start_ && number <= start_ + ring_)) return tl::unexpected(std::string("its journal is damaged"));
      if (!read(at(position)) || !disk_.poke(number, block)) return tl::unexpected(std::string("its journal cannot be replayed"));
    }
  next_sequence_ = sequence + 1;  // what a transaction cut short has left behind bears a number that never comes back
  head_ = used_ = 0;
  log_.clear();
  if (!disk_.poke(start_, superblock(next_sequence_, 0))) return tl::unexpected(std::string("its journal cannot be written"));
  return {};
}

Status Journal::reclaim() {
  bool any = false;
  uint64_t freed = 0;
  while (!log_.empty() && !unwritten_in_.contains(log_.front().sequence)) {
    freed += log_.front().size;
    log_.pop_front();
    any = true;
  }
  if (!any) return {};
  TRY(disk_.flush());
  const uint64_t sequence = log_.empty() ? next_sequence_ : log_.front().sequence;
  TRY(disk_.write(start_, superblock(sequence, log_.empty() ? head_ : log_.front().first)));
  TRY(disk_.flush());
  used_ -= freed;
  return {};
}

Status Journal::write(std::span<const LoggedBlock> blocks, std::span<const uint32_t> revoked, const std::function<void()>& before_commit) {
  const uint64_t size = size_of(blocks.size(), revoked.size()), sequence = next_sequence_;
  CHECK(has_room(size), "a transaction of {} blocks, {} of {} are in use", size, used_, ring_);
  uint32_t sum = 0;
  uint64_t position = head_;
  // Consecutive blocks of the ring go in one request.
  std::vector<std::byte> run;
  uint64_t run_start = 0;
  Status result;
  const auto flush_run = [&] {
    if (!run.empty() && result) result = disk_.write(run_start, std::move(run));
    run = {};
  };
  const auto append = [&](std::span<const std::byte> block) {
    const uint64_t number = at(position++);
    if (!run.empty() && run_start + run.size() / kBlock != number) flush_run();
    if (run.empty()) run_start = number;
    run.insert(run.end(), block.begin(), block.end());
    if (run.size() >= 256 * kBlock) flush_run();
  };
  size_t b = 0, r = 0;
  while (b < blocks.size() || r < revoked.size()) {
    const size_t tags = std::min<size_t>(blocks.size() - b, disk::kTagsPerDescriptor);
    const size_t revokes = std::min<size_t>(revoked.size() - r, disk::kTagsPerDescriptor - tags);
    std::vector<std::byte> descriptor =
        header_block({disk::kJournalMagic, kDescriptor, sequence, 0, static_cast<uint32_t>(tags), static_cast<uint32_t>(revokes), 0});
    for (size_t i = 0; i < tags; ++i) std::memcpy(descriptor.data() + sizeof(JournalHeader) + i * 4, &blocks[b + i].number, 4);
    for (size_t i = 0; i < revokes; ++i) std::memcpy(descriptor.data() + sizeof(JournalHeader) + (tags + i) * 4, &revoked[r + i], 4);
    sum = disk::checksum(descriptor, sum);
    append(descriptor);
    for (size_t i = 0; i < tags; ++i) {
      sum = disk::checksum(blocks[b + i].bytes, sum);
      append(blocks[b + i].bytes);
    }
    b += tags;
    r += revokes;
  }
  flush_run();
  TRY(result);
  before_commit();
  TRY(disk_.flush());
  JournalHeader commit{disk::kJournalMagic, kCommit, sequence, 0, 0, 0, sum};
  TRY(disk_.write(at(position++), header_block(commit)));
  TRY(disk_.flush());

  const uint64_t taken = position - head_;
  log_.push_back({sequence, head_ % ring_, taken});
  used_ += taken;
  head_ = position % ring_;
  ++next_sequence_;
  for (const LoggedBlock& block : blocks) {
    forget(block.number);
    unwritten_[block.number] = sequence;
    ++unwritten_in_[sequence];
  }
  return {};
}

uint64_t Journal::logged_in(uint32_t block) const {
  const auto it = unwritten_.find(block);
  return it == unwritten_.end() ? 0 : it->second;
}

void Journal::written_home(uint32_t block, uint64_t sequence) {
  const auto it = unwritten_.find(block);
  if (it == unwritten_.end() || it->second != sequence) return;
  unwritten_.erase(it);
  const auto count = unwritten_in_.find(sequence);
  if (--count->second == 0) unwritten_in_.erase(count);
}

}  // namespace vitro::fs
