// Dirty pages of one file on their way to storage (mm/page-writeback.c: write_cache_pages, clear_page_dirty_for_io, folio_end_writeback).
#include <algorithm>
#include <array>

#include "mm/cache/page_cache_state.h"
#include "mm/reclaim/reclaim_state.h"
#include "mm/space/virtual_memory_state.h"
#include "vitro/base/check.h"
#include "vitro/mm/page_cache.h"
#include "vitro/mm/rmap.h"
#include "vitro/base/trace.h"
#include "vitro/mm/writeback.h"

namespace vitro::mm {
namespace {
constexpr size_t kLargestRequest = 256;  // pages; BIO_MAX_VECS
}

void PageCache::State::mark_dirty(PageIndex index, Pfn f) {
  Frame& descriptor = frame(f);
  if (descriptor.has(FrameFlag::Dirty)) return;
  descriptor.set(FrameFlag::Dirty);
  if (!has_storage()) return;  // only reclaim cares (noop_dirty_folio)
  pages.set_dirty(index, true);
  ++dirty;
  VmStat& stat = vm.physical().stat();
  stat.add(VmItem::nr_dirty);
  stat.add_zone(descriptor.zone, VmItem::nr_zone_write_pending, 1);
  stat.add(VmItem::nr_dirtied);
  TRACE(vm.tracer(), Event::WritebackDirtyFolio, vm.writeback().device(), inode_number, index.value());
  vm.writeback().page_dirtied(cache);
}

void PageCache::State::clear_dirty(PageIndex index, Pfn f, bool written) {
  Frame& descriptor = frame(f);
  descriptor.clear(FrameFlag::Dirty);
  if (!has_storage()) return;
  pages.set_dirty(index, false);
  if (--dirty == 0 && dirty_link.linked()) vm.state().dirty_caches.remove(*this);
  VmStat& stat = vm.physical().stat();
  stat.add(VmItem::nr_dirty, -1);
  if (!written) stat.add_zone(descriptor.zone, VmItem::nr_zone_write_pending, -1);
}

void PageCache::mark_dirty(PageIndex index) {
  if (const auto f = state_->pages.find(index)) state_->mark_dirty(index, *f);
}

void PageCache::mark_clean(PageIndex index) {
  const auto f = state_->pages.find(index);
  if (f && state_->frame(*f).has(FrameFlag::Dirty)) state_->clear_dirty(index, *f, false);
}

ErrorSequence& PageCache::write_errors() { return state_->errors; }
Pages PageCache::pages_being_written() const { return Pages{state_->writeback}; }

void PageCache::State::write_protect(Pfn f) {
  if (frame(f).mapcount == 0) return;
  rmap_for_each(vm, f, [&](AddressSpace& space, VirtAddr a) {
    AddressSpace::State& s = space.state();
    const auto entry = s.tables.find_entry(a);
    const Pte pte = s.tables.at(*entry);
    if (!pte.dirty() && !pte.writable()) return;
    TlbGather tlb = s.gather();
    s.tables.change(a, *entry, pte.without(Pte::kDirty | Pte::kWritable), tlb);
  });
}

void PageCache::State::submit_write(PageIndex first, std::span<const Pfn> frames) {
  auto t = std::make_shared<PageTransfer>();
  t->cache = this;
  t->first = first;
  t->frames.assign(frames.begin(), frames.end());
  t->number = next_write++;
  std::array<std::span<const std::byte>, kLargestRequest> spans;
  VmStat& stat = vm.physical().stat();
  for (size_t i = 0; i < frames.size(); ++i) {
    write_protect(frames[i]);
    vm.get_page(frames[i]);
    clear_dirty(first + Pages{i}, frames[i], true);
    frame(frames[i]).set(FrameFlag::Writeback);
    spans[i] = vm.physical().ram().read(frames[i].address(), Bytes{kPageSize});
  }
  writeback += frames.size();
  stat.add(VmItem::nr_writeback, static_cast<int64_t>(frames.size()));
  writes.push_back(*t);
  VirtualMemory& machine = vm;
  backing.write_pages(first, {spans.data(), frames.size()}, [t, &machine](Status result) {
    t->result = result;
    t->done = true;
    VmStat& counters = machine.physical().stat();
    const auto n = static_cast<int64_t>(t->frames.size());
    counters.add(VmItem::nr_writeback, -n);
    counters.add(VmItem::nr_written, n);
    for (const Pfn f : t->frames) {
      Frame& descriptor = machine.physical().frames()[f];
      descriptor.clear(FrameFlag::Writeback);
      counters.add_zone(descriptor.zone, VmItem::nr_zone_write_pending, -1);
      note_written(machine, f);
    }
    if (t->cache) t->cache->write_done(*t);
    else machine.state().orphan_writeback -= t->frames.size();
    for (const Pfn f : t->frames) machine.put_page(f);
    machine.writeback().pages_written(t->frames.size());
  });
}

void PageCache::State::write_done(PageTransfer& t) {
  writes.remove(t);
  writeback -= t.frames.size();
  if (!t.result) errors.set(t.result.error() == Errno::NoSpace ? Errno::NoSpace : Errno::IoError);
  if (!page_waiters.empty()) page_waiters.wake_all();
}

void PageCache::State::abandon_transfers() {
  while (PageTransfer* t = reads.pop_front()) t->cache = nullptr;
  while (PageTransfer* t = writes.pop_front()) {
    t->cache = nullptr;
    vm.state().orphan_writeback += t->frames.size();
  }
  writeback = 0;
  if (dirty_link.linked()) vm.state().dirty_caches.remove(*this);
}

uint64_t PageCache::start_writing(Bytes from, Bytes to, uint64_t most) {
  State& s = *state_;
  const std::shared_ptr<void> keep = s.backing.hold();
  PageIndex at{from.pages_down().value()};
  const uint64_t begun = s.begin_writing(at, PageIndex{to.pages_up().value()}, most);
  if (from.value() == 0 && to.value() == UINT64_MAX && begun < most) s.writeback_index = at;
  return begun;
}

uint64_t PageCache::State::begin_writing_on(uint64_t most) {
  const std::shared_ptr<void> keep = backing.hold();
  const PageIndex first = writeback_index;
  PageIndex at = first;
  uint64_t begun = begin_writing(at, PageIndex{UINT64_MAX >> kPageShift}, most);
  if (begun < most && first.value() > 0) {
    at = PageIndex{0};
    begun += begin_writing(at, first, most - begun);
  }
  writeback_index = at;
  return begun;
}

uint64_t PageCache::State::begin_writing(PageIndex& at, PageIndex end, uint64_t most) {
  uint64_t begun = 0;
  std::array<Pfn, kLargestRequest> run;
  while (begun < most) {
    auto entry = pages.next_dirty(at);
    if (!entry || entry->index >= end) break;
    const PageIndex first = entry->index;
    size_t n = 0;
    while (n < run.size() && begun + n < most && entry && entry->index == first + Pages{n} && entry->index < end &&
           !frame(entry->frame).has(FrameFlag::Writeback)) {
      run[n++] = entry->frame;
      entry = pages.next_dirty(first + Pages{n});
    }
    if (n > 0) submit_write(first, {run.data(), n});
    at = first + Pages{std::max<size_t>(n, 1)};
    begun += n;
  }
  return begun;
}

bool PageCache::start_writing_page(PageIndex index) {
  State& s = *state_;
  const auto f = s.pages.find(index);
  if (!f || !s.pages.dirty(index) || s.frame(*f).has(FrameFlag::Writeback)) return false;
  const std::shared_ptr<void> keep = s.backing.hold();
  s.submit_write(index, {&*f, 1});
  return true;
}

Status PageCache::wait_for_writing(Bytes from, Bytes to) {
  State& s = *state_;
  const std::shared_ptr<void> keep = s.backing.hold();
  const PageIndex first{from.pages_down().value()}, end{to.pages_up().value()};
  const uint64_t limit = s.next_write;
  const auto in_flight = [&]() -> const PageTransfer* {
    for (const PageTransfer& t : s.writes)
      if (t.number < limit && t.first < end && t.first + Pages{t.frames.size()} > first) return &t;
    return nullptr;
  };
  while (const PageTransfer* t = in_flight()) {
    if (!s.waits_possible()) break;
    TRACE(s.vm.tracer(), Event::FolioWaitWriteback, s.vm.writeback().device(), s.inode_number, std::max(t->first, first).value());
    TRY(s.wait_for_page());
  }
  return {};
}

Status PageCache::write_back(Bytes from, Bytes to) {
  State& s = *state_;
  const std::shared_ptr<void> keep = s.backing.hold();
  const ErrorSequence::Mark since = s.errors.now();  // what was set before this call belongs to whoever had the file open then
  PageIndex at{from.pages_down().value()};
  const PageIndex end{to.pages_up().value()};
  while (s.dirty > 0) {
    start_writing(at.offset(), to);
    // Left over is what was dirtied again while it was being written: that has to be written once more. Never back to what is behind, so
    // that a busy writer cannot keep this going.
    const auto again = s.pages.next_dirty(at);
    if (!again || again->index >= end || !s.waits_possible()) break;
    TRY(wait_for_writing(again->index.offset(), (again->index + Pages{1}).offset()));
    start_writing_page(again->index);
    at = again->index + Pages{1};
  }
  TRY(wait_for_writing(from, to));
  return s.errors.check(since);
}

}  // namespace vitro::mm
