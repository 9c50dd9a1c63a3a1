// What an inode answers where its file system says nothing else.
#include "vitro/fs/inode.h"

#include "fs/directory_file.h"
#include "fs/pipe.h"
#include "vitro/fs/file.h"
#include "vitro/fs/vfs.h"

namespace vitro::fs {
namespace {
// A directory whose file system cannot make or remove names: what fs/namei.c answers without the operation. Anything else is no directory.
template <class T>
Result<T> refuse(Inode& inode, Errno without_operation) {
  return fail(inode.is_directory() ? without_operation : Errno::NotDirectory);
}
}  // namespace

Result<std::shared_ptr<Inode>> Inode::lookup(std::string_view) { return fail(Errno::NotDirectory); }
Result<std::shared_ptr<Inode>> Inode::create(std::string_view, uint32_t, const Credentials&) {
  return refuse<std::shared_ptr<Inode>>(*this, Errno::Access);
}
Result<std::shared_ptr<Inode>> Inode::make_directory(std::string_view, uint32_t, const Credentials&) {
  return refuse<std::shared_ptr<Inode>>(*this, Errno::NotPermitted);
}
Result<std::shared_ptr<Inode>> Inode::make_symlink(std::string_view, std::string_view, const Credentials&) {
  return refuse<std::shared_ptr<Inode>>(*this, Errno::NotPermitted);
}
Result<std::shared_ptr<Inode>> Inode::make_node(std::string_view, uint32_t, uint64_t, const Credentials&) {
  return refuse<std::shared_ptr<Inode>>(*this, Errno::NotPermitted);
}
Status Inode::link(std::string_view, Inode&) { return refuse<void>(*this, Errno::NotPermitted); }
Status Inode::unlink(std::string_view) { return refuse<void>(*this, Errno::NotPermitted); }
Status Inode::remove_directory(std::string_view) { return refuse<void>(*this, Errno::NotPermitted); }
Status Inode::rename(std::string_view, Inode&, std::string_view, unsigned) { return refuse<void>(*this, Errno::NotPermitted); }
Status Inode::list(uint64_t, const std::function<bool(const DirectoryEntry&)>&) { return fail(Errno::NotDirectory); }
Result<std::shared_ptr<Inode>> Inode::create_unnamed(uint32_t, const Credentials&) { return fail(Errno::NotSupported); }
Result<std::string> Inode::read_link() { return fail(Errno::Invalid); }
Status Inode::allocate(int, uint64_t, uint64_t) { return fail(Errno::NotSupported); }

Result<std::shared_ptr<File>> Inode::open(unsigned flags, const OpenContext& context) {
  Vfs* vfs = file_system().vfs();
  switch (attributes().mode & kTypeMask) {
    case kDirectory: return std::make_shared<DirectoryFile>(shared_from_this(), flags);
    case kSymlink: return fail(Errno::SymlinkLoop);
    case kFifo:
      if (!vfs || !context.blocking) return fail(Errno::NoDeviceOrAddress);
      return open_fifo(*vfs, shared_from_this(), flags, *context.blocking);
    case kCharDevice:
    case kBlockDevice:
      if (!vfs) return fail(Errno::NoDeviceOrAddress);
      return vfs->open_device(shared_from_this(), flags, context);
    case kSocket: return fail(Errno::NoDeviceOrAddress);
    default: return std::make_shared<File>(shared_from_this(), flags);
  }
}

}  // namespace vitro::fs
