// Reading and writing files through the page cache, and reading ahead (mm/filemap.c, mm/readahead.c: page_cache_ra_unbounded).
#include <algorithm>
#include <array>

#include "mm/reclaim/memory_stall.h"
#include "mm/cache/page_cache_state.h"
#include "mm/space/virtual_memory_state.h"
#include "vitro/base/check.h"
#include "vitro/mm/page_cache.h"
#include "vitro/mm/writeback.h"

namespace vitro::mm {
namespace {
constexpr PageIndex kNobodyWaits{~0ull};
constexpr size_t kLargestRequest = 256;  // pages; BIO_MAX_VECS
constexpr Gfp kReadaheadFlags = Gfp::NoRetry | Gfp::NoWarn;
}  // namespace

uint64_t PageCache::State::cached_before(uint64_t index, uint64_t limit) const {
  uint64_t n = 0;
  while (n < limit && n < index && pages.find(PageIndex{index - 1 - n})) ++n;
  return n;
}

uint64_t PageCache::State::first_missing(uint64_t index, uint64_t limit) const {
  uint64_t i = index;
  while (i - index < limit && pages.find(PageIndex{i})) ++i;
  return i;
}

std::shared_ptr<PageTransfer> PageCache::State::submit_read(PageIndex first, std::span<const Pfn> batch) {
  auto t = std::make_shared<PageTransfer>();
  t->cache = this;
  t->first = first;
  t->frames.assign(batch.begin(), batch.end());
  std::array<std::span<std::byte>, kLargestRequest> spans;
  for (size_t i = 0; i < batch.size(); ++i) {
    vm.kmap().touch(batch[i]);
    spans[i] = vm.physical().ram().write(batch[i].address(), Bytes{kPageSize});
    vm.get_page(batch[i]);
  }
  reads.push_back(*t);
  VirtualMemory& machine = vm;
  backing.read_pages(first, {spans.data(), batch.size()}, [t, &machine](Status result) {
    t->result = result;
    t->done = true;
    for (const Pfn f : t->frames) {
      Frame& descriptor = machine.physical().frames()[f];
      if (result) descriptor.set(FrameFlag::Uptodate);
      descriptor.clear(FrameFlag::Locked);
    }
    if (t->cache) t->cache->read_done(*t);
    for (const Pfn f : t->frames) machine.put_page(f);
  });
  return t;
}

void PageCache::State::read_done(PageTransfer& t) {
  reads.remove(t);
  // A page that could not be read is not kept: the next reader tries again.
  for (size_t i = 0; i < t.frames.size() && !t.result; ++i)
    if (frame(t.frames[i]).page_cache == &cache) remove(t.first + Pages{i}, t.frames[i]);
  if (!page_waiters.empty()) page_waiters.wake_all();
}

Status PageCache::State::read_pages(uint64_t start, uint64_t size, uint64_t async_size, PageIndex wanted, Gfp flags, bool* out_of_memory) {
  const uint64_t limit = backing.size().pages_up().value();
  if (start >= limit) return {};
  const uint64_t end = size > limit - start ? limit : start + size;
  const uint64_t marker = async_size > 0 && async_size <= size ? start + size - async_size : ~0ull;
  std::array<Pfn, kLargestRequest> batch;
  size_t n = 0;
  PageIndex first{start};
  std::shared_ptr<PageTransfer> wanted_transfer;
  const auto flush = [&] {
    if (n == 0) return;
    auto transfer = submit_read(first, {batch.data(), n});
    if (wanted >= first && wanted < first + Pages{n}) wanted_transfer = std::move(transfer);
    n = 0;
  };
  for (uint64_t i = start; i < end; ++i) {
    const PageIndex index{i};
    if (pages.find(index)) {
      flush();
      continue;
    }
    const auto f = allocate(allocation_flags() | flags);
    if (!f) {
      if (out_of_memory) *out_of_memory = true;
      break;
    }
    Frame& descriptor = frame(*f);
    descriptor.set(FrameFlag::Locked);
    if (auto added = add(index, *f, Gfp::Kernel | flags); !added) {
      descriptor.flags = 0;
      vm.physical().allocator().free(*f);
      if (added.error() == Errno::Exists) continue;
      if (out_of_memory) *out_of_memory = true;
      break;
    }
    if (i == marker) descriptor.set(FrameFlag::Readahead);
    if (n == 0) first = index;
    batch[n++] = *f;
    if (n == batch.size()) flush();
  }
  flush();
  while (wanted_transfer && !wanted_transfer->done) TRY(wait_for_page());
  return wanted_transfer ? wanted_transfer->result : Status{};
}

void PageCache::State::read_ahead_from_marker(PageIndex index, Pfn f, uint64_t request, ReadaheadWindow& ra) {
  // PG_readahead is PG_reclaim's other name: not while the page is being written (page_cache_async_ra).
  if (frame(f).has(FrameFlag::Writeback)) return;
  frame(f).clear(FrameFlag::Readahead);
  const ReadaheadPlan plan = plan_readahead(ra, index.value(), request, true, *this);
  // What comes early is a bonus: its errors belong to whoever needs the page.
  if (plan.size > 0 && plan.start < backing.size().pages_up().value()) (void)read_pages(plan.start, plan.size, plan.async_size, kNobodyWaits, kReadaheadFlags);
}

Result<Pfn> PageCache::State::fetch_shmem(PageIndex index, Gfp flags) {
  if (const auto f = pages.find(index)) return *f;
  const auto f = allocate(flags | Gfp::Zero);
  if (!f) return fail(Errno::NoMemory);
  vm.kmap().touch(*f);
  frame(*f).set(FrameFlag::Uptodate);
  if (auto added = add(index, *f, flags); !added) {
    frame(*f).flags = 0;
    vm.physical().allocator().free(*f);
    if (added.error() == Errno::Exists) return fetch_shmem(index, flags);
    return fail(added.error());
  }
  return *f;
}

Result<PageCache::Cached> PageCache::State::fetch(PageIndex index, Reader reader, uint64_t request, ReadaheadWindow& ra) {
  bool major = false;
  for (;;) {
    if (const auto f = pages.find(index)) {
      Frame& descriptor = frame(*f);
      if (descriptor.has(FrameFlag::Locked)) {
        std::optional<MemoryStall> stall;
        if (MemoryStall::is_refault(descriptor)) stall.emplace(vm.reclaimer());
        TRY(wait_for_page());
        continue;
      }
      CHECK(descriptor.has(FrameFlag::Uptodate), "pfn {} of inode {} is neither read nor being read", f->value(), inode_number);
      if (!descriptor.has(FrameFlag::Readahead) || descriptor.has(FrameFlag::Writeback) || reader == Reader::FaultRandom) return Cached{*f, major};
      read_ahead_from_marker(index, *f, reader == Reader::Read ? request : ra.pages, ra);
      continue;  // it may have waited
    }
    if (!has_storage()) {
      if (!swapped_to(index)) return Cached{TRY(fetch_shmem(index, allocation_flags())), major};
      bool had_to_read = false;
      const auto back = TRY(swap_in(index, allocation_flags(), had_to_read));
      if (had_to_read && reader != Reader::Read) vm.physical().stat().add(VmItem::pgmajfault);  // shmem_swapin_folio
      major |= had_to_read;
      if (back) return Cached{*back, major};
      continue;
    }
    if (index.offset() >= backing.size()) return fail(Errno::IoError);  // cut meanwhile
    major = true;
    if (reader != Reader::Read) vm.physical().stat().add(VmItem::pgmajfault);  // filemap_fault
    ReadaheadPlan plan;
    switch (reader) {
      case Reader::Read: plan = plan_readahead(ra, index.value(), request, false, *this); break;
      case Reader::Fault: plan = plan_read_around(ra, index.value()); break;
      case Reader::FaultSequential: plan = plan_readahead(ra, index.value(), ra.pages, false, *this); break;
      case Reader::FaultRandom: break;
    }
    if (plan.size > 0) TRY(read_pages(plan.start, plan.size, plan.async_size, index, kReadaheadFlags));
    if (pages.find(index) || index.offset() >= backing.size()) continue;
    // The window did not reach it, or memory was too short for reading ahead: this page alone.
    bool out_of_memory = false;
    TRY(read_pages(index.value(), 1, 0, index, Gfp::None, &out_of_memory));
    if (out_of_memory && !pages.find(index)) return fail(Errno::NoMemory);
  }
}

Result<PageCache::Cached> PageCache::get_blank(PageIndex index) {
  State& s = *state_;
  while (!s.pages.find(index)) {
    const auto f = s.allocate(s.allocation_flags() | Gfp::Zero);
    if (!f) return fail(Errno::NoMemory);
    s.frame(*f).set(FrameFlag::Uptodate);
    const auto added = s.add(index, *f, Gfp::Kernel | Gfp::Write);
    if (added) return Cached{*f, false};
    s.frame(*f).flags = 0;
    s.vm.physical().allocator().free(*f);
    if (added.error() != Errno::Exists) return fail(added.error());
  }
  return get(index);
}

void PageCache::read_ahead(PageIndex first, Pages count, const ReadaheadWindow& ra) {
  State& s = *state_;
  if (!s.has_storage()) return;
  constexpr uint64_t kPiece = (uint64_t{2} << 20) / kPageSize;
  uint64_t at = first.value(), left = std::min(count.value(), std::max(kDiskIoPages, ra.pages));
  while (left > 0) {
    const uint64_t n = std::min(left, kPiece);
    (void)s.read_pages(at, n, 0, kNobodyWaits, kReadaheadFlags);
    at += n;
    left -= n;
  }
}

ReadaheadWindow& PageCache::own_window() { return state_->window; }
ReadaheadWindow& MappedFile::readahead_window() { return page_cache().own_window(); }

Result<size_t> PageCache::read(Bytes offset, size_t count, ByteSink& sink, ReadaheadWindow* window) {
  State& s = *state_;
  ReadaheadWindow& ra = window ? *window : s.window;
  size_t done = 0;
  while (done < count) {
    const uint64_t position = offset.value() + done;
    const uint64_t size = s.backing.size().value();
    if (position < offset.value() || position >= size) break;
    const uint64_t in_page = position & kPageOffsetMask;
    const size_t n = std::min<uint64_t>({count - done, kPageSize - in_page, size - position});
    const PageIndex index{position >> kPageShift};
    Pfn frame;
    if (!s.has_storage() && !s.pages.find(index) && !s.swapped_to(index)) {
      frame = s.vm.physical().zero_frame();  // a hole is read without being filled (shmem_file_read_iter)
    } else {
      const uint64_t request = std::min(Bytes{in_page + (count - done)}.pages_up().value(), uint64_t{1} << 32);
      auto fetched = s.fetch(index, State::Reader::Read, request, ra);
      if (!fetched) {
        if (done > 0 || Bytes{position} >= s.backing.size()) break;
        return fail(fetched.error());
      }
      frame = fetched->frame;
      if ((ra.previous - 1) >> kPageShift != index.value()) s.vm.lru().mark_accessed(frame);
    }
    // The sink may wait for memory of its own; the page must not go away meanwhile.
    PagePin pin(s.vm, frame);
    s.vm.kmap().touch(frame);
    const auto put = sink.put(s.vm.physical().ram().read(frame.address() + Bytes{in_page}, Bytes{n}));
    if (!put) {
      if (done > 0) break;
      return fail(put.error());
    }
    done += *put;
    ra.previous = offset.value() + done;
    if (*put < n) break;
  }
  return done;
}

Result<size_t> PageCache::write(Bytes offset, size_t count, ByteSource& source) {
  State& s = *state_;
  hw::Ram& ram = s.vm.physical().ram();
  size_t done = 0;
  const auto stop = [&done](Errno e) -> Result<size_t> {
    if (done > 0) return done;
    return fail(e);
  };
  while (done < count) {
    const uint64_t position = offset.value() + done;
    if (position < offset.value()) break;
    const uint64_t in_page = position & kPageOffsetMask;
    const size_t n = std::min<uint64_t>(count - done, kPageSize - in_page);
    const PageIndex index{position >> kPageShift};
    // Before the page, not after it: its caller has to move the file's end first.
    if (s.has_storage()) s.vm.writeback().balance();
    const bool beyond_end = index.offset() >= s.backing.size();

    if (s.has_storage() && !s.pages.find(index) && (n == kPageSize || beyond_end)) {
      // Nothing of the old page is needed: a new frame is filled before anybody can see it.
      const auto fresh = s.allocate(s.allocation_flags() | (n == kPageSize ? Gfp::None : Gfp::Zero));
      if (!fresh) return stop(Errno::NoMemory);
      const auto discard = [&] {
        s.frame(*fresh).flags = 0;
        s.vm.physical().allocator().free(*fresh);
      };
      s.vm.kmap().touch(*fresh);
      const auto taken = source.take(ram.write(fresh->address() + Bytes{in_page}, Bytes{n}));
      if (!taken) {
        discard();
        return stop(taken.error());
      }
      if (*taken < n && n == kPageSize) {
        // The source ended in a bad address. What is missing is the old page's, if the file has one here.
        if (!beyond_end) {
          auto old = s.fetch(index, State::Reader::Read, 1, s.window);
          if (!old) {
            discard();
            return stop(old.error());
          }
          std::ranges::copy(ram.read(fresh->address(), Bytes{*taken}), ram.write(old->frame.address(), Bytes{*taken}).begin());
          s.mark_dirty(index, old->frame);
          discard();
          return done + *taken;
        }
        std::ranges::fill(ram.write(fresh->address() + Bytes{*taken}, Bytes{kPageSize - *taken}), std::byte{0});
      }
      s.frame(*fresh).set(FrameFlag::Uptodate);
      if (const auto added = s.add(index, *fresh, Gfp::Kernel | Gfp::Write); !added) {
        if (added.error() != Errno::Exists) {
          discard();
          return stop(added.error());
        }
        // Another task was faster while the source waited.
        auto other = s.fetch(index, State::Reader::Read, 1, s.window);
        if (other) {
          std::ranges::copy(ram.read(fresh->address() + Bytes{in_page}, Bytes{*taken}), ram.write(other->frame.address() + Bytes{in_page}, Bytes{*taken}).begin());
          s.mark_dirty(index, other->frame);
        }
        discard();
        if (!other) return stop(other.error());
      } else {
        s.mark_dirty(index, *fresh);
      }
      done += *taken;
      if (*taken < n) break;
      continue;
    }

    const auto fetched = s.fetch(index, State::Reader::Read, 1, s.window);
    if (!fetched) return stop(fetched.error());
    const Pfn frame = fetched->frame;
    size_t moved = 0;
    {
      PagePin pin(s.vm, frame);
      s.vm.kmap().touch(frame);
      const auto taken = source.take(ram.write(frame.address() + Bytes{in_page}, Bytes{n}));
      if (!taken) return stop(taken.error());
      // The source may have waited, and somebody may have executed from the page meanwhile, or dropped it.
      (void)ram.write(frame.address() + Bytes{in_page}, Bytes{n});
      if (s.pages.find(index) == frame) s.mark_dirty(index, frame);
      if (!s.has_storage()) s.vm.lru().mark_accessed(frame);
      moved = *taken;
    }
    done += moved;
    if (moved < n) break;
  }
  return done;
}

}  // namespace vitro::mm
