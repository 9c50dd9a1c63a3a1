// The first touch of a page of a file mapping (mm/memory.c: do_read_fault, do_cow_fault, do_shared_fault; mm/filemap.c: filemap_fault).
#include <algorithm>

#include "mm/fault/page_fault.h"
#include "vitro/base/check.h"
#include "vitro/mm/page_cache.h"
#include "vitro/mm/writeback.h"

namespace vitro::mm {
namespace {

constexpr Bytes kFaultAround = kib(64);  // fault_around_bytes

void map_cached_page(FaultContext& f, VirtAddr page, PhysAddr entry, Pfn frame, bool write) {
  AddressSpace::State& s = f.space;
  s.vm.physical().allocator().get(frame);
  Rmap::add(s.vm, frame);
  ++s.rss_of(s.frames()[frame]);
  uint64_t bits = entry_bits(*f.vma);
  if (write) bits |= Pte::kWritable | Pte::kDirty | kPteSoftDirty;
  s.tables.install(entry, hw::make_pte(frame, bits));
  if (has(f.vma->flags, VmFlag::Locked)) Rmap::mlock(s.vm, frame);
}

// Maps what is cached of the aligned 16 pages around the fault (do_fault_around, filemap_map_pages). Returns how many it mapped.
unsigned map_around(FaultContext& f, PageCache::State& cache, Pages file_pages) {
  AddressSpace::State& s = f.space;
  const VirtAddr window{f.page.value() & ~(kFaultAround.value() - 1)};
  const VirtAddr start = std::max(window, f.vma->start), end = std::min(window + kFaultAround, f.vma->end);
  ReadaheadWindow& ra = f.vma->file->readahead_window();
  unsigned mapped = 0;
  const auto first_entry = s.tables.make_entry(start, f.kernel_flags());
  if (!first_entry) return 0;
  PhysAddr entry = *first_entry;  // the window never leaves one table
  for (VirtAddr a = start; a < end; a += Bytes{kPageSize}, entry += Bytes{sizeof(Pte)}) {
    const PageIndex index = f.vma->index_of(a);
    if (index.value() >= file_pages.value()) break;
    if (s.tables.at(entry).raw != 0) continue;
    const auto frame = cache.pages.find(index);
    if (!frame) continue;
    const Frame& descriptor = s.frames()[*frame];
    if (!descriptor.has(FrameFlag::Uptodate) || descriptor.has(FrameFlag::Locked) || descriptor.has(FrameFlag::Readahead)) continue;
    map_cached_page(f, a, entry, *frame, false);
    if (a == f.page) f.pfn = *frame;
    if (ra.mmap_miss > 0) --ra.mmap_miss;
    ++mapped;
  }
  return mapped;
}

PageCache::State::Reader reader_of(const Vma& v) {
  if (has(v.flags, VmFlag::RandRead)) return PageCache::State::Reader::FaultRandom;
  return has(v.flags, VmFlag::SeqRead) ? PageCache::State::Reader::FaultSequential : PageCache::State::Reader::Fault;
}

// The page's frame, where it can be had without waiting; otherwise says how the attempt ends.
std::optional<Pfn> cached_page(FaultContext& f, PageCache::State& cache, PageIndex index, Attempt& end) {
  const auto frame = cache.pages.find(index);
  if (frame) {
    const Frame& descriptor = f.space.frames()[*frame];
    if (descriptor.has(FrameFlag::Uptodate) && !descriptor.has(FrameFlag::Locked) && !descriptor.has(FrameFlag::Readahead)) return frame;
  } else if (!cache.has_storage() && !cache.swapped_to(index)) {
    const auto made = cache.fetch_shmem(index, f.user_flags());
    if (made) return *made;
    end = made.error() == Errno::NoSpace ? Attempt::BusError : f.no_memory();  // promised to nobody, and nothing left to promise
    return std::nullopt;
  }
  if (f.may_wait == MayWait::No) {
    end = Attempt::WouldWait;
    return std::nullopt;
  }
  const std::shared_ptr<MappedFile> keep = f.vma->file;  // the area may be unmapped while we wait
  const auto reader = reader_of(*f.vma);
  f.lock.release();
  ReadaheadWindow& ra = keep->readahead_window();
  if (frame && ra.mmap_miss > 0 && reader != PageCache::State::Reader::FaultRandom) --ra.mmap_miss;  // do_async_mmap_readahead
  const auto fetched = cache.fetch(index, reader, 1, ra);
  // Whoever gives up the lock to wait for a file, or to begin reading ahead, has not handled the fault at once, and that is what counts for the
  // task (mm/memory.c: mm_account_fault). A fault on shared memory keeps it (mm/shmem.c: shmem_fault): only reading counts.
  if (cache.has_storage()) f.tried = true;
  else f.major = fetched && fetched->major;
  end = Attempt::Again;
  if (!fetched) end = fetched.error() == Errno::NoMemory ? Attempt::OutOfMemory : Attempt::BusError;
  return std::nullopt;
}

}  // namespace

std::optional<Attempt> throttle_writer(FaultContext& f, PageCache::State& cache) {
  Writeback& writeback = f.vm().writeback();
  if (!cache.has_storage() || !writeback.wants_to_throttle()) return std::nullopt;
  if (f.may_wait == MayWait::No) return Attempt::WouldWait;
  f.lock.release();
  writeback.balance();
  return Attempt::Again;
}

Attempt fault_file(FaultContext& f) {
  AddressSpace::State& s = f.space;
  PageCache::State& cache = f.vma->file->page_cache().internals();
  const PageIndex index = f.vma->index_of(f.page);
  const Pages file_pages = cache.backing.size().pages_up();
  if (index.value() >= file_pages.value()) return Attempt::BusError;
  f.kind = FaultKind::File;
  if (f.write && f.vma->shared())
    if (const auto end = throttle_writer(f, cache)) return *end;

  if (!f.write) {
    const unsigned mapped = map_around(f, cache, file_pages);
    f.cost = f.timing().fault_map_page * mapped;
    const auto entry = s.tables.find_entry(f.page);
    if (entry && s.tables.at(*entry).raw != 0) return Attempt::Done;
  }

  Attempt end = Attempt::Again;
  auto frame = cached_page(f, cache, index, end);
  if (!frame) return end;

  if (f.write && !f.vma->shared()) {
    std::optional<PagePin> pin;
    if (f.may_wait == MayWait::Yes) pin.emplace(s.vm, *frame);
    const auto page = prepare_private_page(f, Gfp::None);
    if (!page) return f.no_memory();
    // The allocation may have waited: the file may have been cut, or another thread may have been faster.
    if (s.tables.at(page->entry).raw != 0 || cache.pages.find(index) != frame) {
      s.vm.physical().allocator().free(page->frame);
      return Attempt::Again;
    }
    return map_copy(f, *page, *frame);
  }

  const auto entry = s.tables.make_entry(f.page, f.kernel_flags());
  if (!entry) return f.no_memory();
  if (s.tables.at(*entry).raw != 0 || cache.pages.find(index) != frame) return Attempt::Again;
  if (f.write) {
    if (cache.has_storage() && !cache.backing.reserve_page_of(index)) return Attempt::BusError;
    cache.mark_dirty(index, *frame);
  }
  map_cached_page(f, f.page, *entry, *frame, f.write);
  f.pfn = *frame;
  f.cost = f.timing().fault_map_page;
  return Attempt::Done;
}

}  // namespace vitro::mm
