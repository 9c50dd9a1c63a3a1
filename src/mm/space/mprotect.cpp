// mprotect(2) (mm/mprotect.c).
#include "mm/space/address_space_state.h"
#include "mm/space/virtual_memory_state.h"

namespace vitro::mm {
namespace {

// Whether the entry may become writable at once, without a fault that does nothing else (mm/mprotect.c: can_change_pte_writable).
bool may_write_at_once(const FrameTable& frames, const Vma& v, Pte pte, Pfn zero) {
  if (!has(v.flags, VmFlag::Write) || !pte.dirty()) return false;
  if (!has(v.flags, VmFlag::SoftDirty) && !(pte.raw & kPteSoftDirty)) return false;  // the next write has to be seen
  if (v.shared()) return true;
  if (pte.pfn() == zero) return false;
  const Frame& f = frames[pte.pfn()];
  return f.state == FrameState::Anonymous && f.has(FrameFlag::AnonExclusive);
}

// Gives the pages of `v` the rights its flags say (change_pte_range).
void change_entries(AddressSpace::State& s, Vma& v, TlbGather& tlb) {
  const uint64_t rights = Pte::kPresent | kPteProtNone | Pte::kWritable | Pte::kNoExecute;
  const uint64_t wanted = entry_bits(v) & rights;
  const Pfn zero = s.vm.physical().zero_frame();
  s.tables.for_each(v.start, v.end, [&](VirtAddr a, PhysAddr entry, Pte pte) {
    if (!holds_frame(pte)) return;  // a swapped page gets its rights when it comes back
    Pte changed{(pte.raw & ~rights) | wanted};
    if (!changed.writable() && v.accessible() && may_write_at_once(s.frames(), v, changed, zero)) changed = changed.with(Pte::kWritable);
    if (changed != pte) s.tables.change(a, entry, changed, tlb);
  });
}

}  // namespace

Status AddressSpace::mprotect(VirtAddr start, Bytes length, VmFlag protection) {
  State& s = *state_;
  constexpr VmFlag kRights = VmFlag::Read | VmFlag::Write | VmFlag::Exec;
  if (!start.page_aligned()) return fail(Errno::Invalid);
  if (length.value() == 0) return {};
  const VirtAddr end = start + Bytes{(length.value() + kPageOffsetMask) & ~kPageOffsetMask};
  if (end <= start) return fail(Errno::NoMemory);
  protection = protection & kRights;
  std::vector<std::pair<VirtAddr, VirtAddr>> to_populate;
  {
    MmapLock lock(s);
    // Refusals come before the area is split.
    const auto check = [&](const Vma& v, VmFlag flags) -> Status {
      // The May* bits are the rights shifted by four.
      const auto may = static_cast<VmFlag>(static_cast<uint64_t>(v.flags) >> 4);
      if (has_any(flags & kRights, ~may)) return fail(Errno::Access);
      return {};
    };
    for (VirtAddr at = start; at < end;) {
      Vma* v = s.vmas.find(at);
      if (!v) return fail(Errno::NoMemory);
      const VirtAddr stop = std::min(end, v->end);
      const VmFlag old = v->flags;
      VmFlag flags = (old & ~kRights) | protection;
      TRY(check(*v, flags));
      if (flags != old) {
        const Pages pages = (stop - at).pages_down();
        if (has(flags, VmFlag::Write)) {
          if (!s.may_expand(flags, pages) && s.may_expand(old, pages)) return fail(Errno::NoMemory);
          if (!has_any(old, VmFlag::Account | VmFlag::Write | VmFlag::HugeTlb | VmFlag::Shared | VmFlag::NoReserve)) {
            if (!s.vm.may_commit(pages, Pages{s.usage.total_vm})) return fail(Errno::NoMemory);
            flags = flags | VmFlag::Account;
          }
        }
        TRY(s.change_range(at, stop, [&](Vma& part) -> Status {
          if (has(flags, VmFlag::Account) && !has(old, VmFlag::Account)) s.vm.commit(part.pages());
          s.set_flags(part, flags);
          TlbGather tlb = s.gather();
          change_entries(s, part, tlb);
          return {};
        }));
        if ((old & (VmFlag::Write | VmFlag::Shared | VmFlag::Locked)) == VmFlag::Locked && has(flags, VmFlag::Write)) to_populate.emplace_back(at, stop);
      }
      at = stop;
    }
  }
  for (const auto& [from, to] : to_populate) (void)s.populate(from, to, State::Populate::AsMapped);
  return {};
}

}  // namespace vitro::mm
