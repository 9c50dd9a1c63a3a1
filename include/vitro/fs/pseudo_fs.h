// File systems whose files are made up when they are opened: procfs, sysfs. A tree of nodes with callbacks.
//
//   PseudoDirectory root;
//   root.file("uptime", [] { return std::string("12.34 10.00\n"); });
//   root.directory("sys/vm").file("swappiness", read, write);
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vitro/base/result.h"
#include "vitro/fs/file.h"
#include "vitro/fs/inode.h"

namespace vitro::fs {

class Vfs;
class PseudoDirectory;

// Text of a file, rendered when it is read from offset 0 and kept in the open file until then.
using TextReader = std::function<Result<std::string>()>;
// Takes what one write(2) wrote.
using TextWriter = std::function<Status(std::string_view)>;
// Random access for large binary files (pagemap, kpageflags, mem): fills `out` from `offset`; returns bytes (0: end).
using BinaryReader = std::function<Result<size_t>(uint64_t offset, std::span<std::byte> out)>;

// What belongs to one open file and not to all that are open.
class OpenSession {
 public:
  virtual ~OpenSession() = default;
  virtual Status write(std::string_view text) = 0;
  virtual unsigned poll(PollTable* table) = 0;  // as File::poll
};

struct PseudoEntry {
  uint32_t mode = 0444;                 // type and permission bits
  uint32_t uid = 0, gid = 0;
  TextReader read;
  TextWriter write;
  BinaryReader read_binary;
  std::function<std::unique_ptr<OpenSession>(const Credentials& opener)> session;  // takes what is written in place of `write`
  std::function<Result<std::string>()> link;                 // symbolic link's text
  std::function<std::shared_ptr<File>()> magic;              // magic link's object
  std::shared_ptr<PseudoDirectory> directory;
};

class PseudoDirectory {
 public:
  uint32_t mode = 0555;
  uint32_t uid = 0, gid = 0;
  // Fixed entries, listed in the order they were added.
  PseudoDirectory& directory(std::string_view name, uint32_t mode = 0555);   // makes it (and parents, 'a/b') or finds it
  PseudoDirectory& file(std::string_view name, TextReader read, TextWriter write = nullptr, uint32_t mode = 0);   // mode 0: 0444 or 0644
  PseudoDirectory& binary(std::string_view name, BinaryReader read, uint32_t mode = 0400);
  PseudoDirectory& link(std::string_view name, std::function<Result<std::string>()> target);
  PseudoDirectory& add(std::string_view name, PseudoEntry entry);
  // Entries that come and go (PIDs, descriptors): listed after the fixed ones, in the order given.
  std::function<std::vector<std::string>()> list_dynamic;
  std::function<std::optional<PseudoEntry>(std::string_view name)> find_dynamic;

  std::vector<std::pair<std::string, PseudoEntry>> entries;
};

// Mountable: type "proc" or "sysfs", magic number for statfs.
std::shared_ptr<FileSystem> make_pseudo_fs(Vfs& vfs, std::string type, uint64_t magic, std::shared_ptr<PseudoDirectory> root);

}  // namespace vitro::fs
