// brk(2) (mm/mmap.c: brk, do_brk_flags).
#include "mm/space/address_space_state.h"

namespace vitro::mm {

VirtAddr AddressSpace::brk(VirtAddr requested) {
  State& s = *state_;
  bool populate = false;
  VirtAddr old_end, new_end;
  {
    MmapLock lock(s);
    if (requested < layout.start_brk || requested >= kUserEnd) return layout.brk;
    // mm.h: check_data_rlimit.
    const uint64_t size = (requested - layout.start_brk).value() + (layout.end_data - layout.start_data).value();
    if (limits.data != ~0ull && size > limits.data) return layout.brk;
    old_end = layout.brk.page_ceil();
    new_end = requested.page_ceil();
    if (new_end == old_end) return layout.brk = requested;
    if (new_end < old_end) {
      if (!s.unmap(new_end, old_end)) return layout.brk;
      return layout.brk = requested;
    }
    const Vma* next = s.vmas.find_ending_after(old_end);
    if (next && new_end + Bytes{kPageSize} > start_with_guard(*next)) return layout.brk;
    VmFlag flags = VmFlag::Read | VmFlag::Write | VmFlag::MayRead | VmFlag::MayWrite | VmFlag::MayExec | VmFlag::Account | VmFlag::SoftDirty;
    flags = flags | s.lock_future;
    const Pages pages = (new_end - old_end).pages_down();
    if (!s.may_lock_more(flags, pages.bytes()) || !s.may_expand(flags, pages)) return layout.brk;
    if (s.vmas.size() > static_cast<size_t>(s.vm.max_map_count) || !s.vm.may_commit(pages, Pages{s.usage.total_vm})) return layout.brk;
    Vma* previous = next ? next->tree.previous : s.vmas.last();
    if (previous && previous->end == old_end && previous->anonymous() && (previous->flags & ~VmFlag::SoftDirty) == (flags & ~VmFlag::SoftDirty) &&
        previous->index_of(old_end).value() == old_end.vpn().value() && (!previous->anon_vma || previous->anon_chain.size() == 1)) {
      s.resize(*previous, previous->start, new_end);
    } else {
      auto v = s.new_vma(old_end, new_end, flags, nullptr, PageIndex{old_end.vpn().value()});
      if (!v) return layout.brk;
      s.link(**v);
      s.merge_around(**v);
    }
    s.vm.commit(pages);
    s.account(flags, static_cast<int64_t>(pages.value()));
    if (has(flags, VmFlag::Locked)) s.usage.locked_vm += pages.value();
    layout.brk = requested;
    populate = has(flags, VmFlag::Locked);
  }
  if (populate) (void)s.populate(old_end, new_end, State::Populate::AsMapped);
  return layout.brk;
}

}  // namespace vitro::mm
