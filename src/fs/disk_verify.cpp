#include "fs/disk_verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "fs/disk_format.h"
#include "vitro/fs/types.h"

namespace vitro::fs {
namespace {

using disk::kBlock;

class Checker {
 public:
  explicit Checker(const hw::Disk& disk) : disk_(disk), blocks_(disk.size().value() / kBlock) {}

  Result<void, std::string> run() {
    if (blocks_ < disk::kSmallestDisk) return wrong("it is too small");
    const auto first = TRY(read(0));
    std::memcpy(&super_, first.data(), sizeof super_);
    if (super_.magic != disk::kMagic || super_.checksum != disk::checksum_of(super_) || !disk::plausible(super_, blocks_)) return wrong("its superblock is damaged");
    used_blocks_ = TRY(bitmap(super_.block_bitmap_start, blocks_));
    used_slots_ = TRY(bitmap(super_.inode_bitmap_start, super_.inodes));
    owner_.assign(blocks_, 0);
    for (uint32_t b = 0; b < super_.data_start; ++b) owner_[b] = 1;
    if (!used_slots_[super_.volume_table]) return wrong("its table of roots is gone");
    for (uint32_t slot = 1; slot < super_.inodes; ++slot)
      if (used_slots_[slot]) TRY(inode(slot));
    for (const auto& [slot, i] : inodes_)
      if ((i.mode & kTypeMask) == kDirectory) TRY(directory(slot, i));
    TRY(roots());
    for (const auto& [slot, i] : inodes_) {
      if (slot == super_.volume_table) continue;
      if (!inodes_.contains(i.volume)) return wrong(fmt::format("inode {} belongs to no tree", slot));
      const uint64_t names = names_.contains(slot) ? names_.at(slot) : 0;
      const bool of_host = i.flags & disk::kInodeHasLower;
      if ((i.mode & kTypeMask) == kDirectory) {
        if (names > 1) return wrong(fmt::format("directory {} has {} names", slot, names));
      } else if (!of_host && names != i.links) {
        return wrong(fmt::format("inode {} has {} names and {} links", slot, names, i.links));
      }
    }
    for (uint64_t b = 0; b < blocks_; ++b)
      if (used_blocks_[b] != (owner_[b] != 0)) return wrong(fmt::format("block {} is marked {} and is {}", b, used_blocks_[b] ? "used" : "free", owner_[b] ? "used" : "nobody's"));
    return {};
  }

 private:
  static tl::unexpected<std::string> wrong(std::string what) { return tl::unexpected(std::move(what)); }

