// One address space's 4-level page tables, lying in guest RAM: the only writer of entries apart from the walker's Accessed and Dirty.
//
//   auto entry = tables.make_entry(address, Gfp::KernelAccount);   // allocates the tables on the way
//   tables.install(*entry, make_pte(frame, bits));                 // was empty: no TLB can hold it
//   tables.change(address, *entry, pte.without(Pte::kWritable), gather);   // was present: the TLBs forget it
//
// Invariants: every table is a frame in state PageTable; a table without entries exists only where an area still covers its range, or
// until the operation that emptied it ends (mm/memory.c: free_pgtables). Kernel-half entries of the root are those of KernelPageTable.
#pragma once

#include <optional>
#include <type_traits>

#include "mm/space/tlb_gather.h"
#include "vitro/base/result.h"
#include "vitro/base/types.h"
#include "vitro/hw/pte.h"
#include "vitro/mm/gfp.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::mm {

using hw::Pte;

// A page that is mapped but must not be touched keeps its frame in an entry that is not present (arch/x86: _PAGE_PROTNONE).
inline constexpr uint64_t kPteProtNone = Pte::kGlobal;
// A private page that may be dropped while it stays clean (MADV_FREE) has its frame's Dirty flag clear; the zero page is recognised by its number.
// Written since clear_refs was last told to forget it (arch/x86: _PAGE_SOFT_DIRTY). Invariant: an entry that may be written to has it.
inline constexpr uint64_t kPteSoftDirty = Pte::kSoft3;
constexpr bool holds_frame(Pte pte) { return (pte.raw & (Pte::kPresent | kPteProtNone)) != 0; }

class PageTable {
 public:
  PageTable(PhysicalMemory& physical, bool isolated) : physical_(physical), ram_(physical.ram()), isolated_(isolated) {}
  ~PageTable();
  PageTable(const PageTable&) = delete;
  PageTable& operator=(const PageTable&) = delete;

  // The root, with the kernel half copied from `kernel_root`. NoMemory.
  Status create_root(PhysAddr kernel_root);
  PhysAddr root() const { return root_; }
  // What CR3 holds in user mode: with page-table isolation the second page of the root, which has the same user half.
  PhysAddr user_root() const { return isolated_ ? root_ + Bytes{kPageSize} : root_; }
  uint64_t root_frames() const { return isolated_ ? 2 : 1; }
  // Frames of PUD, PMD and PTE tables (mm_struct::pgtables_bytes: the PGD is not counted).
  uint64_t tables() const { return tables_; }

  Pte at(PhysAddr entry) const { return ram_.at<Pte>(entry); }
  // The leaf entry of `a`; 0 where its table is missing.
  Pte get(VirtAddr a) const {
    const auto entry = find_entry(a);
    return entry ? at(*entry) : Pte{};
  }
  // Where the leaf entry of `a` lies, if its table exists.
  std::optional<PhysAddr> find_entry(VirtAddr a) const;
  // The same, allocating the tables that are missing. Nullopt: no memory.
  std::optional<PhysAddr> make_entry(VirtAddr a, Gfp flags);

  // Writes an entry that was empty.
  void install(PhysAddr entry, Pte pte) {
    DCHECK(at(entry).raw == 0, "entry {:#x} is in use", entry.value());
    ram_.at<Pte>(entry) = pte;
  }
  // Writes an entry that was in use: what the TLBs hold of it goes with `gather`, unless the entry only allows more than before. A TLB
  // that is stricter than the tables walks again before it faults (SDM 4.10.4.3), so Linux flushes nothing then either.
  void change(VirtAddr a, PhysAddr entry, Pte pte, TlbGather& gather) {
    Pte& slot = ram_.at<Pte>(entry);
    const Pte old = slot;
    slot = pte;
    if (old.present() && !allows_at_least(pte, old)) gather.add(a.page_floor());
  }
  // Sets Accessed or Dirty for an access that did not go through the walker. The TLBs may go on without knowing.
  void mark(PhysAddr entry, uint64_t bits) { ram_.at<Pte>(entry).raw |= bits; }

