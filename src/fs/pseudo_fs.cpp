// The engine behind procfs and sysfs: inodes and files over a tree of callbacks.
#include "vitro/fs/pseudo_fs.h"

#include <algorithm>

#include "fs/vfs_state.h"

namespace vitro::fs {
namespace {

constexpr size_t kMaxWrite = 64 * 1024;  // of one write(2) to a text file
constexpr size_t kBinaryChunk = 64 * 1024;

// Inode numbers come from the path alone (FNV-1a), so that they are the same in every run; 1 is the root's.
uint64_t inode_number(std::string_view path) {
  if (path.empty()) return 1;
  uint64_t h = 0xcbf29ce484222325;
  for (const char c : path) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return 0xf000'0000 + (h & 0x0fff'ffff) + ((h >> 28 & 0xfff) << 32);
}

class PseudoFs final : public FileSystem {
 public:
  PseudoFs(Vfs& vfs, std::string type, uint64_t magic, std::shared_ptr<PseudoDirectory> root)
      : vfs_(vfs), type_(std::move(type)), magic_(magic), device_(vfs.new_device_number()), tree_(std::move(root)) {}
  std::string_view type_name() const override { return type_; }
  std::shared_ptr<Inode> root() override;
  FileSystemStatistics statistics() override { return {.type = magic_}; }
  uint64_t device() const override { return device_; }
  Vfs* vfs() override { return &vfs_; }
  bool is_sysfs() const { return type_ == "sysfs"; }

 private:
  Vfs& vfs_;
  std::string type_;
  uint64_t magic_, device_;
  std::shared_ptr<PseudoDirectory> tree_;
  std::shared_ptr<Inode> root_;
};

class PseudoInode final : public Inode {
 public:
  PseudoInode(PseudoFs& fs, std::string path, PseudoEntry entry, mm::SlabObject memory)
      : fs_(fs), path_(std::move(path)), entry_(std::move(entry)), memory_(std::move(memory)), made_(fs.vfs()->now()) {}
  FileSystem& file_system() override { return fs_; }
  Attributes attributes() override;
  // Sizes mean nothing here, so O_TRUNC and truncate do nothing (fs/proc/proc_sysctl.c: proc_sys_setattr); rights and owners cannot be changed.
  Status set_attributes(const AttributeChange& c) override {
    if (c.mode || c.uid || c.gid) return fail(Errno::NotPermitted);
    return {};
  }
  Result<std::shared_ptr<Inode>> lookup(std::string_view name) override;
  Status list(uint64_t offset, const std::function<bool(const DirectoryEntry&)>& visit) override;
  Result<std::string> read_link() override { return entry_.link ? entry_.link() : fail(Errno::Invalid); }
  std::shared_ptr<File> magic_target() override { return entry_.magic ? entry_.magic() : nullptr; }
  Result<std::shared_ptr<File>> open(unsigned flags, const OpenContext& context) override;
  bool names_are_stable() const override { return !entry_.directory || (!entry_.directory->find_dynamic && !entry_.directory->list_dynamic); }
  const PseudoEntry& entry() const { return entry_; }

 private:
  PseudoFs& fs_;
  std::string path_;  // below the root, without a leading slash
  PseudoEntry entry_;
  mm::SlabObject memory_;
  Time made_;
};

uint32_t type_of(const PseudoEntry& e) {
  if (e.directory) return kDirectory;
  if (e.link || e.magic) return kSymlink;
  return (e.mode & kTypeMask) ? e.mode & kTypeMask : kRegular;
}

std::string child_path(const std::string& directory, std::string_view name) {
  std::string path = directory;
  if (!path.empty()) path += '/';
  return path += name;
}

class TextFile final : public File {
 public:
  TextFile(std::shared_ptr<Inode> inode, const PseudoEntry& entry, unsigned flags, std::unique_ptr<OpenSession> session)
      : File(std::move(inode), flags), entry_(entry), session_(std::move(session)) {}
  Result<size_t> read_at(uint64_t offset, size_t count, ByteSink& sink, Blocking&) override {
    if (!entry_.read) return fail(entry_.write ? Errno::Invalid : Errno::IoError);
    if (offset == 0 || !text_) text_ = TRY(entry_.read());
    if (count == 0 || offset >= text_->size()) return size_t{0};
    const auto part = std::string_view(*text_).substr(offset, count);
    return sink.put(std::as_bytes(std::span(part.data(), part.size())));
  }
  Result<size_t> write_at(uint64_t, size_t count, ByteSource& source, Blocking&) override {
    if (!entry_.write && !session_) return fail(Errno::IoError);  // fs/proc/inode.c: no operation
    if (count == 0 && !session_) return size_t{0};
    if (count > kMaxWrite) return fail(Errno::Invalid);
    std::string text(count, '\0');
    size_t n = 0;
    while (n < count) n += TRY(source.take(std::as_writable_bytes(std::span(text).subspan(n))));
    TRY(session_ ? session_->write(text) : entry_.write(text));
    return count;
  }
  bool is_generated() const override { return true; }
  unsigned poll(PollTable* table) override { return session_ ? session_->poll(table) : File::poll(table); }
  Result<uint64_t> seek(int64_t offset, int whence) override { return whence == 2 ? fail(Errno::Invalid) : File::seek(offset, whence); }
  Result<std::shared_ptr<mm::MappedFile>> map(bool) override { return fail(Errno::IoError); }

