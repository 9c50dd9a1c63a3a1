// Mapping the kernel's own pages into programs (mm/mmap.c: special_mapping_fault, __install_special_mapping).
#include "vitro/mm/special_mapping.h"

#include "mm/fault/page_fault.h"
#include "vitro/base/check.h"

namespace vitro::mm {

Result<VirtAddr> AddressSpace::map_special(std::span<const SpecialMapping* const> parts) {
  State& s = *state_;
  MmapLock lock(s);
  Pages pages{0};
  for (const SpecialMapping* part : parts) pages += Pages{part->frames.size()};
  const VirtAddr first = TRY(s.find_unmapped(VirtAddr{0}, pages.bytes(), false, false));
  VirtAddr at = first;
  for (const SpecialMapping* part : parts) {
    const Pages n{part->frames.size()};
    Vma* v = TRY(s.new_vma(at, at + n, part->flags | VmFlag::DontExpand | VmFlag::SoftDirty, nullptr, PageIndex{0}));
    v->special = part;
    s.link(*v);
    s.account(v->flags, static_cast<int64_t>(n.value()));
    at = v->end;
  }
  return first;
}

Attempt fault_special(FaultContext& f) {
  AddressSpace::State& s = f.space;
  const SpecialMapping& special = *f.vma->special;
  const uint64_t index = f.vma->index_of(f.page).value();
  if (index >= special.frames.size() || !special.frames[index]) return Attempt::BusError;
  const Pfn frame = *special.frames[index];
  f.cost = f.timing().fault_map_page;
  f.kind = FaultKind::File;
  if (f.write) {
    // Private, like every such area: the writer gets a copy (a debugger's breakpoint).
    DCHECK(!f.vma->shared(), "{} is mapped shared", special.name);
    const auto page = prepare_private_page(f, Gfp::None);
    if (!page) return f.no_memory();
    if (s.tables.at(page->entry).raw != 0) {
      s.vm.physical().allocator().free(page->frame);
      return Attempt::Again;
    }
    return map_copy(f, *page, frame);
  }
  const auto entry = s.tables.make_entry(f.page, f.kernel_flags());
  if (!entry) return f.no_memory();
  if (s.tables.at(*entry).raw != 0) return Attempt::Again;
  if (frame != s.vm.physical().zero_frame()) {
    s.vm.physical().allocator().get(frame);
    Rmap::add(s.vm, frame);
    ++s.rss_of(s.frames()[frame]);
  }
  s.tables.install(*entry, hw::make_pte(frame, entry_bits(*f.vma)));
  f.pfn = frame;
  return Attempt::Done;
}

}  // namespace vitro::mm
