// The pages of one file: finding, adding, dropping, dirtying and writing them back (mm/filemap.c, mm/truncate.c, mm/page-writeback.c).
#include "vitro/mm/page_cache.h"

#include <algorithm>

#include "mm/page_cache_state.h"
#include "mm/reclaim_state.h"
#include "vitro/base/check.h"
#include "vitro/base/trace.h"
#include "vitro/mm/rmap.h"

namespace vitro::mm {

PageCache::PageCache(VirtualMemory& vm, FileBacking& backing, FrameState state, uint64_t inode_number)
    : state_(std::make_unique<State>(vm, *this, backing, state, inode_number)) {
  CHECK(state == FrameState::FileCache || state == FrameState::Shmem || state == FrameState::BlockCache, "a page cache of {}", frame_state_name(state));
  vm.state().caches.push_back(*state_);
}

PageCache::~PageCache() {
  State& s = *state_;
  CHECK(s.mappings.empty(), "a page cache is destroyed while it is mapped");
  CHECK(s.page_waiters.empty() && s.writeback == 0, "a page cache is destroyed while it is in use");
  while (const auto entry = s.pages.next(PageIndex{0})) s.remove(entry->index, entry->frame);
  s.drop_values(PageIndex{0}, PageIndex{~0ull});
  s.vm.state().caches.remove(s);
}

// --- single pages ---

std::optional<Pfn> PageCache::State::allocate(Gfp flags) {
  const auto f = vm.physical().allocator().allocate(flags);
  if (f) vm.physical().allocator().set_state(*f, Order{0}, state);
  return f;
}

Status PageCache::State::add(PageIndex index, Pfn f, Gfp flags) {
  // A page of memory that nobody promised is promised now (mm/shmem.c: shmem_acct_block).
  const bool charge = !has_storage() && !accounted_up_front;
  if (charge && !vm.may_commit(Pages{1})) return fail(Errno::NoSpace);
  uint64_t shadow = 0;
  TRY(pages.insert(index, f, without(flags, Gfp::Write), &shadow));
  if (charge) vm.commit(Pages{1});
  Frame& descriptor = frame(f);
  descriptor.page_cache = &cache;
  descriptor.index = index.value();
  VmStat& stat = vm.physical().stat();
  stat.add(VmItem::nr_file_pages);
  if (state == FrameState::BlockCache) ++vm.state().block_pages;
  if (!has_storage()) {
    stat.add(VmItem::nr_shmem);
    descriptor.set(FrameFlag::SwapBacked);
  }
  // A page that is about to be overwritten says nothing about what is missed (mm/filemap.c: filemap_add_folio).
  if (shadow && has_storage() && !has(flags, Gfp::Write)) refault(vm, f, shadow);
  vm.lru().add(f);
  TRACE(vm.tracer(), Event::MmFilemapAdd, inode_number, index.value() << kPageShift, f.value());
  return {};
}

void PageCache::State::remove(PageIndex index, Pfn f, uint64_t shadow) {
  Frame& descriptor = frame(f);
  CHECK(descriptor.mapcount == 0, "pfn {} leaves the page cache mapped {} times", f.value(), descriptor.mapcount);
  TRACE(vm.tracer(), Event::MmFilemapDelete, inode_number, index.value() << kPageShift, f.value());
  if (descriptor.has(FrameFlag::Dirty)) clear_dirty(index, f, false);
  pages.erase(index, shadow);
  VmStat& stat = vm.physical().stat();
  stat.add(VmItem::nr_file_pages, -1);
  if (state == FrameState::BlockCache) --vm.state().block_pages;
  if (!has_storage()) {
    stat.add(VmItem::nr_shmem, -1);
    if (!accounted_up_front) vm.uncommit(Pages{1});
  }
  if (descriptor.has(FrameFlag::Lru)) vm.lru().remove(f);
  descriptor.owner = nullptr;
  // Somebody who waits with this page in hand keeps the frame, which is nobody's page any more.
  if (descriptor.refcount > 1) vm.physical().allocator().set_state(f, Order{0}, FrameState::Allocated);
  drop_reference(vm, f);
}

void PageCache::State::unlock(Pfn f) {
  frame(f).clear(FrameFlag::Locked);
  if (!page_waiters.empty()) page_waiters.wake_all();
}

Status PageCache::State::wait_for_page() {
  CHECK(vm.blocking() && vm.blocking()->may_wait(), "a page of inode {} is locked by a task that cannot run", inode_number);
  return vm.blocking()->wait(page_waiters, Interruptible::No);
}

std::optional<Pfn> PageCache::find(PageIndex index) const {
  const auto f = state_->pages.find(index);
  if (!f || !state_->frame(*f).has(FrameFlag::Uptodate)) return std::nullopt;
  return f;
}

Result<PageCache::Cached> PageCache::get(PageIndex index) { return state_->fetch(index, State::Reader::Read, 1); }

Pages PageCache::cached_pages() const { return Pages{state_->pages.size()}; }
Pages PageCache::dirty_pages() const { return Pages{state_->dirty}; }
FrameState PageCache::state() const { return state_->state; }
FileBacking& PageCache::backing() { return state_->backing; }
uint64_t PageCache::inode_number() const { return state_->inode_number; }
void PageCache::set_accounted_up_front() { state_->accounted_up_front = true; }
void PageCache::add_mapping(Vma& vma) { state_->mappings.push_back(vma); }
void PageCache::remove_mapping(Vma& vma) { state_->mappings.remove(vma); }
bool PageCache::mapped() const { return !state_->mappings.empty(); }

ShadowNodes* PageCache::State::shadow_nodes() const { return has_storage() ? &vm.state().shadow_nodes : nullptr; }

// --- dirty pages ---

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
}

