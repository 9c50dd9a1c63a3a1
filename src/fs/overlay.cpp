// The root file system: what the user offers from the host below, the simulated disk above.
#include <fmt/format.h>
#include <limits.h>
#include <unistd.h>

#include <optional>

#include "fs/tree_fs.h"
#include "vitro/fs/vfs.h"

namespace vitro::fs {
namespace {

constexpr uint64_t kOverlayMagic = 0x794c7630;
constexpr uint64_t kExt4MaxFileSize = 0xfff'ffff'f000;  // 16 TiB less a block

// Directories that a Debian system has, where the host does not offer them.
struct Standard {
  const char* path;
  uint32_t mode;
};
constexpr Standard kStandardDirectories[] = {
    {"/dev", 0755}, {"/etc", 0755}, {"/home", 0755}, {"/mnt", 0755}, {"/proc", 0555}, {"/root", 0700}, {"/run", 0755}, {"/run/lock", 01777},
    {"/sys", 0555}, {"/tmp", 01777}, {"/var", 0755}, {"/var/cache", 0755}, {"/var/lib", 0755}, {"/var/log", 0755}, {"/var/tmp", 01777},
};

// "/a/./b//../c" -> "/a/c", by text alone. Offers name places, so ".." never leaves the root.
std::string normalized(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    path = slash == std::string_view::npos ? std::string_view{} : path.substr(slash + 1);
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else if (!part.empty() && part != ".") {
      parts.push_back(part);
    }
  }
  std::string out;
  for (const std::string_view part : parts) out += '/', out += part;
  return out.empty() ? "/" : out;
}

bool inside(std::string_view path, std::string_view directory) {
  return directory == "/" || path == directory || (path.starts_with(directory) && path[directory.size()] == '/');
}

std::string_view parent_of(std::string_view path) { return path.substr(0, std::max<size_t>(path.rfind('/'), 1)); }

// The text of the host's symbolic link at `path`; nullopt where it is none.
std::optional<std::string> link_text(const std::string& path) {
  char text[PATH_MAX];
  const ssize_t n = ::readlink(path.c_str(), text, sizeof text);
  if (n <= 0) return std::nullopt;
  return std::string(text, static_cast<size_t>(n));
}

// Where a link at `guest_path` leads in the guest.
std::string link_destination(const std::string& guest_path, const std::string& text) {
  return normalized(text.front() == '/' ? text : fmt::format("{}/{}", parent_of(guest_path), text));
}

// `opened`: the host's tree; null where the offer is a symbolic link into another offer.
Result<void, UserError> place(TreeFileSystem& fs, const OverlayConfig& config, const HostOffer& offer, const HostTree* opened) {
  const std::string guest = normalized(offer.guest_path);
  const auto blocked = [&](const char* why) {
    return fail(UserError{fmt::format("cannot offer {} as {}: {}", offer.host_path, guest, why), "choose another guest path"});
  };
  const std::string_view parent_path = parent_of(guest);
  TreeNode* parent = nullptr;
  if (guest != "/") {
    const auto made = fs.ensure_directory(parent_path);
    if (!made) return blocked("its parent is not a directory in the guest");
    parent = *made;
  }
  const std::string name = guest.substr(guest.rfind('/') + 1);

  // What the disk has by this name stays.
  TreeNode* kept = nullptr;
  if (parent)
    if (const auto entry = parent->entries.find(name); entry != parent->entries.end() && entry->second != TreeNode::kWhiteout && fs.node(entry->second).disk)
      kept = &fs.node(entry->second);

  if (const auto text = link_text(offer.host_path); text && parent) {
    const std::string destination = link_destination(guest, *text);
    for (const HostOffer& other : config.offers) {
      const std::string other_guest = normalized(other.guest_path);
      if (other_guest == guest || !inside(destination, other_guest)) continue;
      if (kept) return {};
      TreeNode& link = fs.make_node(kSymlink | 0777, 0, 0);
      link.links = 1;
      link.link_target = *text;
      link.size = text->size();
      (void)fs.keep_on_disk(link);
      fs.add_name(*parent, name, link);
      return {};
    }
  }

  if (!opened) return blocked("the symbolic link leads nowhere");
  const HostTree& tree = *opened;
  const auto host = tree.stat("");
  if (!host) return blocked("the host does not let it be looked at");
  if (!parent) {
    if ((host->mode & kTypeMask) != kDirectory) return blocked("the root must be a directory");
    TreeNode& root = fs.root_node();
    root.lower = std::make_unique<Lower>(Lower{&tree, "", *host});
    if (!fs.restored()) root.mode = host->mode, root.uid = host->uid, root.gid = host->gid;
    return {};
  }
  if (kept) {
    if (kept->type() == kDirectory && !kept->lower && (host->mode & kTypeMask) == kDirectory) kept->lower = std::make_unique<Lower>(Lower{&tree, "", *host});
    return {};
  }
  auto node = fs.lower_node(tree, "");
  if (!node) return blocked("the host does not let it be looked at");
  fs.add_name(*parent, name, **node);
  if ((*node)->type() == kDirectory && parent->links > 1) ++parent->links;
  return {};
}

}  // namespace

Result<std::shared_ptr<FileSystem>, UserError> make_overlay(Vfs& vfs, const OverlayConfig& config, BlockStore& upper) {
  TreeConfig tree;
  tree.type_name = "overlay";
  tree.magic = kOverlayMagic;
  tree.inode_cache = mm::KernelCache::Ext4InodeCache;
  tree.pages = mm::FrameState::FileCache;
  tree.store = &upper;
  tree.max_file_size = kExt4MaxFileSize;
  tree.only_world_readable = config.only_world_readable;
  if (auto* volume = dynamic_cast<DiskVolume*>(&upper)) {
    TRY(volume->open(vfs));
    tree.volume = volume;
    tree.name = config.name;
  }
  auto fs = std::make_shared<TreeFileSystem>(vfs, std::move(tree));
  fs->root_node().size = kPageSize;

  // Shorter guest paths first, so that what is offered inside another offer lies on top of it.
  std::vector<HostOffer> offers = config.offers;
  std::stable_sort(offers.begin(), offers.end(),
                   [](const HostOffer& a, const HostOffer& b) { return normalized(a.guest_path).size() < normalized(b.guest_path).size(); });
  std::vector<const HostTree*> trees;
  for (const HostOffer& offer : offers) {
    auto opened = HostTree::open(offer.host_path, fs->host_descriptors());
    if (!opened && !link_text(offer.host_path)) return fail(opened.error());
    trees.push_back(opened ? &fs->add_tree(std::move(*opened), normalized(offer.guest_path)) : nullptr);
  }
  fs->load();
  for (size_t i = 0; i < offers.size(); ++i) {
    if (auto placed = place(*fs, config, offers[i], trees[i]); !placed) return fail(placed.error());
  }
  // A directory that cannot be made (the host offers something else by that name) is simply not there.
  if (config.standard_directories)
    for (const Standard& d : kStandardDirectories) (void)fs->ensure_directory(d.path, d.mode);
  // What has been set up is on the disk when the machine starts.
  if (!upper.timed()) {
    if (auto committed = upper.close(); !committed) return fail(UserError{"the disk cannot be written", "use another image"});
  }
  return std::shared_ptr<FileSystem>(std::move(fs));
}

}  // namespace vitro::fs
