// What lies where on the simulated disk, little-endian, in blocks of 4 KiB (docs/disk.md).
//
//   block 0        superblock
//   journal        a superblock of its own, then a ring of transactions: descriptor, blocks, commit
//   block bitmap   one bit a block of the disk
//   inode bitmap   one bit an inode
//   inode table    256 bytes an inode, one inode for 16 KiB of disk
//   data           contents of files, directories, map blocks, long names
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace vitro::fs::disk {

inline constexpr uint64_t kBlock = 4096;
inline constexpr std::array<char, 8> kMagic{'V', 'I', 'T', 'R', 'O', 'D', 'S', 'K'};
inline constexpr uint32_t kVersion = 1;
inline constexpr uint32_t kJournalMagic = 0x4c4e524a;  // "JRNL"
inline constexpr uint64_t kSmallestDisk = 48;          // blocks

struct Superblock {
  std::array<char, 8> magic;
  uint32_t version, block_size;
  uint64_t blocks;             // of the disk
  uint32_t inodes;             // slots 1..inodes; 0 names none
  uint32_t journal_start, journal_blocks;
  uint32_t block_bitmap_start, inode_bitmap_start, inode_table_start, data_start;
  uint32_t volume_table;       // slot of the directory whose entries are the roots, by mount point
  uint32_t checksum;           // of the bytes above
};

inline constexpr uint32_t kDirectPages = 12;
inline constexpr uint32_t kMapFanout = 1024;
inline constexpr unsigned kMapLevels = 4;

// A slot of the inode table; mode 0: free. Pages 0..11 are named by `direct`; page p < 1024^k (the smallest such k) by the map tree of depth k
// whose top is roots[k - 1].
struct Inode {
  uint32_t mode, uid, gid, links;
  uint64_t size, lower_bytes, device;
  int64_t accessed, modified, changed, born;
  uint32_t accessed_ns, modified_ns, changed_ns, born_ns;
  uint32_t volume;             // slot of the root of the tree it belongs to; its own in a root
  uint32_t parent;             // directories: slot of the parent, 0 where that is not on the disk
  uint32_t flags;
  uint32_t text;               // block with the symbolic link's target or the place in the lower layer; 0: none
  std::array<uint32_t, kDirectPages> direct;
  std::array<uint32_t, kMapLevels> roots;
  uint64_t lower_size;         // the lower file as it was: one that has changed is not read any more
  int64_t lower_modified;
  uint32_t reserved[17];
  uint32_t checksum;           // of the bytes above
};
static_assert(sizeof(Inode) == 256);
inline constexpr uint32_t kInodesPerBlock = kBlock / sizeof(Inode);
inline constexpr uint32_t kInodeHasLower = 1;  // `text` says where in the lower layer it lies: "tree\0path\0"

// Directory blocks hold entries one after the other; inode 0 with length 0 ends the block early.
struct EntryHeader {
  uint32_t inode;              // slot; kWhiteoutInode: hides a name of the lower layer
  uint16_t length;             // of the whole entry, a multiple of 4
  uint8_t name_length, type;
};
static_assert(sizeof(EntryHeader) == 8);
inline constexpr uint32_t kWhiteoutInode = 0xffffffff;
constexpr uint32_t entry_size(size_t name) { return static_cast<uint32_t>((sizeof(EntryHeader) + name + 3) & ~size_t{3}); }

struct JournalHeader {
  uint32_t magic, type;        // 1 superblock, 2 descriptor, 3 commit
  uint64_t sequence;
  uint32_t first;              // superblock: offset in the ring of the oldest transaction that counts
  uint32_t tags, revokes;      // descriptor: numbers that follow, of blocks in this transaction and of blocks that older ones must not restore
  uint32_t checksum;           // commit: of all blocks of the transaction before it; superblock: of the bytes above
};
static_assert(sizeof(JournalHeader) == 32);
inline constexpr uint32_t kTagsPerDescriptor = (kBlock - sizeof(JournalHeader)) / 4;

// CRC-32C.
uint32_t checksum(std::span<const std::byte> bytes, uint32_t seed = 0);
template <class T>
uint32_t checksum_of(const T& t) {
  return checksum(std::as_bytes(std::span{&t, 1}).first(offsetof(T, checksum)));
}

// The layout of a disk of `blocks` blocks (at least kSmallestDisk).
Superblock layout_of(uint64_t blocks);
// Whether the numbers in a superblock fit together and into a disk of `blocks` blocks.
bool plausible(const Superblock& s, uint64_t blocks);

}  // namespace vitro::fs::disk