void PageCache::State::clear_dirty(PageIndex index, Pfn f, bool written) {
  Frame& descriptor = frame(f);
  descriptor.clear(FrameFlag::Dirty);
  if (!has_storage()) return;
  pages.set_dirty(index, false);
  --dirty;
  VmStat& stat = vm.physical().stat();
  stat.add(VmItem::nr_dirty, -1);
  if (!written) stat.add_zone(descriptor.zone, VmItem::nr_zone_write_pending, -1);
}

void PageCache::mark_dirty(PageIndex index) {
  if (const auto f = state_->pages.find(index)) state_->mark_dirty(index, *f);
}

Status PageCache::State::write_page(PageIndex index, Pfn f) {
  // page_mkclean: whoever writes through a mapping from now on faults, and makes the page dirty again.
  rmap_for_each(vm, f, [&](AddressSpace& space, VirtAddr a) {
    AddressSpace::State& s = space.state();
    const auto entry = s.tables.find_entry(a);
    const Pte pte = s.tables.at(*entry);
    if (!pte.dirty() && !pte.writable()) return;
    TlbGather tlb = s.gather();
    s.tables.change(a, *entry, pte.without(Pte::kDirty | Pte::kWritable), tlb);
  });
  PagePin pin(vm, f);
  Frame& descriptor = frame(f);
  clear_dirty(index, f, true);
  descriptor.set(FrameFlag::Writeback);
  ++writeback;
  VmStat& stat = vm.physical().stat();
  stat.add(VmItem::nr_writeback);
  const Status result = backing.write_page(index, vm.physical().ram().read(f.address(), Bytes{kPageSize}));
  descriptor.clear(FrameFlag::Writeback);
  --writeback;
  stat.add(VmItem::nr_writeback, -1);
  stat.add_zone(descriptor.zone, VmItem::nr_zone_write_pending, -1);
  stat.add(VmItem::nr_written);
  note_written(vm, f);
  if (!page_waiters.empty()) page_waiters.wake_all();
  return result;
}

