// A file of the simulated disk as a swap area: where its pages lie, once and for all (mm/swapfile.c: setup_swap_extents; fs/iomap/swapfile.c).
#include "fs/disk_tree.h"
#include "fs/disk_volume.h"
#include "fs/tree_fs.h"
#include "fs/tree_inode.h"
#include "vitro/fs/disk_device.h"
#include "vitro/fs/file.h"

namespace vitro::fs {

Result<mm::SwapSource> TreeInode::lend_to_swap() {
  DiskVolume* volume = fs_.config().volume;
  // What still shows the lower layer has no place on the disk.
  if (node_.type() != kRegular || !volume || !fs_.disk() || node_.lower_bytes > 0 || !page_cache()) return fail(Errno::Invalid);
  if (node_.swap_file) return fail(Errno::Busy);
  TRY(sync(Sync::All, Bytes{0}, Bytes{UINT64_MAX}));
  const uint64_t pages = node_.size / kPageSize;
  mm::SwapSource source;
  for (uint64_t page = 0; page < pages; ++page) {
    uint64_t value = node_.blocks.get(page);
    if (value == BlockMap::kHole) return fail(Errno::Invalid);
    if (value == BlockMap::kReserved) {  // fallocate set it aside; it is needed now
      TRY(fs_.begin_change());
      value = volume->allocate_reserved_block() + 1;
      node_.blocks.set(page, value);
      fs_.disk()->page_mapped(node_, page);
    }
    const uint64_t sector = (value - 1) * DiskAccess::kSectors;
    if (!source.extents.empty()) {
      mm::SwapExtent& last = source.extents.back();
      if (last.sector + last.count * DiskAccess::kSectors == sector) {
        ++last.count;
        continue;
      }
    }
    source.extents.push_back({page, 1, sector});
  }
  if (source.extents.empty()) return fail(Errno::Invalid);
  // From now on the pages change below the page cache.
  (void)page_cache()->invalidate(PageIndex{0}, Pages{pages});
  source.disk = &volume->disk();
  source.identity = uint64_t{1} << 63 | node_.number;
  // Weak: at power-off the file system goes first.
  struct Loan {
    std::weak_ptr<TreeInode> lent;
    explicit Loan(const std::shared_ptr<TreeInode>& inode) : lent(inode) { inode->node().swap_file = inode; }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    ~Loan() {
      const auto inode = lent.lock();
      if (!inode) return;
      if (inode->page_cache()) (void)inode->page_cache()->invalidate(PageIndex{0}, Pages{inode->node().size / kPageSize + 1});
      inode->node().swap_file.reset();
    }
  };
  source.keep = std::make_shared<Loan>(std::static_pointer_cast<TreeInode>(shared_from_this()));
  return source;
}

Result<mm::SwapSource> lend_to_swap(File& file) {
  auto* inode = dynamic_cast<TreeInode*>(&file.inode());
  if (!inode) return fail(Errno::Invalid);
  return inode->lend_to_swap();
}

uint64_t swap_identity(File& file) {
  auto* inode = dynamic_cast<TreeInode*>(&file.inode());
  return inode ? uint64_t{1} << 63 | inode->node().number : 0;
}

}  // namespace vitro::fs
