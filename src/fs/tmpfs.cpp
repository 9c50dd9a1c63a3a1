// tmpfs and memfd: trees whose contents are shared memory (mm/shmem.c).
#include <memory>

#include "fs/tree_inode.h"
#include "fs/vfs_state.h"

namespace vitro::fs {
namespace {

constexpr uint64_t kTmpfsMagic = 0x01021994;
constexpr unsigned kMemfdCloseOnExec = 1, kMemfdAllowSealing = 2;
constexpr size_t kMemfdNameMax = 249;  // mm/memfd.c: NAME_MAX less "memfd:"

// What a mapping of a memfd is called; the tree itself has no name for it.
std::shared_ptr<TreeFileSystem> make_tree(Vfs& vfs, std::string type, uint64_t pages, uint32_t root_mode) {
  TreeConfig config;
  config.type_name = std::move(type);
  config.magic = kTmpfsMagic;
  config.page_limit = pages;
  config.root_mode = root_mode;
  return std::make_shared<TreeFileSystem>(vfs, std::move(config));
}

}  // namespace

std::shared_ptr<FileSystem> make_tmpfs(Vfs& vfs, Bytes size_limit, uint32_t root_mode) {
  return make_tree(vfs, "tmpfs", size_limit.pages_up().value(), root_mode);
}

Result<std::shared_ptr<File>> Vfs::make_memfd(std::string name, unsigned flags) {
  if (flags & ~(kMemfdCloseOnExec | kMemfdAllowSealing)) return fail(Errno::Invalid);
  if (name.size() > kMemfdNameMax) return fail(Errno::Invalid);
  if (!state_->memory_files) state_->memory_files = make_tree(*this, "tmpfs", UINT64_MAX, 01777);
  const Credentials root;
  auto inode = TRY(state_->memory_files->root()->create_unnamed(0777, root));
  auto file = TRY(inode->open(kOpenReadWrite | kOpenLargeFile, OpenContext{&root}));
  TRY(adopt(*file, "/memfd:" + name + " (deleted)"));
  file->hold_write_access();
  if (flags & kMemfdAllowSealing) *inode->seals() &= ~Inode::kSealSeal;
  return file;
}

}  // namespace vitro::fs
