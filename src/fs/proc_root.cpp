// Puts /proc and /sys together.
#include "fs/proc_cpuinfo.h"
#include "fs/proc_memory.h"
#include "fs/proc_physical.h"
#include "fs/proc_system.h"
#include "fs/proc_tree.h"
#include "vitro/hw/mmu.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::fs {
namespace {

constexpr uint64_t kProcMagic = 0x9fa0, kSysfsMagic = 0x62656572;  // include/uapi/linux/magic.h

}  // namespace

void add_system_files(PseudoDirectory& root, const ProcContext& c) {
  const auto add = [&](std::string_view name, auto render) { root.file(name, [=]() -> Result<std::string> { return render(); }); };
  const auto memory = [c] { return collect_memory_info(c.vm, c.processes.system()); };
  add("buddyinfo", [c] { return c.vm.physical().buddyinfo(); });
  add("cmdline", [c] { return c.processes.system().command_line + "\n"; });
  add("cpuinfo", [c] { return render_cpuinfo(c.processes.system().cpus); });
  add("devices", [c] { return render_devices(c.processes.system().block_devices); });
  add("diskstats", [c] { return render_diskstats(c.processes.system().block_devices); });
  add("filesystems", [] { return render_filesystems(); });
  add("interrupts", [c] {
    return render_interrupts(c.processes.system(), c.vm.mmu().counters().flushes[static_cast<size_t>(hw::FlushReason::RemoteShootdown)]);
  });
  add("loadavg", [c] { return render_loadavg(c.processes.system()); });
  add("meminfo", [memory] { return render_meminfo(memory()); });
  add("modules", [] { return std::string(); });
  // No controller is there, so no line but the first.
  add("cgroups", [] { return std::string("#subsys_name\thierarchy\tnum_cgroups\tenabled\n"); });
  root.link("mounts", [] { return Result<std::string>("self/mounts"); });
  root.file(
      "pagetypeinfo", [c] { return Result<std::string>(c.vm.physical().pagetypeinfo()); }, nullptr, 0400);
  add("partitions", [c] { return render_partitions(c.processes.system().block_devices); });
  root.file(
      "slabinfo", [c] { return Result<std::string>(c.vm.physical().slabinfo()); }, nullptr, 0400);
  add("softirqs", [c] { return render_softirqs(c.processes.system()); });
  add("stat", [c] { return render_stat(c.processes.system()); });
  add("swaps", [c] { return render_swaps(c.processes.system().swap_areas); });
  add("uptime", [c] { return render_uptime(c.processes.system()); });
  add("version", [] { return render_version(); });
  add("vmstat", [memory] { return render_vmstat(memory()); });
  add("zoneinfo", [c] { return c.vm.physical().zoneinfo(); });
}

std::shared_ptr<FileSystem> make_procfs(Vfs& vfs, mm::VirtualMemory& vm, ProcessTable& processes, std::vector<Tunable> tunables) {
  const ProcContext c{vfs, vm, processes};
  auto root = std::make_shared<PseudoDirectory>();
  add_system_files(*root, c);
  add_frame_files(*root, c);
  add_physical_files(*root, c.vm);
  add_pressure_files(root->directory("pressure"), c);
  add_sysctl(root->directory("sys"), c, std::move(tunables));
  add_process_directories(*root, c);
  return make_pseudo_fs(vfs, "proc", kProcMagic, root);
}

std::shared_ptr<FileSystem> make_sysfs(Vfs& vfs, mm::VirtualMemory& vm, ProcessTable& processes, std::vector<Tunable> tunables) {
  const ProcContext c{vfs, vm, processes};
  auto root = std::make_shared<PseudoDirectory>();
  add_block_tree(*root, c);
  add_cpu_tree(*root, c);
  add_node_tree(*root, c);
  add_memory_tree(*root, c);
  root->directory("fs");
  add_kernel_mm_tree(*root);
  add_extfrag_files(root->directory("kernel/debug"), c.vm);
  add_tunables(*root, std::move(tunables));
  return make_pseudo_fs(vfs, "sysfs", kSysfsMagic, root);
}

}  // namespace vitro::fs
