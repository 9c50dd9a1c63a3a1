// What a real Linux 6.1 printed on a machine of 256 MiB, from counters set to what it counted.
#include "fs/proc_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "vitro/hw/pte.h"
#include "vitro/hw/ram.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::fs {
namespace {

using mm::VmItem;

constexpr std::string_view kMeminfo = R"(MemTotal:         210716 kB
MemFree:          176664 kB
MemAvailable:     182612 kB
Buffers:             168 kB
Cached:             3404 kB
SwapCached:            0 kB
Active:             1732 kB
Inactive:           1968 kB
Active(anon):          4 kB
Inactive(anon):      140 kB
Active(file):       1728 kB
Inactive(file):     1828 kB
Unevictable:           0 kB
Mlocked:               0 kB
SwapTotal:        262140 kB
SwapFree:         262140 kB
Zswap:                 0 kB
Zswapped:              0 kB
Dirty:                 0 kB
Writeback:             0 kB
AnonPages:           144 kB
Mapped:             2524 kB
Shmem:                 0 kB
KReclaimable:       9788 kB
Slab:              17756 kB
SReclaimable:       9788 kB
SUnreclaim:         7968 kB
KernelStack:         784 kB
PageTables:           56 kB
SecPageTables:         0 kB
NFS_Unstable:          0 kB
Bounce:                0 kB
WritebackTmp:          0 kB
CommitLimit:      367496 kB
Committed_AS:        856 kB
VmallocTotal:   34359738367 kB
VmallocUsed:        8844 kB
VmallocChunk:          0 kB
Percpu:              272 kB
HardwareCorrupted:     0 kB
AnonHugePages:         0 kB
ShmemHugePages:        0 kB
ShmemPmdMapped:        0 kB
FileHugePages:         0 kB
FilePmdMapped:         0 kB
HugePages_Total:       0
HugePages_Free:        0
HugePages_Rsvd:        0
HugePages_Surp:        0
Hugepagesize:       2048 kB
Hugetlb:               0 kB
DirectMap4k:       36700 kB
DirectMap2M:      225280 kB
DirectMap1G:           0 kB
)";

constexpr std::string_view kVmstatNames =
    "nr_free_pages nr_zone_inactive_anon nr_zone_active_anon nr_zone_inactive_file nr_zone_active_file nr_zone_unevictable "
    "nr_zone_write_pending nr_mlock nr_bounce nr_zspages nr_free_cma numa_hit "
    "numa_miss numa_foreign numa_interleave numa_local numa_other nr_inactive_anon "
    "nr_active_anon nr_inactive_file nr_active_file nr_unevictable nr_slab_reclaimable nr_slab_unreclaimable "
    "nr_isolated_anon nr_isolated_file workingset_nodes workingset_refault_anon workingset_refault_file workingset_activate_anon "
    "workingset_activate_file workingset_restore_anon workingset_restore_file workingset_nodereclaim nr_anon_pages nr_mapped "
    "nr_file_pages nr_dirty nr_writeback nr_writeback_temp nr_shmem nr_shmem_hugepages "
    "nr_shmem_pmdmapped nr_file_hugepages nr_file_pmdmapped nr_anon_transparent_hugepages nr_vmscan_write nr_vmscan_immediate_reclaim "
    "nr_dirtied nr_written nr_throttled_written nr_kernel_misc_reclaimable nr_foll_pin_acquired nr_foll_pin_released "
    "nr_kernel_stack nr_page_table_pages nr_sec_page_table_pages nr_swapcached pgpromote_success pgpromote_candidate "
    "nr_dirty_threshold nr_dirty_background_threshold pgpgin pgpgout pswpin pswpout "
    "pgalloc_dma pgalloc_dma32 pgalloc_normal pgalloc_movable pgalloc_device allocstall_dma "
    "allocstall_dma32 allocstall_normal allocstall_movable allocstall_device pgskip_dma pgskip_dma32 "
    "pgskip_normal pgskip_movable pgskip_device pgfree pgactivate pgdeactivate "
    "pglazyfree pgfault pgmajfault pglazyfreed pgrefill pgreuse "
    "pgsteal_kswapd pgsteal_direct pgdemote_kswapd pgdemote_direct pgscan_kswapd pgscan_direct "
    "pgscan_direct_throttle pgscan_anon pgscan_file pgsteal_anon pgsteal_file zone_reclaim_failed "
    "pginodesteal slabs_scanned kswapd_inodesteal kswapd_low_wmark_hit_quickly kswapd_high_wmark_hit_quickly pageoutrun "
    "pgrotated drop_pagecache drop_slab oom_kill numa_pte_updates numa_huge_pte_updates "
    "numa_hint_faults numa_hint_faults_local numa_pages_migrated pgmigrate_success pgmigrate_fail thp_migration_success "
    "thp_migration_fail thp_migration_split compact_migrate_scanned compact_free_scanned compact_isolated compact_stall "
    "compact_fail compact_success compact_daemon_wake compact_daemon_migrate_scanned compact_daemon_free_scanned htlb_buddy_alloc_success "
    "htlb_buddy_alloc_fail unevictable_pgs_culled unevictable_pgs_scanned unevictable_pgs_rescued unevictable_pgs_mlocked "
    "unevictable_pgs_munlocked "
    "unevictable_pgs_cleared unevictable_pgs_stranded thp_fault_alloc thp_fault_fallback thp_fault_fallback_charge thp_collapse_alloc "
    "thp_collapse_alloc_failed thp_file_alloc thp_file_fallback thp_file_fallback_charge thp_file_mapped thp_split_page "
    "thp_split_page_failed thp_deferred_split_page thp_split_pmd thp_scan_exceed_none_pte thp_scan_exceed_swap_pte "
    "thp_scan_exceed_share_pte "
    "thp_split_pud thp_zero_page_alloc thp_zero_page_alloc_failed thp_swpout thp_swpout_fallback balloon_inflate "
    "balloon_deflate balloon_migrate swap_ra swap_ra_hit ksm_swpin_copy cow_ksm "
    "zswpin zswpout direct_map_level2_splits direct_map_level3_splits nr_unstable ";

