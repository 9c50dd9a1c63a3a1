// sockfs.
#include "syscalls/socket_inode.h"

#include "syscalls/runtime.h"
#include "syscalls/socket_names.h"

namespace vitro::syscalls {

class SocketFileSystem final : public fs::FileSystem {
 public:
  std::string_view type_name() const override { return "sockfs"; }
  std::shared_ptr<fs::Inode> root() override { return nullptr; }
  fs::FileSystemStatistics statistics() override { return {.type = 0x534f434b}; }
  uint64_t device() const override { return 8; }
  uint64_t next_inode = 1;
};

std::shared_ptr<SocketFileSystem> make_socket_file_system() { return std::make_shared<SocketFileSystem>(); }

namespace {

class SocketInode final : public fs::Inode {
 public:
  SocketInode(std::shared_ptr<SocketFileSystem> owner, fs::Time now, const fs::Credentials& who) : owner_(std::move(owner)) {
    attributes_.device = owner_->device();
    attributes_.inode = owner_->next_inode++;
    attributes_.mode = fs::kSocket | 0777;
    attributes_.uid = who.fsuid;
    attributes_.gid = who.fsgid;
    attributes_.accessed = attributes_.modified = attributes_.changed = now;
  }
  fs::FileSystem& file_system() override { return *owner_; }
  fs::Attributes attributes() override { return attributes_; }
  Status set_attributes(const fs::AttributeChange& change) override {
    if (change.size) return fail(Errno::Invalid);
    if (change.mode) attributes_.mode = fs::kSocket | (*change.mode & 07777);
    if (change.uid) attributes_.uid = *change.uid;
    if (change.gid) attributes_.gid = *change.gid;
    if (change.accessed) attributes_.accessed = *change.accessed;
    if (change.modified) attributes_.modified = *change.modified;
    return {};
  }

 private:
  std::shared_ptr<SocketFileSystem> owner_;
  fs::Attributes attributes_;
};

}  // namespace

std::shared_ptr<fs::Inode> make_socket_inode(Context& c) {
  return std::make_shared<SocketInode>(c.runtime.sockets->file_system, c.kernel.vfs().now(), c.task.process->credentials);
}

}  // namespace vitro::syscalls
