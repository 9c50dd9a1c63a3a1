// Kernel objects cost guest memory: each one that vitro models owns an object of its slab cache, carved from guest RAM, under Linux's
// cache names and near Linux 6.1's sizes. So slabtop cannot lie, and running out of memory makes fork and mmap fail as they do.
//
//   struct Inode { SlabObject memory; ... };
//   inode->memory = TRY(caches.allocate(KernelCache::InodeCache, Gfp::KernelAccount));   // Errno::NoMemory when there is none
#pragma once

#include <cstdint>
#include <string_view>

#include "vitro/base/result.h"
#include "vitro/base/types.h"
#include "vitro/mm/gfp.h"

namespace vitro::mm {

class SlabCache;

enum class KernelCache : uint8_t {
  TaskStruct, MmStruct, VmAreaStruct, AnonVma, AnonVmaChain, FilesCache, FsCache, Filp, SignalCache, SighandCache, Pid, CredJar,
  Dentry, InodeCache, Ext4InodeCache, ShmemInodeCache, ProcInodeCache, SockInodeCache, RadixTreeNode, BufferHead, NamesCache, MntCache,
  EpollItem, TaskDelay, MapleNode, VmapArea, SigQueue, Nsproxy, Count,
};
std::string_view kernel_cache_name(KernelCache c);  // "task_struct", "vm_area_struct", "inode_cache", ...

// Owns one slab object; gives it back when destroyed. Movable, empty by default.
class SlabObject {
 public:
  SlabObject() = default;
  SlabObject(SlabCache& cache, VirtAddr object) : cache_(&cache), object_(object) {}
  SlabObject(SlabObject&& other) noexcept : cache_(other.cache_), object_(other.object_) { other.cache_ = nullptr; }
  SlabObject& operator=(SlabObject&& other) noexcept;
  ~SlabObject() { release(); }
  void release();
  explicit operator bool() const { return cache_ != nullptr; }
  VirtAddr address() const { return object_; }  // in the direct map

 private:
  SlabCache* cache_ = nullptr;
  VirtAddr object_{0};
};

// The caches of the kernel's own objects, made at boot.
class KernelCaches {
 public:
  virtual ~KernelCaches() = default;
  virtual Result<SlabObject> allocate(KernelCache which, Gfp flags = Gfp::Kernel) = 0;
  // kmalloc'd memory (up to 8 KiB from a cache, more straight from the page allocator), for what has no cache of its own (pipe buffers, fd tables).
  // Invalid for 0 bytes or more than 4 MiB.
  virtual Result<SlabObject> allocate_bytes(Bytes size, Gfp flags = Gfp::Kernel) = 0;
};

}  // namespace vitro::mm
