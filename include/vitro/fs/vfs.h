// Paths: mounts, the dentry cache, resolution with rights and symbolic links, and the operations that system calls name by path.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vitro/base/result.h"
#include "vitro/fs/file.h"
#include "vitro/fs/inode.h"
#include "vitro/fs/types.h"
#include "vitro/mm/address_space.h"
#include "vitro/mm/kernel_object.h"

namespace vitro::hw {
class Clock;
class Disk;
}

namespace vitro::fs {

class BlockStore;
class JobControl;

// Who asks, and from where.
struct PathContext {
  DentryRef root, cwd;
  const Credentials* credentials = nullptr;
  uint32_t umask = 022;
  Pid pid{0}, tid{0};              // /proc/self, /proc/thread-self
  Blocking* blocking = nullptr;
};

enum class Follow : bool { No, Yes };   // the last component, where it is a symbolic link

class Vfs {
 public:
  struct Services {
    mm::VirtualMemory* vm = nullptr;
    Nanoseconds (*now)(const void*) = nullptr;   // virtual time since the epoch
    const void* clock = nullptr;
    const hw::Clock* uptime = nullptr;           // what deadlines are counted by
  };
  explicit Vfs(Services services);
  ~Vfs();

  // Mounts `fs` at `path`, which must exist ("/" for the root, first). `source` is what /proc/mounts shows. With `root`, what is seen there is that
  // directory or file of `fs`, as after mount --bind; NotDirectory where `path` is no directory and it is one, or the other way round.
  Status mount(std::string_view path, std::shared_ptr<FileSystem> fs, std::string source, std::string options = "rw,relatime",
               std::shared_ptr<Inode> root = nullptr);
  struct MountInfo {
    std::string source, target, type, options;
    uint64_t device;
  };
  std::vector<MountInfo> mounts() const;
  DentryRef root() const;
  Services& services() { return services_; }
  // Realtime clock of the guest: seconds and nanoseconds since 1970, virtual.
  Time now() const;

  // Resolves `path` relative to `at` (null: the context's cwd). Errors as path_resolution(7): NoEntry, NotDirectory, Access, SymlinkLoop, NameTooLong.
  Result<DentryRef> resolve(const PathContext& c, const DentryRef& at, std::string_view path, Follow follow);
  // open(2) in full: creation, exclusive, truncation, directories, O_PATH, O_TMPFILE, rights.
  Result<std::shared_ptr<File>> open(const PathContext& c, const DentryRef& at, std::string_view path, unsigned flags, uint32_t mode);
  Result<Attributes> stat(const PathContext& c, const DentryRef& at, std::string_view path, Follow follow);
  Status access(const PathContext& c, const DentryRef& at, std::string_view path, unsigned mode, bool effective, Follow follow);
  Result<std::string> read_link(const PathContext& c, const DentryRef& at, std::string_view path);
  Status make_directory(const PathContext& c, const DentryRef& at, std::string_view path, uint32_t mode);
  Status remove_directory(const PathContext& c, const DentryRef& at, std::string_view path);
  Status unlink(const PathContext& c, const DentryRef& at, std::string_view path);
  Status symlink(const PathContext& c, std::string_view target, const DentryRef& at, std::string_view path);
  Status link(const PathContext& c, const DentryRef& old_at, std::string_view old_path, const DentryRef& new_at, std::string_view new_path, Follow follow);
  Status rename(const PathContext& c, const DentryRef& old_at, std::string_view old_path, const DentryRef& new_at, std::string_view new_path, unsigned flags);
  Status make_node(const PathContext& c, const DentryRef& at, std::string_view path, uint32_t mode, uint64_t device);
  // Rights of chmod, chown, utimensat, truncate are checked here.
  Status change_attributes(const PathContext& c, const DentryRef& at, std::string_view path, const AttributeChange& change, Follow follow);
  Status change_attributes(const PathContext& c, File& file, const AttributeChange& change);
  Result<FileSystemStatistics> statistics(const PathContext& c, const DentryRef& at, std::string_view path);
  Status sync_all();

  // Absolute path as seen from `root`; "(unreachable)" and " (deleted)" as Linux prints them.
  std::string path_of(const DentryRef& d, const DentryRef& root) const;
  Inode& inode_of(const DentryRef& d) const;

  // A pipe's two ends (pipe2(2)), a memfd, an eventfd; a file on no mounted file system.
  Result<std::pair<std::shared_ptr<File>, std::shared_ptr<File>>> make_pipe(unsigned flags);
  Result<std::shared_ptr<File>> make_memfd(std::string name, unsigned flags);
  Result<std::shared_ptr<File>> make_eventfd(uint64_t initial, unsigned flags);

  // For kinds of files that other layers define (epoll, timerfd, ...): an inode on no mounted file system, shown as "anon_inode:NAME"; and what every
  // description needs before it is handed out: its filp and, where it has none yet, a dentry that prints as `name`. NoMemory.
  Result<std::shared_ptr<Inode>> make_anonymous_inode();
  Status adopt(File& file, std::string name);

