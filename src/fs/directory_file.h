// An open directory: a listing taken when it is read from the start, so that names that come and go in between neither repeat nor hide others.
#pragma once

#include <set>

#include "vitro/fs/file.h"

namespace vitro::fs {

class DirectoryFile final : public File {
 public:
  using File::File;
  Result<size_t> read(size_t, ByteSink&, Blocking&) override { return fail(Errno::IsDirectory); }
  Result<size_t> write(size_t, ByteSource&, Blocking&) override { return fail(Errno::BadFile); }
  Result<size_t> read_at(uint64_t, size_t, ByteSink&, Blocking&) override { return fail(Errno::IsDirectory); }
  Result<size_t> write_at(uint64_t, size_t, ByteSource&, Blocking&) override { return fail(Errno::BadFile); }
  Result<uint64_t> seek(int64_t offset, int whence) override;
  Status list(const std::function<bool(const DirectoryEntry&)>& visit) override;
  Status truncate(uint64_t) override { return fail(Errno::IsDirectory); }

 private:
  struct Entry {
    uint64_t inode;
    uint32_t type;
    std::string name;
  };
  Status take_listing();
  Status forget_removed();

  std::vector<Entry> entries_;
  bool taken_ = false;
  uint64_t version_ = 0;                              // of the directory when `entries_` was last compared with it
  std::optional<std::set<std::string>> still_there_;  // set where the directory has changed since the listing was taken
};

}  // namespace vitro::fs
