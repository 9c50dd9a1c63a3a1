#include "fs/tree_fs.h"

#include <algorithm>

#include "fs/tree_inode.h"
#include "fs/vfs_state.h"

namespace vitro::fs {

TreeFileSystem::TreeFileSystem(Vfs& vfs, TreeConfig config) : vfs_(vfs), config_(std::move(config)), device_(vfs.new_device_number()) {
  auto root = std::make_unique<TreeNode>();
  root->number = root->parent = kRootNumber;
  root->mode = kDirectory | config_.root_mode;
  root->links = 2;
  root->accessed = root->modified = root->changed = root->born = vfs.now();
  root->changed_here = true;
  nodes_.emplace(kRootNumber, std::move(root));
}

TreeFileSystem::~TreeFileSystem() {
  closing_ = true;
  disk_.reset();
  while (lru_.pop_front()) {
  }
  for (auto& [number, node] : nodes_) {
    node->swap_file.reset();
    node->cached.reset();
  }
}

std::shared_ptr<Inode> TreeFileSystem::root() {
  auto memory = charge_inode();
  TreeNode& node = root_node();
  if (auto live = node.live.lock()) return live;
  auto inode = std::make_shared<TreeInode>(*this, node, memory ? std::move(*memory) : mm::SlabObject{});
  node.live = node.cached = inode;
  lru_.push_back(node);
  return inode;
}

FileSystemStatistics TreeFileSystem::statistics() {
  FileSystemStatistics s{.type = config_.magic};
  if (config_.store) {
    s.blocks = config_.store->total_blocks();
    s.blocks_free = s.blocks_available = config_.store->free_blocks();
    s.files = config_.volume ? config_.volume->total_slots() : std::max<uint64_t>(s.blocks / 4, nodes_.size());
    if (config_.volume) {
      s.files_free = config_.volume->free_slots();
      return s;
    }
  } else if (config_.page_limit != UINT64_MAX) {
    s.blocks = config_.page_limit;
    s.blocks_free = s.blocks_available = config_.page_limit - std::min(pages_used_, config_.page_limit);
    s.files = std::max<uint64_t>(config_.page_limit, nodes_.size());
  }
  s.files_free = s.files - std::min<uint64_t>(s.files, nodes_.size());
  return s;
}

Status TreeFileSystem::sync() {
  // Writing waits, and the tree may change meanwhile: hold the inodes first.
  std::vector<std::shared_ptr<TreeInode>> inodes;
  for (const auto& [number, node] : nodes_)
    if (auto live = node->live.lock()) inodes.push_back(std::move(live));
  // All of it on its way before anything is waited for (fs/sync.c: ksys_sync).
  for (const auto& inode : inodes)
    if (mm::PageCache* pages = inode->page_cache(); pages && config_.store) pages->start_writing();
  Status first;
  for (const auto& inode : inodes)
    if (mm::PageCache* pages = inode->page_cache(); pages && config_.store) (void)pages->write_back();
  if (config_.volume) first = config_.volume->commit();
  return first;
}

uint64_t TreeFileSystem::unused_inodes() const {
  uint64_t n = 0;
  for (const TreeNode& node : lru_) n += node.cached.use_count() == 1;
  return n;
}

size_t TreeFileSystem::shrink_inodes(size_t count) {
  if (!config_.store) return 0;  // without a disk the inode is all there is
  size_t freed = 0;
  for (size_t looks = lru_.size(); looks > 0 && freed < count; --looks) {
    TreeNode& node = lru_.front();
    lru_.remove(node);
    if (node.cached.use_count() > 1 || node.cached->has_pages() || node.number == kRootNumber) {
      lru_.push_back(node);
      continue;
    }
    node.cached.reset();  // may forget the node
    ++freed;
  }
  return freed;
}

Result<mm::SlabObject> TreeFileSystem::charge_inode() { return charge(vfs_, config_.inode_cache); }

TreeNode& TreeFileSystem::make_node(uint32_t mode, uint32_t uid, uint32_t gid) {
  auto node = std::make_unique<TreeNode>();
  node->number = next_number_++;
  node->mode = mode, node->uid = uid, node->gid = gid;
  node->accessed = node->modified = node->changed = node->born = vfs_.now();
  node->changed_here = true;
  TreeNode& made = *node;
  nodes_.emplace(made.number, std::move(node));
  return made;
}

uint64_t TreeFileSystem::guest_number(uint64_t host_device, uint64_t host_inode) {
  size_t index = static_cast<size_t>(std::find(host_devices_.begin(), host_devices_.end(), host_device) - host_devices_.begin());
  if (index == host_devices_.size()) host_devices_.push_back(host_device);
  // The guest sees one device, so what tells host devices apart goes above the host's numbers. Small ones are kept free for the root.
  constexpr uint64_t kReservedNumbers = 16;
  if (host_inode < uint64_t{1} << 32 && host_inode >= kReservedNumbers && index < 256) return (uint64_t{index} << 32) | host_inode;
  return mapped_numbers_.emplace(std::pair{host_device, host_inode}, kFirstMappedNumber + mapped_numbers_.size()).first->second;
}

Result<TreeNode*> TreeFileSystem::lower_node(const HostTree& tree, const std::string& path) {
  const HostAttributes host = TRY(tree.stat(path));
  const uint64_t number = guest_number(host.device, host.inode);
  if (const auto known = nodes_.find(number); known != nodes_.end()) {
    if (known->second->links == 0) return fail(Errno::NoEntry);
    return known->second.get();
  }
  auto node = std::make_unique<TreeNode>();
  node->number = number;
  node->mode = host.mode, node->uid = host.uid, node->gid = host.gid;
  node->links = std::max<uint64_t>(host.links, 1);
  node->special_device = host.special_device;
  node->modified = {host.modified_seconds, host.modified_nanoseconds};
  node->accessed = node->changed = node->born = node->modified;
  switch (node->type()) {
    case kRegular: node->size = node->lower_bytes = std::min(host.size, config_.max_file_size); break;
    case kSymlink: node->link_target = TRY(tree.read_link(path)), node->size = node->link_target.size(); break;
    case kDirectory: node->size = kPageSize; break;
    default: break;
  }
  node->lower = std::make_unique<Lower>(Lower{&tree, path, host});
  TreeNode* made = node.get();
  nodes_.emplace(number, std::move(node));
  return made;
}

bool TreeFileSystem::lower_allows(const TreeNode& node, unsigned rights) const {
  if (!node.lower || !config_.only_world_readable) return true;
  // What the user offered by name is exempt; what lies in it is not.
  return node.lower->path.empty() || (node.lower->host.mode & rights) == rights;
}

Result<TreeNode*> TreeFileSystem::find_child(TreeNode& directory, std::string_view name) {
  if (directory.type() != kDirectory) return fail(Errno::NotDirectory);
  if (const auto entry = directory.entries.find(name); entry != directory.entries.end()) {
    if (entry->second == TreeNode::kWhiteout) return fail(Errno::NoEntry);
    return nodes_.at(entry->second).get();
  }
  if (!directory.lower || directory.links == 0) return fail(Errno::NoEntry);
  if (!lower_allows(directory, kMayExec)) return fail(Errno::Access);
  std::string path = directory.lower->path;
  if (!path.empty()) path += '/';
  path += name;
  TreeNode* child = TRY(lower_node(*directory.lower->tree, path));
  if (child->type() == kDirectory && !child->changed_here) child->parent = directory.number;
  return child;
}

std::shared_ptr<TreeInode> TreeFileSystem::inode_of(TreeNode& node, mm::SlabObject& memory) {
  if (auto live = node.live.lock()) {
    if (node.lru_link.linked()) lru_.remove(node), lru_.push_back(node);
    return live;
  }
  if (!memory && vfs_.services().vm) return nullptr;
  auto inode = std::make_shared<TreeInode>(*this, node, std::move(memory));
  node.live = inode;
  if (node.links > 0) {
    node.cached = inode;
    lru_.push_back(node);
  }
  return inode;
}

void TreeFileSystem::keep(TreeNode& node) {
  if (!node.lru_link.linked()) lru_.push_back(node);
}

void TreeFileSystem::discard_node(TreeNode& node) {
  if (disk_) disk_->forget(node);
  nodes_.erase(node.number);
}

void TreeFileSystem::load() {
  if (!config_.volume) return;
  next_number_ = kFirstOwnNumber + config_.volume->total_slots() + 2;
  restored_ = config_.volume->root_slot(config_.name) != 0;
  disk_ = std::make_unique<DiskTree>(*this, *config_.volume, config_.name);
  disk_->load();
}

TreeNode& TreeFileSystem::restore_node(uint32_t slot, const Lower* lower) {
  uint64_t number = kFirstOwnNumber + slot;
  if (lower) {
    const uint64_t of_host = guest_number(lower->host.device, lower->host.inode);
    if (!nodes_.contains(of_host)) number = of_host;
  }
  auto node = std::make_unique<TreeNode>();
  node->number = number;
  return *nodes_.emplace(number, std::move(node)).first->second;
}

std::unique_ptr<Lower> TreeFileSystem::find_lower(const std::string& tree, const std::string& path) const {
  for (const auto& t : trees_) {
    if (tree_names_.at(t.get()) != tree) continue;
    const auto host = t->stat(path);
    if (!host) return nullptr;
    return std::make_unique<Lower>(Lower{t.get(), path, *host});
  }
  return nullptr;
}

void TreeFileSystem::touch_directory(TreeNode& directory) {
  directory.modified = directory.changed = vfs_.now();
  ++directory.version;
  directory.changed_here = true;
  mark(directory);
}

void TreeFileSystem::add_name(TreeNode& directory, std::string_view name, TreeNode& child) {
  directory.entries.insert_or_assign(std::string(name), child.number);
  child.changed_here = true;
  if (child.type() == kDirectory) child.parent = directory.number;
  if (disk_) {
    // A guest's name has its place already; what the machine itself sets up on a full disk is simply not kept.
    (void)disk_->reserve_name(directory, name);
    disk_->add_name(directory, name);
    mark(child);
  }
  touch_directory(directory);
}

void TreeFileSystem::remove_name(TreeNode& directory, std::string_view name) {
  if (directory.lower) {
    directory.entries.insert_or_assign(std::string(name), TreeNode::kWhiteout);
    if (disk_) disk_->add_name(directory, name);
  } else if (const auto entry = directory.entries.find(name); entry != directory.entries.end()) {
    if (disk_) disk_->remove_name(directory, name);
    directory.entries.erase(entry);
  }
  touch_directory(directory);
}

void TreeFileSystem::drop_link(TreeNode& node) {
  node.changed = vfs_.now();
  node.changed_here = true;
  node.links = node.type() == kDirectory ? 0 : node.links - 1;
  mark(node);
  if (node.links > 0) return;
  ++node.version;
  if (node.lru_link.linked()) lru_.remove(node);
  if (node.cached) node.cached.reset();  // where that was the last user the node is gone now
  else forget_if_dead(node);
}

void TreeFileSystem::inode_gone(TreeNode& node) {
  if (closing_) return;
  if (node.lru_link.linked()) lru_.remove(node);
  forget_if_dead(node);
}

void TreeFileSystem::forget_if_dead(TreeNode& node) {
  if (!node.live.expired() || (node.links > 0 && node.changed_here)) return;
  release_pages(node, 0, UINT64_MAX);
  if (disk_) disk_->forget(node);
  nodes_.erase(node.number);
}

bool TreeFileSystem::is_empty(TreeNode& directory, Status& trouble) {
  for (const auto& [name, number] : directory.entries)
    if (number != TreeNode::kWhiteout) return false;
  if (!directory.lower) return true;
  if (!lower_allows(directory, kMayRead)) {
    trouble = fail(Errno::Access);
    return false;
  }
  const auto below = directory.lower->tree->list(directory.lower->path);
  if (!below) {
    trouble = fail(below.error());
    return false;
  }
  return std::all_of(below->begin(), below->end(), [&](const HostEntry& e) { return directory.entries.contains(e.name); });
}

Result<TreeNode*> TreeFileSystem::ensure_directory(std::string_view path, uint32_t mode) {
  TreeNode* at = &root_node();
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    path = slash == std::string_view::npos ? std::string_view{} : path.substr(slash + 1);
    if (name.empty()) continue;
    if (auto child = find_child(*at, name)) {
      if ((*child)->type() != kDirectory) return fail(Errno::NotDirectory);
      at = *child;
      continue;
    }
    TreeNode& made = make_node(kDirectory | (path.empty() ? mode : 0755), 0, 0);
    made.links = 2;
    made.size = config_.store ? kPageSize : 0;
    (void)keep_on_disk(made);
    add_name(*at, name, made);
    if (at->links > 1) ++at->links;
    at = &made;
  }
  return at;
}