  // Visits each entry of [start, end) that is not empty, in address order: visit(VirtAddr page, PhysAddr entry, Pte pte). Missing tables
  // are skipped. The visitor may change the entry it is given, and end the walk by returning false.
  template <class Visit>
  void for_each(VirtAddr start, VirtAddr end, Visit&& visit) const {
    VirtAddr a = start.page_floor();
    while (a < end) {
      PhysAddr table = root_;
      hw::Level level = 4;
      for (; level > 1; --level) {
        const Pte upper = at(entry_address(table, a, level));
        if (!upper.present()) break;
        table = upper.pfn().address();
      }
      if (level > 1) {
        a = next_boundary(a, level);
        continue;
      }
      const VirtAddr stop = std::min(end, next_boundary(a, 2));
      for (PhysAddr entry = entry_address(table, a, 1); a < stop; a += Bytes{kPageSize}, entry += Bytes{sizeof(Pte)}) {
        const Pte pte = at(entry);
        if (pte.raw == 0) continue;
        if constexpr (std::is_void_v<std::invoke_result_t<Visit&, VirtAddr, PhysAddr, Pte>>) visit(a, entry, pte);
        else if (!visit(a, entry, pte)) return;
      }
    }
  }

  // Frees the tables that served [start, end), where neighbours outside [floor, ceiling) do not need them (mm/memory.c: free_pgd_range).
  // All their entries must be empty.
  void free_tables(VirtAddr start, VirtAddr end, VirtAddr floor, VirtAddr ceiling, TlbGather& gather);

  // Visits each table, the roots too: visit(Pfn, level).
  template <class Visit>
  void for_each_table(Visit&& visit) const {
    visit(root_.pfn(), 4u);
    if (isolated_) visit(user_root().pfn(), 4u);
    visit_tables(root_, 4, visit);
  }

 private:
  static bool allows_at_least(Pte now, Pte before) {
    return now.present() && now.pfn() == before.pfn() && (before.raw & ~now.raw & ~Pte::kNoExecute) == 0 && now.no_execute() <= before.no_execute();
  }
  static PhysAddr entry_address(PhysAddr table, VirtAddr a, hw::Level level) { return table + Bytes{hw::table_index(a, level) * sizeof(Pte)}; }
  // Where the next entry of this level starts.
  static VirtAddr next_boundary(VirtAddr a, hw::Level level) {
    const uint64_t span = hw::entry_span(level).value();
    return VirtAddr{(a.value() & ~(span - 1)) + span};
  }
  // An entry of an upper table; one of the root goes into both roots, and the kernel's may not be executed in user mode (__pti_set_user_pgtbl).
  void set_upper(PhysAddr entry, hw::Level level, Pte pte) {
    if (level == 4 && isolated_) {
      ram_.at<Pte>(entry + Bytes{kPageSize}) = pte;
      if (pte.present()) pte = pte.with(Pte::kNoExecute);
    }
    ram_.at<Pte>(entry) = pte;
  }
  Order root_order() const { return Order{static_cast<uint8_t>(isolated_ ? 1 : 0)}; }  // PGD_ALLOCATION_ORDER
  std::optional<Pfn> allocate_table(hw::Level level, Gfp flags);
  void free_table(Pfn table, hw::Level level);
  // Frees what can be freed below `table`, which covers from `base`; `level` is the level of its entries.
  void free_below(PhysAddr table, hw::Level level, VirtAddr base, VirtAddr start, VirtAddr end, VirtAddr floor, VirtAddr ceiling, TlbGather& gather);
  template <class Visit>
  void visit_tables(PhysAddr table, hw::Level level, Visit& visit) const {
    const unsigned n = level == 4 ? hw::kEntriesPerTable / 2 : hw::kEntriesPerTable;  // user half
    for (unsigned i = 0; i < n && level > 1; ++i) {
      const Pte upper = at(table + Bytes{i * sizeof(Pte)});
      if (!upper.present()) continue;
      visit(upper.pfn(), level - 1);
      visit_tables(upper.pfn().address(), level - 1, visit);
    }
  }

  PhysicalMemory& physical_;
  hw::Ram& ram_;
  const bool isolated_;
  PhysAddr root_{0};
  uint64_t tables_ = 0;
  // The PTE table found last: faults come in runs.
  mutable uint64_t cached_region_ = ~0ull;
  mutable PhysAddr cached_table_{0};
};

}  // namespace vitro::mm
