// A tree of host files that the guest was offered, read-only. The host never follows a symbolic link for us: the guest gets them as links and its own
// VFS walks them, so nothing the guest names can lead out of what was offered.
#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "vitro/base/result.h"

namespace vitro::fs {

// What the host says of a file. Its clock times other than the modification time change by reading and by installing, so they are left out.
struct HostAttributes {
  uint64_t device = 0, inode = 0;
  uint32_t mode = 0;
  uint64_t links = 1;
  uint32_t uid = 0, gid = 0;
  uint64_t special_device = 0, size = 0;
  int64_t modified_seconds = 0;
  uint32_t modified_nanoseconds = 0;
};

struct HostEntry {
  std::string name;
  uint32_t type;  // file type bits of st_mode
  uint64_t inode;
};

// The few host descriptors that are open for reading at any time, least recently used first to go.
class HostDescriptors {
 public:
  static constexpr size_t kMost = 64;
  ~HostDescriptors();
  int find(const std::string& key);             // -1: not open
  void add(const std::string& key, int fd);     // takes it over
  void drop(const std::string& key);
  bool drop_oldest();

 private:
  struct Open {
    std::string key;
    int fd;
  };
  std::list<Open> open_;  // oldest first
  std::map<std::string, std::list<Open>::iterator> by_key_;
};

class HostTree {
 public:
  // `host_path` may be a directory or a file; symbolic links in it are the user's own and are followed.
  static Result<std::unique_ptr<HostTree>, UserError> open(const std::string& host_path, HostDescriptors& descriptors);
  ~HostTree();
  HostTree(const HostTree&) = delete;

  // `path` is relative to the tree ("" is its root), made of names as the tree gave them. Errors: NoEntry, NotDirectory, Access, IoError,
  // SymlinkLoop where the host has put a link on the way in the meantime.
  Result<HostAttributes> stat(const std::string& path) const;
  Result<std::string> read_link(const std::string& path) const;
  Result<std::vector<HostEntry>> list(const std::string& path) const;  // sorted by name, without "." and ".."
  // Reads at `offset` of the regular file that `identity` described; short at its end. Stale where another file is there now.
  Result<size_t> read(const std::string& path, const HostAttributes& identity, uint64_t offset, std::span<std::byte> out) const;
  const std::string& host_path() const { return host_path_; }

 private:
  HostTree(std::string host_path, int root, HostDescriptors& d) : host_path_(std::move(host_path)), root_(root), descriptors_(d) {}
  // Opens without following any link; retries with fewer of our own descriptors open where the host has none left.
  Result<int> open_inside(const std::string& path, int flags) const;

  std::string host_path_;
  int root_;  // O_PATH
  HostDescriptors& descriptors_;
};

}  // namespace vitro::fs
