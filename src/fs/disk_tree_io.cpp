// A tree's inodes, directories and maps as bytes of the disk, and back.
#include <algorithm>
#include <cstring>
#include <functional>

#include "fs/disk_tree.h"
#include "fs/tree_fs.h"
#include "vitro/base/check.h"

namespace vitro::fs {

using disk::kBlock;

namespace {

uint32_t get32(std::span<const std::byte> block, uint64_t i) {
  uint32_t value = 0;
  std::memcpy(&value, block.data() + i * 4, 4);
  return value;
}

void put32(std::span<std::byte> block, uint64_t i, uint32_t value) { std::memcpy(block.data() + i * 4, &value, 4); }

Time time_of(int64_t seconds, uint32_t nanoseconds) {
  Time t;
  t.seconds = seconds;
  t.nanoseconds = nanoseconds;
  return t;
}

// What a page's place in a map says: its block, or 0.
uint32_t mapped_block(const TreeNode& node, uint64_t page) {
  const uint64_t value = node.blocks.get(page);
  return value == BlockMap::kHole || value == BlockMap::kReserved ? 0 : static_cast<uint32_t>(value - 1);
}

}  // namespace

// ---- writing ----

void DiskTree::prepare(const std::function<void(uint32_t, bool)>& need) {
  for (const uint64_t number : dirty_) {
    TreeNode& node = fs_.node(number);
    DiskNode& d = *node.disk;
    for (const uint32_t page : d.dirty_names) {
      if (page >= d.name_blocks.size()) continue;
      if (node.blocks.get(page) == BlockMap::kReserved) {
        node.blocks.set(page, volume_.allocate_reserved_block() + 1);
        if (map_depth(page) > 0) d.dirty_maps.insert(map_key(1, page >> 10));
      }
      need(mapped_block(node, page), false);
    }
    // Upwards: choosing a block changes the one above it.
    for (auto it = d.dirty_maps.begin(); it != d.dirty_maps.end(); ++it) {
      const auto block = d.map_blocks.find(*it);
      CHECK(block != d.map_blocks.end(), "a map block of inode {} was never set aside", number);
      if (block->second == 0) {
        block->second = static_cast<uint32_t>(volume_.allocate_reserved_block());
        const uint64_t above = map_key(map_level(*it) + 1, map_index(*it) >> 10);
        if (map_index(*it) != 0) d.dirty_maps.insert(above);  // index 0 hangs on the inode
      }
      need(block->second, false);
    }
    if (d.text_dirty) {
      if (d.text_reserved) {
        d.text = static_cast<uint32_t>(volume_.allocate_reserved_block());
        d.text_reserved = false;
      }
      need(d.text, false);
    }
    need(volume_.inode_block(d.slot), true);
  }
}

void DiskTree::write(BlockWriter& to) {
  for (const uint64_t number : dirty_) {
    TreeNode& node = fs_.node(number);
    DiskNode& d = *node.disk;
    for (const uint32_t page : d.dirty_names)
      if (page < d.name_blocks.size()) write_names(node, page, to.block(mapped_block(node, page)));
    for (const uint64_t key : d.dirty_maps) write_map(node, key, to.block(d.map_blocks.at(key)));
    if (d.text_dirty) {
      const std::span<std::byte> block = to.block(d.text);
      const std::string text = text_of(node);
      std::ranges::fill(block, std::byte{0});
      std::memcpy(block.data(), text.data(), text.size());
    }
    write_inode(node, to.block(volume_.inode_block(d.slot)));
    d.dirty_names.clear();
    d.dirty_maps.clear();
    d.text_dirty = d.dirty = d.dirty_data = false;
  }
  dirty_.clear();
}

void DiskTree::write_inode(const TreeNode& node, std::span<std::byte> block) const {
  const DiskNode& d = *node.disk;
  disk::Inode i{};
  i.mode = node.mode, i.uid = node.uid, i.gid = node.gid;
  i.links = static_cast<uint32_t>(node.links);
  i.size = node.type() == kRegular ? std::min(node.size, d.size) : node.type() == kDirectory ? d.name_blocks.size() * kBlock : node.size;
  i.lower_bytes = node.lower_bytes;
  i.device = node.special_device;
  i.accessed = node.accessed.seconds, i.accessed_ns = static_cast<uint32_t>(node.accessed.nanoseconds);
  i.modified = node.modified.seconds, i.modified_ns = static_cast<uint32_t>(node.modified.nanoseconds);
  i.changed = node.changed.seconds, i.changed_ns = static_cast<uint32_t>(node.changed.nanoseconds);
  i.born = node.born.seconds, i.born_ns = static_cast<uint32_t>(node.born.nanoseconds);
  i.volume = root_slot_;
  if (node.type() == kDirectory) i.parent = slot_of(node.parent);
  i.flags = d.flags;
  i.lower_size = d.lower_size;
  i.lower_modified = d.lower_modified;
  i.text = d.text;
  for (uint32_t p = 0; p < disk::kDirectPages; ++p) i.direct[p] = mapped_block(node, p);
  for (unsigned k = 0; k < disk::kMapLevels; ++k) {
    const auto root = d.map_blocks.find(map_key(k + 1, 0));
    i.roots[k] = root == d.map_blocks.end() ? 0 : root->second;
  }
  i.checksum = disk::checksum_of(i);
  std::memcpy(block.data() + d.slot % disk::kInodesPerBlock * sizeof i, &i, sizeof i);
}

void DiskTree::write_names(TreeNode& node, uint32_t page, std::span<std::byte> block) const {
  std::ranges::fill(block, std::byte{0});
  size_t at = 0;
  for (const std::string& name : node.disk->name_blocks[page].names) {
    const auto entry = node.entries.find(name);
    if (entry == node.entries.end()) continue;
    const uint32_t slot = entry->second == TreeNode::kWhiteout ? disk::kWhiteoutInode : slot_of(entry->second);
    if (slot == 0) continue;  // leads to what the machine shows of the host, and nothing of that has changed
    const uint32_t type = entry->second == TreeNode::kWhiteout ? 0 : fs_.node(entry->second).type() >> 12;
    const disk::EntryHeader e{slot, static_cast<uint16_t>(disk::entry_size(name.size())), static_cast<uint8_t>(name.size()), static_cast<uint8_t>(type)};
    std::memcpy(block.data() + at, &e, sizeof e);
    std::memcpy(block.data() + at + sizeof e, name.data(), name.size());
    at += e.length;
  }
}

void DiskTree::write_map(const TreeNode& node, uint64_t key, std::span<std::byte> block) const {
  const unsigned level = map_level(key);
  const uint64_t base = map_index(key) << 10;
  for (uint64_t i = 0; i < disk::kMapFanout; ++i) {
    uint32_t value = 0;
    if (level == 1) {
      if (base + i >= disk::kDirectPages) value = mapped_block(node, base + i);
    } else if (base + i > 0) {
      const auto child = node.disk->map_blocks.find(map_key(level - 1, base + i));
      if (child != node.disk->map_blocks.end()) value = child->second;
    }
    put32(block, i, value);
  }
}

// ---- reading ----

void DiskTree::load_map(TreeNode& node, const disk::Inode& inode) {
  for (uint32_t p = 0; p < disk::kDirectPages; ++p)
    if (inode.direct[p]) node.blocks.set(p, uint64_t{inode.direct[p]} + 1);
  const std::function<void(unsigned, uint64_t, uint32_t)> walk = [&](unsigned level, uint64_t index, uint32_t number) {
    node.disk->map_blocks.emplace(map_key(level, index), number);
    std::vector<std::byte> block(kBlock);
    volume_.read_block(number, block);
    for (uint64_t i = 0; i < disk::kMapFanout; ++i) {
      const uint32_t below = get32(block, i);
      if (below == 0) continue;
      if (level == 1) node.blocks.set((index << 10) + i, uint64_t{below} + 1);
      else walk(level - 1, (index << 10) + i, below);
    }
  };
  for (unsigned k = 0; k < disk::kMapLevels; ++k)
    if (inode.roots[k]) walk(k + 1, 0, inode.roots[k]);
}

void DiskTree::load_names(TreeNode& node, const std::map<uint32_t, uint64_t>& number_of) {
  DiskNode& d = *node.disk;
  d.name_blocks.resize(d.size / kBlock);
  std::vector<std::byte> block(kBlock);
  for (uint32_t page = 0; page < d.name_blocks.size(); ++page) {
    const uint32_t number = mapped_block(node, page);
    if (number == 0) {
      // A block of names that was never committed with names in it: set aside again.
      if (volume_.reserve_blocks(1)) node.blocks.set(page, BlockMap::kReserved);
      else d.name_blocks[page].used = kBlock;  // no room even for that: it takes no names
      continue;
    }
    volume_.read_block(number, block);
    for (size_t at = 0; at + sizeof(disk::EntryHeader) <= kBlock;) {
      disk::EntryHeader e;
      std::memcpy(&e, block.data() + at, sizeof e);
      if (e.length == 0) break;
      const std::string name(reinterpret_cast<const char*>(block.data()) + at + sizeof e, e.name_length);
      at += e.length;
      uint64_t target = TreeNode::kWhiteout;
      if (e.inode != disk::kWhiteoutInode) {
        const auto known = number_of.find(e.inode);
        if (known == number_of.end()) continue;
        target = known->second;
      }
      node.entries.insert_or_assign(name, target);
      d.where[name] = page;
      d.name_blocks[page].used += e.length;
      d.name_blocks[page].names.insert(name);
    }
  }
}

void DiskTree::load() {
  root_slot_ = volume_.root_slot(name_);
  TreeNode& root = fs_.root_node();
  if (root_slot_ == 0) {
    if (!keep(root)) return;  // no room for even that: nothing of this tree is kept
    root_slot_ = root.disk->slot;
    volume_.set_root_slot(name_, root_slot_);
    return;
  }
  std::map<uint32_t, uint64_t> number_of;
  std::map<uint32_t, disk::Inode> inodes;
  for (const uint32_t slot : volume_.slots_in_use()) {
    const disk::Inode i = volume_.read_inode(slot);
    if (i.mode == 0 || i.volume != root_slot_ || slot == 1) continue;
    std::string text;
    if (i.text) {
      std::vector<std::byte> block(kBlock);
      volume_.read_block(i.text, block);
      text.assign(reinterpret_cast<const char*>(block.data()), kBlock);
    }
    std::unique_ptr<Lower> lower;
    if (i.flags & disk::kInodeHasLower) {
      const std::string tree = text.c_str();
      if (tree.size() >= text.size()) continue;  // verify_disk() lets none of these pass
      const std::string path = text.substr(tree.size() + 1).c_str();
      text.erase(0, tree.size() + 1 + path.size() + 1);
      lower = fs_.find_lower(tree, path);
      // Contents that were left in a file which is another one now must not be mixed with it.
      if (lower && (i.mode & kTypeMask) == kRegular && i.lower_bytes > 0 && (lower->host.size != i.lower_size || lower->host.modified_seconds != i.lower_modified)) lower.reset();
      if (lower && (lower->host.mode & kTypeMask) != (i.mode & kTypeMask)) lower.reset();
    }
    TreeNode& node = slot == root_slot_ ? root : fs_.restore_node(slot, lower.get());
    node.disk = std::make_unique<DiskNode>();
    DiskNode& d = *node.disk;
    d.slot = slot;
    d.size = node.size = i.size;
    d.text = i.text;
    d.flags = i.flags, d.lower_size = i.lower_size, d.lower_modified = i.lower_modified;
    node.mode = i.mode, node.uid = i.uid, node.gid = i.gid;
    node.links = i.links;
    node.special_device = i.device;
    node.accessed = time_of(i.accessed, i.accessed_ns), node.modified = time_of(i.modified, i.modified_ns);
    node.changed = time_of(i.changed, i.changed_ns), node.born = time_of(i.born, i.born_ns);
    node.lower_bytes = i.lower_bytes;
    if (lower) node.lower = std::move(lower);
    node.changed_here = true;
    if (node.type() == kSymlink) node.link_target = text.c_str();
    load_map(node, i);
    number_of[slot] = node.number;
    inodes.emplace(slot, i);
  }
  for (const auto& [slot, i] : inodes) {
    TreeNode& node = fs_.node(number_of.at(slot));
    if (node.type() != kDirectory) continue;
    load_names(node, number_of);
    node.size = std::max<uint64_t>(node.size, kBlock);
    if (!(i.flags & disk::kInodeHasLower) && node.links > 0) {
      node.links = 2;  // what the machine shows of the host was among the subdirectories, and is set up anew
      for (const auto& [name, number] : node.entries) node.links += number != TreeNode::kWhiteout && fs_.node(number).type() == kDirectory;
    }
    if (const auto parent = number_of.find(i.parent); parent != number_of.end()) node.parent = parent->second;
    else node.parent = root.number;
  }
}

}  // namespace vitro::fs
