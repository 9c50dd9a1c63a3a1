#include "fs/proc_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "fs/proc_text.h"
#include "vitro/hw/pte.h"
#include "vitro/mm/physical_memory.h"
#include "vitro/mm/vmalloc.h"

namespace vitro::fs {
namespace {

using mm::VmItem;

// Linux's VMALLOC_TOTAL of 4-level page tables: 32 TiB less a byte, in KiB (arch/x86/include/asm/pgtable_64_types.h).
constexpr uint64_t kVmallocTotalKib = (uint64_t{1} << 35) - 1;

uint64_t level(const mm::VmStat& stat, VmItem item) { return static_cast<uint64_t>(std::max<int64_t>(stat.get(item), 0)); }

// The lines of /proc/meminfo and of a node's, which pad alike but prefix differently.
class Table {
 public:
  explicit Table(std::string prefix) : prefix_(std::move(prefix)) {}
  void kib(std::string_view label, uint64_t kib) {
    fmt::format_to(std::back_inserter(text_), "{}{:<16}{:>8} kB\n", prefix_, fmt::format("{}:", label), kib);
  }
  void pages(std::string_view label, uint64_t pages) { kib(label, pages << (kPageShift - 10)); }
  std::string take() { return std::move(text_); }
  std::string& text() { return text_; }

