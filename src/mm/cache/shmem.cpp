#include "vitro/mm/shmem.h"

#include <algorithm>

#include "mm/space/virtual_memory_state.h"

namespace vitro::mm {
namespace {

// Its pages are the page cache's; there is nothing below (mm/shmem.c). The same object is inode, file and backing.
class ShmemFile final : public MappedFile, public FileBacking {
 public:
  ShmemFile(VirtualMemory& vm, std::string name, Bytes size, bool whole_size, uint64_t inode)
      : vm_(vm), name_(std::move(name)), size_(size), committed_(whole_size ? size.pages_up() : Pages{0}), inode_(inode), cache_(vm, *this, FrameState::Shmem, inode) {
    if (whole_size) cache_.set_accounted_up_front();
    vm_.commit(committed_);
  }
  ~ShmemFile() override { vm_.uncommit(committed_); }

  // The objects of guest memory that an inode, its dentry and its file cost. NoMemory.
  Status allocate_objects() {
    KernelCaches& caches = vm_.physical().caches();
    inode_object_ = TRY(caches.allocate(KernelCache::ShmemInodeCache, Gfp::KernelAccount));
    dentry_object_ = TRY(caches.allocate(KernelCache::Dentry, Gfp::KernelAccount));
    file_object_ = TRY(caches.allocate(KernelCache::Filp, Gfp::KernelAccount));
    return {};
  }

  PageCache& page_cache() override { return cache_; }
  uint64_t device_number() const override { return 1; }  // the kernel's own tmpfs mount, 00:01
  uint64_t inode_number() const override { return inode_; }
  std::string mapped_path() const override { return name_; }
  bool opened_for_write() const override { return true; }
  bool opened_for_read() const override { return true; }

  void read_pages(PageIndex, Into pages, Done done) override {
    for (const auto& page : pages) std::ranges::fill(page, std::byte{0});
    done({});
  }
  void write_pages(PageIndex, From, Done done) override { done({}); }
  Bytes size() const override { return size_; }

 private:
  VirtualMemory& vm_;
  std::string name_;
  Bytes size_;
  Pages committed_;
  uint64_t inode_;
  SlabObject inode_object_, dentry_object_, file_object_;
  PageCache cache_;
};

}  // namespace

std::shared_ptr<MappedFile> make_shmem_file(VirtualMemory& vm, std::string name, Bytes size, ShmemAccounting accounting) {
  auto file = std::make_shared<ShmemFile>(vm, std::move(name), size, accounting == ShmemAccounting::WholeSize, vm.state().next_inode++);
  if (!file->allocate_objects()) return nullptr;
  return file;
}

}  // namespace vitro::mm