void TreeFileSystem::count_io(mm::VmItem item, Bytes n) {
  constexpr uint64_t kSector = 512;
  if (config_.store && !config_.store->timed()) return;
  if (mm::VirtualMemory* vm = vfs_.services().vm) vm->physical().stat().add(item, static_cast<int64_t>((n.value() + kSector - 1) / kSector));
}

Status TreeFileSystem::reserve_page(TreeNode& node, uint64_t page) {
  if (disk_) return disk_->reserve_page(node, page);
  if (config_.store) {
    TRY(config_.store->reserve_blocks(1));
  } else {
    if (pages_used_ >= config_.page_limit) return fail(Errno::NoSpace);
    ++pages_used_;
  }
  node.blocks.set(page, BlockMap::kReserved);
  return {};
}

void TreeFileSystem::release_pages(TreeNode& node, uint64_t first, uint64_t last) {
  const bool names = node.type() == kDirectory;
  node.blocks.remove(first, last, [&](uint64_t value) {
    if (!config_.store) --pages_used_;
    else if (value == BlockMap::kReserved) config_.store->unreserve_blocks(1);
    else if (names && config_.volume) config_.volume->free_metadata(static_cast<uint32_t>(value - 1));
    else config_.store->free_block(value - 1);
  });
  if (disk_) disk_->pages_removed(node, first, last);
}

}  // namespace vitro::fs
