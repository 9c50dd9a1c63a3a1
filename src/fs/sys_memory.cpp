// /sys/devices/system/memory: RAM in blocks that a real machine could take off line, for lsmem (drivers/base/memory.c).
#include <fmt/format.h>

#include "fs/proc_tree.h"
#include "vitro/hw/ram.h"
#include "vitro/mm/physical_memory.h"
#include "vitro/mm/zone.h"

namespace vitro::fs {
namespace {

using Text = Result<std::string>;

constexpr uint64_t kSmallestBlock = uint64_t{128} << 20, kLargestBlock = uint64_t{2} << 30, kLargeMachine = uint64_t{64} << 30;

// arch/x86/mm/init_64.c: probe_memory_block_size, of a virtual machine.
uint64_t block_size(uint64_t ram) {
  if (ram < kLargeMachine) return kSmallestBlock;
  uint64_t size = kLargestBlock;
  while (size > kSmallestBlock && ram % size != 0) size /= 2;
  return size;
}

// The zone that the whole block lies in; "none" where there are two (valid_zones_show).
std::string_view zone_of(mm::PhysicalMemory& memory, Pfn first, Pfn end) {
  std::string_view name = "none";
  for (const mm::Zone& z : memory.zones()) {
    if (!z.populated() || z.first() >= end || z.first() + z.spanned() <= first) continue;
    if (name != "none") return "none";
    name = z.name();
  }
  return name;
}

}  // namespace

void add_memory_tree(PseudoDirectory& root, const ProcContext& c) {
  PseudoDirectory& memory = root.directory("devices/system/memory");
  const uint64_t ram = c.vm.physical().ram().size().value(), size = block_size(ram);
  const auto constant = [](PseudoDirectory& d, std::string_view name, std::string text) {
    d.file(name, [text = std::move(text) + "\n"]() -> Text { return text; });
  };
  constant(memory, "block_size_bytes", fmt::format("{:x}", size));
  for (uint64_t i = 0; i * size < ram; ++i) {
    PseudoDirectory& block = memory.directory(fmt::format("memory{}", i));
    constant(block, "online", "1");
    constant(block, "phys_device", "0");
    constant(block, "phys_index", fmt::format("{:08x}", i));
    constant(block, "removable", "1");
    constant(block, "state", "online");
    const Pfn first{i * (size >> kPageShift)}, end{(i + 1) * (size >> kPageShift)};
    constant(block, "valid_zones", std::string(zone_of(c.vm.physical(), first, end)));
  }
}

}  // namespace vitro::fs