  // Dentries in the cache (fs.dentry-state); "unused" ones have no user and no child.
  struct DentryCounts {
    uint64_t cached = 0, unused = 0, negative = 0;
  };
  DentryCounts dentry_counts() const;
  // Drops up to `count` unused dentries, least recently used first (fs/dcache.c: prune_dcache_sb); inodes likewise. Return how many.
  size_t shrink_dentries(size_t count);
  size_t shrink_inodes(size_t count);
  struct InodeCounts {
    uint64_t cached = 0, unused = 0;
  };
  InodeCounts inode_counts() const;

  // A number for a file system without a block device (0:20, 0:21, ...), in order of asking.
  uint64_t new_device_number();
  // What opening a character or block device node with this number does. Unknown numbers answer NoDeviceOrAddress.
  using DeviceOpener = std::function<Result<std::shared_ptr<File>>(const std::shared_ptr<Inode>&, unsigned flags, const OpenContext&)>;
  void register_device(uint32_t type, uint64_t device, DeviceOpener opener);
  Result<std::shared_ptr<File>> open_device(const std::shared_ptr<Inode>& inode, unsigned flags, const OpenContext& context);

  // What terminals ask of processes; null: nobody controls jobs.
  void set_job_control(JobControl* jobs);

  struct State;
  State& state() { return *state_; }

 private:
  Services services_;
  std::unique_ptr<State> state_;
};

// ---- File systems ----

// The overlay root: lower layer = host trees offered read-only; upper layer = the simulated disk, where everything written goes.
struct HostOffer {
  std::string host_path;    // what is offered
  std::string guest_path;   // where the guest sees it
};
struct OverlayConfig {
  std::vector<HostOffer> offers;
  bool only_world_readable = true;   // host files that "others" may not read look as if access were denied; what was offered itself is exempt
  std::string name = "/";            // which of the disk's trees is the upper layer: where it is mounted
  bool standard_directories = true;  // make /dev, /home, /tmp, ... where the host does not offer them
};
// Errors: an offer that does not exist or cannot be opened.
Result<std::shared_ptr<FileSystem>, UserError> make_overlay(Vfs& vfs, const OverlayConfig& config, class BlockStore& upper);
std::shared_ptr<FileSystem> make_tmpfs(Vfs& vfs, Bytes size_limit, uint32_t root_mode = 01777);
// Character devices null, zero, full, random, urandom, kmsg, and the nodes tty, console and ptmx, which make_devpts (tty.h) brings to life; links
// stdin, stdout, stderr, fd; empty directories pts and shm. random is seeded.
std::shared_ptr<FileSystem> make_devfs(Vfs& vfs, uint64_t seed);
// /dev/kmsg: `read` renders the whole log, `write` takes one record. Until it is set reading gives nothing and writing goes nowhere but into the device.
struct KernelLog {
  std::function<std::string()> read;
  std::function<void(std::string_view)> write;
};
void set_kernel_log(Vfs& vfs, KernelLog log);

// Where the upper layer's file data lies: blocks of 4 KiB on a hw::Disk.
class BlockStore {
 public:
  using Done = std::function<void(Status)>;
  virtual ~BlockStore() = default;
  virtual Result<uint64_t> allocate_block() = 0;   // NoSpace
  virtual void free_block(uint64_t block) = 0;
  // Begin a transfer of consecutive blocks; `done` runs when it has ended, at once where the caller cannot wait. What the spans refer to must live
  // until then. Writing may wait for room in the disk's queue (block/blk-mq-tag.c: blk_mq_get_tag).
  virtual void read_blocks(uint64_t first, std::span<const std::span<std::byte>> blocks, Done done) = 0;
  virtual void write_blocks(uint64_t first, std::span<const std::span<const std::byte>> blocks, Done done) = 0;
  // Whether transfers take time and count as I/O now: not at set-up, nor while somebody merely looks on (symbols for a trace).
  virtual bool timed() const = 0;
  // Takes the time that reading `n` bytes from this disk would (the lower layer's files share its queue and latency).
  virtual void charge_read(Bytes n, Done done) = 0;
  virtual uint64_t total_blocks() const = 0;
  virtual uint64_t free_blocks() const = 0;
  // Delayed allocation: sets `count` blocks aside so that a later allocate_reserved_block() cannot fail. NoSpace; nothing is taken then.
  virtual Status reserve_blocks(uint64_t count) = 0;
  virtual void unreserve_blocks(uint64_t count) = 0;
  virtual uint64_t allocate_reserved_block() = 0;
  // The thread that commits what has changed every five seconds (jbd2): runs until `should_stop` says so after a wait.
  virtual void run_commits(const std::function<bool()>& should_stop) = 0;
  // Everything that the file systems know goes to the disk, and to where it belongs. IoError.
  virtual Status close() = 0;
  // Checks the disk's contents from its bytes alone, like fsck; after close(). The error is the first thing that is wrong.
  virtual Result<void, std::string> check() = 0;
};

// The block store over a whole disk, which keeps the overlays' files too (docs/disk.md). `blocking` is how tasks wait for the disk; where it says that the caller cannot wait the transfer is untimed.
std::unique_ptr<BlockStore> make_block_store(hw::Disk& disk, Blocking& blocking);

}  // namespace vitro::fs
