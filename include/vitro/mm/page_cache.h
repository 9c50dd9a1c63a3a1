// The cached pages of one file (Linux's struct address_space): found by page index, read in with readahead, written back when dirty.
#pragma once

#include <memory>
#include <optional>

#include "vitro/base/intrusive_list.h"
#include "vitro/base/io.h"
#include "vitro/base/result.h"
#include "vitro/base/types.h"
#include "vitro/mm/frame.h"
#include "vitro/mm/ports.h"

namespace vitro::mm {

class VirtualMemory;
struct Vma;

class PageCache {
 public:
  // `state`: FileCache, Shmem or BlockCache. Shmem pages have no storage below them: `backing.read_pages` is not called for a hole, it is zero-filled.
  PageCache(VirtualMemory& vm, FileBacking& backing, FrameState state, uint64_t inode_number);
  ~PageCache();  // drops all pages without writing them back; no mapping may be left
  PageCache(const PageCache&) = delete;
  PageCache& operator=(const PageCache&) = delete;

  // Buffered read and write (mm/filemap.c: generic_file_read_iter, generic_perform_write). Return how many bytes; a short count at the end of
  // the file or at a bad address. write() does not change the file's size: the file system does, before or after. Both may wait.
  Result<size_t> read(Bytes offset, size_t count, ByteSink& sink);
  Result<size_t> write(Bytes offset, size_t count, ByteSource& source);

  // The page's frame if it is cached and up to date; no reference is taken.
  std::optional<Pfn> find(PageIndex index) const;
  // The page's frame, read in where it is not cached (major). May wait. IoError (also beyond the end of the file), NoMemory.
  struct Cached {
    Pfn frame;
    bool major = false;
  };
  Result<Cached> get(PageIndex index);
  void mark_dirty(PageIndex index);

  // The file is now `size` long: drops the pages beyond it, zeroes the tail of the last one, unmaps them wherever they are mapped.
  void truncate(Bytes size);
  // Drops [first, first + count) as fallocate(PUNCH_HOLE) does.
  void drop_range(PageIndex first, Pages count);
  // Writes dirty pages of [from, to) to storage and waits. The first error, after trying all.
  Status write_back(Bytes from = Bytes{0}, Bytes to = Bytes{UINT64_MAX});

  Pages cached_pages() const;
  Pages dirty_pages() const;  // that write_back() would write: none for Shmem, which has no storage
  FrameState state() const;
  FileBacking& backing();

  // The mappings of this file (i_mmap), for truncation and reverse mapping. Called by AddressSpace.
  void add_mapping(Vma& vma);
  void remove_mapping(Vma& vma);
  bool mapped() const;

  uint64_t inode_number() const;
  // Shmem whose whole size was accounted when it was made: its pages are not accounted again.
  void set_accounted_up_front();

  void verify() const;

  struct State;
  State& internals() { return *state_; }
  const State& internals() const { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

}  // namespace vitro::mm
