// A file's length and its way to the disk.
#include "syscalls/arguments.h"
#include "syscalls/file_io.h"
#include "syscalls/handlers.h"
#include "vitro/fs/inode.h"
#include "vitro/mm/page_cache.h"

namespace vitro::syscalls {
namespace {

Status check_new_size(Context& c, int64_t size) {
  if (size < 0) return fail(Errno::Invalid);
  if (static_cast<uint64_t>(size) > c.task.process->limits[kernel::kLimitFsize].soft) {
    send_own_signal(c, kernel::kSigXfsz);
    return fail(Errno::FileTooBig);
  }
  return {};
}

// Begins to read [from, from + length) into the cache.
void read_ahead(fs::File& file, uint64_t from, uint64_t length) {
  mm::PageCache* cache = file.inode().page_cache();
  const uint64_t size = file.inode().attributes().size;
  if (!cache || from >= size) return;
  const uint64_t end = length == 0 || length > size - from ? size : from + length, first = from >> kPageShift;
  cache->read_ahead(PageIndex{first}, Pages{Bytes{end}.pages_up().value() - first}, file.readahead_window());
}

}  // namespace

Result<long> sys_truncate(Context& c) {
  const auto size = static_cast<int64_t>(c[1]);
  if (size < 0) return fail(Errno::Invalid);
  const std::string path = TRY(path_argument(c, 0));
  if (path.empty()) return fail(Errno::NoEntry);
  const fs::PathContext context = c.kernel.path_context(c.task);
  const fs::Attributes a = TRY(c.kernel.vfs().stat(context, {}, path, fs::Follow::Yes));
  if ((a.mode & fs::kTypeMask) == fs::kDirectory) return fail(Errno::IsDirectory);
  if ((a.mode & fs::kTypeMask) != fs::kRegular) return fail(Errno::Invalid);
  TRY(c.kernel.vfs().access(context, {}, path, fs::kMayWrite, true, fs::Follow::Yes));
  TRY(check_new_size(c, size));
  fs::AttributeChange change;
  change.size = static_cast<uint64_t>(size);
  return done(c.kernel.vfs().change_attributes(context, {}, path, change, fs::Follow::Yes));
}

Result<long> sys_ftruncate(Context& c) {
  const auto size = static_cast<int64_t>(c[1]);
  if (size < 0) return fail(Errno::Invalid);
  auto file = TRY(file_argument(c, 0));
  if (type_of(*file) != fs::kRegular || !file->writable()) return fail(Errno::Invalid);
  TRY(check_new_size(c, size));
  return done(file->truncate(static_cast<uint64_t>(size)));
}

Result<long> sys_fallocate(Context& c) {
  constexpr int kKeepSize = 1, kPunchHole = 2, kCollapse = 8, kZero = 0x10, kInsert = 0x20, kUnshare = 0x40;
  auto file = TRY(file_argument(c, 0));
  const int mode = int_argument(c, 1);
  const auto offset = static_cast<int64_t>(c[2]), length = static_cast<int64_t>(c[3]);
  // fs/open.c: vfs_fallocate
  if (offset < 0 || length <= 0) return fail(Errno::Invalid);
  if (mode & ~(kKeepSize | kPunchHole | kCollapse | kZero | kInsert | kUnshare)) return fail(Errno::NotSupported);
  if ((mode & kPunchHole) && (mode & kZero)) return fail(Errno::NotSupported);
  if ((mode & kPunchHole) && !(mode & kKeepSize)) return fail(Errno::NotSupported);
  if ((mode & kCollapse) && (mode & ~kCollapse)) return fail(Errno::Invalid);
  if ((mode & kInsert) && (mode & ~kInsert)) return fail(Errno::Invalid);
  if ((mode & kUnshare) && (mode & ~(kUnshare | kKeepSize))) return fail(Errno::Invalid);
  if (!file->writable()) return fail(Errno::BadFile);
  const uint32_t type = type_of(*file);
  if (type == fs::kFifo) return fail(Errno::IllegalSeek);
  if (type == fs::kDirectory) return fail(Errno::IsDirectory);
  if (type != fs::kRegular && type != fs::kBlockDevice) return fail(Errno::NoDevice);
  int64_t end = 0;
  if (__builtin_add_overflow(offset, length, &end)) return fail(Errno::FileTooBig);
  if (!(mode & kKeepSize)) TRY(check_new_size(c, end));
  return done(file->allocate(mode, static_cast<uint64_t>(offset), static_cast<uint64_t>(length)));
}

Result<long> sys_fadvise64(Context& c) {
  auto file = TRY(file_argument(c, 0));
  if (type_of(*file) == fs::kFifo) return fail(Errno::IllegalSeek);
  const auto offset = static_cast<int64_t>(c[1]), length = static_cast<int64_t>(c[2]);
  const int advice = int_argument(c, 3);
  if (length < 0 || offset < 0 || advice < 0 || advice > 5) return fail(Errno::Invalid);
  mm::PageCache* cache = file->inode().page_cache();
  if (advice <= 2) {
    file->advise_reading(advice);
  } else if (advice == 3) {  // WILLNEED: what cannot be read now is no error
    read_ahead(*file, static_cast<uint64_t>(offset), static_cast<uint64_t>(length));
  } else if (advice == 4 && cache && cache->state() != mm::FrameState::Shmem) {
    // DONTNEED: writing is begun; of the whole pages inside the range those go that are clean, unmapped and in nobody's hands. A partial last page goes
    // only where it ends the file.
    const uint64_t size = file->inode().attributes().size;
    const uint64_t begin = static_cast<uint64_t>(offset);
    uint64_t end = length == 0 ? UINT64_MAX : begin + static_cast<uint64_t>(length);
    cache->start_writing(Bytes{begin}, Bytes{end});
    if (end >= size) end = (size + kPageOffsetMask) & ~kPageOffsetMask;
    const uint64_t first = (begin + kPageOffsetMask) >> kPageShift, last = end >> kPageShift;
    if (first < last) cache->invalidate(PageIndex{first}, Pages{last - first});
  }
  return 0;
}

Result<long> sys_readahead(Context& c) {
  auto file = TRY(file_argument(c, 0));
  if (!file->readable()) return fail(Errno::BadFile);
  if (type_of(*file) != fs::kRegular) return fail(Errno::Invalid);
  read_ahead(*file, c[1], c[2]);
  return 0;
}

Result<long> sys_sync(Context& c) {
  (void)c.kernel.vfs().sync_all();
  return 0;
}

namespace {

Result<long> sync_file(Context& c, fs::Inode::Sync what) {
  auto file = TRY(file_argument(c, 0));
  const uint32_t type = type_of(*file);
  if (type != fs::kRegular && type != fs::kDirectory && type != fs::kBlockDevice) return fail(Errno::Invalid);
  return done(file->sync(what));
}

}  // namespace

Result<long> sys_fsync(Context& c) { return sync_file(c, fs::Inode::Sync::All); }
Result<long> sys_fdatasync(Context& c) { return sync_file(c, fs::Inode::Sync::DataOnly); }

Result<long> sys_syncfs(Context& c) {
  auto file = TRY(file_argument(c, 0));
  return done(file->sync_file_system());
}

Result<long> sys_sync_file_range(Context& c) {
  auto file = TRY(file_argument(c, 0));
  const auto offset = static_cast<int64_t>(c[1]), length = static_cast<int64_t>(c[2]);
  constexpr unsigned kWaitBefore = 1, kWrite = 2, kWaitAfter = 4;
  const unsigned flags = unsigned_argument(c, 3);
  if ((flags & ~(kWaitBefore | kWrite | kWaitAfter)) || offset < 0 || length < 0 || length > INT64_MAX - offset) return fail(Errno::Invalid);
  const uint32_t type = type_of(*file);
  if (type != fs::kRegular && type != fs::kBlockDevice && type != fs::kDirectory && type != fs::kSymlink) return fail(Errno::IllegalSeek);
  mm::PageCache* cache = file->inode().page_cache();
  if (!cache) return 0;
  const Bytes from{static_cast<uint64_t>(offset) & ~kPageOffsetMask}, to{length == 0 ? UINT64_MAX : static_cast<uint64_t>(offset + length)};
  if (flags & kWaitBefore) {
    TRY(cache->wait_for_writing(from, to));
    TRY(file->check_write_errors());
  }
  if (flags & kWrite) cache->start_writing(from, to);
  if (flags & kWaitAfter) {
    TRY(cache->wait_for_writing(from, to));
    TRY(file->check_write_errors());
  }
  return 0;
}

}  // namespace vitro::syscalls
