// What the kernel log says before somebody is killed (mm/oom_kill.c: dump_header, dump_tasks; mm/page_alloc.c: show_free_areas).
#include <fmt/format.h>

#include "mm/reclaim/reclaim_state.h"
#include "vitro/mm/oom.h"

namespace vitro::mm {
namespace {

constexpr std::string_view kTypeLetters = "UMEHCI";  // Unmovable, Movable, rEclaimable, HighAtomic, CMA, Isolate (show_migration_types)

std::string free_blocks_line(const Zone& z) {
  std::string line = fmt::format("Node 0 {}: ", z.name());
  uint64_t total = 0;
  for (unsigned o = 0; o < kOrders; ++o) {
    const Order order{static_cast<uint8_t>(o)};
    std::string types;
    uint64_t n = 0;
    for (unsigned t = 0; t < kMigrateTypes; ++t) {
      const uint64_t blocks = z.buddy().free_blocks(order, static_cast<MigrateType>(t));
      n += blocks;
      if (blocks) types += t < kTypeLetters.size() ? kTypeLetters[t] : '?';
    }
    total += n << o;
    line += fmt::format("{}*{}kB ", n, 4u << o);
    if (n) line += fmt::format("({}) ", types);
  }
  return line + fmt::format("= {}kB", total * 4);
}

}  // namespace

void OomKiller::report(Gfp gfp, Order order) {
  const auto current = tasks_->oom_current();
  const std::string comm = current ? current->comm : "swapper/0";
  tasks_->oom_log(fmt::format("{} invoked oom-killer: gfp_mask={:#x}({}), order={}, oom_score_adj={}", comm, static_cast<uint32_t>(gfp), gfp_text(gfp),
                              order.value(), current ? current->score_adj : 0));
  tasks_->oom_log(fmt::format("CPU: 0 PID: {} Comm: {} Not tainted 6.1.0-vitro #1", current ? current->pid.value() : 0, comm));
  report_memory();
  if (dump_tasks) report_tasks();
}

void OomKiller::report_memory() {
  const VmStat& stat = vm_.physical().stat();
  const auto n = [&stat](VmItem i) { return stat.get(i); };
  const auto kb = [&stat](VmItem i) { return stat.get(i) * 4; };
  using enum VmItem;
  const auto log = [this](const std::string& line) { tasks_->oom_log(line); };
  int64_t free_pcp = 0;
  for (const Zone& z : vm_.physical().zones()) free_pcp += static_cast<int64_t>(z.per_cpu_frames().value());
  log("Mem-Info:");
  log(fmt::format("active_anon:{} inactive_anon:{} isolated_anon:{}", n(nr_active_anon), n(nr_inactive_anon), n(nr_isolated_anon)));
  log(fmt::format(" active_file:{} inactive_file:{} isolated_file:{}", n(nr_active_file), n(nr_inactive_file), n(nr_isolated_file)));
  log(fmt::format(" unevictable:{} dirty:{} writeback:{}", n(nr_unevictable), n(nr_dirty), n(nr_writeback)));
  log(fmt::format(" slab_reclaimable:{} slab_unreclaimable:{}", n(nr_slab_reclaimable), n(nr_slab_unreclaimable)));
  log(fmt::format(" mapped:{} shmem:{} pagetables:{}", n(nr_mapped), n(nr_shmem), n(nr_page_table_pages)));
  log(fmt::format(" sec_pagetables:{} bounce:{}", n(nr_sec_page_table_pages), n(nr_bounce)));
  log(fmt::format(" kernel_misc_reclaimable:{}", n(nr_kernel_misc_reclaimable)));
  log(fmt::format(" free:{} free_pcp:{} free_cma:{}", n(nr_free_pages), free_pcp, n(nr_free_cma)));
  log(fmt::format("Node 0 active_anon:{}kB inactive_anon:{}kB active_file:{}kB inactive_file:{}kB unevictable:{}kB isolated(anon):{}kB isolated(file):{}kB "
                  "mapped:{}kB dirty:{}kB writeback:{}kB shmem:{}kB shmem_thp: {}kB shmem_pmdmapped: {}kB anon_thp: {}kB writeback_tmp:{}kB kernel_stack:{}kB "
                  "pagetables:{}kB sec_pagetables:{}kB all_unreclaimable? {}",
                  kb(nr_active_anon), kb(nr_inactive_anon), kb(nr_active_file), kb(nr_inactive_file), kb(nr_unevictable), kb(nr_isolated_anon),
                  kb(nr_isolated_file), kb(nr_mapped), kb(nr_dirty), kb(nr_writeback), kb(nr_shmem), kb(nr_shmem_hugepages) * 512, kb(nr_shmem_pmdmapped) * 512,
                  kb(nr_anon_transparent_hugepages) * 512, kb(nr_writeback_temp), n(nr_kernel_stack), kb(nr_page_table_pages), kb(nr_sec_page_table_pages),
                  vm_.reclaimer().state().kswapd_failures >= kMaxReclaimRetries ? "yes" : "no"));
  for (const Zone& z : vm_.physical().zones()) {
    if (!z.populated()) continue;
    const auto zk = [&](VmItem i) { return stat.get_zone(z.index(), i) * 4; };
    const auto mark = [&](Watermark w) { return z.watermark(w).value() * 4; };
    log(fmt::format("Node 0 {} free:{}kB boost:{}kB min:{}kB low:{}kB high:{}kB reserved_highatomic:{}KB active_anon:{}kB inactive_anon:{}kB active_file:{}kB "
                    "inactive_file:{}kB unevictable:{}kB writepending:{}kB present:{}kB managed:{}kB mlocked:{}kB bounce:{}kB free_pcp:{}kB local_pcp:{}kB free_cma:{}kB",
                    z.name(), z.free_frames().value() * 4, z.boost().value() * 4, mark(Watermark::Min), mark(Watermark::Low), mark(Watermark::High),
                    z.reserved_high_atomic().value() * 4, zk(nr_zone_active_anon), zk(nr_zone_inactive_anon), zk(nr_zone_active_file), zk(nr_zone_inactive_file),
                    zk(nr_zone_unevictable), zk(nr_zone_write_pending), z.present().value() * 4, z.managed().value() * 4, zk(nr_mlock), zk(nr_bounce),
                    z.per_cpu_frames().value() * 4, z.per_cpu(0).count() * 4, zk(nr_free_cma)));
    std::string reserve = "lowmem_reserve[]:";
    for (unsigned j = 0; j < kZoneTypes; ++j)
      if (j != kZoneHighMem || vm_.physical().zones()[j].populated()) reserve += fmt::format(" {}", z.lowmem_reserve(j).value());
    log(reserve);
  }
  for (const Zone& z : vm_.physical().zones())
    if (z.populated()) log(free_blocks_line(z));
  log("Node 0 hugepages_total=0 hugepages_free=0 hugepages_surp=0 hugepages_size=2048kB");
  log(fmt::format("{} total pagecache pages", n(nr_file_pages)));
  log(fmt::format("{} pages in swap cache", n(nr_swapcached)));
  log(fmt::format("Free swap  = {}kB", vm_.swap().free_slots().value() * 4));
  log(fmt::format("Total swap = {}kB", vm_.swap().total().value() * 4));
  uint64_t present = 0, managed = 0;
  for (const Zone& z : vm_.physical().zones()) present += z.present().value(), managed += z.managed().value();
  log(fmt::format("{} pages RAM", present));
  log("0 pages HighMem/MovableOnly");
  log(fmt::format("{} pages reserved", present - managed));
  log("0 pages hwpoisoned");
}

void OomKiller::report_tasks() {
  tasks_->oom_log("Tasks state (memory values in pages):");
  tasks_->oom_log("[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name");
  for (const OomTask& t : tasks_->oom_tasks()) {
    if (!t.space || t.unkillable) continue;
    const AddressSpace::Usage& u = t.space->usage();
    tasks_->oom_log(fmt::format("[{:7}] {:5} {:5} {:8} {:8} {:8} {:8}         {:5} {}", t.pid.value(), t.uid, t.pid.value(), u.total_vm,
                                u.rss_anon + u.rss_file + u.rss_shmem, u.page_tables * kPageSize, u.swapents, t.score_adj, t.comm));
  }
}

}  // namespace vitro::mm
