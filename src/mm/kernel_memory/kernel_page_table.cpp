#include "mm/kernel_memory/kernel_page_table.h"

#include "vitro/base/check.h"

namespace vitro::mm {
namespace {
using hw::Pte;
constexpr uint64_t kTableBits = Pte::kPresent | Pte::kWritable | Pte::kAccessed | Pte::kDirty;
constexpr uint64_t kDataBits = kTableBits | Pte::kGlobal | Pte::kNoExecute;
PhysAddr entry_of(Pfn table, VirtAddr a, hw::Level level) { return table.address() + Bytes{hw::table_index(a, level) * sizeof(Pte)}; }
}  // namespace

KernelPageTable::KernelPageTable(PhysicalMemory& physical, Isolation isolation) : physical_(physical), isolated_(isolation == Isolation::On) {
  allocate_root();
  map_direct();
  if (isolated_) map_entry_area();
  // One shared PUD table suffices for what a simulated machine can vmalloc; the PGD entry must exist before the first copy is taken.
  CHECK(table_below(entry_of(root_.pfn(), kVmallocBase, 4), 4), "no memory for the vmalloc area");
  if (physical_.high_start() < Pfn{physical_.ram().frames().value()})
    CHECK(table_below(entry_of(root_.pfn(), kPkmapBase, 4), 4), "no memory for the kmap slots");
  booted_ = true;
}

KernelPageTable::~KernelPageTable() {
  for (const Pfn f : entry_frames_) physical_.allocator().free(f);
  free_below(root_.pfn(), 4);
  physical_.stat().add(VmItem::nr_page_table_pages, -static_cast<int64_t>(counted_));
}

// With isolation the kernel's pages are not global: a global one would stay usable in user mode (arch/x86/mm/init.c: probe_page_size_mask).
uint64_t KernelPageTable::data_bits() const { return isolated_ ? kDataBits & ~Pte::kGlobal : kDataBits; }

void KernelPageTable::allocate_root() {
  const Order order{static_cast<uint8_t>(isolated_ ? 1 : 0)};
  const auto frame = physical_.allocator().allocate(Gfp::Kernel | Gfp::Zero, order);
  CHECK(frame, "no memory for the kernel's page tables");
  physical_.allocator().set_state(*frame, order, FrameState::PageTable);
  tables_ += order.pages().value();
  root_ = frame->address();
}

void KernelPageTable::map_fixed(VirtAddr page, Pfn frame, uint64_t bits) {
  Pfn table = root_.pfn();
  for (hw::Level level = 4; level > 1; --level) {
    const auto below = table_below(entry_of(table, page, level), level);
    CHECK(below, "no memory for the kernel's page tables");
    table = *below;
  }
  physical_.ram().at<Pte>(entry_of(table, page, 1)) = hw::make_pte(frame, bits);
}

// struct cpu_entry_area: the interrupt descriptor table first, then for each CPU its GDT, entry stack, TSS and exception stacks with guard pages
// between. All of it is global, being the same in every table.
void KernelPageTable::map_entry_area() {
  constexpr uint64_t kReadOnly = (kTableBits | Pte::kGlobal | Pte::kNoExecute) & ~(Pte::kWritable | Pte::kDirty), kData = kTableBits | Pte::kGlobal | Pte::kNoExecute;
  const auto own = [this](FrameState state) {
    const auto frame = physical_.allocator().allocate(Gfp::Kernel | Gfp::Zero);
    CHECK(frame, "no memory for the CPU entry area");
    physical_.allocator().set_state(*frame, Order{0}, state);
    entry_frames_.push_back(*frame);
    return *frame;
  };
  VirtAddr at = kCpuEntryArea;
  const auto put = [&](Pfn frame, uint64_t bits) {
    map_fixed(at, frame, bits);
    at += Bytes{kPageSize};
  };
  put(own(FrameState::Kernel), kReadOnly);
  // The entry code itself: a page of the kernel's text.
  put(physical_.boot_layout().kernel_image.first, (kTableBits | Pte::kGlobal) & ~(Pte::kWritable | Pte::kDirty));
  for (unsigned cpu = 0; cpu < physical_.cpus(); ++cpu) {
    put(own(FrameState::Percpu), kReadOnly);                             // GDT
    put(own(FrameState::Percpu), kData);                                 // entry stack
    for (int i = 0; i < 3; ++i) put(own(FrameState::Percpu), kReadOnly);  // TSS with its I/O bitmap
    for (int stack = 0; stack < 4; ++stack) {                            // #DF, NMI, #DB, #MC: 8 KiB each
      at += Bytes{kPageSize};
      for (int i = 0; i < 2; ++i) put(own(FrameState::Percpu), kData);
    }
    at += Bytes{kPageSize};
  }
  physical_.ram().at<Pte>(entry_of(Pfn{root_.pfn().value() + 1}, kCpuEntryArea, 4)) = physical_.ram().at<Pte>(entry_of(root_.pfn(), kCpuEntryArea, 4));
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
    physical_.ram().at<Pte>(entry_of(table, a, level)) = hw::make_pte(Pfn{at >> kPageShift}, data_bits() | large);
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
  slot = hw::make_pte(frame, data_bits());
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
  physical_.allocator().free(table, Order{static_cast<uint8_t>(level == 4 && isolated_ ? 1 : 0)});
}

}  // namespace vitro::mm
