// fork(2)'s memory: areas and tables are copied, frames shared (kernel/fork.c: dup_mmap; mm/memory.c: copy_page_range).
#include "mm/space/address_space_state.h"
#include "mm/space/anon_vma.h"
#include "mm/space/paged_work.h"
#include "mm/swap/swap_state.h"
#include "mm/space/virtual_memory_state.h"
#include "vitro/base/check.h"

namespace vitro::mm {
namespace {

// Shares the pages of `from` with `to`; private ones become read-only in both. NoMemory: what was shared stays shared.
Status copy_pages(AddressSpace::State& parent, Vma& from, AddressSpace::State& child, TlbGather& tlb) {
  const Pfn zero = parent.vm.physical().zero_frame();
  bool enough = true;
  PagedWork work(parent.vm, tlb, MayYield::Yes);
  const Nanoseconds cost = parent.vm.timing().fork_page;
  parent.tables.for_each(from.start, from.end, [&](VirtAddr a, PhysAddr entry, Pte pte) {
    const auto place = child.tables.make_entry(a, Gfp::KernelAccount);
    if (!place) return enough = false;
    pte = parent.tables.at(entry);  // the allocation may have reclaimed the page
    if (pte.raw == 0) return true;
    if (is_swap(pte)) {
      // Shared from now on, so neither's alone (copy_nonpresent_pte).
      pte = swap_pte(slot_of(pte), false, is_soft_dirty_swap(pte));
      parent.tables.change(a, entry, pte, tlb);
      parent.vm.swap().state().duplicate(slot_of(pte));
      ++child.usage.swapents;
      child.tables.install(*place, pte);
      work.did(cost);
      return true;
    }
    if (from.copy_on_write() && pte.writable()) {
      parent.tables.change(a, entry, pte.without(Pte::kWritable), tlb);
      pte = pte.without(Pte::kWritable);
    }
    if (from.shared()) pte = pte.without(Pte::kDirty);
    pte = pte.without(Pte::kAccessed);
    if (pte.pfn() != zero) {
      Frame& f = parent.frames()[pte.pfn()];
      parent.vm.physical().allocator().get(pte.pfn());
      Rmap::add(parent.vm, pte.pfn());
      if (f.state == FrameState::Anonymous) f.clear(FrameFlag::AnonExclusive);
      ++child.rss_of(f);
    }
    child.tables.install(*place, pte);
    work.did(cost);
    return true;
  });
  if (!enough) return fail(Errno::NoMemory);
  return {};
}

// One area of the parent, for the child. NoMemory.
Status copy_area(AddressSpace::State& parent, Vma& from, AddressSpace::State& child, TlbGather& tlb) {
  const bool charged = has(from.flags, VmFlag::Account);
  if (charged && !parent.vm.may_commit(from.pages(), Pages{parent.usage.total_vm})) return fail(Errno::NoMemory);
  Vma* to = TRY(child.new_vma(from.start, from.end, from.flags & ~kLockFlags, from.file, from.page_offset));
  to->special = from.special;
  const bool wipe = has(from.flags, VmFlag::WipeOnFork);
  if (!wipe && !fork_anon_vma(child.caches(), *to, from)) {
    delete to;
    return fail(Errno::NoMemory);
  }
  if (charged) parent.vm.commit(from.pages());
  child.link(*to, &from);
  child.account(to->flags, static_cast<int64_t>(to->pages().value()));
  // What only a file maps comes back by faults (mm/memory.c: vma_needs_copy).
  if (wipe || (!from.anon_vma && !has(from.flags, VmFlag::PfnMap))) return {};
  return copy_pages(parent, from, child, tlb);
}

}  // namespace

Result<std::unique_ptr<AddressSpace>> AddressSpace::fork() {
  State& s = *state_;
  auto child = TRY(create(s.vm));
  MmapLock lock(s);
  child->layout = layout;
  child->limits = limits;
  child->executable = executable;
  child->saved_auxv = saved_auxv;
  TlbGather tlb = s.gather();
  for (Vma* v = s.vmas.first(); v; v = v->tree.next)
    if (!has(v->flags, VmFlag::DontCopy)) TRY(copy_area(s, *v, *child->state_, tlb));
  tlb.add_everything();  // dup_mmap ends with flush_tlb_mm
  child->state_->note_hiwater();
  return child;
}

}  // namespace vitro::mm
