#include "vitro/fs/notify.h"

#include <algorithm>
#include <vector>

#include "fs/dentry.h"
#include "vitro/fs/file.h"

namespace vitro::fs {

NotifyMark::NotifyMark(std::shared_ptr<Inode> inode) : inode_(std::move(inode)) { inode_->notify_marks.push_back(this); }
NotifyMark::~NotifyMark() { std::erase(inode_->notify_marks, this); }

void notify(Inode& inode, uint32_t what, std::string_view name, uint32_t cookie, bool unlinked) {
  // A mark for one event only removes itself while it is told.
  const std::vector<NotifyMark*> marks = inode.notify_marks;
  for (NotifyMark* mark : marks)
    if (std::ranges::find(inode.notify_marks, mark) != inode.notify_marks.end()) mark->happened(what, name, cookie, unlinked);
}

void notify(const Dentry& d, uint32_t what) {
  if (!d.inode) return;
  const bool from_parent = d.parent && d.parent->inode && !d.parent->inode->notify_marks.empty();
  if (!from_parent && d.inode->notify_marks.empty()) return;
  if (d.inode->is_directory()) what |= kNotifyDirectory;
  if (from_parent) notify(*d.parent->inode, what, d.name, 0, d.unlinked);
  notify(*d.inode, what);
}

void notify(File& f, uint32_t what) {
  if (f.dentry() && !(f.flags() & kOpenPath)) notify(*f.dentry(), what);
}

void notify_if_gone(Inode& inode) {
  if (inode.notify_marks.empty() || inode.open_files > 0) return;
  const Attributes a = inode.attributes();
  const bool directory = (a.mode & kTypeMask) == kDirectory;
  if (a.links > (directory ? 1u : 0u)) return;
  notify(inode, kNotifyDeleteSelf);
  while (!inode.notify_marks.empty()) {
    NotifyMark* mark = inode.notify_marks.back();
    mark->inode_gone();
    std::erase(inode.notify_marks, mark);
  }
}

}  // namespace vitro::fs
