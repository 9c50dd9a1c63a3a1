// A file system's object: regular file, directory, link, device, pipe. File systems derive from it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "vitro/base/error_sequence.h"
#include "vitro/base/io.h"
#include "vitro/base/result.h"
#include "vitro/fs/sleep_lock.h"
#include "vitro/fs/types.h"

namespace vitro::mm {
class PageCache;
}

namespace vitro::fs {

class File;
class FileSystem;
class Pipe;
class Vfs;
struct OpenContext;

class Inode : public std::enable_shared_from_this<Inode> {
 public:
  virtual ~Inode() = default;
  virtual FileSystem& file_system() = 0;
  virtual Attributes attributes() = 0;
  virtual Status set_attributes(const AttributeChange& change) = 0;  // rights were checked; size: truncates
  bool is_directory() { return (attributes().mode & kTypeMask) == kDirectory; }

  // Directories. Names have no '/', are not "." or "..", and are at most 255 bytes. NotDirectory by default.
  virtual Result<std::shared_ptr<Inode>> lookup(std::string_view name);
  virtual Result<std::shared_ptr<Inode>> create(std::string_view name, uint32_t mode, const Credentials& who);              // regular file
  virtual Result<std::shared_ptr<Inode>> make_directory(std::string_view name, uint32_t mode, const Credentials& who);
  virtual Result<std::shared_ptr<Inode>> make_symlink(std::string_view name, std::string_view target, const Credentials& who);
  virtual Result<std::shared_ptr<Inode>> make_node(std::string_view name, uint32_t mode, uint64_t device, const Credentials& who);  // fifo, device, socket
  virtual Status link(std::string_view name, Inode& target);
  virtual Status unlink(std::string_view name);
  virtual Status remove_directory(std::string_view name);
  virtual Status rename(std::string_view name, Inode& new_directory, std::string_view new_name, unsigned flags);
  // Calls `visit` for entries from `offset` on (0: the start; "." and ".." included) until it returns false. The order never depends on the host.
  virtual Status list(uint64_t offset, const std::function<bool(const DirectoryEntry&)>& visit);

  // A regular file without a name (open(2): O_TMPFILE). NotSupported by default.
  virtual Result<std::shared_ptr<Inode>> create_unnamed(uint32_t mode, const Credentials& who);
  // Changes whenever names appear or go, so that an open listing knows that it is old.
  virtual uint64_t directory_version() { return 0; }

  // Symbolic links. Invalid by default.
  virtual Result<std::string> read_link();
  // A magic link (/proc/PID/exe, /proc/PID/fd/N): leads to an object, not to a path. Null: an ordinary one.
  virtual std::shared_ptr<File> magic_target() { return nullptr; }

  // Opens a file description on this inode. Regular files: default does it over page_cache().
  virtual Result<std::shared_ptr<File>> open(unsigned flags, const OpenContext& context);
  // Regular files whose contents are pages. Null for others.
  virtual mm::PageCache* page_cache() { return nullptr; }
  // Writes dirty data, and the metadata that is needed to find it again (DataOnly: fdatasync(2)) or all of it (fsync(2)), and waits. Errors of
  // writing data go to write_errors(); what is returned is why the rest failed.
  enum class Sync : bool { All, DataOnly };
  // Of the data only what lies in [from, to).
  virtual Status sync(Sync what = Sync::All, Bytes from = Bytes{0}, Bytes to = Bytes{UINT64_MAX}) { return {}; }
  // Errors of writing the contents back. Null: there is no storage below.
  virtual ErrorSequence* write_errors() { return nullptr; }
  // Names may be cached in dentries only if this holds (not for /proc/PID).
  virtual bool names_are_stable() const { return true; }

  // Regular files over page_cache(): what File's reads and writes tell the file system.
  // Before `count` bytes are written at `offset`: takes the storage they need and drops set-id bits. Returns how many bytes
  // may be written (> 0), or NoSpace, FileTooBig, NoMemory.
  virtual Result<uint64_t> prepare_write(uint64_t offset, uint64_t count) { return count; }
  // Afterwards: the file reaches at least to `end`; modification and change times are now.
  virtual void content_written(uint64_t end) {}
  // Contents were read: access time, by the relatime rule.
  virtual void content_read() {}
  // fallocate(2). NotSupported by default.
  virtual Status allocate(int mode, uint64_t offset, uint64_t length);
  // The largest size a file can have (s_maxbytes).
  virtual uint64_t max_size() const { return kMaxOffset; }

  // Serialises writers of the contents (i_rwsem).
  SleepLock write_lock;
  // What may no longer be done to a file of shared memory (fcntl(2): F_ADD_SEALS). Null: no such file.
  static constexpr uint32_t kSealSeal = 1, kSealShrink = 2, kSealGrow = 4, kSealWrite = 8, kSealFutureWrite = 16;
  virtual uint32_t* seals() { return nullptr; }
  bool sealed(uint32_t any) {
    const uint32_t* s = seals();
    return s && (*s & any);
  }
  // Descriptions open for writing, and running executables that forbid them (i_writecount): open and exec answer TextBusy.
  unsigned writers = 0, write_denials = 0;
  // Open descriptions, O_PATH ones included; and who wants to know what happens here (notify.h).
  unsigned open_files = 0;
  std::vector<class NotifyMark*> notify_marks;
  // The pipe behind an open FIFO.
  std::weak_ptr<Pipe> fifo;
};

// A mounted file system.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual std::string_view type_name() const = 0;  // "overlay", "tmpfs", "proc", ...
  virtual std::shared_ptr<Inode> root() = 0;
  virtual FileSystemStatistics statistics() = 0;
  virtual uint64_t device() const = 0;
  virtual Status sync() { return {}; }
  // Errors of writing back any of its files (sb->s_wb_err), for syncfs(2). Null: there is no storage below.
  virtual ErrorSequence* write_errors() { return nullptr; }
  virtual Vfs* vfs() { return nullptr; }
  // Inodes kept in memory, and those of them that nobody uses (fs.inode-nr).
  virtual uint64_t cached_inodes() const { return 0; }
  virtual uint64_t unused_inodes() const { return 0; }
  // Drops up to `count` unused, clean inodes without cached pages, oldest first. Returns how many.
  virtual size_t shrink_inodes(size_t count) { return 0; }
};

}  // namespace vitro::fs
