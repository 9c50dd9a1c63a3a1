#include "fs/anonymous_fs.h"

#include "fs/vfs_state.h"

namespace vitro::fs {
namespace {

class AnonymousInode final : public Inode {
 public:
  AnonymousInode(AnonymousFs& fs, Attributes a, mm::SlabObject memory) : fs_(fs), attributes_(a), memory_(std::move(memory)) {}
  FileSystem& file_system() override { return fs_; }
  Attributes attributes() override { return attributes_; }
  Status set_attributes(const AttributeChange& c) override {
    if (c.size) return fail(Errno::Invalid);
    if (c.mode) attributes_.mode = (attributes_.mode & kTypeMask) | (*c.mode & 07777);
    if (c.uid) attributes_.uid = *c.uid;
    if (c.gid) attributes_.gid = *c.gid;
    if (c.accessed) attributes_.accessed = *c.accessed;
    if (c.modified) attributes_.modified = *c.modified;
    attributes_.changed = fs_.vfs()->now();
    return {};
  }

 private:
  AnonymousFs& fs_;
  Attributes attributes_;
  mm::SlabObject memory_;
};

}  // namespace

Result<std::shared_ptr<Inode>> AnonymousFs::make_inode(uint32_t mode, uint64_t special_device) {
  mm::SlabObject memory = TRY(charge(vfs_, mm::KernelCache::InodeCache));
  Attributes a;
  a.device = device_;
  a.inode = next_inode_++;
  a.mode = mode;
  a.special_device = special_device;
  a.accessed = a.modified = a.changed = a.born = vfs_.now();
  return std::shared_ptr<Inode>(std::make_shared<AnonymousInode>(*this, a, std::move(memory)));
}

Result<std::shared_ptr<Inode>> Vfs::make_anonymous_inode() {
  // One for all, as in Linux: what differs between the files lies in their descriptions.
  if (!state_->anonymous_inode) state_->anonymous_inode = TRY(state_->anonymous->make_inode(0600));
  return state_->anonymous_inode;
}

}  // namespace vitro::fs
