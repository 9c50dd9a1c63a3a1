// A TreeInode as a directory: names come, go and move.
#include <algorithm>

#include "fs/tree_inode.h"
#include "fs/vfs_rights.h"

namespace vitro::fs {
namespace {
constexpr uint64_t kMaxLinks = 65000;  // fs/ext4/ext4.h: EXT4_LINK_MAX
constexpr unsigned kRenameNoReplace = 1, kRenameExchange = 2;

// A host file system that does not count subdirectories says 1; then neither do we.
void count_subdirectory(TreeNode& directory, int change) {
  if (directory.links > 1) directory.links += static_cast<uint64_t>(static_cast<int64_t>(change));
}
}  // namespace

Result<std::shared_ptr<Inode>> TreeInode::lookup(std::string_view name) {
  mm::SlabObject memory;
  while (true) {
    // Charging may wait, and then everything may have changed: look again.
    TreeNode* child = TRY(fs_.find_child(node_, name));
    if (auto inode = fs_.inode_of(*child, memory)) return std::shared_ptr<Inode>(std::move(inode));
    const uint64_t number = child->number;
    auto charged = fs_.charge_inode();
    if (!charged) {
      fs_.forget_if_dead(fs_.node(number));
      return fail(charged.error());
    }
    memory = std::move(*charged);
  }
}

Status TreeInode::may_add(std::string_view name) {
  if (node_.type() != kDirectory) return fail(Errno::NotDirectory);
  if (node_.links == 0) return fail(Errno::NoEntry);
  const auto found = fs_.find_child(node_, name);
  if (found) return fail(Errno::Exists);
  if (found.error() != Errno::NoEntry) return fail(found.error());
  return {};
}

Result<std::shared_ptr<Inode>> TreeInode::make_child(std::string_view name, uint32_t mode, const Credentials& who, std::string_view target, uint64_t device) {
  mm::SlabObject memory = TRY(fs_.charge_inode());
  TRY(fs_.begin_change());
  TRY(may_add(name));
  const bool directory = (mode & kTypeMask) == kDirectory;
  if (directory && node_.links >= kMaxLinks) return fail(Errno::TooManyLinks);
  // fs/inode.c: inode_init_owner. Below a set-gid directory the group is the directory's, and directories stay set-gid.
  const bool inherits = node_.mode & 02000;
  if (inherits && directory) mode |= 02000;
  TreeNode& child = fs_.make_node(mode, who.fsuid, inherits ? node_.gid : who.fsgid);
  child.links = directory ? 2 : 1;
  child.special_device = device;
  if ((mode & kTypeMask) == kSymlink) child.link_target = target, child.size = target.size();
  if (directory && fs_.store()) child.size = kPageSize;
  Status kept = fs_.keep_on_disk(child);
  if (kept) kept = fs_.reserve_name(node_, name);
  if (!kept) {
    fs_.discard_node(child);
    return fail(kept.error());
  }
  fs_.add_name(node_, name, child);
  if (directory) count_subdirectory(node_, 1);
  return std::shared_ptr<Inode>(fs_.inode_of(child, memory));
}

Result<std::shared_ptr<Inode>> TreeInode::create(std::string_view name, uint32_t mode, const Credentials& who) {
  return make_child(name, kRegular | (mode & 07777), who, {}, 0);
}
Result<std::shared_ptr<Inode>> TreeInode::make_directory(std::string_view name, uint32_t mode, const Credentials& who) {
  return make_child(name, kDirectory | (mode & 07777), who, {}, 0);
}
Result<std::shared_ptr<Inode>> TreeInode::make_symlink(std::string_view name, std::string_view target, const Credentials& who) {
  return make_child(name, kSymlink | 0777, who, target, 0);
}
Result<std::shared_ptr<Inode>> TreeInode::make_node(std::string_view name, uint32_t mode, uint64_t device, const Credentials& who) {
  return make_child(name, mode & (kTypeMask | 07777), who, {}, device);
}

Result<std::shared_ptr<Inode>> TreeInode::create_unnamed(uint32_t mode, const Credentials& who) {
  if (node_.type() != kDirectory) return fail(Errno::NotDirectory);
  mm::SlabObject memory = TRY(fs_.charge_inode());
  TRY(fs_.begin_change());
  TreeNode& child = fs_.make_node(kRegular | (mode & 07777), who.fsuid, (node_.mode & 02000) ? node_.gid : who.fsgid);
  if (Status kept = fs_.keep_on_disk(child); !kept) {
    fs_.discard_node(child);
    return fail(kept.error());
  }
  child.linkable = true;
  return std::shared_ptr<Inode>(fs_.inode_of(child, memory));
}

Status TreeInode::link(std::string_view name, Inode& target_inode) {
  auto* target = dynamic_cast<TreeInode*>(&target_inode);
  if (!target || &target->fs_ != &fs_) return fail(Errno::CrossDevice);
  TRY(fs_.begin_change());
  TRY(may_add(name));
  TreeNode& child = target->node_;
  if (child.links == 0 && !child.linkable) return fail(Errno::NoEntry);
  if (child.links >= kMaxLinks) return fail(Errno::TooManyLinks);
  TRY(fs_.keep_on_disk(child));
  TRY(fs_.reserve_name(node_, name));
  child.linkable = false;
  ++child.links;
  fs_.add_name(node_, name, child);
  target->changed();
  if (!child.cached) {  // it had no name, so nothing kept it
    child.cached = std::static_pointer_cast<TreeInode>(target->shared_from_this());
    fs_.keep(child);
  }
  return {};
}

Status TreeInode::unlink(std::string_view name) {
  TRY(fs_.begin_change());
  TreeNode* child = TRY(fs_.find_child(node_, name));
  if (child->type() == kDirectory) {
    fs_.forget_if_dead(*child);
    return fail(Errno::IsDirectory);
  }
  if (child->swap_file) return fail(Errno::NotPermitted);
  TRY(reserve_removal(name, *child));
  fs_.remove_name(node_, name);
  fs_.drop_link(*child);
  return {};
}

// A name of the lower layer is hidden, and what hides it takes room.
Status TreeInode::reserve_removal(std::string_view name, TreeNode& child) {
  if (!node_.lower) return {};
  Status reserved = fs_.reserve_name(node_, name);
  if (!reserved) fs_.forget_if_dead(child);
  return reserved;
}

Status TreeInode::remove_directory(std::string_view name) {
  TRY(fs_.begin_change());
  TreeNode* child = TRY(fs_.find_child(node_, name));
  Status trouble;
  if (child->type() != kDirectory) trouble = fail(Errno::NotDirectory);
  else if (!fs_.is_empty(*child, trouble) && trouble) trouble = fail(Errno::NotEmpty);
  if (!trouble) {
    fs_.forget_if_dead(*child);
    return trouble;
  }
  TRY(reserve_removal(name, *child));
  fs_.remove_name(node_, name);
  count_subdirectory(node_, -1);
  fs_.drop_link(*child);
  return {};
}

// The VFS has checked rights, types and ancestry.
Status TreeInode::rename(std::string_view name, Inode& new_directory, std::string_view new_name, unsigned flags) {
  auto* to = dynamic_cast<TreeInode*>(&new_directory);
  if (!to || &to->fs_ != &fs_) return fail(Errno::CrossDevice);
  TRY(fs_.begin_change());
  if (to->node_.links == 0) return fail(Errno::NoEntry);
  TreeNode* source = TRY(fs_.find_child(node_, name));
  auto found = fs_.find_child(to->node_, new_name);
  if (!found && found.error() != Errno::NoEntry) return fail(found.error());
  TreeNode* target = found ? *found : nullptr;
  if (source->swap_file || (target && target->swap_file)) return fail(Errno::NotPermitted);
  const bool source_directory = source->type() == kDirectory, target_directory = target && target->type() == kDirectory;

  if (flags & kRenameExchange) {
    if (!target) return fail(Errno::NoEntry);
    TRY(fs_.keep_on_disk(*source));
    TRY(fs_.keep_on_disk(*target));
    TRY(fs_.reserve_name(node_, name));
    TRY(fs_.reserve_name(to->node_, new_name));
    fs_.add_name(node_, name, *target);
    fs_.add_name(to->node_, new_name, *source);
    if (&node_ != &to->node_ && source_directory != target_directory) {
      count_subdirectory(node_, target_directory ? 1 : -1);
      count_subdirectory(to->node_, source_directory ? 1 : -1);
    }
    source->changed = target->changed = fs_.vfs()->now();
    return {};
  }
  if (target) {
    if (flags & kRenameNoReplace) return fail(Errno::Exists);
    if (source == target) return {};
    if (source_directory && !target_directory) return fail(Errno::NotDirectory);
    if (!source_directory && target_directory) return fail(Errno::IsDirectory);
    Status trouble;
    if (target_directory && !fs_.is_empty(*target, trouble)) return trouble ? fail(Errno::NotEmpty) : trouble;
  }
  TRY(fs_.keep_on_disk(*source));
  TRY(reserve_removal(name, *source));
  TRY(fs_.reserve_name(to->node_, new_name));
  fs_.remove_name(node_, name);
  fs_.add_name(to->node_, new_name, *source);
  source->changed = fs_.vfs()->now();
  if (source_directory) count_subdirectory(node_, -1), count_subdirectory(to->node_, 1);
  if (target) {
    if (target_directory) count_subdirectory(to->node_, -1);
    fs_.drop_link(*target);
  }
  return {};
}

Status TreeInode::list(uint64_t offset, const std::function<bool(const DirectoryEntry&)>& visit) {
  if (node_.type() != kDirectory) return fail(Errno::NotDirectory);
  struct Item {
    uint64_t number;
    uint32_t type;
  };
  std::map<std::string, Item, std::less<>> merged;
  if (node_.lower && node_.links > 0) {
    if (!fs_.lower_allows(node_, kMayRead | kMayExec)) return fail(Errno::Access);
    std::vector<HostEntry> below = TRY(node_.lower->tree->list(node_.lower->path));
    for (HostEntry& e : below)
      merged.emplace(std::move(e.name), Item{fs_.guest_number(node_.lower->host.device, e.inode), e.type});
  }
  for (const auto& [name, number] : node_.entries) {
    if (number == TreeNode::kWhiteout) merged.erase(name);
    else merged.insert_or_assign(name, Item{number, fs_.node(number).type()});
  }
  uint64_t at = 0;
  const auto show = [&](std::string_view name, uint64_t number, uint32_t type) {
    return at++ < offset || visit(DirectoryEntry{number, type, name, at});
  };
  if (!show(".", node_.number, kDirectory) || !show("..", node_.parent, kDirectory)) return {};
  for (const auto& [name, item] : merged)
    if (!show(name, item.number, item.type)) break;
  return {};
}

}  // namespace vitro::fs
