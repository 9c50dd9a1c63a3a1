#include "mm/space/page_table.h"

#include <algorithm>

#include "vitro/base/check.h"

namespace vitro::mm {
namespace {
// Upper-level entries allow everything; the leaf decides (arch/x86: _PAGE_TABLE).
constexpr uint64_t kTableBits = Pte::kPresent | Pte::kWritable | Pte::kUser | Pte::kAccessed | Pte::kDirty;
constexpr unsigned kRegionShift = kPageShift + 9;
}  // namespace

PageTable::~PageTable() {
  if (root_.value() == 0) return;
  CHECK(tables_ == 0, "{} page tables left", tables_);
  physical_.allocator().free(root_.pfn(), root_order());
}

Status PageTable::create_root(PhysAddr kernel_root) {
  const auto frame = physical_.allocator().allocate(Gfp::KernelAccount | Gfp::Zero, root_order());
  if (!frame) return fail(Errno::NoMemory);
  physical_.allocator().set_state(*frame, root_order(), FrameState::PageTable);
  root_ = frame->address();
  // pgd_ctor; with isolation the user's root has its own part of the kernel half.
  for (uint64_t page = 0; page < root_frames() * kPageSize; page += kPageSize)
    for (unsigned i = hw::kEntriesPerTable / 2; i < hw::kEntriesPerTable; ++i)
      ram_.at<Pte>(root_ + Bytes{page + i * sizeof(Pte)}) = at(kernel_root + Bytes{page + i * sizeof(Pte)});
  return {};
}

std::optional<Pfn> PageTable::allocate_table(hw::Level level, Gfp flags) {
  const auto frame = physical_.allocator().allocate(flags | Gfp::Zero);
  if (!frame) return std::nullopt;
  physical_.allocator().set_state(*frame, Order{0}, FrameState::PageTable);
  if (level < 4) ++tables_;
  // NR_PAGETABLE counts tables of PTEs and PMDs only (pgtable_pte_page_ctor, pgtable_pmd_page_ctor).
  if (level <= 2) physical_.stat().add(VmItem::nr_page_table_pages);
  return frame;
}

void PageTable::free_table(Pfn table, hw::Level level) {
  if (level < 4) --tables_;
  if (level <= 2) physical_.stat().add(VmItem::nr_page_table_pages, -1);
  cached_region_ = ~0ull;
  physical_.allocator().free(table);
}

std::optional<PhysAddr> PageTable::find_entry(VirtAddr a) const {
  if (a.value() >> kRegionShift == cached_region_) return entry_address(cached_table_, a, 1);
  PhysAddr table = root_;
  for (hw::Level level = 4; level > 1; --level) {
    const Pte upper = at(entry_address(table, a, level));
    if (!upper.present()) return std::nullopt;
    table = upper.pfn().address();
  }
  cached_region_ = a.value() >> kRegionShift;
  cached_table_ = table;
  return entry_address(table, a, 1);
}

std::optional<PhysAddr> PageTable::make_entry(VirtAddr a, Gfp flags) {
  if (const auto entry = find_entry(a)) return entry;
  PhysAddr table = root_;
  for (hw::Level level = 4; level > 1; --level) {
    const PhysAddr entry = entry_address(table, a, level);
    if (!at(entry).present()) {
      const auto frame = allocate_table(level - 1, flags);
      if (!frame) return std::nullopt;
      // The allocation may have waited, and another thread may have been faster.
      if (at(entry).present()) free_table(*frame, level - 1);
      else set_upper(entry, level, hw::make_pte(*frame, kTableBits));
    }
    table = at(entry).pfn().address();
  }
  return entry_address(table, a, 1);
}

void PageTable::free_tables(VirtAddr start, VirtAddr end, VirtAddr floor, VirtAddr ceiling, TlbGather& gather) {
  if (start < end) free_below(root_, 4, VirtAddr{0}, start, end, floor, ceiling, gather);
}

void PageTable::free_below(PhysAddr table, hw::Level level, VirtAddr base, VirtAddr start, VirtAddr end, VirtAddr floor, VirtAddr ceiling,
                           TlbGather& gather) {
  const uint64_t span = hw::entry_span(level).value();
  const VirtAddr top = base + hw::entry_span(level) * hw::kEntriesPerTable;
  const VirtAddr last = std::min(end, top);
  for (VirtAddr a{std::max(start, base).value() & ~(span - 1)}; a < last; a += Bytes{span}) {
    const PhysAddr slot = entry_address(table, a, level);
    const Pte upper = at(slot);
    if (!upper.present()) continue;
    const Pfn lower = upper.pfn();
    if (level > 2) free_below(lower.address(), level - 1, a, start, end, floor, ceiling, gather);
    if (a < floor || a + Bytes{span} > ceiling) continue;
    DCHECK(std::ranges::all_of(ram_.read(lower.address(), Bytes{kPageSize}), [](std::byte b) { return b == std::byte{0}; }),
           "freeing a page table of {:#x} that is in use", a.value());
    set_upper(slot, level, Pte{});
    // The paging-structure caches may still point into it: any INVLPG of this address space empties them (SDM 4.10.4.1).
    gather.add(a);
    free_table(lower, level - 1);
  }
}

}  // namespace vitro::mm
