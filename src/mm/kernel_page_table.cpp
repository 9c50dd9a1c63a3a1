#include "mm/kernel_page_table.h"

#include "vitro/base/check.h"

namespace vitro::mm {
namespace {
using hw::Pte;
constexpr uint64_t kTableBits = Pte::kPresent | Pte::kWritable | Pte::kAccessed | Pte::kDirty;
constexpr uint64_t kDataBits = kTableBits | Pte::kGlobal | Pte::kNoExecute;
PhysAddr entry_of(Pfn table, VirtAddr a, hw::Level level) { return table.address() + Bytes{hw::table_index(a, level) * sizeof(Pte)}; }
}  // namespace

KernelPageTable::KernelPageTable(PhysicalMemory& physical) : physical_(physical) {
  root_ = allocate_table().address();
  map_direct();
  // One shared PUD table suffices for what a simulated machine can vmalloc; the PGD entry must exist before the first copy is taken.
  CHECK(table_below(entry_of(root_.pfn(), kVmallocBase, 4), 4), "no memory for the vmalloc area");
  if (physical_.high_start() < Pfn{physical_.ram().frames().value()})
    CHECK(table_below(entry_of(root_.pfn(), kPkmapBase, 4), 4), "no memory for the kmap slots");
  booted_ = true;
}

KernelPageTable::~KernelPageTable() {
  free_below(root_.pfn(), 4);
  physical_.stat().add(VmItem::nr_page_table_pages, -static_cast<int64_t>(counted_));
}

Pfn KernelPageTable::allocate_table() {
  const auto frame = physical_.allocator().allocate(Gfp::Kernel | Gfp::Zero);
  CHECK(frame, "no memory for the kernel's page tables");
  physical_.allocator().set_state(*frame, Order{0}, FrameState::PageTable);
  ++tables_;
  return *frame;
}

std::optional<Pfn> KernelPageTable::table_below(PhysAddr entry, hw::Level level) {
  Pte& slot = physical_.ram().at<Pte>(entry);
  if (slot.present()) return slot.pfn();
  const auto frame = physical_.allocator().allocate(Gfp::Kernel | Gfp::Zero);
  if (!frame) return std::nullopt;
  physical_.allocator().set_state(*frame, Order{0}, FrameState::PageTable);
  ++tables_;
  if (booted_ && level == 3) ++counted_, physical_.stat().add(VmItem::nr_page_table_pages);
  slot = hw::make_pte(*frame, kTableBits);
  return *frame;
}

void KernelPageTable::map_direct() {
  const uint64_t size = physical_.high_start().address().value();
  for (uint64_t at = 0; at < size;) {
    const VirtAddr a = kDirectMapBase + Bytes{at};
    Pfn table = root_.pfn();
    hw::Level level = 4;
    // The largest page that fits: 1 GiB, 2 MiB, 4 KiB.
    do {
      const auto below = table_below(entry_of(table, a, level), level);
      CHECK(below, "no memory for the direct map");
      table = *below;
      --level;
    } while (level > 1 && (level > 3 || (at & (hw::entry_span(level).value() - 1)) != 0 || size - at < hw::entry_span(level).value()));
    const uint64_t large = level > 1 ? Pte::kLarge : 0;
    physical_.ram().at<Pte>(entry_of(table, a, level)) = hw::make_pte(Pfn{at >> kPageShift}, kDataBits | large);
    at += hw::entry_span(level).value();
  }
}

Status KernelPageTable::map(VirtAddr page, Pfn frame) {
  // Other PGD entries than those made at boot are not in the address spaces' roots.
  if (!physical_.ram().at<Pte>(entry_of(root_.pfn(), page, 4)).present()) return fail(Errno::NoMemory);
  Pfn table = root_.pfn();
  for (hw::Level level = 4; level > 1; --level) {
    const auto below = table_below(entry_of(table, page, level), level);
    if (!below) return fail(Errno::NoMemory);
    table = *below;
  }
  Pte& slot = physical_.ram().at<Pte>(entry_of(table, page, 1));
  CHECK(!slot.present(), "{:#x} is mapped already", page.value());
  slot = hw::make_pte(frame, kDataBits);
  return {};
}

Pfn KernelPageTable::unmap(VirtAddr page) {
  Pfn table = root_.pfn();
  for (hw::Level level = 4; level > 1; --level) {
    const Pte upper = physical_.ram().at<Pte>(entry_of(table, page, level));
    CHECK(upper.present(), "{:#x} is not mapped", page.value());
    table = upper.pfn();
  }
  Pte& slot = physical_.ram().at<Pte>(entry_of(table, page, 1));
  CHECK(slot.present(), "{:#x} is not mapped", page.value());
  const Pfn frame = slot.pfn();
  slot = Pte{};
  return frame;
}

std::optional<Pfn> KernelPageTable::frame_at(VirtAddr a) const {
  Pfn table = root_.pfn();
  for (hw::Level level = 4;; --level) {
    const Pte entry = physical_.ram().at<Pte>(entry_of(table, a, level));
    if (!entry.present()) return std::nullopt;
    if (level == 1) return entry.pfn();
    if (entry.large()) return Pfn{entry.pfn().value() + ((a.value() & (hw::entry_span(level).value() - 1)) >> kPageShift)};
    table = entry.pfn();
  }
}

uint64_t KernelPageTable::mapped_below(PhysAddr table, hw::Level level) const {
  uint64_t n = 0;
  for (unsigned i = 0; i < hw::kEntriesPerTable; ++i) {
    const Pte entry = physical_.ram().at<Pte>(table + Bytes{i * sizeof(Pte)});
    if (entry.present()) n += level == 1 ? 1 : mapped_below(entry.pfn().address(), level - 1);
  }
  return n;
}

uint64_t KernelPageTable::mapped_pages(VirtAddr start, VirtAddr end) const {
  uint64_t n = 0;
  for (VirtAddr a = start; a < end; a += hw::entry_span(4)) {
    const Pte entry = physical_.ram().at<Pte>(entry_of(root_.pfn(), a, 4));
    if (entry.present()) n += mapped_below(entry.pfn().address(), 3);
  }
  return n;
}

void KernelPageTable::free_below(Pfn table, hw::Level level) {
  if (level > 1)
    for (unsigned i = 0; i < hw::kEntriesPerTable; ++i) {
      const Pte entry = physical_.ram().at<Pte>(table.address() + Bytes{i * sizeof(Pte)});
      if (entry.present() && !entry.large()) free_below(entry.pfn(), level - 1);
    }
  physical_.allocator().free(table);
}

}  // namespace vitro::mm
