// Reading and writing files through the page cache, and reading ahead (mm/filemap.c, mm/readahead.c: page_cache_ra_unbounded).
#include <algorithm>
#include <array>

#include "mm/page_cache_state.h"
#include "mm/virtual_memory_state.h"
#include "vitro/base/check.h"
#include "vitro/mm/page_cache.h"

namespace vitro::mm {
namespace {
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

Status PageCache::State::submit(PageIndex first, std::span<const Pfn> batch) {
  std::array<std::span<std::byte>, kReadaheadPages> spans;
  for (size_t i = 0; i < batch.size(); ++i) {
    vm.kmap().touch(batch[i]);
    spans[i] = vm.physical().ram().write(batch[i].address(), Bytes{kPageSize});
    vm.get_page(batch[i]);
  }
  const Status result = backing.read_pages(first, {spans.data(), batch.size()});
  for (size_t i = 0; i < batch.size(); ++i) {
    Frame& f = frame(batch[i]);
    if (result) f.set(FrameFlag::Uptodate);
    f.clear(FrameFlag::Locked);
    // A page that could not be read is not kept: the next reader tries again.
    if (!result && f.page_cache == &cache) remove(first + Pages{i}, batch[i]);
    vm.put_page(batch[i]);
  }
  if (!page_waiters.empty()) page_waiters.wake_all();
  return result;
}

Status PageCache::State::read_pages(uint64_t start, uint64_t size, uint64_t async_size, PageIndex wanted, Gfp flags) {
  const uint64_t limit = backing.size().pages_up().value();
  if (start >= limit) return {};
  const uint64_t end = size > limit - start ? limit : start + size;
  const uint64_t marker = async_size > 0 && async_size <= size ? start + size - async_size : ~0ull;
  std::array<Pfn, kReadaheadPages> batch;
  size_t n = 0;
  PageIndex first{start};
  Status wanted_result;
  const auto flush = [&] {
    if (n == 0) return;
    const Status result = submit(first, {batch.data(), n});
    if (!result && wanted >= first && wanted < first + Pages{n}) wanted_result = result;
    n = 0;
  };
  for (uint64_t i = start; i < end; ++i) {
    const PageIndex index{i};
    if (pages.find(index)) {
      flush();
      continue;
    }
    const auto f = allocate(allocation_flags() | flags);
    if (!f) break;
    Frame& descriptor = frame(*f);
    descriptor.set(FrameFlag::Locked);
    if (auto added = add(index, *f, Gfp::Kernel | flags); !added) {
      descriptor.flags = 0;
      vm.physical().allocator().free(*f);
      if (added.error() == Errno::Exists) continue;
      break;
    }
    if (i == marker) descriptor.set(FrameFlag::Readahead);
    if (n == 0) first = index;
    batch[n++] = *f;
    if (n == batch.size()) flush();
  }
  flush();
  return wanted_result;
}

void PageCache::State::read_ahead_from_marker(PageIndex index, Pfn f, uint64_t request) {
  frame(f).clear(FrameFlag::Readahead);
  const ReadaheadPlan plan = plan_readahead(window, index.value(), request, true, *this);
  // What comes early is a bonus: its errors belong to whoever needs the page.
  if (plan.size > 0 && plan.start < backing.size().pages_up().value()) (void)read_pages(plan.start, plan.size, plan.async_size, PageIndex{plan.start}, kReadaheadFlags);
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

Result<PageCache::Cached> PageCache::State::fetch(PageIndex index, Reader reader, uint64_t request) {
  bool major = false;
  for (;;) {
    if (const auto f = pages.find(index)) {
      Frame& descriptor = frame(*f);
      if (descriptor.has(FrameFlag::Locked)) {
        TRY(wait_for_page());
        continue;
      }
      CHECK(descriptor.has(FrameFlag::Uptodate), "pfn {} of inode {} is neither read nor being read", f->value(), inode_number);
      if (!descriptor.has(FrameFlag::Readahead)) return Cached{*f, major};
      if (reader == Reader::FaultRandom) {
        descriptor.clear(FrameFlag::Readahead);
        return Cached{*f, major};
      }
      read_ahead_from_marker(index, *f, reader == Reader::Read ? request : kReadaheadPages);
      continue;  // it may have waited
    }
    if (!has_storage()) return Cached{TRY(fetch_shmem(index, allocation_flags())), false};
    if (index.offset() >= backing.size()) return fail(Errno::IoError);  // cut meanwhile
    major = true;
    ReadaheadPlan plan;
    switch (reader) {
      case Reader::Read: plan = plan_readahead(window, index.value(), request, false, *this); break;
      case Reader::Fault: plan = plan_read_around(window, index.value()); break;
      case Reader::FaultSequential: plan = plan_readahead(window, index.value(), kReadaheadPages, false, *this); break;
      case Reader::FaultRandom: break;
    }
    if (plan.size > 0) TRY(read_pages(plan.start, plan.size, plan.async_size, index, kReadaheadFlags));
    if (pages.find(index) || index.offset() >= backing.size()) continue;
    // The window did not reach it, or memory was too short for reading ahead: this page alone.
    const uint64_t before = pages.size();
    TRY(read_pages(index.value(), 1, 0, index, Gfp::None));
    if (!pages.find(index) && pages.size() <= before && index.offset() < backing.size()) return fail(Errno::NoMemory);
  }
}

Result<size_t> PageCache::read(Bytes offset, size_t count, ByteSink& sink) {
  State& s = *state_;
  size_t done = 0;
  while (done < count) {
    const uint64_t position = offset.value() + done;
    const uint64_t size = s.backing.size().value();
    if (position < offset.value() || position >= size) break;
    const uint64_t in_page = position & kPageOffsetMask;
    const size_t n = std::min<uint64_t>({count - done, kPageSize - in_page, size - position});
    const PageIndex index{position >> kPageShift};
    Pfn frame;
    if (!s.has_storage() && !s.pages.find(index)) {
      frame = s.vm.physical().zero_frame();  // a hole is read without being filled (shmem_file_read_iter)
    } else {
      const uint64_t request = std::min(Bytes{in_page + (count - done)}.pages_up().value(), uint64_t{1} << 32);
      auto fetched = s.fetch(index, State::Reader::Read, request);
      if (!fetched) {
        if (done > 0 || Bytes{position} >= s.backing.size()) break;
        return fail(fetched.error());
      }
      frame = fetched->frame;
      if (s.window.previous != index.value()) s.vm.lru().mark_accessed(frame);
      s.window.previous = index.value();
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
          auto old = s.fetch(index, State::Reader::Read, 1);
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
      if (const auto added = s.add(index, *fresh, Gfp::Kernel); !added) {
        if (added.error() != Errno::Exists) {
          discard();
          return stop(added.error());
        }
        // Another task was faster while the source waited.
        auto other = s.fetch(index, State::Reader::Read, 1);
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

    const auto fetched = s.fetch(index, State::Reader::Read, 1);
    if (!fetched) return stop(fetched.error());
    const Pfn frame = fetched->frame;
    PagePin pin(s.vm, frame);
    s.vm.kmap().touch(frame);
    const auto taken = source.take(ram.write(frame.address() + Bytes{in_page}, Bytes{n}));
    if (!taken) return stop(taken.error());
    // The source may have waited, and somebody may have executed from the page meanwhile, or dropped it.
    (void)ram.write(frame.address() + Bytes{in_page}, Bytes{n});
    if (s.pages.find(index) == frame) s.mark_dirty(index, frame);
    if (!s.has_storage()) s.vm.lru().mark_accessed(frame);
    done += *taken;
    if (*taken < n) break;
  }
  return done;
}

}  // namespace vitro::mm
