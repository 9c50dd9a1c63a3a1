// A regular file's description: reads and writes go to the inode's page cache.
#include "vitro/fs/file.h"

#include <algorithm>

#include "fs/dentry.h"
#include "vitro/base/check.h"
#include "vitro/fs/vfs.h"
#include "vitro/mm/address_space.h"
#include "vitro/fs/notify.h"
#include "vitro/mm/page_cache.h"

namespace vitro::fs {
namespace {
constexpr int kSeekSet = 0, kSeekCurrent = 1, kSeekEnd = 2, kSeekData = 3, kSeekHole = 4;
}

namespace {

// file_ra_state_init: what the device reads ahead.
uint64_t device_readahead(Inode& inode) {
  Vfs* vfs = inode.file_system().vfs();
  return vfs && vfs->services().vm ? vfs->services().vm->readahead_pages : mm::kReadaheadPages;
}

}  // namespace

File::File(std::shared_ptr<Inode> inode, unsigned flags) : inode_(std::move(inode)), flags_(flags) {
  if (!inode_) return;
  ++inode_->open_files;
  readahead_.pages = device_readahead(*inode_);
  if (ErrorSequence* errors = inode_->write_errors()) seen_errors_ = errors->sample();
  if (ErrorSequence* errors = inode_->file_system().write_errors()) seen_file_system_errors_ = errors->sample();
}

File::~File() {
  if (holds_write_access_) --inode_->writers;
  allow_writes();
  if (inode_ && --inode_->open_files == 0) notify_if_gone(*inode_);
}

Status File::deny_writes() {
  if (inode_->writers > 0) return fail(Errno::TextBusy);
  if (!denies_writes_) ++inode_->write_denials;
  denies_writes_ = true;
  return {};
}

void File::allow_writes() {
  if (denies_writes_) --inode_->write_denials;
  denies_writes_ = false;
}

void File::hold_write_access() {
  if (!holds_write_access_) ++inode_->writers;
  holds_write_access_ = true;
}

Result<size_t> File::read(size_t count, ByteSink& sink, Blocking& blocking) {
  const auto held = TRY(position_lock_.acquire(blocking));
  const size_t n = TRY(read_at(position, count, sink, blocking));
  position += n;
  return n;
}

Result<size_t> File::write(size_t count, ByteSource& source, Blocking& blocking) {
  const auto held = TRY(position_lock_.acquire(blocking));
  const size_t n = TRY(write_at(position, count, source, blocking));
  if (flags_ & kOpenAppend) position = std::max(inode_->attributes().size, position);
  else position += n;
  return n;
}

Result<size_t> File::read_at(uint64_t offset, size_t count, ByteSink& sink, Blocking&) {
  mm::PageCache* pages = inode_->page_cache();
  if (!pages) return fail(Errno::IllegalSeek);
  if (offset > kMaxOffset) return fail(Errno::Invalid);
  const uint64_t size = inode_->attributes().size;
  if (count == 0 || offset >= size) return size_t{0};
  count = std::min<uint64_t>({count, kMaxTransfer, size - offset});
  const size_t n = TRY(pages->read(Bytes{offset}, count, sink, &readahead_));
  if (!(flags_ & kOpenNoAtime)) inode_->content_read();
  return n;
}

Result<size_t> File::write_at(uint64_t offset, size_t count, ByteSource& source, Blocking& blocking) {
  if (!inode_->page_cache()) return fail(Errno::IllegalSeek);
  if (offset > kMaxOffset) return fail(Errno::Invalid);
  if (count == 0) return size_t{0};
  const auto held = TRY(inode_->write_lock.acquire(blocking));
  // The end is looked up under the lock, so that two appending writers never write over each other; pwrite appends too (open(2), BUGS).
  if (flags_ & kOpenAppend) offset = inode_->attributes().size;
  return write_locked(offset, count, source);
}

Result<size_t> File::write_locked(uint64_t offset, size_t count, ByteSource& source) {
  const uint64_t limit = inode_->max_size();
  if (offset >= limit) return fail(Errno::FileTooBig);
  count = std::min<uint64_t>({count, kMaxTransfer, limit - offset});
  count = TRY(inode_->prepare_write(offset, count));
  // Page by page, so that the file's end covers each page before anybody waits for the next: the flusher leaves alone what lies beyond it
  // (generic_perform_write: write_end moves i_size).
  size_t n = 0;
  while (n < count) {
    const size_t want = std::min<size_t>(count - n, kPageSize - ((offset + n) & kPageOffsetMask));
    const auto done = inode_->page_cache()->write(Bytes{offset + n}, want, source);
    if (!done && n == 0) return fail(done.error());
    if (!done || *done == 0) break;
    n += *done;
    inode_->content_written(offset + n);
    if (*done < want) break;
  }
  if (n > 0 && (flags_ & (kOpenDsync | kOpenSync))) TRY(sync((flags_ & kOpenSync) == kOpenSync ? Inode::Sync::All : Inode::Sync::DataOnly, Bytes{offset}, Bytes{offset + n}));
  return n;
}

// fs/read_write.c: generic_file_llseek. Data is everywhere, the only hole is at the end.
Result<uint64_t> File::seek(int64_t offset, int whence) {
  const uint64_t size = inode_->attributes().size;
  int64_t base = 0;
  switch (whence) {
    case kSeekSet: break;
    case kSeekCurrent: base = static_cast<int64_t>(position); break;
    case kSeekEnd: base = static_cast<int64_t>(size); break;
    case kSeekData:
    case kSeekHole:
      if (offset < 0 || static_cast<uint64_t>(offset) >= size) return fail(Errno::NoDeviceOrAddress);
      return position = whence == kSeekData ? static_cast<uint64_t>(offset) : size;
    default: return fail(Errno::Invalid);
  }
  int64_t target = 0;
  if (__builtin_add_overflow(base, offset, &target) || target < 0) return fail(Errno::Invalid);
  return position = static_cast<uint64_t>(target);
}

Status File::sync(Inode::Sync what, Bytes from, Bytes to) {
  const Status metadata = inode_->sync(what, from, to);
  TRY(check_write_errors());
  return metadata;
}

Status File::check_write_errors() {
  ErrorSequence* errors = inode_->write_errors();
  return errors ? errors->check_and_advance(seen_errors_) : Status{};
}

Status File::sync_file_system() {
  FileSystem& fs = inode_->file_system();
  const Status result = fs.sync();
  if (ErrorSequence* errors = fs.write_errors()) TRY(errors->check_and_advance(seen_file_system_errors_));
  return result;
}

Status File::sync_mapped(Bytes from, Bytes to) { return sync(Inode::Sync::All, from, to); }

void File::advise_reading(int advice) {
  readahead_.random = advice == 1;
  if (advice != 1) readahead_.pages = device_readahead(*inode_) * (advice == 2 ? 2 : 1);
}

Status File::truncate(uint64_t size) {
  if ((inode_->attributes().mode & kTypeMask) != kRegular || !writable()) return fail(Errno::Invalid);
  if (size > inode_->max_size()) return fail(Errno::FileTooBig);
  AttributeChange change;
  change.size = size;
  return inode_->set_attributes(change);
}

Status File::allocate(int mode, uint64_t offset, uint64_t length) {
  if (offset > kMaxOffset || length == 0 || length > kMaxOffset) return fail(Errno::Invalid);
  if (!writable()) return fail(Errno::BadFile);
  switch (inode_->attributes().mode & kTypeMask) {
    case kRegular: break;
    case kDirectory: return fail(Errno::IsDirectory);
    case kFifo: return fail(Errno::IllegalSeek);
    default: return fail(Errno::NoDevice);
  }
  if (offset + length > inode_->max_size()) return fail(Errno::FileTooBig);
  return inode_->allocate(mode, offset, length);
}

Status File::list(const std::function<bool(const DirectoryEntry&)>&) { return fail(Errno::NotDirectory); }

Result<std::shared_ptr<mm::MappedFile>> File::map(bool) {
  if (!inode_->page_cache()) return fail(Errno::NoDevice);
  return std::shared_ptr<mm::MappedFile>(shared_from_this());
}

mm::PageCache& File::page_cache() {
  mm::PageCache* pages = inode_->page_cache();
  CHECK(pages, "a file without pages was mapped: {}", mapped_path());
  return *pages;
}

uint64_t File::device_number() const { return inode_->attributes().device; }
uint64_t File::inode_number() const { return inode_->attributes().inode; }
std::string File::mapped_path() const { return dentry_ ? dentry_path(dentry_, nullptr) : std::string{}; }

}  // namespace vitro::fs
