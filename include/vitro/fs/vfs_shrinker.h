// Gives dentries and inodes that nobody uses back when memory is short (fs/super.c: super_cache_count, super_cache_scan).
#pragma once

#include "vitro/mm/reclaim.h"

namespace vitro::fs {

class Vfs;

class VfsShrinker final : public mm::Shrinker {
 public:
  // `pressure`: vm.vfs_cache_pressure, read each time.
  VfsShrinker(Vfs& vfs, const int& pressure) : vfs_(vfs), pressure_(pressure) {}
  std::string name() const override { return "super_cache_scan"; }
  uint64_t count(mm::Gfp gfp) override;
  std::optional<uint64_t> scan(uint64_t n, mm::Gfp gfp) override;
  uint64_t batch() const override { return 1024; }

 private:
  Vfs& vfs_;
  const int& pressure_;
  bool busy_ = false;  // freeing objects must not free more
};

}  // namespace vitro::fs
