// What the VFS keeps between calls.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "fs/dentry_cache.h"
#include "vitro/fs/vfs.h"
#include "vitro/mm/kernel_object.h"

namespace vitro::fs {

class AnonymousFs;
class JobControl;

struct Vfs::State {
  explicit State(Vfs& vfs) : dentries(vfs) {}
  DentryCache dentries;
  std::vector<std::unique_ptr<Mount>> mounts;  // the root first, then in order of mounting
  uint64_t next_device = 20;                   // minor number; the first ones belong to file systems that a kernel mounts for itself
  std::map<std::pair<uint32_t, uint64_t>, DeviceOpener> devices;
  std::shared_ptr<AnonymousFs> pipes, anonymous;
  std::shared_ptr<Inode> anonymous_inode;
  std::shared_ptr<FileSystem> memory_files;    // memfd: a tmpfs that is mounted nowhere
  JobControl* jobs = nullptr;
  KernelLog kernel_log;
  uint32_t move_cookie = 0;                    // ties the two halves of a rename together (notify.h)
};

// One object of guest memory for something the VFS keeps. When there is none, unused dentries and inodes go first. NoMemory. Nothing is charged
// (an empty object) where the Vfs has no memory manager.
Result<mm::SlabObject> charge(Vfs& vfs, mm::KernelCache cache);

}  // namespace vitro::fs
