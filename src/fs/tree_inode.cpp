// A TreeInode as a file: attributes, contents, storage.
#include "fs/tree_inode.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "vitro/mm/address_space.h"

namespace vitro::fs {
namespace {

constexpr uint64_t kDirectoryEntrySize = 20;  // mm/shmem.c: BOGO_DIRENT_SIZE
constexpr int kKeepSize = 1, kPunchHole = 2, kZeroRange = 16;  // include/uapi/linux/falloc.h

// Bytes for clearing part of a file.
class ZeroSource final : public ByteSource {
 public:
  Result<size_t> take(std::span<std::byte> bytes) override {
    std::memset(bytes.data(), 0, bytes.size());
    return bytes.size();
  }
};

bool earlier(const Time& a, const Time& b) { return a.seconds != b.seconds ? a.seconds < b.seconds : a.nanoseconds <= b.nanoseconds; }

}  // namespace

TreeInode::~TreeInode() {
  pages_.reset();
  fs_.inode_gone(node_);
}

Attributes TreeInode::attributes() {
  Attributes a;
  a.device = fs_.device();
  a.inode = node_.number;
  a.mode = node_.mode, a.uid = node_.uid, a.gid = node_.gid;
  a.links = node_.links;
  a.special_device = node_.special_device;
  a.size = node_.size;
  uint64_t pages = node_.blocks.count();
  // Pages that have no block of their own yet lie in the lower layer; those of a tmpfs that came through a mapping are only in the cache.
  if (node_.lower_bytes > 0) pages = std::max(pages, Bytes{node_.lower_bytes}.pages_up().value());
  else if (!fs_.store() && pages_) pages = std::max(pages, pages_->cached_pages().value());
  if (node_.disk) pages += node_.disk->map_blocks.size();
  if (node_.type() == kDirectory && fs_.store()) pages = std::max<uint64_t>(pages, 1);
  if (node_.type() == kDirectory && !fs_.store()) a.size = kDirectoryEntrySize * (2 + node_.entries.size());
  a.blocks = pages * (kPageSize / 512);
  a.accessed = node_.accessed, a.modified = node_.modified, a.changed = node_.changed, a.born = node_.born;
  return a;
}

Status TreeInode::set_attributes(const AttributeChange& c) {
  TRY(fs_.begin_change());
  TRY(fs_.keep_on_disk(node_));
  if (c.size && *c.size != node_.size) TRY(resize(*c.size));
  else if (c.size) node_.modified = fs_.vfs()->now();
  if (c.mode) node_.mode = node_.type() | (*c.mode & 07777);
  if (c.uid) node_.uid = *c.uid;
  if (c.gid) node_.gid = *c.gid;
  if (c.accessed) node_.accessed = *c.accessed;
  if (c.modified) node_.modified = *c.modified;
  changed();
  return {};
}

Result<std::string> TreeInode::read_link() {
  if (node_.type() != kSymlink) return fail(Errno::Invalid);
  return node_.link_target;
}

Result<std::shared_ptr<File>> TreeInode::open(unsigned flags, const OpenContext& context) {
  if (node_.lower) {
    switch (node_.type()) {
      case kRegular:
        if (node_.lower_bytes > 0 && !fs_.lower_allows(node_, kMayRead)) return fail(Errno::Access);
        break;
      case kDirectory:
        if (!fs_.lower_allows(node_, kMayRead | kMayExec)) return fail(Errno::Access);
        break;
      case kSymlink: break;
      case kSocket: return fail(Errno::NoDeviceOrAddress);
      default: return fail(Errno::Access);  // the host's FIFOs and devices are none of the guest's
    }
  }
  return Inode::open(flags, context);
}

mm::PageCache* TreeInode::page_cache() {
  if (!pages_ && node_.type() == kRegular && fs_.vfs()->services().vm)
    pages_ = std::make_unique<mm::PageCache>(*fs_.vfs()->services().vm, *this, fs_.config().pages, node_.number, fs_.device());
  return pages_.get();
}

Status TreeInode::sync(Sync what, Bytes from, Bytes to) {
  if (!fs_.store()) return {};
  const auto self = shared_from_this();
  // An error of writing is told by write_errors(), to everybody once.
  if (pages_) (void)pages_->write_back(from, to);
  DiskVolume* volume = fs_.config().volume;
  if (!volume || !fs_.disk() || !fs_.vfs()->services().vm) return {};
  const bool metadata = fs_.disk()->uncommitted(node_, what == Sync::All ? DiskTree::What::Times : DiskTree::What::Data);
  return metadata || volume->committing() ? volume->commit() : volume->flush();
}

// mm/shmem.c: shmem_write_begin, which is asked for one page at a time: those below the end can be written still.
Result<uint64_t> TreeInode::prepare_write(uint64_t offset, uint64_t count) {
  if (sealed(kSealWrite | kSealFutureWrite)) return fail(Errno::NotPermitted);
  if (sealed(kSealGrow) && offset + count > node_.size) {
    const uint64_t stop = node_.size & ~kPageOffsetMask;
    if (stop <= offset) return fail(Errno::NotPermitted);
    count = stop - offset;
  }
  return reserve_range(offset, count);
}

Result<uint64_t> TreeInode::reserve_range(uint64_t offset, uint64_t count) {
  if (node_.swap_file) return fail(Errno::TextBusy);
  const uint64_t first = offset / kPageSize, last = (offset + count - 1) / kPageSize;
  TRY(fs_.begin_change(last - first + 8));
  TRY(fs_.keep_on_disk(node_));
  for (uint64_t page = first; page <= last; ++page) {
    if (node_.blocks.get(page) != BlockMap::kHole) continue;
    if (Status s = fs_.reserve_page(node_, page); !s) {
      if (page == first) return fail(s.error());
      count = page * kPageSize - offset;
      break;
    }
  }
  node_.changed_here = true;
  // fs/inode.c: file_remove_privs.
  if (node_.mode & 06000) {
    node_.mode &= ~04000u;
    if (node_.mode & 010) node_.mode &= ~02000u;
  }
  return count;
}

void TreeInode::content_written(uint64_t end) {
  node_.size = std::max(node_.size, end);
  node_.modified = fs_.vfs()->now();
  changed();
}

void TreeInode::content_read() {
  if (!node_.changed_here) return;  // reading changes nothing in the lower layer
  const Time now = fs_.vfs()->now();
  constexpr int64_t kDay = 24 * 60 * 60;
  if (!earlier(node_.accessed, node_.modified) && !earlier(node_.accessed, node_.changed) && now.seconds - node_.accessed.seconds < kDay) return;
  if (!fs_.begin_change()) return;
  node_.accessed = now;
  fs_.mark(node_, DiskTree::What::Times);
}

Status TreeInode::resize(uint64_t size) {
  if (node_.type() != kRegular) return fail(Errno::Invalid);
  if (node_.swap_file) return fail(Errno::TextBusy);
  if (size > max_size()) return fail(Errno::FileTooBig);
  if ((size < node_.size && sealed(kSealShrink)) || (size > node_.size && sealed(kSealGrow))) return fail(Errno::NotPermitted);
  if (size < node_.size) {
    // The last page's block keeps what lies beyond the new end unless the page is cleared there and written again (fs/buffer.c: block_truncate_page).
    const PageIndex tail{size / kPageSize};
    const uint64_t value = node_.blocks.get(tail.value());
    const bool clear_tail = fs_.store() && size % kPageSize != 0 && value != BlockMap::kHole && value != BlockMap::kReserved && page_cache();
    if (clear_tail) TRY(pages_->get(tail));
    node_.size = size;
    node_.lower_bytes = std::min(node_.lower_bytes, size);
    if (pages_) pages_->truncate(Bytes{size});
    if (clear_tail && pages_->find(tail)) pages_->mark_dirty(tail);
    fs_.release_pages(node_, Bytes{size}.pages_up().value(), UINT64_MAX);
  }
  node_.size = size;
  if (node_.disk) node_.disk->size = size;
  node_.modified = fs_.vfs()->now();
  return {};
}

Status TreeInode::zero_range(uint64_t from, uint64_t to) {
  ZeroSource zeros;
  while (from < to) {
    const uint64_t n = TRY(prepare_write(from, std::min<uint64_t>(to - from, kMaxTransfer & ~kPageOffsetMask)));
    from += TRY(page_cache()->write(Bytes{from}, n, zeros));
  }
  return {};
}

Status TreeInode::allocate(int mode, uint64_t offset, uint64_t length) {
  if (!page_cache()) return fail(Errno::NotSupported);
  const uint64_t end = offset + length;
  if ((mode & kPunchHole) && sealed(kSealWrite | kSealFutureWrite)) return fail(Errno::NotPermitted);
  if (!(mode & kPunchHole) && end > node_.size && sealed(kSealGrow)) return fail(Errno::NotPermitted);
  if (node_.swap_file) return fail(Errno::TextBusy);
  TRY(fs_.begin_change());
  TRY(fs_.keep_on_disk(node_));
  switch (mode) {
    case 0:
    case kKeepSize: {
      const uint64_t first = offset / kPageSize, last = (end - 1) / kPageSize;
      const uint64_t room = fs_.store() ? fs_.store()->free_blocks() : fs_.vfs()->services().vm->physical().allocator().managed_frames().value();
      if (last - first >= room + node_.blocks.count()) return fail(Errno::NoSpace);
      if (TRY(reserve_range(offset, length)) < length) return fail(Errno::NoSpace);
      // Without a disk the pages themselves are the space (mm/shmem.c: shmem_fallocate).
      for (uint64_t page = first; !fs_.store() && page <= last; ++page)
        if (auto got = pages_->get(PageIndex{page}); !got) return fail(Errno::NoSpace);
      break;
    }
    case kPunchHole | kKeepSize:
    case kZeroRange:
    case kZeroRange | kKeepSize: {
      const uint64_t stop = std::min(end, node_.size);
      if (offset < stop) {
        const uint64_t first = Bytes{offset}.pages_up().value(), last = stop == node_.size ? Bytes{stop}.pages_up().value() : stop / kPageSize;
        if (node_.lower_bytes > offset || first >= last) {
          TRY(zero_range(offset, stop));  // what lies below would show through a hole
        } else {
          TRY(zero_range(offset, std::min(first * kPageSize, stop)));
          if (last * kPageSize < stop) TRY(zero_range(last * kPageSize, stop));
          pages_->drop_range(PageIndex{first}, Pages{last - first});
          fs_.release_pages(node_, first, last - 1);
        }
      }
      node_.modified = fs_.vfs()->now();
      break;
    }
    default: return fail(Errno::NotSupported);
  }
  if (!(mode & kKeepSize) && end > node_.size) {
    node_.size = end;
    if (node_.disk) node_.disk->size = end;
  }
  changed();
  return {};
}

// The pages come from the host at once, and the time that takes is a disk's.
void TreeInode::read_lower(uint64_t page, Into pages, Done done) {
  uint64_t from_host = 0;
  for (size_t i = 0; i < pages.size(); ++i) {
    const uint64_t offset = (page + i) * kPageSize;
    const uint64_t wanted = offset < node_.lower_bytes ? std::min<uint64_t>(node_.lower_bytes - offset, pages[i].size()) : 0;
    uint64_t got = 0;
    if (wanted > 0) {
      if (!node_.lower) return done(fail(Errno::IoError));  // what was left in the lower layer is not there any more
      const auto n = node_.lower->tree->read(node_.lower->path, node_.lower->host, offset, pages[i].first(wanted));
      if (!n) return done(fail(Errno::IoError));
      got = *n;  // fewer where the host has shortened the file meanwhile: the rest reads as zeros
    }
    std::memset(pages[i].data() + got, 0, pages[i].size() - got);
    from_host += wanted;
  }
  if (from_host == 0 || !fs_.store()) return done({});
  fs_.count_io(mm::VmItem::pgpgin, Bytes{from_host});
  fs_.store()->charge_read(Bytes{from_host}, std::move(done));
}

namespace {

// Tells `done` once, when every part of a transfer has ended: the first error.
struct Parts {
  explicit Parts(mm::FileBacking::Done d) : done(std::move(d)) {}
  mm::FileBacking::Done done;
  Status result;
  size_t left = 1;  // the one that starts the others
  void end(Status s) {
    if (!s && result) result = s;
    if (--left == 0) std::exchange(done, nullptr)(result);
  }
  static mm::FileBacking::Done one_more(const std::shared_ptr<Parts>& parts) {
    ++parts->left;
    return [parts](Status s) { parts->end(s); };
  }
};

}  // namespace

void TreeInode::read_pages(PageIndex first, Into pages, Done done) {
  const auto block_at = [&](size_t i) {
    const uint64_t v = node_.blocks.get(first.value() + i);
    return v == BlockMap::kReserved || !fs_.store() ? BlockMap::kHole : v;
  };
  auto parts = std::make_shared<Parts>(std::move(done));
  for (size_t i = 0; i < pages.size();) {
    const uint64_t value = block_at(i);
    size_t run = 1;
    if (value == BlockMap::kHole) {
      while (i + run < pages.size() && block_at(i + run) == BlockMap::kHole) ++run;
      read_lower(first.value() + i, pages.subspan(i, run), Parts::one_more(parts));
    } else {
      while (i + run < pages.size() && block_at(i + run) == value + run) ++run;
      fs_.count_io(mm::VmItem::pgpgin, Bytes{run * kPageSize});
      fs_.store()->read_blocks(value - 1, pages.subspan(i, run), Parts::one_more(parts));
    }
    i += run;
  }
  parts->end({});
}

void TreeInode::write_pages(PageIndex first, From pages, Done done) {
  const auto self = shared_from_this();  // waiting for the disk's queue must not end with a file that is gone
  auto parts = std::make_shared<Parts>([fs = fs_.shared_from_this(), done = std::move(done)](Status s) {
    if (!s) fs->write_errors()->set(s.error());
    done(s);
  });
  if (Status s = fs_.begin_change(); !s) return parts->end(fail(Errno::IoError));
  bool placed = false;
  uint64_t run_block = 0;
  std::vector<std::span<const std::byte>> run;
  const auto flush = [&] {
    if (run.empty()) return;
    fs_.count_io(mm::VmItem::pgpgout, Bytes{run.size() * kPageSize});
    Done end = Parts::one_more(parts);
    if (DiskVolume* volume = fs_.config().volume; volume && placed) {
      // The transaction that makes these blocks the file's must not commit before they are written (data=ordered).
      end = [volume, number = volume->begin_ordered_write(), end = std::move(end)](Status s) {
        volume->end_ordered_write(number);
        end(s);
      };
    }
    fs_.store()->write_blocks(run_block, run, std::move(end));
    run.clear();
  };
  for (size_t i = 0; i < pages.size(); ++i) {
    const PageIndex index = first + Pages{i};
    if (!fs_.store() || index.offset().value() >= node_.size) continue;  // cut off meanwhile
    uint64_t value = node_.blocks.get(index.value());
    if (value == BlockMap::kReserved) {
      value = fs_.store()->allocate_reserved_block() + 1;
    } else if (value == BlockMap::kHole) {
      // It was dirty before the hole was made under it.
      if (Status s = fs_.reserve_page(node_, index.value()); !s) {
        Parts::one_more(parts)(s);
        continue;
      }
      value = fs_.store()->allocate_reserved_block() + 1;
    }
    if (node_.blocks.get(index.value()) != value) {
      node_.blocks.set(index.value(), value);
      node_.changed_here = true;
      if (fs_.disk()) fs_.disk()->page_mapped(node_, index.value());
      placed = true;
    }
    if (node_.disk) node_.disk->size = std::max(node_.disk->size, std::min<uint64_t>(node_.size, (index.value() + 1) * kPageSize));
    if (!run.empty() && run_block + run.size() != value - 1) flush();
    if (run.empty()) run_block = value - 1;
    run.push_back(pages[i]);
  }
  flush();
  parts->end({});
}

Status TreeInode::reserve_page_of(PageIndex index) {
  if (!fs_.store() || node_.blocks.get(index.value()) != BlockMap::kHole) return {};
  TRY(fs_.keep_on_disk(node_));
  TRY(fs_.reserve_page(node_, index.value()));
  node_.changed_here = true;
  return {};
}

}  // namespace vitro::fs