 private:
  std::string prefix_, text_;
};

}  // namespace

DirectMapSizes direct_map_sizes(const hw::Ram& ram, PhysAddr kernel_root) {
  DirectMapSizes sizes;
  if (!ram.contains(kernel_root, Bytes{kPageSize})) return sizes;
  const auto entry = [&](PhysAddr table, unsigned index) { return ram.at<hw::Pte>(table + Bytes{index * sizeof(hw::Pte)}); };
  const VirtAddr end = mm::direct_map(PhysAddr{0}) + ram.size();  // high memory has no entries
  for (VirtAddr a = mm::kDirectMapBase; a < end;) {
    PhysAddr table = kernel_root;
    for (hw::Level level = 4;; --level) {
      const hw::Pte pte = entry(table, hw::table_index(a, level));
      const bool leaf = level == 1 || (level < 4 && pte.large());
      if (pte.present() && !leaf && ram.contains(pte.pfn().address(), Bytes{kPageSize})) {
        table = pte.pfn().address();
        continue;
      }
      if (pte.present() && leaf) (level == 1 ? sizes.small : level == 2 ? sizes.medium : sizes.large) += hw::entry_span(level);
      a = VirtAddr{(a.value() / hw::entry_span(level).value() + 1) * hw::entry_span(level).value()};
      break;
    }
  }
  return sizes;
}

MemoryInfo collect_memory_info(mm::VirtualMemory& vm, const SystemView& system) {
  mm::PhysicalMemory& physical = vm.physical();
  const auto frames = physical.frames_by_state();
  const auto in_state = [&](mm::FrameState s) { return Pages{frames[static_cast<size_t>(s)]}; };
  const DirectMapSizes direct = direct_map_sizes(physical.ram(), vm.kernel_page_table_root());
  MemoryInfo m;
  m.stat = &physical.stat();
  m.total = physical.allocator().managed_frames();
  m.available = physical.available();
  m.total_reserve = physical.total_reserve();
  m.buffers = vm.block_device_pages();
  m.commit_limit = vm.commit_limit();
  m.committed = vm.committed();
  for (const SwapAreaView& area : system.swap_areas) m.swap_total += area.size, m.swap_used += area.used;
  m.vmalloc_used = vm.vmalloc().allocated();
  if (const mm::Zone& high = physical.zones()[mm::kZoneHighMem]; high.populated()) m.high_total = high.managed(), m.high_free = high.free_frames();
  m.percpu = in_state(mm::FrameState::Percpu);
  m.direct_4k = direct.small, m.direct_2m = direct.medium, m.direct_1g = direct.large;
  return m;
}

std::string meminfo_text(mm::VirtualMemory& vm, const SystemView& system) { return render_meminfo(collect_memory_info(vm, system)); }
std::string vmstat_text(mm::VirtualMemory& vm) { return render_vmstat(collect_memory_info(vm, {})); }

DirtyLimits dirty_limits(const MemoryInfo& m) {
  const uint64_t free = level(*m.stat, VmItem::nr_free_pages), reserve = m.total_reserve.value();
  const uint64_t dirtyable =
      free - std::min(free, reserve) + level(*m.stat, VmItem::nr_inactive_file) + level(*m.stat, VmItem::nr_active_file) + 1;
  DirtyLimits limits;
  limits.threshold = (uint64_t{m.dirty_ratio} * kPageSize / 100) * dirtyable >> kPageShift;
  limits.background = (uint64_t{m.dirty_background_ratio} * kPageSize / 100) * dirtyable >> kPageShift;
  if (limits.background >= limits.threshold) limits.background = limits.threshold / 2;
  return limits;
}

std::string render_meminfo(const MemoryInfo& m) {
  const auto get = [&](VmItem i) { return level(*m.stat, i); };
  const uint64_t files = get(VmItem::nr_file_pages), not_cached = get(VmItem::nr_swapcached) + m.buffers.value();
  Table t("");
  t.pages("MemTotal", m.total.value());
  t.pages("MemFree", get(VmItem::nr_free_pages));
  t.pages("MemAvailable", m.available.value());
  t.pages("Buffers", m.buffers.value());
  t.pages("Cached", files - std::min(files, not_cached));
  t.pages("SwapCached", get(VmItem::nr_swapcached));
  t.pages("Active", get(VmItem::nr_active_anon) + get(VmItem::nr_active_file));
  t.pages("Inactive", get(VmItem::nr_inactive_anon) + get(VmItem::nr_inactive_file));
  t.pages("Active(anon)", get(VmItem::nr_active_anon));
  t.pages("Inactive(anon)", get(VmItem::nr_inactive_anon));
  t.pages("Active(file)", get(VmItem::nr_active_file));
  t.pages("Inactive(file)", get(VmItem::nr_inactive_file));
  t.pages("Unevictable", get(VmItem::nr_unevictable));
  t.pages("Mlocked", get(VmItem::nr_mlock));
  if (m.high_total.value() != 0) {
    t.pages("HighTotal", m.high_total.value());
    t.pages("HighFree", m.high_free.value());
    t.pages("LowTotal", (m.total - m.high_total).value());
    t.pages("LowFree", get(VmItem::nr_free_pages) - m.high_free.value());
  }
  t.kib("SwapTotal", m.swap_total.value() >> 10);
  t.kib("SwapFree", (m.swap_total - std::min(m.swap_total, m.swap_used)).value() >> 10);
  t.kib("Zswap", 0);  // there is no zswap
  t.kib("Zswapped", 0);
  t.pages("Dirty", get(VmItem::nr_dirty));
  t.pages("Writeback", get(VmItem::nr_writeback));
  t.pages("AnonPages", get(VmItem::nr_anon_pages));
  t.pages("Mapped", get(VmItem::nr_mapped));
  t.pages("Shmem", get(VmItem::nr_shmem));
  t.pages("KReclaimable", get(VmItem::nr_slab_reclaimable) + get(VmItem::nr_kernel_misc_reclaimable));
  t.pages("Slab", get(VmItem::nr_slab_reclaimable) + get(VmItem::nr_slab_unreclaimable));
  t.pages("SReclaimable", get(VmItem::nr_slab_reclaimable));
  t.pages("SUnreclaim", get(VmItem::nr_slab_unreclaimable));
  t.kib("KernelStack", get(VmItem::nr_kernel_stack));  // kept in KiB
  t.pages("PageTables", get(VmItem::nr_page_table_pages));
  t.pages("SecPageTables", get(VmItem::nr_sec_page_table_pages));
  t.kib("NFS_Unstable", 0);
  t.pages("Bounce", get(VmItem::nr_bounce));
  t.pages("WritebackTmp", get(VmItem::nr_writeback_temp));
  t.pages("CommitLimit", m.commit_limit.value());
  t.pages("Committed_AS", m.committed.value());
  fmt::format_to(std::back_inserter(t.text()), "VmallocTotal:   {} kB\n", kVmallocTotalKib);
  t.pages("VmallocUsed", m.vmalloc_used.value());
  t.kib("VmallocChunk", 0);
  t.pages("Percpu", m.percpu.value());
  fmt::format_to(std::back_inserter(t.text()), "HardwareCorrupted: {:>5} kB\n", 0);
  t.pages("AnonHugePages", get(VmItem::nr_anon_transparent_hugepages));
  t.pages("ShmemHugePages", get(VmItem::nr_shmem_hugepages));
  t.pages("ShmemPmdMapped", get(VmItem::nr_shmem_pmdmapped));
  t.pages("FileHugePages", get(VmItem::nr_file_hugepages));
  t.pages("FilePmdMapped", get(VmItem::nr_file_pmdmapped));
  fmt::format_to(std::back_inserter(t.text()),
                 "HugePages_Total:   {:>5}\nHugePages_Free:    {:>5}\nHugePages_Rsvd:    {:>5}\nHugePages_Surp:    {:>5}\n", m.huge.total,
                 m.huge.free, m.huge.reserved, m.huge.surplus);
  t.kib("Hugepagesize", 2048);
  t.kib("Hugetlb", m.huge.total * 2048);
  t.kib("DirectMap4k", m.direct_4k.value() >> 10);
  t.kib("DirectMap2M", m.direct_2m.value() >> 10);
  t.kib("DirectMap1G", m.direct_1g.value() >> 10);
  return t.take();
}

std::string render_node_meminfo(const MemoryInfo& m, unsigned node) {
  const auto get = [&](VmItem i) { return level(*m.stat, i); };
  Table t(fmt::format("Node {} ", node));
  t.pages("MemTotal", m.total.value());
  t.pages("MemFree", get(VmItem::nr_free_pages));
  t.pages("MemUsed", m.total.value() - std::min(m.total.value(), get(VmItem::nr_free_pages)));
  t.pages("SwapCached", get(VmItem::nr_swapcached));
  t.pages("Active", get(VmItem::nr_active_anon) + get(VmItem::nr_active_file));
  t.pages("Inactive", get(VmItem::nr_inactive_anon) + get(VmItem::nr_inactive_file));
  t.pages("Active(anon)", get(VmItem::nr_active_anon));
  t.pages("Inactive(anon)", get(VmItem::nr_inactive_anon));
  t.pages("Active(file)", get(VmItem::nr_active_file));
  t.pages("Inactive(file)", get(VmItem::nr_inactive_file));
  t.pages("Unevictable", get(VmItem::nr_unevictable));
  t.pages("Mlocked", get(VmItem::nr_mlock));
  if (m.high_total.value() != 0) {
    t.pages("HighTotal", m.high_total.value());
    t.pages("HighFree", m.high_free.value());
    t.pages("LowTotal", (m.total - m.high_total).value());
    t.pages("LowFree", get(VmItem::nr_free_pages) - m.high_free.value());
  }
  t.pages("Dirty", get(VmItem::nr_dirty));
  t.pages("Writeback", get(VmItem::nr_writeback));
  t.pages("FilePages", get(VmItem::nr_file_pages));
  t.pages("Mapped", get(VmItem::nr_mapped));
  t.pages("AnonPages", get(VmItem::nr_anon_pages));
  t.pages("Shmem", get(VmItem::nr_shmem));
  t.kib("KernelStack", get(VmItem::nr_kernel_stack));
  t.pages("PageTables", get(VmItem::nr_page_table_pages));
  t.pages("SecPageTables", get(VmItem::nr_sec_page_table_pages));
  t.kib("NFS_Unstable", 0);
  t.pages("Bounce", get(VmItem::nr_bounce));
  t.pages("WritebackTmp", get(VmItem::nr_writeback_temp));
  t.pages("KReclaimable", get(VmItem::nr_slab_reclaimable) + get(VmItem::nr_kernel_misc_reclaimable));
  t.pages("Slab", get(VmItem::nr_slab_reclaimable) + get(VmItem::nr_slab_unreclaimable));
  t.pages("SReclaimable", get(VmItem::nr_slab_reclaimable));
  t.pages("SUnreclaim", get(VmItem::nr_slab_unreclaimable));
  t.pages("AnonHugePages", get(VmItem::nr_anon_transparent_hugepages));
  t.pages("ShmemHugePages", get(VmItem::nr_shmem_hugepages));
  t.pages("ShmemPmdMapped", get(VmItem::nr_shmem_pmdmapped));
  t.pages("FileHugePages", get(VmItem::nr_file_hugepages));
  t.pages("FilePmdMapped", get(VmItem::nr_file_pmdmapped));
  fmt::format_to(std::back_inserter(t.text()),
                 "Node {0} HugePages_Total: {1:>5}\nNode {0} HugePages_Free:  {2:>5}\nNode {0} HugePages_Surp:  {3:>5}\n", node,
                 m.huge.total, m.huge.free, m.huge.surplus);
  return t.take();
}

std::string render_vmstat(const MemoryInfo& m) {
  const DirtyLimits limits = dirty_limits(m);
  std::string text;
  for (size_t i = 0; i < mm::kVmItemCount; ++i) {
    const auto item = static_cast<VmItem>(i);
    if (mm::counts_high_memory(item) && m.high_total.value() == 0) continue;
    int64_t value = m.stat->get(item);
    if (item == VmItem::pgpgin || item == VmItem::pgpgout)
      value /= 2;  // sectors are kept, KiB are shown
    else if (item == VmItem::nr_dirty_threshold)
      value = static_cast<int64_t>(limits.threshold);
    else if (item == VmItem::nr_dirty_background_threshold)
      value = static_cast<int64_t>(limits.background);
    fmt::format_to(std::back_inserter(text), "{} {}\n", mm::vm_item_name(item), value);
  }
  return text;
}

std::string render_node_vmstat(const MemoryInfo& m) {
  std::string text;
  for (size_t i = 0; i <= static_cast<size_t>(VmItem::pgpromote_candidate); ++i)
    fmt::format_to(std::back_inserter(text), "{} {}\n", mm::vm_item_name(static_cast<VmItem>(i)), m.stat->get(static_cast<VmItem>(i)));
  return text;
}

std::string render_numastat(const mm::VmStat& stat) {
  return fmt::format("numa_hit {}\nnuma_miss {}\nnuma_foreign {}\ninterleave_hit {}\nlocal_node {}\nother_node {}\n",
                     stat.get(VmItem::numa_hit), stat.get(VmItem::numa_miss), stat.get(VmItem::numa_foreign),
                     stat.get(VmItem::numa_interleave), stat.get(VmItem::numa_local), stat.get(VmItem::numa_other));
}

std::string render_swaps(std::span<const SwapAreaView> areas) {
  std::string text = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
  for (const SwapAreaView& a : areas) {
    const std::string name = escape(a.path, " \t\n\\");
    const uint64_t size = a.size.value() >> 10, used = a.used.value() >> 10;
    fmt::format_to(std::back_inserter(text), "{}{}{}\t{}\t{}{}\t{}{}\n", name, std::string(name.size() < 40 ? 40 - name.size() : 1, ' '),
                   a.partition ? "partition" : "file\t", size, size < 10'000'000 ? "\t" : "", used, used < 10'000'000 ? "\t" : "",
                   a.priority);
  }
  return text;
}

}  // namespace vitro::fs
