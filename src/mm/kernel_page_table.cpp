#include "mm/kernel_page_table.h"

#include "vitro/base/check.h"

namespace vitro::mm {
namespace {
using hw::Pte;
constexpr uint64_t kTableBits = Pte::kPresent | Pte::kWritable | Pte::kAccessed | Pte::kDirty;
constexpr uint64_t kDataBits = kTableBits | Pte::kGlobal | Pte::kNoExecute;
constexpr Bytes kVmallocSpan = hw::entry_span(4) * 64;  // 32 TiB (Documentation/x86/x86_64/mm.rst)

PhysAddr entry_of(Pfn table, VirtAddr a, hw::Level level) { return table.address() + Bytes{hw::table_index(a, level) * sizeof(Pte)}; }
}  // namespace

KernelPageTable::KernelPageTable(PhysicalMemory& physical) : physical_(physical) {
  root_ = allocate_table().address();
  map_direct();
  // One shared PUD table suffices for what a simulated machine can vmalloc; the PGD entry must exist before the first copy is taken.
  CHECK(table_below(entry_of(root_.pfn(), kVmallocBase, 4)), "no memory for the vmalloc area");
}

KernelPageTable::~KernelPageTable() { free_below(root_.pfn(), 4); }

Pfn KernelPageTable::allocate_table() {
  const auto frame = physical_.allocator().allocate(Gfp::Kernel | Gfp::Zero);
  CHECK(frame, "no memory for the kernel's page tables");
  physical_.allocator().set_state(*frame, Order{0}, FrameState::PageTable);
  ++tables_;
  return *frame;
}

std::optional<Pfn> KernelPageTable::table_below(PhysAddr entry) {
  Pte& slot = physical_.ram().at<Pte>(entry);
  if (slot.present()) return slot.pfn();
  const auto frame = physical_.allocator().allocate(Gfp::Kernel | Gfp::Zero);
  if (!frame) return std::nullopt;
  physical_.allocator().set_state(*frame, Order{0}, FrameState::PageTable);
  ++tables_;
  slot = hw::make_pte(*frame, kTableBits);
  return *frame;
}

void KernelPageTable::map_direct() {
  const uint64_t size = physical_.ram().size().value();
  for (uint64_t at = 0; at < size;) {
    const VirtAddr a = kDirectMapBase + Bytes{at};
    Pfn table = root_.pfn();
    hw::Level level = 4;
    // The largest page that fits: 1 GiB, 2 MiB, 4 KiB.
    do {
      const auto below = table_below(entry_of(table, a, level));
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
  CHECK(page >= kVmallocBase && page < kVmallocBase + kVmallocSpan, "{:#x} is not in the vmalloc area", page.value());
  if (hw::table_index(page, 4) != hw::table_index(kVmallocBase, 4)) return fail(Errno::NoMemory);
  Pfn table = root_.pfn();
  for (hw::Level level = 4; level > 1; --level) {
    const auto below = table_below(entry_of(table, page, level));
    if (!below) return fail(Errno::NoMemory);
    table = *below;
  }
  Pte& slot = physical_.ram().at<Pte>(entry_of(table, page, 1));
  CHECK(!slot.present(), "{:#x} is mapped already", page.value());
  slot = hw::make_pte(frame, kDataBits);
  return {};
}

void KernelPageTable::unmap(VirtAddr page) {
  Pfn table = root_.pfn();
  for (hw::Level level = 4; level > 1; --level) {
    const Pte upper = physical_.ram().at<Pte>(entry_of(table, page, level));
    CHECK(upper.present(), "{:#x} is not mapped", page.value());
    table = upper.pfn();
  }
  physical_.ram().at<Pte>(entry_of(table, page, 1)) = Pte{};
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
