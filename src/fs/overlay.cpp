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

Result<void, UserError> place(TreeFileSystem& fs, const OverlayConfig& config, const HostOffer& offer) {
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

  if (const auto text = link_text(offer.host_path); text && parent) {
    const std::string destination = link_destination(guest, *text);
    for (const HostOffer& other : config.offers) {
      const std::string other_guest = normalized(other.guest_path);
      if (other_guest == guest || !inside(destination, other_guest)) continue;
      TreeNode& link = fs.make_node(kSymlink | 0777, 0, 0);
      link.links = 1;
      link.link_target = *text;
      link.size = text->size();
      fs.add_name(*parent, name, link);
      return {};
    }
  }

  auto opened = HostTree::open(offer.host_path, fs.host_descriptors());
  if (!opened) return fail(opened.error());
  const HostTree& tree = fs.add_tree(std::move(*opened));
  const auto host = tree.stat("");
  if (!host) return blocked("the host does not let it be looked at");
  if (!parent) {
    if ((host->mode & kTypeMask) != kDirectory) return blocked("the root must be a directory");
    TreeNode& root = fs.root_node();
    root.lower = std::make_unique<Lower>(Lower{&tree, "", *host});
    root.mode = host->mode, root.uid = host->uid, root.gid = host->gid;
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
  auto fs = std::make_shared<TreeFileSystem>(vfs, std::move(tree));
  fs->root_node().size = kPageSize;

  // Shorter guest paths first, so that what is offered inside another offer lies on top of it.
  std::vector<HostOffer> offers = config.offers;
  std::stable_sort(offers.begin(), offers.end(),
                   [](const HostOffer& a, const HostOffer& b) { return normalized(a.guest_path).size() < normalized(b.guest_path).size(); });
  for (const HostOffer& offer : offers)
    if (auto placed = place(*fs, config, offer); !placed) return fail(placed.error());
  // A directory that cannot be made (the host offers something else by that name) is simply not there.
  if (config.standard_directories)
    for (const Standard& d : kStandardDirectories) (void)fs->ensure_directory(d.path, d.mode);
  return std::shared_ptr<FileSystem>(std::move(fs));
}

}  // namespace vitro::fs
