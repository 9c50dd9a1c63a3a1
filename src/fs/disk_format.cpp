#include "fs/disk_format.h"

#include <algorithm>

namespace vitro::fs::disk {
namespace {

constexpr std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = c & 1 ? 0x82f63b78u ^ (c >> 1) : c >> 1;
    table[i] = c;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kTable = make_table();

constexpr uint64_t up(uint64_t n, uint64_t unit) { return (n + unit - 1) / unit; }

}  // namespace

uint32_t checksum(std::span<const std::byte> bytes, uint32_t seed) {
  uint32_t c = ~seed;
  for (const std::byte b : bytes) c = kTable[(c ^ static_cast<uint32_t>(b)) & 0xff] ^ (c >> 8);
  return ~c;
}

Superblock layout_of(uint64_t blocks) {
  Superblock s{};
  s.magic = kMagic;
  s.version = kVersion;
  s.block_size = kBlock;
  s.blocks = blocks;
  s.inodes = static_cast<uint32_t>(std::max<uint64_t>(up(blocks, 4 * kInodesPerBlock), 1) * kInodesPerBlock);
  s.journal_start = 1;
  s.journal_blocks = static_cast<uint32_t>(std::clamp<uint64_t>(blocks / 32, 16, 16384));  // 64 MiB at most, like mke2fs
  s.block_bitmap_start = s.journal_start + s.journal_blocks;
  s.inode_bitmap_start = s.block_bitmap_start + static_cast<uint32_t>(up(blocks, kBlock * 8));
  s.inode_table_start = s.inode_bitmap_start + static_cast<uint32_t>(up(uint64_t{s.inodes} + 1, kBlock * 8));
  s.data_start = s.inode_table_start + s.inodes / kInodesPerBlock;
  s.volume_table = 1;
  s.checksum = checksum_of(s);
  return s;
}

bool plausible(const Superblock& s, uint64_t blocks) {
  if (blocks < kSmallestDisk || s.blocks != blocks) return false;
  const Superblock expected = layout_of(blocks);
  const auto bytes = [](const Superblock& b) { return std::as_bytes(std::span{&b, 1}).first(offsetof(Superblock, checksum) + sizeof b.checksum); };
  return std::ranges::equal(bytes(s), bytes(expected));
}

}  // namespace vitro::fs::disk
