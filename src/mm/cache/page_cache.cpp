// The pages of one file: finding, adding, dropping, dirtying and writing them back (mm/filemap.c, mm/truncate.c, mm/page-writeback.c).
#include "vitro/mm/page_cache.h"

#include <algorithm>

#include "mm/cache/page_cache_state.h"
#include "mm/reclaim/reclaim_state.h"
#include "vitro/base/check.h"
#include "vitro/base/trace.h"
#include "vitro/mm/rmap.h"

namespace vitro::mm {

PageCache::PageCache(VirtualMemory& vm, FileBacking& backing, FrameState state, uint64_t inode_number, uint64_t device)
    : state_(std::make_unique<State>(vm, *this, backing, state, inode_number, device)) {
  CHECK(state == FrameState::FileCache || state == FrameState::Shmem || state == FrameState::BlockCache, "a page cache of {}", frame_state_name(state));
  vm.state().caches.push_back(*state_);
}

PageCache::~PageCache() {
  State& s = *state_;
  CHECK(s.mappings.empty(), "a page cache is destroyed while it is mapped");
  CHECK(s.page_waiters.empty(), "a page cache is destroyed while somebody waits for it");
  s.abandon_transfers();
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
  TRACE(vm.tracer(), Event::MmFilemapAdd, device, inode_number, f.value(), index.value() << kPageShift, 0);
  return {};
}

void PageCache::State::remove(PageIndex index, Pfn f, uint64_t shadow) {
  Frame& descriptor = frame(f);
  CHECK(descriptor.mapcount == 0, "pfn {} leaves the page cache mapped {} times", f.value(), descriptor.mapcount);
  TRACE(vm.tracer(), Event::MmFilemapDelete, device, inode_number, f.value(), index.value() << kPageShift, 0);
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

Result<PageCache::Cached> PageCache::get(PageIndex index) { return state_->fetch(index, State::Reader::Read, 1, state_->window); }

Pages PageCache::cached_pages() const { return Pages{state_->pages.size()}; }
Pages PageCache::dirty_pages() const { return Pages{state_->dirty}; }
FrameState PageCache::state() const { return state_->state; }
FileBacking& PageCache::backing() { return state_->backing; }
uint64_t PageCache::inode_number() const { return state_->inode_number; }
void PageCache::set_accounted_up_front() { state_->accounted_up_front = true; }
void PageCache::add_mapping(Vma& vma, Vma* beside) {
  if (beside) state_->mappings.insert_after(vma, *beside);
  else state_->mappings.insert(vma);
  state_->mapped_writable += has(vma.flags, VmFlag::Shared | VmFlag::MayWrite);
}
void PageCache::remove_mapping(Vma& vma) {
  state_->mappings.erase(vma);
  state_->mapped_writable -= has(vma.flags, VmFlag::Shared | VmFlag::MayWrite);
}
bool PageCache::mapped() const { return !state_->mappings.empty(); }
bool PageCache::mapped_for_writing() const { return state_->mapped_writable > 0; }

ShadowNodes* PageCache::State::shadow_nodes() const { return has_storage() ? &vm.state().shadow_nodes : nullptr; }

// --- dropping pages ---

void PageCache::State::unmap(PageIndex first, PageIndex last, bool private_copies_too) {
  for (Vma& v : mappings.overlapping(first.value(), last.value())) {
    const PageIndex begin = v.page_offset, end = v.page_offset + v.pages();
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
  // A block must not be given to somebody else while the old page is on its way there (truncate_inode_pages_range: folio_wait_writeback). Where
  // nobody can wait the pages leave the cache at once, and the request keeps their frames.
  if (s.waits_possible()) (void)wait_for_writing(first.offset());
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
  if (s.waits_possible()) (void)wait_for_writing(first.offset(), last.offset() + Bytes{kPageSize} > last.offset() ? last.offset() + Bytes{kPageSize} : Bytes{UINT64_MAX});
  s.unmap(first, last, false);
  for (auto entry = s.pages.next(first); entry && entry->index <= last; entry = s.pages.next(entry->index)) s.remove(entry->index, entry->frame);
  s.drop_values(first, last);
}

Pages PageCache::invalidate(PageIndex first, Pages count) {
  State& s = *state_;
  Pages dropped{0};
  if (count.value() == 0) return dropped;
  const PageIndex last = count.value() - 1 > ~0ull - first.value() ? PageIndex{~0ull} : first + (count - Pages{1});
  for (auto entry = s.pages.next(first); entry && entry->index <= last; entry = s.pages.next(entry->index + Pages{1})) {
    const Frame& f = s.frame(entry->frame);
    if (f.has(FrameFlag::Dirty) || f.has(FrameFlag::Writeback) || f.has(FrameFlag::Locked) || f.mapcount > 0 || f.refcount > 1) continue;
    s.remove(entry->index, entry->frame);
    dropped += Pages{1};
  }
  return dropped;
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
