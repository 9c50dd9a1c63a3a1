// Which caches the kernel makes at boot: names, sizes and flags of Linux 6.1 (Debian's amd64 configuration), in the order of its start-up.
#include "mm/kernel_memory/kernel_caches.h"

#include <algorithm>
#include <utility>

#include "vitro/base/check.h"

namespace vitro::mm {
namespace {

using enum SlabFlag;

struct Row {
  KernelCache which;
  const char* name;
  unsigned object_size;  // sizeof the structure; /proc/slabinfo shows it with padding
  SlabFlag flags;
  bool constructed = false;  // has a constructor, so the free pointer lies behind the object
};

constexpr SlabFlag kAligned = HwCacheAlign | Panic | Account;
constexpr SlabFlag kPlain = Panic | Account;
constexpr SlabFlag kReclaimable = ReclaimAccount | Panic | Account;

constexpr Row kRows[] = {
    {KernelCache::VmapArea, "vmap_area", 64, Panic},
    {KernelCache::MmStruct, "mm_struct", 1112, kAligned},
    {KernelCache::RadixTreeNode, "radix_tree_node", 576, Panic | ReclaimAccount, true},
    {KernelCache::MapleNode, "maple_node", 256, HwCacheAlign | Panic},
    {KernelCache::Pid, "pid", 112, kAligned},
    {KernelCache::AnonVma, "anon_vma", 96, kPlain | TypesafeByRcu, true},
    {KernelCache::AnonVmaChain, "anon_vma_chain", 64, kPlain},
    {KernelCache::CredJar, "cred_jar", 184, kAligned},
    {KernelCache::TaskStruct, "task_struct", 8448, kAligned},
    {KernelCache::SighandCache, "sighand_cache", 2088, kAligned | TypesafeByRcu, true},
    {KernelCache::SignalCache, "signal_cache", 1128, kAligned},
    {KernelCache::FilesCache, "files_cache", 704, kAligned},
    {KernelCache::FsCache, "fs_cache", 56, kAligned},
    {KernelCache::VmAreaStruct, "vm_area_struct", 152, kPlain},
    {KernelCache::Nsproxy, "nsproxy", 72, kPlain},
    {KernelCache::NamesCache, "names_cache", 4096, HwCacheAlign | Panic},
    {KernelCache::Dentry, "dentry", 192, kReclaimable},
    {KernelCache::InodeCache, "inode_cache", 632, kReclaimable, true},
    {KernelCache::Filp, "filp", 232, kAligned},
    {KernelCache::MntCache, "mnt_cache", 320, kAligned},
    {KernelCache::ShmemInodeCache, "shmem_inode_cache", 776, kPlain, true},
    {KernelCache::SigQueue, "sigqueue", 80, kPlain},
    {KernelCache::ProcInodeCache, "proc_inode_cache", 704, kReclaimable, true},
    {KernelCache::BufferHead, "buffer_head", 104, ReclaimAccount | Panic},
    {KernelCache::TaskDelay, "task_delay_info", 128, kPlain},
    {KernelCache::SockInodeCache, "sock_inode_cache", 824, HwCacheAlign | ReclaimAccount | Account, true},
    {KernelCache::EpollItem, "eventpoll_epi", 128, kAligned},
    {KernelCache::Ext4InodeCache, "ext4_inode_cache", 1184, ReclaimAccount | Account, true},
};
static_assert(std::size(kRows) == static_cast<size_t>(KernelCache::Count), "one row for each KernelCache");

}  // namespace

std::string_view kernel_cache_name(KernelCache c) {
  for (const Row& row : kRows)
    if (row.which == c) return row.name;
  return "";
}

BootCaches::BootCaches(SlabAllocator& slabs) : slabs_(slabs) {
  for (const Row& row : kRows) {
    SlabCacheSpec spec{.name = row.name, .object_size = Bytes{row.object_size}, .flags = row.flags};
    // Linux's constructors set up list heads and locks; here nobody reads them, but a constructed object starts out clean.
    if (row.constructed) spec.constructor = [](std::span<std::byte> object) { std::ranges::fill(object, std::byte{0}); };
    auto cache = slabs.create(std::move(spec));
    CHECK(cache, "no memory for {}", row.name);
    caches_[static_cast<size_t>(row.which)] = *cache;
  }
}

Result<SlabObject> BootCaches::allocate(KernelCache which, Gfp flags) {
  SlabCache& cache = *caches_[static_cast<size_t>(which)];
  const auto object = cache.allocate(flags);
  if (!object) return fail(Errno::NoMemory);
  return SlabObject{cache, *object};
}

Result<SlabObject> BootCaches::allocate_bytes(Bytes size, Gfp flags) {
  if (size.value() == 0 || size > kMaxOrder.pages().bytes()) return fail(Errno::Invalid);
  const auto object = slabs_.kmalloc(size, flags);
  if (!object) return fail(Errno::NoMemory);
  // Beyond the caches any kmalloc cache stands for the page allocator: SlabCache::release looks at the frame.
  SlabCache* cache = slabs_.kmalloc_cache(size, flags);
  return SlabObject{cache ? *cache : *slabs_.kmalloc_cache(Bytes{8192}, flags), *object};
}

SlabObject& SlabObject::operator=(SlabObject&& other) noexcept {
  if (this != &other) {
    release();
    cache_ = std::exchange(other.cache_, nullptr);
    object_ = other.object_;
  }
  return *this;
}

void SlabObject::release() {
  if (SlabCache* cache = std::exchange(cache_, nullptr)) cache->release(object_);
}

}  // namespace vitro::mm
