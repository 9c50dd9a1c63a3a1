// The first touch of private memory without a file (mm/memory.c: do_anonymous_page): reading maps the shared zero page, writing a new frame.
#include "mm/space/anon_vma.h"
#include "mm/fault/page_fault.h"

namespace vitro::mm {

std::optional<PrivatePage> prepare_private_page(FaultContext& f, Gfp extra) {
  if (!f.vma->anon_vma && !prepare_anon_vma(f.space.caches(), *f.vma)) return std::nullopt;
  const auto frame = f.vm().physical().allocator().allocate(f.user_flags() | extra);
  if (!frame) return std::nullopt;
  f.vm().kmap().touch(*frame);  // clear_highpage, or where copy_highpage writes
  const auto entry = f.space.tables.make_entry(f.page, f.kernel_flags());
  if (!entry) {
    f.vm().physical().allocator().free(*frame);
    return std::nullopt;
  }
  return PrivatePage{*frame, *entry};
}

void map_private_page(FaultContext& f, const PrivatePage& p) {
  Rmap::add_new_anonymous(f.vm(), p.frame, *f.vma, f.page);
  ++f.space.usage.rss_anon;
  uint64_t bits = entry_bits(*f.vma);
  if (has(f.vma->flags, VmFlag::Write)) bits |= Pte::kWritable | Pte::kDirty | kPteSoftDirty;
  f.space.tables.install(p.entry, hw::make_pte(p.frame, bits));
  f.pfn = p.frame;
}

Attempt fault_anonymous(FaultContext& f) {
  AddressSpace::State& s = f.space;
  if (!f.write) {
    const auto entry = s.tables.make_entry(f.page, f.kernel_flags());
    if (!entry) return f.no_memory();
    if (s.tables.at(*entry).raw != 0) return Attempt::Again;  // the allocation waited, and another thread was faster
    f.pfn = f.vm().physical().zero_frame();
    s.tables.install(*entry, hw::make_pte(f.pfn, entry_bits(*f.vma)));
    f.kind = FaultKind::Zero;
    f.cost = f.timing().fault_zero_page;
    return Attempt::Done;
  }
  const auto page = prepare_private_page(f, Gfp::Zero);
  if (!page) return f.no_memory();
  if (s.tables.at(page->entry).raw != 0) {
    f.vm().physical().allocator().free(page->frame);
    return Attempt::Again;
  }
  map_private_page(f, *page);
  f.kind = FaultKind::Anon;
  f.cost = f.timing().fault_anonymous;
  return Attempt::Done;
}

}  // namespace vitro::mm
