// A fault below a stack extends it (mm/mmap.c: expand_downwards, acct_stack_growth).
#include "mm/space/anon_vma.h"
#include "mm/fault/page_fault.h"

namespace vitro::mm {

Attempt expand_stack(FaultContext& f, Vma& stack) {
  AddressSpace::State& s = f.space;
  if (f.page < s.vm.mmap_min_addr) return Attempt::SegvMapError;
  const Vma* below = stack.tree.previous;
  if (below && !has(below->flags, VmFlag::GrowsDown) && below->accessible() && f.page - below->end < kStackGuardGap.bytes()) return Attempt::SegvMapError;
  const uint64_t size = (stack.end - f.page).value();
  const Pages grow = (stack.start - f.page).pages_down();
  if (grow.value() > stack.page_offset.value()) return Attempt::SegvMapError;
  if (!s.may_expand(stack.flags, grow)) return Attempt::SegvMapError;
  if (s.self->limits.stack != ~0ull && size > s.self->limits.stack) return Attempt::SegvMapError;
  if (!s.may_lock_more(stack.flags, grow.bytes())) return Attempt::SegvMapError;
  const bool charged = has(stack.flags, VmFlag::Account);
  if (charged && !s.vm.may_commit(grow, Pages{s.usage.total_vm})) return Attempt::SegvMapError;
  if (!prepare_anon_vma(s.caches(), stack)) return f.may_wait == MayWait::Yes ? Attempt::SegvMapError : Attempt::WouldWait;
  if (charged) s.vm.commit(grow);
  if (has(stack.flags, VmFlag::Locked)) s.usage.locked_vm += grow.value();
  s.account(stack.flags, static_cast<int64_t>(grow.value()));
  s.resize(stack, f.page, stack.end);
  return Attempt::Done;
}

}  // namespace vitro::mm