constexpr std::string_view kNodeMeminfo = R"(Node 0 MemTotal:         210716 kB
Node 0 MemFree:          175796 kB
Node 0 MemUsed:           34920 kB
Node 0 SwapCached:            0 kB
Node 0 Active:             2992 kB
Node 0 Inactive:            932 kB
Node 0 Active(anon):          4 kB
Node 0 Inactive(anon):      124 kB
Node 0 Active(file):       2988 kB
Node 0 Inactive(file):      808 kB
Node 0 Unevictable:           0 kB
Node 0 Mlocked:               0 kB
Node 0 Dirty:                 0 kB
Node 0 Writeback:             0 kB
Node 0 FilePages:          3796 kB
Node 0 Mapped:             1564 kB
Node 0 AnonPages:           160 kB
Node 0 Shmem:                 0 kB
Node 0 KernelStack:         800 kB
Node 0 PageTables:           72 kB
Node 0 SecPageTables:         0 kB
Node 0 NFS_Unstable:          0 kB
Node 0 Bounce:                0 kB
Node 0 WritebackTmp:          0 kB
Node 0 KReclaimable:      10068 kB
Node 0 Slab:              18112 kB
Node 0 SReclaimable:      10068 kB
Node 0 SUnreclaim:         8044 kB
Node 0 AnonHugePages:         0 kB
Node 0 ShmemHugePages:        0 kB
Node 0 ShmemPmdMapped:        0 kB
Node 0 FileHugePages:        0 kB
Node 0 FilePmdMapped:        0 kB
Node 0 HugePages_Total:     0
Node 0 HugePages_Free:      0
Node 0 HugePages_Surp:      0
)";

// The counters behind kMeminfo.
mm::VmStat reference_counters() {
  mm::VmStat stat;
  stat.set(VmItem::nr_free_pages, 176664 / 4);
  stat.set(VmItem::nr_active_anon, 1), stat.set(VmItem::nr_inactive_anon, 35);
  stat.set(VmItem::nr_active_file, 432), stat.set(VmItem::nr_inactive_file, 457);
  stat.set(VmItem::nr_file_pages, (3404 + 168) / 4);
  stat.set(VmItem::nr_anon_pages, 36), stat.set(VmItem::nr_mapped, 631);
  stat.set(VmItem::nr_slab_reclaimable, 2447), stat.set(VmItem::nr_slab_unreclaimable, 1992);
  stat.set(VmItem::nr_kernel_stack, 784), stat.set(VmItem::nr_page_table_pages, 14);
  return stat;
}

MemoryInfo reference_info(const mm::VmStat& stat) {
  MemoryInfo m;
  m.stat = &stat;
  m.total = Pages{210716 / 4}, m.available = Pages{182612 / 4}, m.total_reserve = Pages{848};
  m.buffers = Pages{42};
  m.swap_total = kib(262140);
  m.commit_limit = Pages{367496 / 4}, m.committed = Pages{856 / 4};
  m.vmalloc_used = Pages{8844 / 4}, m.percpu = Pages{272 / 4};
  m.direct_4k = kib(36700), m.direct_2m = kib(225280);
  return m;
}

TEST(ProcMemory, MeminfoIsLinuxsToTheByte) {
  const mm::VmStat stat = reference_counters();
  EXPECT_EQ(render_meminfo(reference_info(stat)), kMeminfo);
}

