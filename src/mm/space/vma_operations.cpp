// Making, splitting, merging and accounting areas (mm/mmap.c: vma_merge, __split_vma, vm_stat_account).
#include <algorithm>

#include "mm/space/address_space_state.h"
#include "mm/space/anon_vma.h"
#include "mm/space/virtual_memory_state.h"
#include "vitro/base/check.h"
#include "vitro/mm/page_cache.h"

namespace vitro::mm {
namespace {

// mm/mmap.c: is_mergeable_vma, can_vma_merge_after and _before.
bool can_merge(const Vma& a, const Vma& b) {
  return a.end == b.start && (a.flags & ~VmFlag::SoftDirty) == (b.flags & ~VmFlag::SoftDirty) && !has(a.flags, VmFlag::DontExpand) && a.file == b.file &&
         b.page_offset == a.page_offset + a.pages() && anon_vmas_mergeable(a, b);
}

bool exec_mapping(VmFlag f) { return (f & (VmFlag::Exec | VmFlag::Write | VmFlag::GrowsDown)) == VmFlag::Exec; }
bool stack_mapping(VmFlag f) { return has(f, VmFlag::GrowsDown); }
bool data_mapping(VmFlag f) { return (f & (VmFlag::Write | VmFlag::Shared | VmFlag::GrowsDown)) == VmFlag::Write; }

}  // namespace

bool wants_write_notify(const Vma& v) {
  return has(v.flags, VmFlag::Write | VmFlag::Shared) && v.file && v.file->page_cache().state() != FrameState::Shmem;
}

uint64_t entry_bits(const Vma& v) {
  uint64_t bits = Pte::kUser | Pte::kAccessed;
  bits |= v.accessible() ? Pte::kPresent : kPteProtNone;
  if (!has(v.flags, VmFlag::Exec)) bits |= Pte::kNoExecute;
  if (has(v.flags, VmFlag::Write | VmFlag::Shared) && !wants_write_notify(v)) bits |= Pte::kWritable;
  return bits;
}

Result<Vma*> AddressSpace::State::new_vma(VirtAddr start, VirtAddr end, VmFlag flags, std::shared_ptr<MappedFile> file, PageIndex page_offset) {
  SlabObject object = TRY(caches().allocate(KernelCache::VmAreaStruct, Gfp::KernelAccount));
  Vma* v = new Vma;
  v->id = vm.state().next_id++;
  v->start = start;
  v->end = end;
  v->flags = flags;
  v->file = std::move(file);
  v->page_offset = page_offset;
  v->space = self;
  v->memory = std::move(object);
  return v;
}

void AddressSpace::State::link(Vma& v, Vma* copied_from) {
  vmas.insert(v);
  if (v.file) v.file->page_cache().add_mapping(v, copied_from);
}

void AddressSpace::State::unlink(Vma& v) {
  vmas.remove(v);
  if (v.file) v.file->page_cache().remove_mapping(v);
  unlink_anon_vmas(v);
  delete &v;
}

void AddressSpace::State::resize(Vma& v, VirtAddr start, VirtAddr end) {
  // The reverse map's trees are ordered by the pages that areas map, so the area is in none of them while those change (mm/mmap.c: __vma_adjust,
  // expand_downwards: anon_vma_interval_tree_pre_update_vma, _post_update_vma). Nothing waits meanwhile: whoever looks finds it.
  for (AnonVmaChain& c : v.anon_chain) c.anon_vma->chains.erase(c);
  if (v.file) v.file->page_cache().remove_mapping(v);
  v.page_offset = start < v.start ? v.page_offset - (v.start.vpn() - start.vpn()) : v.index_of(start);
  vmas.resize(v, start, end);
  if (v.file) v.file->page_cache().add_mapping(v);
  for (AnonVmaChain& c : v.anon_chain) c.anon_vma->chains.insert(c);
}

Result<Vma*> AddressSpace::State::split(Vma& v, VirtAddr at) {
  DCHECK(at > v.start && at < v.end && at.page_aligned(), "split {:#x}-{:#x} at {:#x}", v.start.value(), v.end.value(), at.value());
  Vma* upper = TRY(new_vma(at, v.end, v.flags, v.file, v.index_of(at)));
  upper->special = v.special;
  upper->anon_vma = v.anon_vma;
  if (!clone_anon_vma(caches(), *upper, v)) {
    delete upper;
    return fail(Errno::NoMemory);
  }
  resize(v, v.start, at);
  link(*upper);
  return upper;
}

Vma* AddressSpace::State::merge_around(Vma& v) {
  // The upper one goes into the lower one. Where there is no memory to copy the chains they stay apart, as in Linux.
  const auto merge = [this](Vma& lower, Vma& upper) {
    if (!can_merge(lower, upper)) return false;
    if (!lower.anon_vma && upper.anon_vma) {
      lower.anon_vma = upper.anon_vma;
      if (!clone_anon_vma(caches(), lower, upper)) return false;
    }
    const VirtAddr end = upper.end;
    lower.id = std::min(lower.id, upper.id);
    lower.flags = lower.flags | (upper.flags & VmFlag::SoftDirty);
    unlink(upper);
    resize(lower, lower.start, end);
    return true;
  };
  Vma* result = &v;
  if (Vma* previous = v.tree.previous; previous && merge(*previous, v)) result = previous;
  if (Vma* next = result->tree.next) merge(*result, *next);
  return result;
}

Status AddressSpace::State::change_range(VirtAddr start, VirtAddr end, const std::function<Status(Vma&)>& change) {
  for (VirtAddr at = start; at < end;) {
    Vma* v = vmas.find(at);
    if (!v) return fail(Errno::NoMemory);
    if (v->start < at) {
      if (vmas.size() >= static_cast<size_t>(vm.max_map_count)) return fail(Errno::NoMemory);
      Vma* upper = TRY(split(*v, at));
      v = upper;
    }
    if (v->end > end) {
      if (vmas.size() >= static_cast<size_t>(vm.max_map_count)) {
        merge_around(*v);
        return fail(Errno::NoMemory);
      }
      if (auto upper = split(*v, end); !upper) {
        merge_around(*v);
        return fail(upper.error());
      }
    }
    at = v->end;
    const Status result = change(*v);
    merge_around(*v);
    TRY(result);
  }
  return {};
}

void AddressSpace::State::set_flags(Vma& v, VmFlag flags) {
  const auto pages = static_cast<int64_t>(v.pages().value());
  account(v.flags, -pages);
  account(flags, pages);
  if (has(v.flags, VmFlag::Locked) != has(flags, VmFlag::Locked)) usage.locked_vm += static_cast<uint64_t>(has(flags, VmFlag::Locked) ? pages : -pages);
  v.flags = flags;
}

bool AddressSpace::State::may_expand(VmFlag flags, Pages pages) const {
  const uint64_t n = pages.value();
  const auto exceeds = [n](uint64_t used, uint64_t limit_bytes) { return limit_bytes != ~0ull && (n > (limit_bytes >> kPageShift) || used > (limit_bytes >> kPageShift) - n); };
  if (exceeds(usage.total_vm, self->limits.address_space)) return false;
  return !(data_mapping(flags) && exceeds(usage.data_vm, self->limits.data));
}

void AddressSpace::State::account(VmFlag flags, int64_t pages) {
  const auto n = static_cast<uint64_t>(pages);
  usage.total_vm += n;
  if (exec_mapping(flags)) usage.exec_vm += n;
  else if (stack_mapping(flags)) usage.stack_vm += n;
  else if (data_mapping(flags)) usage.data_vm += n;
  usage.hiwater_vm = std::max(usage.hiwater_vm, usage.total_vm);
}

Status AddressSpace::State::may_lock_more(VmFlag flags, Bytes length) const {
  if (!has(flags, VmFlag::Locked) || self->limits.locked == ~0ull) return {};
  const uint64_t limit = self->limits.locked >> kPageShift;
  const uint64_t wanted = length.pages_up().value();
  if (wanted > limit || usage.locked_vm > limit - wanted) return fail(Errno::Again);
  return {};
}

void AddressSpace::State::free_tables_of(VirtAddr start, VirtAddr end, TlbGather& gather) {
  const Vma* next = vmas.find_ending_after(start);
  const Vma* previous = next ? next->tree.previous : vmas.last();
  tables.free_tables(start, end, previous ? previous->end : VirtAddr{0}, next ? next->start : VirtAddr{1ull << 47}, gather);
}

void MmapLock::wait(AddressSpace::State& s) {
  CHECK(s.vm.blocking() && s.vm.blocking()->may_wait(), "an address space is locked by a task that cannot run");
  (void)s.vm.blocking()->wait(s.lock_waiters, Interruptible::No);
}

}  // namespace vitro::mm