 private:
  const PseudoEntry& entry_;  // the inode's
  std::unique_ptr<OpenSession> session_;
  std::optional<std::string> text_;
};

class BinaryFile final : public File {
 public:
  bool is_generated() const override { return true; }
  BinaryFile(std::shared_ptr<Inode> inode, const PseudoEntry& entry, unsigned flags) : File(std::move(inode), flags), entry_(entry) {}
  Result<size_t> read_at(uint64_t offset, size_t count, ByteSink& sink, Blocking&) override {
    count = std::min(count, kMaxTransfer);
    std::vector<std::byte> chunk(std::min(count, kBinaryChunk));
    size_t done = 0;
    while (done < count) {
      const auto n = entry_.read_binary(offset + done, std::span(chunk).first(std::min(chunk.size(), count - done)));
      if (!n && done == 0) return fail(n.error());
      if (!n || *n == 0) break;
      const auto put = sink.put(std::span<const std::byte>(chunk).first(*n));
      if (!put && done == 0) return fail(put.error());
      if (!put) break;
      done += *put;
      if (*put < *n) break;
    }
    return done;
  }
  Result<size_t> write_at(uint64_t, size_t count, ByteSource& source, Blocking&) override {
    if (!entry_.write || count > kMaxWrite) return fail(Errno::IoError);
    if (count == 0) return size_t{0};
    std::string text(count, '\0');
    size_t n = 0;
    while (n < count) n += TRY(source.take(std::as_writable_bytes(std::span(text).subspan(n))));
    TRY(entry_.write(text));
    return count;
  }
  Result<std::shared_ptr<mm::MappedFile>> map(bool) override { return fail(Errno::IoError); }

