// Moving pages to and from swap areas (mm/page_io.c). What is written or read in one go is collected, sorted out into runs of neighbouring
// slots, and sent as one request a run, as the block layer's plug would merge it.
#include <algorithm>
#include <cstring>

#include "mm/reclaim/reclaim_state.h"
#include "mm/swap/swap_state.h"
#include "vitro/base/check.h"
#include "vitro/base/trace.h"

namespace vitro::mm {
namespace {

constexpr uint64_t kMostPages = 320;      // max_sectors_kb 1280
constexpr uint64_t kMostInFlight = 128;   // requests that the disk's queue takes; more have to wait for room
constexpr uint64_t kSectorsPerPage = kPageSize / hw::Disk::kSectorSize;

}  // namespace

uint64_t SwapArea::sector_of(uint64_t offset) const {
  const auto after = std::ranges::upper_bound(source.extents, offset, {}, &SwapExtent::first);
  CHECK(after != source.extents.begin(), "swap area {} has no page {}", number, offset);
  const SwapExtent& e = *std::prev(after);
  CHECK(offset - e.first < e.count, "swap area {} has no page {}", number, offset);
  return e.sector + (offset - e.first) * kSectorsPerPage;
}

// swap_writepage. The page is in the cache, mapped nowhere, dirty.
void SwapSpace::State::write(Pfn f) {
  Frame& descriptor = frame(f);
  descriptor.clear(FrameFlag::Dirty);
  if (try_free(f)) return;  // nobody needs it any more
  const SwapSlot s = slot_of(descriptor);
  VmStat& stat = vm.physical().stat();
  descriptor.set(FrameFlag::Writeback);
  stat.add(VmItem::nr_writeback);
  stat.add_zone(descriptor.zone, VmItem::nr_zone_write_pending, 1);
  stat.add(VmItem::pswpout);
  TRACE(vm.tracer(), Event::SwapOut, s.area(), s.offset(), f.value());
  writes.push_back({&area(s), s.offset(), f});
  if (writes.size() >= kMostPages) submit();
}

void SwapSpace::State::submit() { send(writes, true); }

void SwapSpace::State::wait_for_room() {
  Blocking* blocking = vm.blocking();
  while (in_flight >= kMostInFlight && blocking && blocking->may_wait()) (void)blocking->wait(room, Interruptible::No);
}

void SwapSpace::State::send(std::vector<Pending>& queue, bool writing) {
  hw::Ram& ram = vm.physical().ram();
  VmStat& stat = vm.physical().stat();
  while (!queue.empty()) {
    // The queue may grow while we wait for room, so it is taken a run at a time.
    size_t n = 1;
    const Pending first = queue.front();
    const uint64_t sector = first.area->sector_of(first.offset);
    while (n < queue.size() && n < kMostPages && queue[n].area == first.area && queue[n].offset == first.offset + n &&
           first.area->sector_of(first.offset + n) == sector + n * kSectorsPerPage)
      ++n;
    std::shared_ptr<Transfer> t = spare.empty() ? std::make_shared<Transfer>() : std::move(spare.back());
    if (!spare.empty()) spare.pop_back();
    // As large as requests get, and used again: the host need not clear it each time.
    if (!t->data) t->data.reset(new std::byte[kMostPages * kPageSize]);
    const std::span<std::byte> data(t->data.get(), n * kPageSize);
    for (size_t i = 0; i < n; ++i) {
      t->pages.emplace_back(queue[i].frame, SwapSlot{queue[i].area->number, queue[i].offset});
      if (writing) std::memcpy(t->data.get() + i * kPageSize, ram.read(queue[i].frame.address(), Bytes{kPageSize}).data(), kPageSize);
    }
    queue.erase(queue.begin(), queue.begin() + static_cast<ptrdiff_t>(n));
    stat.add(writing ? VmItem::pgpgout : VmItem::pgpgin, static_cast<int64_t>(n * kSectorsPerPage));
    if (!writing) stat.add(VmItem::pswpin, static_cast<int64_t>(n));
    ++in_flight;
    hw::Disk& disk = *first.area->source.disk;
    const auto done = [this, t, writing](Status result) {
      writing ? written(*this, t->pages, result) : arrived(*this, t->pages, t->data.get(), result);
      t->pages.clear();
      spare.push_back(t);
    };
    if (!vm.blocking() || !vm.reclaimer().tasks()) {
      // Nothing ever waits here: at once.
      const Status result = writing ? disk.poke(sector, data) : disk.peek(sector, data);
      done(result);
    } else if (writing) {
      disk.submit_write(sector, std::span<const std::byte>(data), done);
    } else {
      disk.submit_read(sector, data, done);
    }
    if (writing) wait_for_room();
  }
}

void SwapSpace::State::written(State& s, const Moved& pages, Status result) {
  VmStat& stat = s.vm.physical().stat();
  --s.in_flight;
  for (const auto& [pfn, slot] : pages) {
    Frame& f = s.frame(pfn);
    f.clear(FrameFlag::Writeback);
    stat.add(VmItem::nr_writeback, -1);
    stat.add_zone(f.zone, VmItem::nr_zone_write_pending, -1);
    stat.add(VmItem::nr_written);
    if (!result) {
      // It must not be thought to be safe: dirty again, so that it stays (end_swap_bio_write).
      f.set(FrameFlag::Dirty);
      f.clear(FrameFlag::Reclaim);
      ++s.write_errors;
    }
    note_written(s.vm, pfn);
  }
  s.room.wake_all();
  s.page_waiters.wake_all();
}

void SwapSpace::State::arrived(State& s, const Moved& pages, const std::byte* data, Status result) {
  hw::Ram& ram = s.vm.physical().ram();
  --s.in_flight;
  for (size_t i = 0; i < pages.size(); ++i) {
    const auto& [pfn, slot] = pages[i];
    Frame& f = s.frame(pfn);
    if (result) {
      std::memcpy(ram.write(pfn.address(), Bytes{kPageSize}).data(), data + i * kPageSize, kPageSize);
      f.set(FrameFlag::Uptodate);
    }
    f.clear(FrameFlag::Locked);
    TRACE(s.vm.tracer(), Event::SwapIn, slot.area(), slot.offset(), pfn.value());
  }
  s.room.wake_all();
  s.page_waiters.wake_all();
}

}  // namespace vitro::mm
