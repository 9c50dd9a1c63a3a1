// What changes in a tree, as far as the disk is concerned: slots, room for names, map blocks.
#include "fs/disk_tree.h"

#include <algorithm>

#include "fs/tree_fs.h"
#include "vitro/base/check.h"

namespace vitro::fs {

using disk::kBlock;

namespace {

// The map blocks that lead to a page, from the one that names it upwards.
template <class Visit>
void for_each_on_path(uint64_t page, Visit visit) {
  const unsigned depth = map_depth(page);
  for (unsigned level = 1; level <= depth; ++level) visit(map_key(level, page >> (10 * level)));
}

}  // namespace

DiskTree::DiskTree(TreeFileSystem& fs, DiskVolume& volume, std::string name) : fs_(fs), volume_(volume), name_(std::move(name)) { volume_.add_tree(*this); }
DiskTree::~DiskTree() { volume_.remove_tree(*this); }

uint32_t DiskTree::slot_of(uint64_t number) const {
  const TreeNode* node = fs_.find_node(number);
  return node && node->disk ? node->disk->slot : 0;
}

std::string DiskTree::text_of(const TreeNode& node) const {
  std::string text;
  if (node.lower) text = fs_.tree_name(*node.lower->tree) + '\0' + node.lower->path + '\0';
  if (node.type() == kSymlink) text += node.link_target;
  return text;
}

Status DiskTree::keep(TreeNode& node) {
  if (node.disk) return {};
  const std::string text = text_of(node);
  if (text.size() >= kBlock) return fail(Errno::NameTooLong);
  if (!text.empty()) TRY(volume_.reserve_blocks(1));
  const auto slot = volume_.allocate_slot();
  if (!slot) {
    if (!text.empty()) volume_.unreserve_blocks(1);
    return fail(slot.error());
  }
  node.disk = std::make_unique<DiskNode>();
  node.disk->slot = *slot;
  node.disk->size = node.lower ? node.size : 0;
  if (node.lower) {
    node.disk->flags = disk::kInodeHasLower;
    node.disk->lower_size = node.lower->host.size;
    node.disk->lower_modified = node.lower->host.modified_seconds;
  }
  node.disk->text_reserved = node.disk->text_dirty = !text.empty();
  node.changed_here = true;
  mark(node);
  if (!text.empty()) volume_.note_change();
  // The names that lead here can be written from now on.
  if (const TreeNode* parent = node.type() == kDirectory ? fs_.find_node(node.parent) : nullptr; parent && parent != &node && parent->disk) {
    TreeNode& directory = fs_.node(node.parent);
    for (const auto& [name, number] : directory.entries)
      if (number == node.number) add_name(directory, name);
  }
  return {};
}

Status DiskTree::reserve_name(TreeNode& directory, std::string_view name) {
  TRY(keep(directory));
  DiskNode& d = *directory.disk;
  if (d.where.contains(name)) return {};
  const uint32_t size = disk::entry_size(name.size());
  for (uint32_t b = d.room_hint; b < d.name_blocks.size(); ++b)
    if (d.name_blocks[b].used + size <= kBlock) return {};
  TRY(reserve_page(directory, d.name_blocks.size()));
  d.name_blocks.emplace_back();
  d.size = d.name_blocks.size() * kBlock;
  directory.size = std::max<uint64_t>(directory.size, d.size);
  return {};
}

void DiskTree::add_name(TreeNode& directory, std::string_view name) {
  if (!directory.disk) return;
  DiskNode& d = *directory.disk;
  auto at = d.where.find(name);
  if (at == d.where.end()) {
    const uint32_t size = disk::entry_size(name.size());
    uint32_t b = d.room_hint;
    while (b < d.name_blocks.size() && d.name_blocks[b].used + size > kBlock) ++b;
    if (b == d.name_blocks.size()) return;  // set up by the machine itself, where the disk had no room: not kept
    d.name_blocks[b].used += size;
    d.name_blocks[b].names.emplace(name);
    at = d.where.emplace(std::string(name), b).first;
    // Small names may still fit before it.
    while (d.room_hint < d.name_blocks.size() && d.name_blocks[d.room_hint].used + disk::entry_size(1) > kBlock) ++d.room_hint;
  }
  if (d.dirty_names.insert(at->second).second) volume_.note_change();
  mark(directory);
}

void DiskTree::remove_name(TreeNode& directory, std::string_view name) {
  if (!directory.disk) return;
  DiskNode& d = *directory.disk;
  const auto at = d.where.find(name);
  if (at == d.where.end()) return;
  DiskNode::NameBlock& block = d.name_blocks[at->second];
  block.used -= disk::entry_size(name.size());
  block.names.erase(block.names.find(name));
  d.room_hint = std::min(d.room_hint, at->second);
  if (d.dirty_names.insert(at->second).second) volume_.note_change();
  d.where.erase(at);
  mark(directory);
}

Status DiskTree::reserve_page(TreeNode& node, uint64_t page) {
  TRY(keep(node));
  DiskNode& d = *node.disk;
  uint64_t missing = 1;
  for_each_on_path(page, [&](uint64_t key) { missing += !d.map_blocks.contains(key); });
  TRY(volume_.reserve_blocks(missing));
  for_each_on_path(page, [&](uint64_t key) {
    if (d.map_blocks.try_emplace(key, 0).second) volume_.note_change();
  });
  node.blocks.set(page, BlockMap::kReserved);
  return {};
}

void DiskTree::page_mapped(TreeNode& node, uint64_t page) {
  if (!node.disk) return;
  DiskNode& d = *node.disk;
  if (map_depth(page) > 0 && d.dirty_maps.insert(map_key(1, page >> 10)).second) volume_.note_change();
  mark(node);
}

void DiskTree::pages_removed(TreeNode& node, uint64_t first, uint64_t last) {
  if (!node.disk) return;
  DiskNode& d = *node.disk;
  mark(node);
  if (d.map_blocks.empty()) return;
  for (unsigned level = 1; level <= disk::kMapLevels; ++level) {
    const uint64_t from = first >> (10 * level), to = last >> (10 * level);
    for (auto it = d.map_blocks.lower_bound(map_key(level, from)); it != d.map_blocks.end() && map_level(it->first) == level && map_index(it->first) <= to;) {
      const uint64_t key = it->first, index = map_index(key);
      bool needed = false;
      if (level == 1) {
        const uint64_t begin = std::max<uint64_t>(index << 10, disk::kDirectPages);
        needed = node.blocks.any(begin, (index << 10) + disk::kMapFanout - 1);
      } else {
        auto child = d.map_blocks.lower_bound(map_key(level - 1, index << 10));
        if (index == 0 && child != d.map_blocks.end() && child->first == map_key(level - 1, 0)) ++child;  // that one hangs on a root of its own
        needed = child != d.map_blocks.end() && map_level(child->first) == level - 1 && map_index(child->first) < (index + 1) << 10;
      }
      if (needed) {
        if (d.dirty_maps.insert(key).second) volume_.note_change();
        ++it;
        continue;
      }
      if (it->second) volume_.free_metadata(it->second);
      else volume_.unreserve_blocks(1);
      d.dirty_maps.erase(key);
      it = d.map_blocks.erase(it);
    }
  }
}

void DiskTree::mark(TreeNode& node, What what) {
  if (!node.disk) return;
  if (!node.disk->dirty) {
    node.disk->dirty = true;
    dirty_.insert(node.number);
    volume_.note_change();
  }
  if (what == What::Data) node.disk->dirty_data = true;
}

void DiskTree::forget(TreeNode& node) {
  if (!node.disk) return;
  DiskNode& d = *node.disk;
  // Its pages are gone already (TreeFileSystem releases them).
  for (const auto& [key, block] : d.map_blocks) {
    if (block) volume_.free_metadata(block);
    else volume_.unreserve_blocks(1);
  }
  if (d.text) volume_.free_metadata(d.text);
  else if (d.text_reserved) volume_.unreserve_blocks(1);
  volume_.free_slot(d.slot);
  dirty_.erase(node.number);
  node.disk.reset();
}

bool DiskTree::uncommitted(const TreeNode& node, What what) const { return node.disk && (what == What::Data ? node.disk->dirty_data : node.disk->dirty); }

}  // namespace vitro::fs