 private:
  const PseudoEntry& entry_;
};

std::shared_ptr<Inode> PseudoFs::root() {
  if (!root_) {
    PseudoEntry entry;
    entry.directory = tree_;
    auto memory = charge(vfs_, mm::KernelCache::ProcInodeCache);
    root_ = std::make_shared<PseudoInode>(*this, std::string{}, std::move(entry), memory ? std::move(*memory) : mm::SlabObject{});
  }
  return root_;
}

Attributes PseudoInode::attributes() {
  Attributes a;
  a.device = fs_.device();
  a.inode = inode_number(path_);
  const uint32_t type = type_of(entry_);
  a.uid = entry_.uid, a.gid = entry_.gid;
  uint32_t permissions = entry_.mode & 07777;
  if (type == kDirectory) {
    permissions = entry_.directory->mode & 07777;
    if (entry_.directory->uid) a.uid = entry_.directory->uid;
    if (entry_.directory->gid) a.gid = entry_.directory->gid;
    a.links = 2;
    for (const auto& [name, child] : entry_.directory->entries) a.links += type_of(child) == kDirectory;
  } else if (type == kSymlink && (entry_.mode & kTypeMask) != kSymlink) {
    permissions = 0777;
  }
  a.mode = type | permissions;
  a.size = fs_.is_sysfs() && type == kRegular && !entry_.read_binary ? 4096 : 0;
  a.block_size = fs_.is_sysfs() ? 4096 : 1024;
  a.accessed = a.modified = a.changed = a.born = made_;
  return a;
}

Result<std::shared_ptr<Inode>> PseudoInode::lookup(std::string_view name) {
  if (!entry_.directory) return fail(Errno::NotDirectory);
  const PseudoDirectory& d = *entry_.directory;
  std::optional<PseudoEntry> found;
  for (const auto& [entry_name, entry] : d.entries)
    if (entry_name == name) {
      found = entry;
      break;
    }
  if (!found && d.find_dynamic) found = d.find_dynamic(name);
  if (!found) return fail(Errno::NoEntry);
  mm::SlabObject memory = TRY(charge(*fs_.vfs(), fs_.is_sysfs() ? mm::KernelCache::InodeCache : mm::KernelCache::ProcInodeCache));
  return std::shared_ptr<Inode>(std::make_shared<PseudoInode>(fs_, child_path(path_, name), std::move(*found), std::move(memory)));
}

Status PseudoInode::list(uint64_t offset, const std::function<bool(const DirectoryEntry&)>& visit) {
  if (!entry_.directory) return fail(Errno::NotDirectory);
  const PseudoDirectory& d = *entry_.directory;
  uint64_t at = 0;
  const auto show = [&](std::string_view name, uint64_t inode, uint32_t type) {
    return at++ < offset || visit(DirectoryEntry{inode, type, name, at});
  };
  const size_t slash = path_.rfind('/');
  const std::string parent = slash == std::string::npos ? std::string{} : path_.substr(0, slash);
  if (!show(".", inode_number(path_), kDirectory) || !show("..", inode_number(parent), kDirectory)) return {};
  for (const auto& [name, entry] : d.entries)
    if (!show(name, inode_number(child_path(path_, name)), type_of(entry))) return {};
  if (!d.list_dynamic) return {};
  for (const std::string& name : d.list_dynamic()) {
    const auto entry = d.find_dynamic ? d.find_dynamic(name) : std::nullopt;
    if (entry && !show(name, inode_number(child_path(path_, name)), type_of(*entry))) return {};
  }
  return {};
}

Result<std::shared_ptr<File>> PseudoInode::open(unsigned flags, const OpenContext& context) {
  if (type_of(entry_) != kRegular) return Inode::open(flags, context);
  const auto self = shared_from_this();
  if (entry_.read_binary) return std::shared_ptr<File>(std::make_shared<BinaryFile>(self, entry_, flags));
  auto session = entry_.session ? entry_.session(context.credentials ? *context.credentials : Credentials{}) : nullptr;
  return std::shared_ptr<File>(std::make_shared<TextFile>(self, entry_, flags, std::move(session)));
}

}  // namespace

PseudoDirectory& PseudoDirectory::directory(std::string_view name, uint32_t directory_mode) {
  PseudoDirectory* at = this;
  while (!name.empty()) {
    const size_t slash = name.find('/');
    const std::string_view first = name.substr(0, slash);
    name = slash == std::string_view::npos ? std::string_view{} : name.substr(slash + 1);
    if (first.empty()) continue;
    const auto found = std::find_if(at->entries.begin(), at->entries.end(), [first](const auto& e) { return e.first == first; });
    if (found != at->entries.end()) {
      CHECK(found->second.directory, "{} is no directory", first);
      at = found->second.directory.get();
      continue;
    }
    PseudoEntry entry;
    entry.directory = std::make_shared<PseudoDirectory>();
    entry.directory->mode = directory_mode;
    PseudoDirectory* made = entry.directory.get();
    at->add(first, std::move(entry));
    at = made;
  }
  return *at;
}

PseudoDirectory& PseudoDirectory::file(std::string_view name, TextReader read, TextWriter write, uint32_t file_mode) {
  PseudoEntry entry;
  entry.mode = file_mode ? file_mode : (write ? (read ? 0644 : 0200) : 0444);
  entry.read = std::move(read);
  entry.write = std::move(write);
  return add(name, std::move(entry));
}

PseudoDirectory& PseudoDirectory::binary(std::string_view name, BinaryReader read, uint32_t file_mode) {
  PseudoEntry entry;
  entry.mode = file_mode;
  entry.read_binary = std::move(read);
  return add(name, std::move(entry));
}

PseudoDirectory& PseudoDirectory::link(std::string_view name, std::function<Result<std::string>()> target) {
  PseudoEntry entry;
  entry.mode = kSymlink | 0777;
  entry.link = std::move(target);
  return add(name, std::move(entry));
}

PseudoDirectory& PseudoDirectory::add(std::string_view name, PseudoEntry entry) {
  for (auto& [existing, old] : entries)
    if (existing == name) {
      old = std::move(entry);
      return *this;
    }
  entries.emplace_back(name, std::move(entry));
  return *this;
}

std::shared_ptr<FileSystem> make_pseudo_fs(Vfs& vfs, std::string type, uint64_t magic, std::shared_ptr<PseudoDirectory> root) {
  return std::make_shared<PseudoFs>(vfs, std::move(type), magic, std::move(root));
}

}  // namespace vitro::fs