  Result<std::vector<std::byte>, std::string> read(uint64_t number) const {
    std::vector<std::byte> block(kBlock);
    if (!disk_.peek(number * (kBlock / hw::Disk::kSectorSize), block)) return wrong(fmt::format("block {} cannot be read", number));
    return block;
  }
  Result<std::vector<bool>, std::string> bitmap(uint32_t start, uint64_t bits) const {
    std::vector<bool> result(bits);
    for (uint64_t i = 0; i < bits; i += kBlock * 8) {
      const auto block = TRY(read(start + i / (kBlock * 8)));
      for (uint64_t k = 0; k < kBlock * 8 && i + k < bits; ++k) result[i + k] = static_cast<uint8_t>(block[k / 8]) >> (k % 8) & 1;
    }
    return result;
  }
  Result<void, std::string> own(uint32_t block, uint32_t slot) {
    if (block < super_.data_start || block >= blocks_) return wrong(fmt::format("inode {} names block {}, which is none of the files'", slot, block));
    if (owner_[block]) return wrong(fmt::format("block {} is named by inode {} and by another", block, slot));
    owner_[block] = slot + 1;
    return {};
  }
  Result<void, std::string> map(unsigned level, uint64_t index, uint32_t number, uint32_t slot) {
    TRY(own(number, slot));
    if (level == 0) {
      pages_[slot][index] = number;
      return {};
    }
    const auto block = TRY(read(number));
    for (uint64_t i = 0; i < disk::kMapFanout; ++i) {
      uint32_t below = 0;
      std::memcpy(&below, block.data() + i * 4, 4);
      if (below) TRY(map(level - 1, (index << 10) + i, below, slot));
    }
    return {};
  }
  Result<void, std::string> inode(uint32_t slot) {
    const auto block = TRY(read(super_.inode_table_start + slot / disk::kInodesPerBlock));
    disk::Inode i;
    std::memcpy(&i, block.data() + slot % disk::kInodesPerBlock * sizeof i, sizeof i);
    if (i.checksum != disk::checksum_of(i)) return wrong(fmt::format("inode {} is damaged", slot));
    const uint32_t type = i.mode & kTypeMask;
    if (type != kRegular && type != kDirectory && type != kSymlink && type != kFifo && type != kSocket && type != kCharDevice && type != kBlockDevice)
      return wrong(fmt::format("inode {} has mode {:o}", slot, i.mode));
    if (i.accessed_ns >= 1'000'000'000 || i.modified_ns >= 1'000'000'000 || i.changed_ns >= 1'000'000'000 || i.born_ns >= 1'000'000'000)
      return wrong(fmt::format("inode {} has no valid time", slot));
    for (uint32_t p = 0; p < disk::kDirectPages; ++p)
      if (i.direct[p]) TRY(map(0, p, i.direct[p], slot));
    for (unsigned k = 0; k < disk::kMapLevels; ++k)
      if (i.roots[k]) TRY(map(k + 1, 0, i.roots[k], slot));
    if (i.text) TRY(own(i.text, slot));
    if (((i.flags & disk::kInodeHasLower) || type == kSymlink) && !i.text) return wrong(fmt::format("inode {} has lost its text", slot));
    if (i.text) {
      const auto text = TRY(read(i.text));
      const int zeros = i.flags & disk::kInodeHasLower ? 3 : 1;
      if (std::count(text.begin(), text.end(), std::byte{0}) < zeros) return wrong(fmt::format("the text of inode {} has no end", slot));
    }
    inodes_[slot] = i;
    return {};
  }
  // The names in a block: each with its inode.
  template <class Visit>
  Result<void, std::string> names(uint32_t number, Visit visit) {
    const auto block = TRY(read(number));
    for (size_t at = 0; at + sizeof(disk::EntryHeader) <= kBlock;) {
      disk::EntryHeader e;
      std::memcpy(&e, block.data() + at, sizeof e);
      if (e.length == 0) break;
      if (e.length != disk::entry_size(e.name_length) || e.name_length == 0 || at + e.length > kBlock) return wrong(fmt::format("block {} holds no names", number));
      TRY(visit(std::string(reinterpret_cast<const char*>(block.data()) + at + sizeof e, e.name_length), e.inode));
      at += e.length;
    }
    return {};
  }
  Result<void, std::string> directory(uint32_t slot, const disk::Inode& i) {
    if (i.size % kBlock || i.size / kBlock > blocks_) return wrong(fmt::format("directory {} is {} bytes long", slot, i.size));
    if (slot == super_.volume_table) return {};
    std::set<std::string> seen;
    for (const auto& [page, number] : pages_[slot]) {
      if (page >= i.size / kBlock) return wrong(fmt::format("directory {} goes on beyond its end", slot));
      TRY(names(number, [&](const std::string& name, uint32_t target) -> Result<void, std::string> {
        if (!seen.insert(name).second || name.find('/') != std::string::npos || name == "." || name == "..")
          return wrong(fmt::format("directory {} has the name '{}' that cannot be", slot, name));
        if (target == disk::kWhiteoutInode) return {};
        if (!inodes_.contains(target) || inodes_.at(target).volume != i.volume) return wrong(fmt::format("'{}' in directory {} leads nowhere", name, slot));
        ++names_[target];
        return {};
      }));
    }
    return {};
  }
  Result<void, std::string> roots() {
    const disk::Inode& table = inodes_.at(super_.volume_table);
    if (!table.direct[0]) return wrong("its table of roots is gone");
    return names(table.direct[0], [&](const std::string& name, uint32_t slot) -> Result<void, std::string> {
      if (!inodes_.contains(slot) || (inodes_.at(slot).mode & kTypeMask) != kDirectory || inodes_.at(slot).volume != slot)
        return wrong(fmt::format("the root of '{}' is no directory", name));
      return {};
    });
  }

  const hw::Disk& disk_;
  const uint64_t blocks_;
  disk::Superblock super_{};
  std::vector<bool> used_blocks_, used_slots_;
  std::vector<uint32_t> owner_;
  std::map<uint32_t, disk::Inode> inodes_;
  std::map<uint32_t, std::map<uint64_t, uint32_t>> pages_;
  std::map<uint32_t, uint64_t> names_;
};

}  // namespace

Result<void, std::string> verify_disk(const hw::Disk& disk) { return Checker(disk).run(); }

}  // namespace vitro::fs
