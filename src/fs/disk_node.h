// What a node of a tree on the disk has there: its inode slot, the blocks that map its contents, where its names lie.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "fs/disk_format.h"

namespace vitro::fs {

struct DiskNode {
  uint32_t slot = 0;
  uint64_t size = 0;                        // what the inode says (i_disksize): never beyond what has been given blocks
  std::map<uint64_t, uint32_t> map_blocks;  // map_key() -> block; 0: set aside, chosen at the next commit
  std::set<uint64_t> dirty_maps;

  // Directories: each name is in the block `where` says; blocks are written from `entries`.
  struct NameBlock {
    uint32_t used = 0;
    std::set<std::string, std::less<>> names;
  };
  std::vector<NameBlock> name_blocks;
  std::map<std::string, uint32_t, std::less<>> where;
  uint32_t room_hint = 0;                   // no block before this one has room worth looking for
  std::set<uint32_t> dirty_names;

  uint32_t text = 0;                        // block with the link's target or the lower layer's place
  bool text_reserved = false, text_dirty = false;
  uint32_t flags = 0;                       // disk::kInode*, and the lower file as it was
  uint64_t lower_size = 0;
  int64_t lower_modified = 0;
  bool dirty = false;                       // the inode differs from the disk's
  bool dirty_data = false;                  // in more than times: fdatasync(2) has to commit it
};

// Nodes of the map tree: level 1 names pages, level k nodes of level k - 1.
constexpr uint64_t map_key(unsigned level, uint64_t index) { return uint64_t{level} << 56 | index; }
constexpr unsigned map_level(uint64_t key) { return static_cast<unsigned>(key >> 56); }
constexpr uint64_t map_index(uint64_t key) { return key & ((uint64_t{1} << 56) - 1); }
// The depth of the tree that holds a page; 0: the inode names it.
constexpr unsigned map_depth(uint64_t page) {
  if (page < disk::kDirectPages) return 0;
  unsigned depth = 1;
  while (page >> (10 * depth)) ++depth;
  return depth;
}

}  // namespace vitro::fs
