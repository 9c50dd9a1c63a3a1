// The cached pages of one file (Linux's struct address_space): found by page index, read in with readahead, written back when dirty.
#pragma once

#include <memory>
#include <optional>

#include "vitro/base/error_sequence.h"
#include "vitro/base/intrusive_list.h"
#include "vitro/base/io.h"
#include "vitro/base/result.h"
#include "vitro/base/types.h"
#include "vitro/mm/frame.h"
#include "vitro/mm/ports.h"
#include "vitro/mm/readahead.h"

namespace vitro::mm {

class VirtualMemory;
struct Vma;

class PageCache {
 public:
  // `state`: FileCache, Shmem or BlockCache. Shmem pages have no storage below them: `backing.read_pages` is not called for a hole, it is zero-filled.
  PageCache(VirtualMemory& vm, FileBacking& backing, FrameState state, uint64_t inode_number, uint64_t device = 0);
  ~PageCache();  // drops all pages without writing them back; no mapping may be left
  PageCache(const PageCache&) = delete;
  PageCache& operator=(const PageCache&) = delete;

  // Buffered read and write (mm/filemap.c: generic_file_read_iter, generic_perform_write). Return how many bytes; a short count at the end of
  // the file or at a bad address. write() does not change the file's size: the file system does, before or after. Both may wait.
  // `ra`: what the open file remembers of its reader; null: what this cache does.
  Result<size_t> read(Bytes offset, size_t count, ByteSink& sink, ReadaheadWindow* ra = nullptr);
  Result<size_t> write(Bytes offset, size_t count, ByteSource& source);

  // The page's frame if it is cached and up to date; no reference is taken.
  std::optional<Pfn> find(PageIndex index) const;
  // The page's frame, read in where it is not cached (major). May wait. IoError (also beyond the end of the file), NoMemory.
  struct Cached {
    Pfn frame;
    bool major = false;
  };
  Result<Cached> get(PageIndex index);
  // Likewise, but what storage has does not matter: a page that is not cached comes as zeros, unread, for the caller to fill. NoMemory.
  Result<Cached> get_blank(PageIndex index);
  void mark_dirty(PageIndex index);
  // Takes the mark away without writing: whoever changed the page writes it in a way of his own first (a journal).
  void mark_clean(PageIndex index);
  // Begins to read what is missing of these pages, in pieces of 2 MiB and at most as much as the disk takes in one request, as far as memory allows
  // (mm/readahead.c: force_page_cache_ra).
  void read_ahead(PageIndex first, Pages count, const ReadaheadWindow& ra);
  // The window of readers without an open file.
  ReadaheadWindow& own_window();

  // The file is now `size` long: drops the pages beyond it, zeroes the tail of the last one, unmaps them wherever they are mapped.
  void truncate(Bytes size);
  // Drops [first, first + count) as fallocate(PUNCH_HOLE) does.
  void drop_range(PageIndex first, Pages count);
  // Drops those of [first, first + count) that are clean, unmapped and in nobody's hands; returns how many (mm/truncate.c: invalidate_mapping_pages).
  Pages invalidate(PageIndex first, Pages count);

  // ---- Writing back (page_cache_writeback.cpp) ----
  // Begins to write the dirty pages of [from, to), except those that are being written already; returns how many pages it began with
  // (mm/filemap.c: __filemap_fdatawrite_range, WB_SYNC_NONE). May wait for room in the disk's queue.
  uint64_t start_writing(Bytes from = Bytes{0}, Bytes to = Bytes{UINT64_MAX}, uint64_t most = UINT64_MAX);
  // One page, for reclaim (mm/vmscan.c: pageout). False: it is not cached, not dirty, or being written.
  bool start_writing_page(PageIndex index);
  // Waits until what of [from, to) is being written now has been written (filemap_fdatawait_range).
  Status wait_for_writing(Bytes from = Bytes{0}, Bytes to = Bytes{UINT64_MAX});
  // Writes dirty pages of [from, to) to storage and waits (filemap_write_and_wait_range). The error, if one happened meanwhile, after trying all.
  Status write_back(Bytes from = Bytes{0}, Bytes to = Bytes{UINT64_MAX});
  // Errors of writing: each open file looks at them with a mark of its own (mapping->wb_err).
  ErrorSequence& write_errors();
  Pages pages_being_written() const;

  Pages cached_pages() const;
  Pages dirty_pages() const;  // that write_back() would write: none for Shmem, which has no storage
  FrameState state() const;
  FileBacking& backing();

  // The mappings of this file (i_mmap), for truncation and reverse mapping. Called by AddressSpace, also around a change of the pages that an
  // area maps. `beside`: an area of the same pages that it follows (mm/interval_tree.c: vma_interval_tree_insert_after).
  void add_mapping(Vma& vma, Vma* beside = nullptr);
  void remove_mapping(Vma& vma);
  bool mapped() const;
  bool mapped_for_writing() const;  // shared, by somebody who may write

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