Status PageCache::write_back(Bytes from, Bytes to) {
  State& s = *state_;
  Status first_error;
  PageIndex at{from.pages_down().value()};
  const PageIndex end{to.pages_up().value()};
  while (const auto entry = s.pages.next_dirty(at)) {
    if (entry->index >= end) break;
    if (s.frame(entry->frame).has(FrameFlag::Writeback)) {  // dirtied again while another task writes it
      TRY(s.wait_for_page());
      continue;
    }
    const Status result = s.write_page(entry->index, entry->frame);
    if (!result && first_error) first_error = result;
    at = entry->index + Pages{1};
  }
  while (s.writeback > 0 && s.vm.blocking() && s.vm.blocking()->may_wait()) TRY(s.wait_for_page());
  return first_error;
}

// --- dropping pages ---

void PageCache::State::unmap(PageIndex first, PageIndex last, bool private_copies_too) {
  for (Vma& v : mappings) {
    const PageIndex begin = v.page_offset, end = v.page_offset + v.pages();
    if (first >= end || last < begin) continue;
    const VirtAddr from = first > begin ? v.start + (first - begin) : v.start;
    const VirtAddr to = last < end - Pages{1} ? v.start + (last + Pages{1} - begin) : v.end;
    AddressSpace::State& s = v.space->state();
    TlbGather tlb = s.gather();
    s.zap(v, from, to, tlb, !private_copies_too);
  }
}

void PageCache::truncate(Bytes size) {
  State& s = *state_;
  const PageIndex first{size.pages_up().value()};
  s.unmap(first, PageIndex{~0ull >> kPageShift}, true);
  for (auto entry = s.pages.next(first); entry; entry = s.pages.next(entry->index)) s.remove(entry->index, entry->frame);
  s.drop_values(first, PageIndex{~0ull});
  if (size.page_aligned()) return;
  // What lies beyond the end in the last page must read as zeros if the file grows again.
  const PageIndex last{size.pages_down().value()};
  if (const auto f = s.pages.find(last); f && s.frame(*f).has(FrameFlag::Uptodate)) {
    const uint64_t used = size.value() & kPageOffsetMask;
    std::ranges::fill(s.vm.physical().ram().write(f->address() + Bytes{used}, Bytes{kPageSize - used}), std::byte{0});
  }
}

void PageCache::drop_range(PageIndex first, Pages count) {
  if (count.value() == 0) return;
  State& s = *state_;
  const PageIndex last = count.value() - 1 > ~0ull - first.value() ? PageIndex{~0ull} : first + (count - Pages{1});
  s.unmap(first, last, false);
  for (auto entry = s.pages.next(first); entry && entry->index <= last; entry = s.pages.next(entry->index)) s.remove(entry->index, entry->frame);
  s.drop_values(first, last);
}

void PageCache::verify() const {
  const State& s = *state_;
  s.pages.verify();
  uint64_t dirty = 0;
  for (auto entry = s.pages.next(PageIndex{0}); entry; entry = s.pages.next(entry->index + Pages{1})) {
    const Frame& f = s.frame(entry->frame);
    CHECK(f.state == s.state && f.page_cache == this && f.index == entry->index.value(), "pfn {}: state {}, index {} in the cache of inode {}, page {}",
          entry->frame.value(), frame_state_name(f.state), f.index, s.inode_number, entry->index.value());
    CHECK(f.has(FrameFlag::SwapBacked) == !s.has_storage(), "pfn {}: flags {:#x}", entry->frame.value(), f.flags);
    CHECK(s.pages.dirty(entry->index) == (s.has_storage() && f.has(FrameFlag::Dirty)), "pfn {}: dirty mark", entry->frame.value());
    dirty += s.pages.dirty(entry->index);
  }
  CHECK(dirty == s.dirty, "{} dirty pages, {} counted", dirty, s.dirty);
}

}  // namespace vitro::mm
