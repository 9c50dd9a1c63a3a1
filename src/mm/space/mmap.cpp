// mmap(2), munmap(2) and where a mapping goes (mm/mmap.c: do_mmap, mmap_region, do_munmap; arch/x86/kernel/sys_x86_64.c).
#include <algorithm>
#include <vector>

#include "mm/space/address_space_state.h"
#include "mm/space/anon_vma.h"
#include "mm/cache/page_cache_state.h"
#include "mm/space/paged_work.h"
#include "vitro/base/check.h"
#include "vitro/mm/page_cache.h"
#include "vitro/mm/shmem.h"

namespace vitro::mm {
namespace {

constexpr uint64_t kUserSize = kUserEnd.value();
// The largest file offset (include/linux/fs.h: MAX_LFS_FILESIZE).
constexpr uint64_t kMaxFilePages = (~0ull >> 1) >> kPageShift;

constexpr VmFlag kRights = VmFlag::Read | VmFlag::Write | VmFlag::Exec;

// The flags of a file mapping, or why it is not allowed (mm/mmap.c: do_mmap).
Result<VmFlag> file_flags(const MmapRequest& r, VmFlag flags) {
  if (r.shared) {
    if (has(flags, VmFlag::Write) && !r.file->opened_for_write()) return fail(Errno::Access);
    flags = flags | VmFlag::Shared | VmFlag::MayShare;
    if (!r.file->opened_for_write()) flags = flags & ~(VmFlag::MayWrite | VmFlag::Shared);
    if (r.never_writable) flags = flags & ~VmFlag::MayWrite;
  }
  if (!r.file->opened_for_read()) return fail(Errno::Access);
  if (r.grows_down) return fail(Errno::Invalid);
  return flags;
}

// Private writable memory is a promise (mm/mmap.c: accountable_mapping).
bool accountable(VmFlag flags) { return (flags & (VmFlag::NoReserve | VmFlag::Shared | VmFlag::Write)) == VmFlag::Write; }

uint64_t pages_in_range(const VmaTree& vmas, VirtAddr start, VirtAddr end) {
  uint64_t n = 0;
  for (const Vma* v = vmas.find_overlap(start, end); v && v->start < end; v = v->tree.next)
    n += (std::min(end, v->end) - std::max(start, v->start)).pages_down().value();
  return n;
}

}  // namespace

Result<VirtAddr> AddressSpace::State::find_unmapped(VirtAddr hint, Bytes length, bool fixed, bool may_map_low) const {
  if (length.value() > kUserSize) return fail(Errno::NoMemory);
  const VirtAddr low = vm.mmap_min_addr;
  if (fixed) {
    if (hint.value() > kUserSize - length.value()) return fail(Errno::NoMemory);
    if (!hint.page_aligned()) return fail(Errno::Invalid);
    if (hint < low && !may_map_low) return fail(Errno::NotPermitted);
    return hint;
  }
  if (hint.value() != 0) {
    hint = std::max(VirtAddr{hint.value() & ~kPageOffsetMask}, low);
    if (hint.value() <= kUserSize - length.value()) {
      const Vma* v = vmas.find_ending_after(hint);
      if (!v || hint + length <= start_with_guard(*v)) return hint;
    }
  }
  if (auto found = vmas.find_gap_top_down(length, low, self->layout.mmap_base)) return *found;
  // Nothing below mmap_base: bottom-up from TASK_UNMAPPED_BASE (arch_get_unmapped_area).
  const VirtAddr base{(kUserSize / 3 + kPageOffsetMask) & ~kPageOffsetMask};
  if (auto found = vmas.find_gap_bottom_up(length, base, kUserEnd)) return *found;
  return fail(Errno::NoMemory);
}

Result<VirtAddr> AddressSpace::State::find_unmapped_for(MappedFile* file, PageIndex first, VirtAddr hint, Bytes length, bool fixed, bool may_map_low) const {
  // A file on a disk that covers a whole aligned 2 MiB of its own goes where its offset and its address agree on them, as ext4 has it.
  constexpr uint64_t kAligned = mib(2).value();
  const uint64_t offset = first.offset().value(), end = offset + length.value();
  const uint64_t aligned = (offset + kAligned - 1) & ~(kAligned - 1);
  if (file && file->page_cache().internals().has_storage() && end > aligned && end - aligned >= kAligned) {
    // The hint counts only where the padded length fits there too.
    if (const auto found = find_unmapped(hint, length + Bytes{kAligned}, fixed, may_map_low)) {
      if (*found == hint) return hint;
      return *found + Bytes{(offset - found->value()) & (kAligned - 1)};
    }
  }
  return find_unmapped(hint, length, fixed, may_map_low);
}

Result<VirtAddr> AddressSpace::mmap(const MmapRequest& r) {
  State& s = *state_;
  if (!r.offset.page_aligned() || r.length.value() == 0) return fail(Errno::Invalid);
  const Bytes length{(r.length.value() + kPageOffsetMask) & ~kPageOffsetMask};
  if (length.value() == 0) return fail(Errno::NoMemory);
  const Pages pages = length.pages_down();

  VirtAddr address;
  bool populate = false;
  {
    MmapLock lock(s);
    if (s.vmas.size() > static_cast<size_t>(s.vm.max_map_count)) return fail(Errno::NoMemory);
    const bool fixed = r.fixed || r.fixed_noreplace;
    address = TRY(s.find_unmapped_for(r.file.get(), PageIndex{r.offset.value() >> kPageShift}, r.hint, length, fixed, r.may_map_low));
    if (r.fixed_noreplace && s.vmas.find_overlap(address, address + length)) return fail(Errno::Exists);

    VmFlag flags = (r.protection & kRights) | VmFlag::MayRead | VmFlag::MayWrite | VmFlag::MayExec | VmFlag::SoftDirty;
    if (r.locked && limits.locked == 0) return fail(Errno::NotPermitted);
    if (r.locked) flags = flags | VmFlag::Locked;
    flags = flags | s.lock_future;
    TRY(s.may_lock_more(flags, length));
    PageIndex page_offset{r.offset.value() >> kPageShift};
    if (r.file) {
      if (page_offset.value() > kMaxFilePages || pages.value() > kMaxFilePages - page_offset.value()) return fail(Errno::Overflow);
      flags = TRY(file_flags(r, flags));
    } else if (r.shared) {
      if (r.grows_down) return fail(Errno::Invalid);
      page_offset = PageIndex{0};
      flags = flags | VmFlag::Shared | VmFlag::MayShare;
    } else {
      page_offset = PageIndex{address.vpn().value()};
      if (r.grows_down) flags = flags | VmFlag::GrowsDown;
    }
    if (r.no_reserve && s.vm.overcommit_memory != 2) flags = flags | VmFlag::NoReserve;

    const VirtAddr end = address + length;
    if (!s.may_expand(flags, pages) && !s.may_expand(flags, pages - Pages{pages_in_range(s.vmas, address, end)})) return fail(Errno::NoMemory);
    TRY(s.unmap(address, end));
    const bool charged = accountable(flags);
    const bool reserves = charged || (r.shared && !r.file && !has(flags, VmFlag::NoReserve));
    if (reserves && !s.vm.may_commit(pages, Pages{s.usage.total_vm})) return fail(Errno::NoMemory);
    if (charged) flags = flags | VmFlag::Account;

    std::shared_ptr<MappedFile> file = r.file;
    if (!file && r.shared) {
      file = make_shmem_file(s.vm, "/dev/zero (deleted)", length, reserves ? ShmemAccounting::WholeSize : ShmemAccounting::PageByPage);
      if (!file) return fail(Errno::NoMemory);
    }
    // A new area, which merge_around() joins with its neighbours where it can; Linux looks for them first and so saves the object.
    Vma* v = nullptr;
    Vma* next = s.vmas.find_ending_after(address);
    Vma* previous = next ? next->tree.previous : s.vmas.last();
    const auto extends = [&](const Vma& old) {
      return (old.flags & ~VmFlag::SoftDirty) == (flags & ~VmFlag::SoftDirty) && old.file == file &&
             (!old.anon_vma || old.anon_chain.size() == 1);
    };
    if (previous && previous->end == address && extends(*previous) && page_offset == previous->page_offset + previous->pages()) {
      s.resize(*previous, previous->start, end);
      v = previous;
    } else if (next && next->start == end && extends(*next) && next->page_offset == page_offset + pages) {
      s.resize(*next, address, next->end);
      v = next;
    } else {
      v = TRY(s.new_vma(address, end, flags, std::move(file), page_offset));
      s.link(*v);
    }
    if (charged) s.vm.commit(pages);
    s.account(flags, static_cast<int64_t>(pages.value()));
    if (has(flags, VmFlag::Locked)) s.usage.locked_vm += pages.value();
    s.merge_around(*v);
    populate = r.populate || has(flags, VmFlag::Locked);
  }
  if (populate) (void)s.populate(address, address + length, State::Populate::AsMapped);
  return address;
}

Status AddressSpace::State::unmap(VirtAddr start, VirtAddr end) {
  Vma* v = vmas.find_overlap(start, end);
  if (!v) return {};
  if (v->start < start) {
    // The middle of one area: one more area than before.
    if (v->end > end && vmas.size() >= static_cast<size_t>(vm.max_map_count)) return fail(Errno::NoMemory);
    v = TRY(split(*v, start));
  }
  Vma* const first = v;
  Vma* last = v;
  while (last->tree.next && last->tree.next->start < end) last = last->tree.next;
  if (last->end > end) {
    if (auto upper = split(*last, end); !upper) {
      merge_around(*first);
      return fail(upper.error());
    }
  }
  std::vector<Vma*> gone;
  {
    TlbGather tlb = gather();
    for (v = first; v && v->start < end;) {
      Vma* next = v->tree.next;
      const auto n = static_cast<int64_t>(v->pages().value());
      zap(*v, v->start, v->end, tlb, false, MayYield::Yes);
      if (has(v->flags, VmFlag::Locked)) usage.locked_vm -= static_cast<uint64_t>(n);
      if (has(v->flags, VmFlag::Account)) vm.uncommit(v->pages());
      account(v->flags, -n);
      vmas.remove(*v);
      if (v->file) v->file->page_cache().remove_mapping(*v);
      unlink_anon_vmas(*v);
      gone.push_back(v);
      v = next;
    }
    free_tables_of(gone.front()->start, gone.back()->end, tlb);
  }
  // Last: closing a file may wait.
  for (Vma* dead : gone) delete dead;
  return {};
}

Status AddressSpace::munmap(VirtAddr start, Bytes length) {
  // mm/mmap.c: do_mas_munmap.
  if (!start.page_aligned() || start.value() > kUserSize || length.value() > kUserSize - start.value()) return fail(Errno::Invalid);
  const VirtAddr end = (start + length).page_ceil();
  if (end == start) return fail(Errno::Invalid);
  MmapLock lock(*state_);
  return state_->unmap(start, end);
}

}  // namespace vitro::mm
