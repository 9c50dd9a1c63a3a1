// /sys/kernel/mm: the switches and counters of what Linux 6.1 offers beside the plain page (mm/huge_memory.c, mm/hugetlb.c, mm/ksm.c, mm/vmscan.c). None of
// it is in this kernel, so everything reads as on a machine where it is off, as it is there below 512 MiB by default, and nothing can be turned on.
#include <fmt/format.h>

#include "fs/proc_tree.h"

namespace vitro::fs {
namespace {

struct Setting {
  std::string_view path, text;
};

constexpr Setting kSettings[] = {
    {"ksm/full_scans", "0"},
    {"ksm/max_page_sharing", "256"},
    {"ksm/merge_across_nodes", "1"},
    {"ksm/pages_shared", "0"},
    {"ksm/pages_sharing", "0"},
    {"ksm/pages_to_scan", "100"},
    {"ksm/pages_unshared", "0"},
    {"ksm/pages_volatile", "0"},
    {"ksm/run", "0"},
    {"ksm/sleep_millisecs", "20"},
    {"ksm/stable_node_chains", "0"},
    {"ksm/stable_node_chains_prune_millisecs", "2000"},
    {"ksm/stable_node_dups", "0"},
    {"ksm/use_zero_pages", "0"},
    {"lru_gen/enabled", "0x0000"},
    {"lru_gen/min_ttl_ms", "0"},
    {"numa/demotion_enabled", "false"},
    {"swap/vma_ra_enabled", "true"},  // but it is for disks that do not rotate, and ours do
    {"transparent_hugepage/defrag", "always defer defer+madvise madvise [never]"},
    {"transparent_hugepage/enabled", "always madvise [never]"},
    {"transparent_hugepage/hpage_pmd_size", "2097152"},
    {"transparent_hugepage/khugepaged/alloc_sleep_millisecs", "60000"},
    {"transparent_hugepage/khugepaged/defrag", "0"},
    {"transparent_hugepage/khugepaged/full_scans", "0"},
    {"transparent_hugepage/khugepaged/max_ptes_none", "511"},
    {"transparent_hugepage/khugepaged/max_ptes_shared", "256"},
    {"transparent_hugepage/khugepaged/max_ptes_swap", "64"},
    {"transparent_hugepage/khugepaged/pages_collapsed", "0"},
    {"transparent_hugepage/khugepaged/pages_to_scan", "4096"},
    {"transparent_hugepage/khugepaged/scan_sleep_millisecs", "10000"},
    {"transparent_hugepage/shmem_enabled", "always within_size advise [never] deny force"},
    {"transparent_hugepage/use_zero_page", "0"},
};
constexpr std::string_view kPoolFiles[] = {"free_hugepages", "nr_hugepages", "nr_hugepages_mempolicy", "nr_overcommit_hugepages", "resv_hugepages", "surplus_hugepages"};

void add(PseudoDirectory& mm, std::string_view path, std::string_view text) {
  const size_t slash = path.rfind('/');
  mm.directory(path.substr(0, slash)).file(path.substr(slash + 1), [text = std::string(text) + "\n"]() -> Result<std::string> { return text; });
}

}  // namespace

void add_kernel_mm_tree(PseudoDirectory& root) {
  PseudoDirectory& mm = root.directory("kernel/mm");
  for (const Setting& s : kSettings) add(mm, s.path, s.text);
  for (std::string_view size : {"2048kB", "1048576kB"})
    for (std::string_view file : kPoolFiles) add(mm, fmt::format("hugepages/hugepages-{}/{}", size, file), "0");
}

}  // namespace vitro::fs
