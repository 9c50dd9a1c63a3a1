// swapon(2) and swapoff(2) (mm/swapfile.c).
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "vitro/fs/disk_device.h"
#include "vitro/fs/file.h"
#include "vitro/fs/vfs.h"
#include "vitro/mm/swap.h"

namespace vitro::syscalls {
namespace {

constexpr unsigned kPriorityMask = 0x7fff, kPrefer = 0x8000, kDiscard = 0x10000, kDiscardOnce = 0x20000, kDiscardPages = 0x40000;

}  // namespace

Result<long> sys_swapon(Context& c) {
  const unsigned flags = unsigned_argument(c, 1);
  if (flags & ~(kPriorityMask | kPrefer | kDiscard | kDiscardOnce | kDiscardPages)) return fail(Errno::Invalid);
  if (!privileged(c)) return fail(Errno::NotPermitted);
  const std::string path = TRY(path_argument(c, 0));
  const auto file = TRY(c.kernel.vfs().open(c.kernel.path_context(c.task), {}, path, fs::kOpenReadWrite, 0));
  const fs::Attributes a = file->inode().attributes();
  mm::SwapSource source;
  if (hw::Disk* disk = fs::disk_of(*file); disk && (a.mode & fs::kTypeMask) == fs::kBlockDevice) {
    if (disk->size() < Bytes{kPageSize}) return fail(Errno::Invalid);
    source = {.path = {}, .disk = disk, .extents = {{0, disk->size().pages_down().value(), 0}}, .partition = true, .identity = a.special_device, .keep = nullptr};
  } else if ((a.mode & fs::kTypeMask) == fs::kRegular) {
    source = TRY(fs::lend_to_swap(*file));
  } else {
    return fail(Errno::Invalid);
  }
  source.path = c.kernel.vfs().path_of(file->dentry(), c.kernel.path_context(c.task).root);
  std::vector<std::byte> header(kPageSize);
  TRY(source.disk->peek(source.extents.front().sector, header));
  const std::optional<int> priority = flags & kPrefer ? std::optional<int>(static_cast<int>(flags & kPriorityMask)) : std::nullopt;
  return done(c.kernel.vm().swap().swap_on(std::move(source), header, priority));
}

Result<long> sys_swapoff(Context& c) {
  if (!privileged(c)) return fail(Errno::NotPermitted);
  const std::string path = TRY(path_argument(c, 0));
  const auto file = TRY(c.kernel.vfs().open(c.kernel.path_context(c.task), {}, path, fs::kOpenReadWrite, 0));
  const fs::Attributes a = file->inode().attributes();
  const uint64_t identity = (a.mode & fs::kTypeMask) == fs::kBlockDevice ? a.special_device : fs::swap_identity(*file);
  if (identity == 0) return fail(Errno::Invalid);
  return done(c.kernel.vm().swap().swap_off(identity));
}

}  // namespace vitro::syscalls
