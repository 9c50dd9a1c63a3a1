// mremap(2) (mm/mremap.c).
#include <algorithm>

#include "mm/space/address_space_state.h"
#include "mm/swap/swap_state.h"
#include "mm/space/anon_vma.h"
#include "mm/space/paged_work.h"
#include "mm/space/virtual_memory_state.h"
#include "vitro/base/check.h"
#include "vitro/mm/page_cache.h"

namespace vitro::mm {
namespace {

constexpr unsigned kMayMove = 1, kFixed = 2, kDontUnmap = 4;

// Whether `v` may be resized from `old_length` at `old` to `new_length` (vma_to_resize).
Status check_resize(const AddressSpace::State& s, const Vma& v, VirtAddr old, Bytes old_length, Bytes new_length, unsigned flags) {
  if (old_length.value() == 0 && !has_any(v.flags, VmFlag::Shared | VmFlag::MayShare)) return fail(Errno::Invalid);
  if ((flags & kDontUnmap) && has(v.flags, VmFlag::DontExpand)) return fail(Errno::Invalid);
  if (old_length > v.end - old) return fail(Errno::Fault);
  if (new_length == old_length) return {};
  const uint64_t page_offset = v.index_of(old).value(), pages = new_length.pages_down().value();
  if (page_offset + pages < page_offset) return fail(Errno::Invalid);
  if (has(v.flags, VmFlag::DontExpand)) return fail(Errno::Fault);
  TRY(s.may_lock_more(v.flags, new_length - std::min(new_length, old_length)));
  if (new_length > old_length && !s.may_expand(v.flags, (new_length - old_length).pages_down())) return fail(Errno::NoMemory);
  return {};
}

// Moves the pages of [from, from + length) to `to`, where nothing is mapped yet (move_page_tables). NoMemory: they are back where they were.
Status move_pages(AddressSpace::State& s, VirtAddr from, VirtAddr to, Bytes length) {
  // Tables first, so that the moving itself cannot fail half-way.
  bool enough = true;
  s.tables.for_each(from, from + length, [&](VirtAddr a, PhysAddr, Pte) { enough = enough && s.tables.make_entry(to + (a - from), Gfp::KernelAccount).has_value(); });
  if (!enough) return fail(Errno::NoMemory);
  TlbGather tlb = s.gather();
  PagedWork work(s.vm, tlb, MayYield::Yes);
  s.tables.for_each(from, from + length, [&](VirtAddr a, PhysAddr entry, Pte pte) {
    s.tables.change(a, entry, Pte{}, tlb);
    s.tables.install(*s.tables.find_entry(to + (a - from)), pte.with(is_swap(pte) ? kPteSwapSoftDirty : kPteSoftDirty));  // move_soft_dirty_pte
    work.did(s.vm.timing().move_page_entry);
  });
  return {};
}

// Makes [to, to + new_length) with the pages of [old, old + old_length) of `v` (move_vma); the range is free.
Result<VirtAddr> move_area(AddressSpace::State& s, Vma& v, VirtAddr old, Bytes old_length, VirtAddr to, Bytes new_length, unsigned flags) {
  if (s.vmas.size() >= static_cast<size_t>(std::max(s.vm.max_map_count - 3, 0))) return fail(Errno::NoMemory);
  const Pages pages = new_length.pages_down();
  const bool charged = has(v.flags, VmFlag::Account);
  if (charged) {
    if (!s.vm.may_commit(pages, Pages{s.usage.total_vm})) return fail(Errno::NoMemory);
    s.vm.commit(pages);
  }
  const auto give_back = [&] {
    if (charged) s.vm.uncommit(pages);
  };
  // Anonymous memory that was never touched takes its new place's numbers, so that it merges there (copy_vma).
  const PageIndex page_offset = v.anonymous() && !v.anon_vma ? PageIndex{to.vpn().value()} : v.index_of(old);
  auto made = s.new_vma(to, to + new_length, v.flags, v.file, page_offset);
  if (!made) {
    give_back();
    return fail(made.error());
  }
  Vma* moved = *made;
  moved->special = v.special;
  moved->anon_vma = v.anon_vma;
  if (!clone_anon_vma(s.caches(), *moved, v)) {
    delete moved;
    give_back();
    return fail(Errno::NoMemory);
  }
  s.link(*moved);
  if (!move_pages(s, old, to, std::min(old_length, new_length))) {
    TlbGather tlb = s.gather();
    s.unlink(*moved);
    s.free_tables_of(to, to + new_length, tlb);
    give_back();
    return fail(Errno::NoMemory);
  }
  const bool locked = has(v.flags, VmFlag::Locked);
  s.account(v.flags, static_cast<int64_t>(pages.value()));
  if (locked) s.usage.locked_vm += pages.value();
  if (flags & kDontUnmap) {
    // The old range stays, empty; it is not locked any more, and its promise moved with the pages but is made anew.
    CHECK(old >= v.start && old + old_length <= v.end, "mremap range {:#x}", old.value());
    if (locked) s.set_flags(v, v.flags & ~kLockFlags);
  } else if (old_length.value() > 0) {
    // Where that would make too many areas the old range stays, empty, as in Linux.
    (void)s.unmap(old, old + old_length);
  }
  if (Vma* at = s.vmas.find(to)) s.merge_around(*at);
  return to;
}

// Grows `v`, which ends at old + old_length, where it is. False: something is in the way.
Result<bool> expand_in_place(AddressSpace::State& s, Vma& v, Bytes delta) {
  const VirtAddr end = v.end + delta;
  if (end < v.end || end > kUserEnd || s.vmas.find_overlap(v.end, end)) return false;
  const Pages pages = delta.pages_down();
  if (has(v.flags, VmFlag::Account)) {
    if (!s.vm.may_commit(pages, Pages{s.usage.total_vm})) return fail(Errno::NoMemory);
    s.vm.commit(pages);
  }
  s.resize(v, v.start, end);
  s.account(v.flags, static_cast<int64_t>(pages.value()));
  if (has(v.flags, VmFlag::Locked)) s.usage.locked_vm += pages.value();
  s.merge_around(v);
  return true;
}

}  // namespace

Result<VirtAddr> AddressSpace::mremap(VirtAddr old, Bytes old_length, Bytes new_length, unsigned flags, VirtAddr new_address) {
  State& s = *state_;
  if (flags & ~(kMayMove | kFixed | kDontUnmap)) return fail(Errno::Invalid);
  if ((flags & kFixed) && !(flags & kMayMove)) return fail(Errno::Invalid);
  if ((flags & kDontUnmap) && (!(flags & kMayMove) || old_length != new_length)) return fail(Errno::Invalid);
  if (!old.page_aligned()) return fail(Errno::Invalid);
  const auto align = [](Bytes n) { return Bytes{(n.value() + kPageOffsetMask) & ~kPageOffsetMask}; };
  old_length = align(old_length);
  new_length = align(new_length);
  if (new_length.value() == 0) return fail(Errno::Invalid);

  VirtAddr result;
  bool locked = false;
  {
    MmapLock lock(s);
    Vma* v = s.vmas.find(old);
    if (!v) return fail(Errno::Fault);
    if (flags & (kFixed | kDontUnmap)) {
      // mremap_to
      if (!new_address.page_aligned()) return fail(Errno::Invalid);
      if (new_length.value() > kUserEnd.value() || new_address.value() > kUserEnd.value() - new_length.value()) return fail(Errno::Invalid);
      if (old_length.value() > kUserEnd.value()) return fail(Errno::Fault);
      if (old + old_length > new_address && new_address + new_length > old) return fail(Errno::Invalid);
      if (s.vmas.size() + 2 >= static_cast<size_t>(std::max(s.vm.max_map_count - 3, 0))) return fail(Errno::NoMemory);
      if (flags & kFixed) {
        (void)TRY(s.find_unmapped(new_address, new_length, true, false));
        TRY(s.unmap(new_address, new_address + new_length));
      }
      if (old_length > new_length) {
        TRY(s.unmap(old + new_length, old + old_length));
        old_length = new_length;
      }
      v = s.vmas.find(old);
      if (!v) return fail(Errno::Fault);
      TRY(check_resize(s, *v, old, old_length, new_length, flags));
      if ((flags & kDontUnmap) && !s.may_expand(v->flags, old_length.pages_down())) return fail(Errno::NoMemory);
      if (!(flags & kFixed)) new_address = TRY(s.find_unmapped_for(v->file.get(), v->index_of(old), new_address, new_length, false, false));
      locked = has(v->flags, VmFlag::Locked);
      result = TRY(move_area(s, *v, old, old_length, new_address, new_length, flags));
    } else if (old_length >= new_length) {
      if (old_length > new_length) {
        if (old_length.value() > kUserEnd.value() || old.value() > kUserEnd.value() - old_length.value()) return fail(Errno::Invalid);
        TRY(s.unmap(old + new_length, old + old_length));
      }
      return old;
    } else {
      TRY(check_resize(s, *v, old, old_length, new_length, flags));
      locked = has(v->flags, VmFlag::Locked);
      if (old_length == v->end - old && TRY(expand_in_place(s, *v, new_length - old_length))) {
        result = old;
      } else {
        if (!(flags & kMayMove)) return fail(Errno::NoMemory);
        new_address = TRY(s.find_unmapped_for(v->file.get(), v->index_of(old), VirtAddr{0}, new_length, false, false));
        result = TRY(move_area(s, *v, old, old_length, new_address, new_length, flags));
      }
    }
  }
  if (locked && new_length > old_length) (void)s.populate(result + old_length, result + new_length, State::Populate::AsMapped);
  return result;
}

}  // namespace vitro::mm
