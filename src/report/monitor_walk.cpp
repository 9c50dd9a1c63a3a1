// walk: one address through the page tables, level by level, and why it ends where it ends.
#include <fmt/format.h>

#include <iterator>

#include "report/monitor_view.h"
#include "vitro/fs/process_view.h"
#include "vitro/hw/page_walker.h"
#include "vitro/mm/absent_entry.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::report {
namespace {

using hw::Pte;

constexpr const char* kLevelNames[] = {"", "PTE", "PMD", "PUD", "PGD"};
constexpr const char* kPageSizes[] = {"4 KiB", "2 MiB", "1 GiB"};

// Why no page is there, from what the kernel knows of the address.
std::string why_absent(mm::AddressSpace& space, VirtAddr a, Pte entry) {
  if (const std::string text = mm::describe_absent_entry(entry); !text.empty()) return text;
  if (a >= mm::kUserEnd) return "nothing of the kernel's lies here";
  const mm::Vma* area = space.find(a);
  if (!area) return "no VMA covers it";
  return fmt::format("no page has been touched here; the VMA is {}", fs::area_label(*area));
}

}  // namespace

std::string pte_flags_text(Pte entry, bool leaf, hw::Level level) {
  struct Bit {
    uint64_t bit;
    const char* name;
  };
  constexpr Bit kBits[] = {{Pte::kPresent, "present"}, {Pte::kWritable, "rw"}, {Pte::kUser, "user"}, {Pte::kWriteThrough, "pwt"},
                           {Pte::kCacheDisable, "pcd"}, {Pte::kAccessed, "accessed"}, {Pte::kDirty, "dirty"}, {Pte::kLarge, "ps"},
                           {Pte::kGlobal, "global"}, {Pte::kSoft1, "soft1"}, {Pte::kSoft2, "soft2"}, {Pte::kNoExecute, "nx"}, {Pte::kSoft3, "soft-dirty"}};
  std::string text;
  for (const Bit& b : kBits) {
    if (!(entry.raw & b.bit)) continue;
    if (!text.empty()) text += ' ';
    text += b.bit == Pte::kLarge && level == 1 ? "pat" : b.name;  // bit 7 of a PTE (SDM table 4-20)
  }
  if (const uint64_t key = entry.raw >> 59 & 0xf; leaf && key != 0) text += fmt::format(" pkey={}", key);
  return text.empty() ? "-" : text;
}

MonitorText MonitorView::walk(mm::AddressSpace& space, VirtAddr address) {
  std::string out = fmt::format("{:#x} in {}, CR3 {:#x}\n", address.value(), process_name(space), space.page_table_root().value());
  auto to = std::back_inserter(out);
  const hw::WalkResult w =
      hw::walk(machine_.ram(), space.page_table_root(), address, hw::Access::Read, hw::Privilege::Supervisor, hw::SetAccessedDirty::No);
  if (w.fault.general_protection) return out + "non-canonical: bits 63 to 47 are not all equal, so the CPU raises #GP and walks nothing\n";
  for (unsigned i = 0; i < w.references; ++i) {
    const hw::WalkStep& s = w.steps[i];
    const bool leaf = s.level == 1 || (s.level < 4 && s.entry.large());
    fmt::format_to(to, "{}  table frame {:#x}, entry {:>3} at {:#x}: {:#018x}  {}\n", kLevelNames[s.level], s.entry_address.pfn().value(),
                   hw::table_index(address, s.level), s.entry_address.value(), s.entry.raw,
                   s.entry.present() ? pte_flags_text(s.entry, leaf, s.level) : "not present");
  }
  const hw::Level level = w.references ? w.steps[w.references - 1].level : 4;
  if (!w.ok) {
    const Pte last = w.references ? w.steps[w.references - 1].entry : Pte{};
    if (w.references && !last.present())
      fmt::format_to(to, "{}: not present: {}\n", kLevelNames[level], why_absent(space, address, last));
    else if (!(last.raw & Pte::kReservedMask) && !machine_.ram().contains(last.pfn().address()))
      fmt::format_to(to, "{}: leads to {:#x}, beyond RAM: taken as a reserved bit\n", kLevelNames[level], last.pfn().address().value());
    else
      fmt::format_to(to, "{}: a reserved bit is set: a page fault with bit 3 of the error code\n", kLevelNames[level]);
    return out;
  }
  fmt::format_to(to, "physical address {:#x}: frame {:#x}, {} page, {}{}{}{}\n", w.address.value(), w.address.pfn().value(),
                 kPageSizes[static_cast<size_t>(w.size)], w.user ? "user " : "kernel only ", "r", w.writable ? "w" : "-", w.executable ? "x" : "-");
  const mm::PhysicalMemory& physical = machine_.physical();
  const Pfn frame = w.address.pfn();
  const mm::Frame& f = machine_.physical().frames()[frame];
  fmt::format_to(to, "frame {:#x} is {}: refcount {}, mapcount {}\n", frame.value(), mm::frame_state_name(physical.state_of(frame)), f.refcount, f.mapcount);
  if (address < mm::kUserEnd)
    if (const mm::Vma* area = space.find(address)) fmt::format_to(to, "the VMA is {}\n", fs::area_label(*area));
  return out;
}

}  // namespace vitro::report
