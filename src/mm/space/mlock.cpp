// mlock(2) and its relatives, and the faulting-in that they and MAP_POPULATE do (mm/mlock.c, mm/gup.c: __mm_populate).
#include <algorithm>
#include <vector>

#include "mm/space/address_space_state.h"
#include "mm/space/virtual_memory_state.h"

namespace vitro::mm {
namespace {

// Puts the pages that are mapped on the unevictable list, or takes them off (mlock_vma_pages_range).
void lock_present_pages(AddressSpace::State& s, Vma& v, bool on) {
  const Pfn zero = s.vm.physical().zero_frame();
  s.tables.for_each(v.start, v.end, [&](VirtAddr, PhysAddr, Pte pte) {
    if (!pte.present() || pte.pfn() == zero) return;
    if (on) Rmap::mlock(s.vm, pte.pfn());
    else Rmap::munlock(s.vm, pte.pfn());
  });
}

// `how`: Locked, LockOnFault or nothing (mlock_fixup).
void set_locked(AddressSpace::State& s, Vma& v, VmFlag how) {
  const VmFlag flags = (v.flags & ~kLockFlags) | how;
  if (flags == v.flags || has(v.flags, VmFlag::DontExpand)) return;
  const bool was = has(v.flags, VmFlag::Locked), is = has(flags, VmFlag::Locked);
  s.set_flags(v, flags);
  if (was != is) lock_present_pages(s, v, is);
}

VmFlag lock_flags(LockWhen when) { return when == LockWhen::OnFault ? kLockFlags : VmFlag::Locked; }

uint64_t locked_pages_in(const VmaTree& vmas, VirtAddr start, VirtAddr end) {
  uint64_t n = 0;
  for (const Vma* v = vmas.find_overlap(start, end); v && v->start < end; v = v->tree.next)
    if (has(v->flags, VmFlag::Locked)) n += (std::min(end, v->end) - std::max(start, v->start)).pages_down().value();
  return n;
}

// mm/mlock.c: __mlock_posix_error_return.
Errno posix_error(Errno e) {
  if (e == Errno::Fault) return Errno::NoMemory;
  return e == Errno::NoMemory ? Errno::Again : e;
}

}  // namespace

Status AddressSpace::State::populate(VirtAddr start, VirtAddr end, Populate how) {
  // By address, because the areas may change while a page is read in.
  for (VirtAddr a = start; a < end; a += Bytes{kPageSize}) {
    bool write = how == Populate::Write;
    {
      const Vma* v = vmas.find_overlap(a, end);
      if (!v) break;
      a = std::max(a, v->start);
      if (how == Populate::AsMapped) {
        if (!v->accessible() || has(v->flags, VmFlag::PfnMap)) {
          a = v->end - Bytes{kPageSize};
          continue;
        }
        if (has(v->flags, VmFlag::LockOnFault)) {
          a = v->end - Bytes{kPageSize};
          continue;
        }
        write = (v->flags & (VmFlag::Write | VmFlag::Shared)) == VmFlag::Write;
      }
    }
    // Whoever populates counts as a user of the page (FOLL_TOUCH; mm/gup.c: follow_page_pte).
    const auto touch = [&](Pte pte) {
      if (pte.present() && pte.pfn() != vm.physical().zero_frame()) vm.lru().mark_accessed(pte.pfn());
    };
    if (const Pte pte = tables.get(a); pte.present() && (!write || pte.writable())) {
      touch(pte);
      continue;
    }
    switch (self->handle_fault(a, write ? hw::Access::Write : hw::Access::Read, hw::Privilege::Supervisor, MayWait::Yes, AfterWait::CountsAfresh).result) {
      case FaultOutcome::Result::Resolved: touch(tables.get(a)); break;
      case FaultOutcome::Result::OutOfMemory: return fail(Errno::NoMemory);
      default: return fail(Errno::Fault);
    }
  }
  return {};
}

Status AddressSpace::mlock(VirtAddr start, Bytes length, LockWhen when) {
  State& s = *state_;
  if (limits.locked == 0) return fail(Errno::NotPermitted);
  const VirtAddr first = start.page_floor();
  const Bytes aligned{(length.value() + start.page_offset().value() + kPageOffsetMask) & ~kPageOffsetMask};
  const VirtAddr end = first + aligned;
  {
    MmapLock lock(s);
    if (limits.locked != ~0ull) {
      const uint64_t limit = limits.locked >> kPageShift;
      const uint64_t already = end > first ? locked_pages_in(s.vmas, first, end) : 0;
      if (aligned.pages_down().value() + s.usage.locked_vm - already > limit) return fail(Errno::NoMemory);
    }
    if (end < first) return fail(Errno::Invalid);
    if (end == first) return {};
    TRY(s.change_range(first, end, [&s, when](Vma& v) -> Status { return set_locked(s, v, lock_flags(when)), Status{}; }));
  }
  const Status populated = s.populate(first, end, State::Populate::AsMapped);
  if (!populated) return fail(posix_error(populated.error()));
  return {};
}

Status AddressSpace::munlock(VirtAddr start, Bytes length) {
  State& s = *state_;
  const VirtAddr first = start.page_floor();
  const VirtAddr end = first + Bytes{(length.value() + start.page_offset().value() + kPageOffsetMask) & ~kPageOffsetMask};
  if (end < first) return fail(Errno::Invalid);
  if (end == first) return {};
  MmapLock lock(s);
  return s.change_range(first, end, [&s](Vma& v) -> Status { return set_locked(s, v, VmFlag::None), Status{}; });
}

Status AddressSpace::mlock_all(bool current, bool future, LockWhen when) {
  State& s = *state_;
  if (limits.locked == 0) return fail(Errno::NotPermitted);
  if (current && limits.locked != ~0ull && s.usage.total_vm > limits.locked >> kPageShift) return fail(Errno::NoMemory);
  {
    MmapLock lock(s);
    s.lock_future = future ? lock_flags(when) : VmFlag::None;
    if (!current) return {};
    for (Vma* v = s.vmas.first(); v; v = v->tree.next) {
      set_locked(s, *v, lock_flags(when));
      v = s.merge_around(*v);
    }
  }
  (void)s.populate(VirtAddr{0}, kUserEnd, State::Populate::AsMapped);
  return {};
}

Status AddressSpace::munlock_all() {
  State& s = *state_;
  MmapLock lock(s);
  s.lock_future = VmFlag::None;
  for (Vma* v = s.vmas.first(); v; v = v->tree.next) {
    set_locked(s, *v, VmFlag::None);
    v = s.merge_around(*v);
  }
  return {};
}

}  // namespace vitro::mm
