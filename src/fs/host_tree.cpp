#include "fs/host_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace vitro::fs {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

Errno error_of(int host_errno) {
  switch (host_errno) {
    case ENOENT: return Errno::NoEntry;
    case ENOTDIR: return Errno::NotDirectory;
    case EACCES:
    case EPERM: return Errno::Access;
    case ELOOP:
    case EXDEV: return Errno::SymlinkLoop;
    case ENAMETOOLONG: return Errno::NameTooLong;
    case ENXIO: return Errno::NoDeviceOrAddress;
    case ENOMEM: return Errno::NoMemory;
    default: return Errno::IoError;
  }
}

// A component at a time, none of them a link: what openat2 does in one call, for hosts that do not let us use it.
int open_by_steps(int root, const char* path, int flags) {
  Descriptor at(::openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (at.get() < 0) return -1;
  std::string left(path);
  int here = at.get();
  std::unique_ptr<Descriptor> owned;
  while (true) {
    const size_t slash = left.find('/');
    const std::string name = left.substr(0, slash);
    if (name.empty() || name == "." || name == "..") {
      errno = EINVAL;
      return -1;
    }
    if (slash == std::string::npos) return ::openat(here, name.c_str(), flags);
    const int next = ::openat(here, name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (next < 0) return -1;
    owned = std::make_unique<Descriptor>(next);
    here = next;
    left.erase(0, slash + 1);
  }
}

int open_once(int root, const char* path, int flags) {
  static bool kernel_has_it = true;
  if (kernel_has_it) {
    open_how how{};
    how.flags = static_cast<uint64_t>(flags);
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    const long fd = ::syscall(SYS_openat2, root, path, &how, sizeof how);
    if (fd >= 0) return static_cast<int>(fd);
    if (errno != ENOSYS && errno != EPERM) return -1;
    kernel_has_it = errno != ENOSYS;
  }
  return open_by_steps(root, path, flags);
}

HostAttributes attributes_from(const struct stat& s) {
  HostAttributes a;
  a.device = s.st_dev, a.inode = s.st_ino, a.mode = s.st_mode, a.links = s.st_nlink, a.uid = s.st_uid, a.gid = s.st_gid;
  a.special_device = s.st_rdev, a.size = static_cast<uint64_t>(std::max<int64_t>(s.st_size, 0));
  a.modified_seconds = s.st_mtim.tv_sec, a.modified_nanoseconds = static_cast<uint32_t>(s.st_mtim.tv_nsec);
  return a;
}

}  // namespace

HostDescriptors::~HostDescriptors() {
  for (const Open& o : open_) ::close(o.fd);
}

int HostDescriptors::find(const std::string& key) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return -1;
  open_.splice(open_.end(), open_, found->second);
  return found->second->fd;
}

void HostDescriptors::add(const std::string& key, int fd) {
  drop(key);
  while (open_.size() >= kMost) drop_oldest();
  by_key_[key] = open_.insert(open_.end(), Open{key, fd});
}

void HostDescriptors::drop(const std::string& key) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return;
  ::close(found->second->fd);
  open_.erase(found->second);
  by_key_.erase(found);
}

bool HostDescriptors::drop_oldest() {
  if (open_.empty()) return false;
  drop(std::string(open_.front().key));
  return true;
}

Result<std::unique_ptr<HostTree>, UserError> HostTree::open(const std::string& host_path, HostDescriptors& descriptors) {
  const int fd = ::open(host_path.c_str(), O_PATH | O_CLOEXEC);
  if (fd < 0) return fail(UserError{fmt::format("cannot offer {} to the guest: {}", host_path, std::strerror(errno)), "name a file or directory that exists"});
  return std::unique_ptr<HostTree>(new HostTree(host_path, fd, descriptors));
}

HostTree::~HostTree() { ::close(root_); }

Result<int> HostTree::open_inside(const std::string& path, int flags) const {
  while (true) {
    int fd = -1;
    if (!path.empty()) {
      fd = open_once(root_, path.c_str(), flags);
    } else if (flags & O_PATH) {
      fd = ::fcntl(root_, F_DUPFD_CLOEXEC, 3);
    } else {
      // The root itself: a directory through its own ".", a file through the descriptor that names exactly it.
      fd = (flags & O_DIRECTORY) ? ::openat(root_, ".", flags & ~O_NOFOLLOW)
                                 : ::open(fmt::format("/proc/self/fd/{}", root_).c_str(), flags & ~O_NOFOLLOW);
    }
    if (fd >= 0) return fd;
    if (errno == EINTR || errno == EAGAIN) continue;  // EAGAIN: openat2 lost a race with a rename on the host
    if ((errno == EMFILE || errno == ENFILE) && descriptors_.drop_oldest()) continue;
    return fail(error_of(errno));
  }
}

Result<HostAttributes> HostTree::stat(const std::string& path) const {
  const Descriptor d(TRY(open_inside(path, O_PATH | O_NOFOLLOW | O_CLOEXEC)));
  struct stat s {};
  if (::fstat(d.get(), &s) != 0) return fail(error_of(errno));
  return attributes_from(s);
}

Result<std::string> HostTree::read_link(const std::string& path) const {
  const Descriptor d(TRY(open_inside(path, O_PATH | O_NOFOLLOW | O_CLOEXEC)));
  std::string text(4096, '\0');
  const ssize_t n = ::readlinkat(d.get(), "", text.data(), text.size());
  if (n < 0) return fail(error_of(errno));
  text.resize(static_cast<size_t>(n));
  return text;
}

Result<std::vector<HostEntry>> HostTree::list(const std::string& path) const {
  Descriptor d(TRY(open_inside(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)));
  DIR* directory = ::fdopendir(d.get());
  if (!directory) return fail(error_of(errno));
  d.release();
  std::vector<HostEntry> entries;
  errno = 0;
  while (const dirent* e = ::readdir(directory)) {
    const std::string_view name = e->d_name;
    if (name != "." && name != "..") {
      uint32_t type = static_cast<uint32_t>(DTTOIF(e->d_type));
      struct stat s {};
      if (e->d_type == DT_UNKNOWN && ::fstatat(::dirfd(directory), e->d_name, &s, AT_SYMLINK_NOFOLLOW) == 0) type = s.st_mode & S_IFMT;
      entries.push_back({std::string(name), type, e->d_ino});
    }
    errno = 0;
  }
  const int trouble = errno;
  ::closedir(directory);
  if (trouble != 0) return fail(error_of(trouble));
  std::sort(entries.begin(), entries.end(), [](const HostEntry& a, const HostEntry& b) { return a.name < b.name; });
  return entries;
}

Result<size_t> HostTree::read(const std::string& path, const HostAttributes& identity, uint64_t offset, std::span<std::byte> out) const {
  const std::string key = fmt::format("{}/{}", root_, path);
  int fd = descriptors_.find(key);
  struct stat s {};
  if (fd >= 0 && (::fstat(fd, &s) != 0 || s.st_ino != identity.inode || s.st_dev != identity.device)) {
    descriptors_.drop(key);
    fd = -1;
  }
  if (fd < 0) {
    // O_NONBLOCK: should the host have put a FIFO here, opening it must not hang; the check below then turns it away.
    Descriptor opened(TRY(open_inside(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)));
    if (::fstat(opened.get(), &s) != 0) return fail(error_of(errno));
    if (!S_ISREG(s.st_mode) || s.st_ino != identity.inode || s.st_dev != identity.device) return fail(Errno::Stale);
    fd = opened.release();
    descriptors_.add(key, fd);
  }
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = ::pread(fd, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Errno::IoError);
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

}  // namespace vitro::fs
