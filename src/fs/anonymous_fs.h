// File systems that are mounted nowhere: the homes of pipes and of anonymous inodes (fs/pipe.c: pipefs; fs/anon_inodes.c).
#pragma once

#include <memory>
#include <string>

#include "vitro/fs/inode.h"
#include "vitro/fs/vfs.h"

namespace vitro::fs {

class AnonymousFs final : public FileSystem {
 public:
  AnonymousFs(Vfs& vfs, std::string type, uint64_t magic, uint64_t device) : vfs_(vfs), type_(std::move(type)), magic_(magic), device_(device) {}
  std::string_view type_name() const override { return type_; }
  std::shared_ptr<Inode> root() override { return nullptr; }
  FileSystemStatistics statistics() override { return {.type = magic_}; }
  uint64_t device() const override { return device_; }
  Vfs* vfs() override { return &vfs_; }

  // A new inode with the next number, charged to guest memory. `mode`: type and rights. NoMemory.
  Result<std::shared_ptr<Inode>> make_inode(uint32_t mode, uint64_t special_device = 0);

 private:
  Vfs& vfs_;
  std::string type_;
  uint64_t magic_, device_;
  uint64_t next_inode_ = 1;
};

}  // namespace vitro::fs
