// The VFS's life, its mounts, and the calls that only look.
#include "vitro/fs/vfs.h"

#include "fs/anonymous_fs.h"
#include "fs/path_walk.h"
#include "fs/vfs_rights.h"
#include "fs/vfs_state.h"

namespace vitro::fs {

Result<mm::SlabObject> charge(Vfs& vfs, mm::KernelCache cache) {
  mm::VirtualMemory* vm = vfs.services().vm;
  if (!vm) return mm::SlabObject{};
  mm::KernelCaches& caches = vm->physical().caches();
  auto object = caches.allocate(cache, mm::Gfp::KernelAccount);
  if (object) return object;
  constexpr size_t kBatch = 128;  // as many as a shrinker takes at a time (mm/vmscan.c: SHRINK_BATCH)
  if (vfs.shrink_dentries(kBatch) + vfs.shrink_inodes(kBatch) == 0) return object;
  return caches.allocate(cache, mm::Gfp::KernelAccount);
}

Vfs::Vfs(Services services) : services_(services), state_(std::make_unique<State>(*this)) {
  state_->pipes = std::make_shared<AnonymousFs>(*this, "pipefs", 0x50495045, new_device_number());
  state_->anonymous = std::make_shared<AnonymousFs>(*this, "anon_inodefs", 0x09041934, new_device_number());
}

Vfs::~Vfs() {
  for (auto m = state_->mounts.rbegin(); m != state_->mounts.rend(); ++m) {
    state_->dentries.forget_tree((*m)->root);
    if ((*m)->mountpoint) (*m)->mountpoint->mounted = nullptr;
    (*m)->pinned_mountpoint.reset();
    (*m)->root.reset();
  }
  state_->devices.clear();
}

Status Vfs::mount(std::string_view path, std::shared_ptr<FileSystem> fs, std::string source, std::string options, std::shared_ptr<Inode> root) {
  auto m = std::make_unique<Mount>();
  if (!root) root = fs->root();
  m->memory = TRY(charge(*this, mm::KernelCache::MntCache));
  if (state_->mounts.empty()) {
    if (path != "/") return fail(Errno::NoEntry);
  } else {
    const PathContext nobody;
    DentryRef at = TRY(resolve(nobody, nullptr, path, Follow::Yes));
    if (is_directory(*at) != root->is_directory()) return fail(Errno::NotDirectory);
    if (!at->cached || at == state_->mounts.front()->root) return fail(Errno::Busy);
    m->mountpoint = at.get();
    m->pinned_mountpoint = std::move(at);
  }
  m->fs = std::move(fs);
  m->source = std::move(source);
  m->read_only = options == "ro" || options.starts_with("ro,");
  m->options = std::move(options);
  m->root = TRY(state_->dentries.make_root(std::move(root), *m));
  if (m->mountpoint) m->mountpoint->mounted = m.get();
  state_->mounts.push_back(std::move(m));
  return {};
}

std::vector<Vfs::MountInfo> Vfs::mounts() const {
  std::vector<MountInfo> all;
  for (const auto& m : state_->mounts)
    all.push_back({m->source, m->mountpoint ? path_of(m->pinned_mountpoint, root()) : "/", std::string(m->fs->type_name()), m->options, m->fs->device()});
  return all;
}

DentryRef Vfs::root() const { return state_->mounts.empty() ? nullptr : state_->mounts.front()->root; }

Time Vfs::now() const {
  if (!services_.now) return {};
  const uint64_t ns = services_.now(services_.clock).value();
  return {static_cast<int64_t>(ns / 1'000'000'000), static_cast<uint32_t>(ns % 1'000'000'000)};
}

std::string Vfs::path_of(const DentryRef& d, const DentryRef& root) const { return dentry_path(d, root ? root.get() : this->root().get()); }
Inode& Vfs::inode_of(const DentryRef& d) const {
  CHECK(d && d->inode, "a negative dentry was handed out");
  return *d->inode;
}

Result<DentryRef> Vfs::resolve(const PathContext& c, const DentryRef& at, std::string_view path, Follow follow) {
  return PathWalk(*state_, c).resolve(at, path, follow);
}

Result<Attributes> Vfs::stat(const PathContext& c, const DentryRef& at, std::string_view path, Follow follow) {
  return TRY(resolve(c, at, path, follow))->inode->attributes();
}

Status Vfs::access(const PathContext& c, const DentryRef& at, std::string_view path, unsigned mode, bool effective, Follow follow) {
  if (mode & ~7u) return fail(Errno::Invalid);
  // fs/open.c: access_override_creds. The real ids, and root's powers only for a real root.
  Credentials who = credentials_of(c);
  if (!effective) who.fsuid = who.uid, who.fsgid = who.gid;
  PathContext asked = c;
  asked.credentials = &who;
  const DentryRef d = TRY(resolve(asked, at, path, follow));
  if (!permitted(d->inode->attributes(), who, mode)) return fail(Errno::Access);
  if ((mode & kMayWrite) && read_only(*d)) {
    const uint32_t type = d->inode->attributes().mode & kTypeMask;
    if (type == kRegular || type == kDirectory || type == kSymlink) return fail(Errno::ReadOnly);
  }
  return {};
}

Result<std::string> Vfs::read_link(const PathContext& c, const DentryRef& at, std::string_view path) {
  const DentryRef d = TRY(resolve(c, at, path, Follow::No));
  if (!is_symlink(*d)) return fail(Errno::Invalid);
  return d->inode->read_link();
}

Result<FileSystemStatistics> Vfs::statistics(const PathContext& c, const DentryRef& at, std::string_view path) {
  return TRY(resolve(c, at, path, Follow::Yes))->inode->file_system().statistics();
}

Status Vfs::sync_all() {
  Status first;
  for (const auto& m : state_->mounts)
    if (Status s = m->fs->sync(); !s && first) first = s;
  return first;
}

Vfs::DentryCounts Vfs::dentry_counts() const { return state_->dentries.counts(); }
size_t Vfs::shrink_dentries(size_t count) { return state_->dentries.shrink(count); }
size_t Vfs::shrink_inodes(size_t count) {
  size_t freed = 0;
  for (const auto& m : state_->mounts)
    if (freed < count) freed += m->fs->shrink_inodes(count - freed);
  return freed;
}
Vfs::InodeCounts Vfs::inode_counts() const {
  InodeCounts c;
  for (const auto& m : state_->mounts) c.cached += m->fs->cached_inodes(), c.unused += m->fs->unused_inodes();
  return c;
}

uint64_t Vfs::new_device_number() { return make_device(0, state_->next_device++); }

void Vfs::set_job_control(JobControl* jobs) { state_->jobs = jobs; }

void Vfs::register_device(uint32_t type, uint64_t device, DeviceOpener opener) { state_->devices[{type, device}] = std::move(opener); }

Result<std::shared_ptr<File>> Vfs::open_device(const std::shared_ptr<Inode>& inode, unsigned flags, const OpenContext& context) {
  const Attributes a = inode->attributes();
  const auto found = state_->devices.find({a.mode & kTypeMask, a.special_device});
  if (found == state_->devices.end()) return fail(Errno::NoDeviceOrAddress);
  return found->second(inode, flags, context);
}

Status Vfs::adopt(File& file, std::string name) {
  if (!file.memory) file.memory = TRY(charge(*this, mm::KernelCache::Filp));
  if (!file.dentry()) file.set_dentry(TRY(state_->dentries.make_anonymous(file.inode_ref(), std::move(name))));
  return {};
}

}  // namespace vitro::fs
