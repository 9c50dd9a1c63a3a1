// What happens to files, told to whoever asked (fs/notify/fsnotify.c). inotify(7) is who asks.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "vitro/fs/inode.h"

namespace vitro::fs {

struct Dentry;
class File;

// IN_* of inotify(7).
inline constexpr uint32_t kNotifyAccess = 0x1, kNotifyModify = 0x2, kNotifyAttributes = 0x4, kNotifyCloseWrite = 0x8, kNotifyCloseNoWrite = 0x10, kNotifyOpen = 0x20,
                          kNotifyMovedFrom = 0x40, kNotifyMovedTo = 0x80, kNotifyCreate = 0x100, kNotifyDelete = 0x200, kNotifyDeleteSelf = 0x400, kNotifyMoveSelf = 0x800,
                          kNotifyOverflow = 0x4000, kNotifyIgnored = 0x8000, kNotifyDirectory = 0x40000000;

// Somebody's interest in one inode, which it keeps alive. On the inode's list from construction to destruction.
class NotifyMark {
 public:
  explicit NotifyMark(std::shared_ptr<Inode> inode);
  virtual ~NotifyMark();
  NotifyMark(const NotifyMark&) = delete;
  Inode& inode() { return *inode_; }
  // `name`: of the entry of this directory that it happened to; empty: to the inode itself.
  virtual void happened(uint32_t what, std::string_view name, uint32_t cookie, bool unlinked) = 0;
  // The inode is gone for everybody else: the mark may destroy itself.
  virtual void inode_gone() = 0;

 private:
  std::shared_ptr<Inode> inode_;
};

// To the inode alone.
void notify(Inode& inode, uint32_t what, std::string_view name = {}, uint32_t cookie = 0, bool unlinked = false);
// To the directory that the file was reached by, with its name, and to the file itself.
void notify(const Dentry& d, uint32_t what);
void notify(File& f, uint32_t what);
// Its last name went, or the last description of a file without names: IN_DELETE_SELF where both are so.
void notify_if_gone(Inode& inode);

}  // namespace vitro::fs
