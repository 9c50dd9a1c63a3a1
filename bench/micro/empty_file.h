// A file without storage, for benches of what the page cache and its users do with pages.
#pragma once

#include <string>

#include "vitro/mm/address_space.h"
#include "vitro/mm/page_cache.h"

namespace vitro::mm {

// Its bytes are whatever the frames hold.
class EmptyFile final : public MappedFile, public FileBacking {
 public:
  EmptyFile(VirtualMemory& vm, Bytes size) : size_(size), cache_(vm, *this, FrameState::FileCache, 1) {}
  PageCache& page_cache() override { return cache_; }
  uint64_t device_number() const override { return 8; }
  uint64_t inode_number() const override { return 1; }
  std::string mapped_path() const override { return "/file"; }
  bool opened_for_write() const override { return true; }
  bool opened_for_read() const override { return true; }
  void read_pages(PageIndex, Into, Done done) override { done({}); }
  void write_pages(PageIndex, From, Done done) override { done({}); }
  Bytes size() const override { return size_; }

 private:
  Bytes size_;
  PageCache cache_;
};

}  // namespace vitro::mm
