#include "fs/directory_file.h"

namespace vitro::fs {

Result<uint64_t> DirectoryFile::seek(int64_t offset, int whence) {
  if (whence == 1) offset += static_cast<int64_t>(position);
  else if (whence != 0) return fail(Errno::Invalid);
  if (offset < 0) return fail(Errno::Invalid);
  if (offset == 0) taken_ = false;  // rewinddir(3) must see what is there now
  return position = static_cast<uint64_t>(offset);
}

Status DirectoryFile::take_listing() {
  entries_.clear();
  still_there_.reset();
  version_ = inode_->directory_version();
  TRY(inode_->list(0, [this](const DirectoryEntry& e) {
    entries_.push_back({e.inode, e.type, std::string(e.name)});
    return true;
  }));
  taken_ = true;
  return {};
}

Status DirectoryFile::forget_removed() {
  version_ = inode_->directory_version();
  std::set<std::string> names;
  TRY(inode_->list(0, [&names](const DirectoryEntry& e) { return names.emplace(e.name), true; }));
  still_there_ = std::move(names);
  return {};
}

Status DirectoryFile::list(const std::function<bool(const DirectoryEntry&)>& visit) {
  if (inode_->attributes().links == 0) return fail(Errno::NoEntry);  // removed while open
  if (!taken_ || position == 0) TRY(take_listing());
  else if (inode_->directory_version() != version_) TRY(forget_removed());
  while (position < entries_.size()) {
    const Entry& e = entries_[position];
    const bool gone = still_there_ && !still_there_->contains(e.name);
    if (!gone && !visit(DirectoryEntry{e.inode, e.type, e.name, position + 1})) break;
    ++position;
  }
  return {};
}

}  // namespace vitro::fs