// The node's file has other lines than the machine's; only their names and their form are compared.
std::string masked(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c >= '0' && c <= '9') {
      if (out.empty() || out.back() != 'N') out += 'N';
    } else if (c != ' ' || out.empty() || out.back() != ' ') {
      out += c;
    }
  }
  return out;
}

TEST(ProcMemory, NodeMeminfoHasLinuxsLines) {
  const mm::VmStat stat = reference_counters();
  const std::string text = render_node_meminfo(reference_info(stat), 0);
  EXPECT_EQ(masked(text), masked(kNodeMeminfo));
  EXPECT_EQ(text.substr(0, text.find('\n')), kNodeMeminfo.substr(0, kNodeMeminfo.find('\n')));
  EXPECT_THAT(text, testing::HasSubstr("Node 0 MemUsed:           34052 kB\n"));
}

TEST(ProcMemory, VmstatHasEveryNameInLinuxsOrder) {
  const mm::VmStat stat;
  MemoryInfo m;
  m.stat = &stat;
  std::istringstream lines(render_vmstat(m));
  std::string name, names;
  for (long value; lines >> name >> value;) names += name + " ";
  EXPECT_EQ(names, kVmstatNames);
}

TEST(ProcMemory, VmstatShowsSectorsAsKib) {
  mm::VmStat stat;
  stat.set(VmItem::pgpgin, 7272), stat.set(VmItem::pgpgout, 9), stat.set(VmItem::pswpin, 5);
  MemoryInfo m;
  m.stat = &stat;
  const std::string text = render_vmstat(m);
  EXPECT_THAT(text, testing::HasSubstr("\npgpgin 3636\npgpgout 4\npswpin 5\n"));
}

TEST(ProcMemory, VmstatShowsTheDirtyThresholds) {
  mm::VmStat stat;
  MemoryInfo m = reference_info(stat);
  m.dirty_threshold = 8839, m.dirty_background_threshold = 4414;
  EXPECT_THAT(render_vmstat(m), testing::HasSubstr("\nnr_dirty_threshold 8839\nnr_dirty_background_threshold 4414\n"));
}

TEST(ProcMemory, CachedIsNeverNegative) {
  mm::VmStat stat;
  stat.set(VmItem::nr_swapcached, 10);
  MemoryInfo m;
  m.stat = &stat;
  EXPECT_THAT(render_meminfo(m), testing::HasSubstr("\nCached:                0 kB\nSwapCached:           40 kB\n"));
}

TEST(ProcMemory, Swaps) {
  EXPECT_EQ(render_swaps({}), "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
  const SwapAreaView areas[] = {{"/dev/vdb", true, kib(262140), kib(0), -2}, {"/a b", false, gib(16), gib(12), 5}};
  EXPECT_EQ(render_swaps(areas),
            "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
            "/dev/vdb                                partition\t262140\t\t0\t\t-2\n"
            "/a\\040b                                 file\t\t16777216\t12582912\t5\n");
}

TEST(ProcMemory, DirectMapIsMeasuredInTheKernelsTables) {
  auto ram = std::move(*hw::Ram::create(mib(16)));
  using hw::Pte;
  const auto table = [&](uint64_t frame, unsigned index, uint64_t raw) {
    ram->at<Pte>(Pfn{frame}.address() + Bytes{index * 8}) = Pte{raw};
  };
  // 0..2 MiB by 4 KiB leaves of which one is missing, 2..4 MiB not mapped, the rest by 2 MiB leaves.
  const unsigned top = hw::table_index(mm::kDirectMapBase, 4);
  table(1, top, hw::make_pte(Pfn{2}, Pte::kPresent).raw);
  table(2, 0, hw::make_pte(Pfn{3}, Pte::kPresent).raw);
  table(3, 0, hw::make_pte(Pfn{4}, Pte::kPresent).raw);
  for (unsigned i = 2; i < 8; ++i) table(3, i, hw::make_pte(Pfn{i * 512}, Pte::kPresent | Pte::kLarge).raw);
  for (unsigned i = 1; i < 512; ++i) table(4, i, hw::make_pte(Pfn{i}, Pte::kPresent).raw);
  const DirectMapSizes sizes = direct_map_sizes(*ram, Pfn{1}.address());
  EXPECT_EQ(sizes.small, kib(511 * 4));
  EXPECT_EQ(sizes.medium, mib(12));
  EXPECT_EQ(sizes.large, mib(0));
  EXPECT_EQ(direct_map_sizes(*ram, Pfn{5}.address()).small, mib(0)) << "empty tables map nothing";
  EXPECT_EQ(direct_map_sizes(*ram, PhysAddr{gib(1).value()}).small, mib(0)) << "a root outside of RAM";
}

}  // namespace
}  // namespace vitro::fs
