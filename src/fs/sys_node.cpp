// /sys/devices/system/node: one NUMA node with all memory and all CPUs (drivers/base/node.c).
#include <fmt/format.h>

#include "fs/proc_memory.h"
#include "fs/proc_text.h"
#include "fs/proc_tree.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::fs {

void add_node_tree(PseudoDirectory& root, const ProcContext& c) {
  using Text = Result<std::string>;
  PseudoDirectory& nodes = root.directory("devices/system/node");
  for (const std::string_view name : {"has_cpu", "has_memory", "has_normal_memory", "online", "possible"})
    nodes.file(name, []() -> Text { return std::string("0\n"); });
  PseudoDirectory& node = nodes.directory("node0");
  node.file("cpulist", [c]() -> Text { return cpu_list(c.processes.system().cpus) + "\n"; });
  node.file("cpumap", [c]() -> Text { return cpu_mask(c.processes.system().cpus) + "\n"; });
  node.file("distance", []() -> Text { return std::string("10\n"); });
  node.file("meminfo", [c]() -> Text { return render_node_meminfo(collect_memory_info(c.vm, c.processes.system()), 0); });
  node.file("numastat", [c]() -> Text { return render_numastat(c.vm.physical().stat()); });
  node.file("vmstat", [c]() -> Text { return render_node_vmstat(collect_memory_info(c.vm, c.processes.system())); });
  const unsigned cpus = c.processes.system().cpus;
  for (unsigned i = 0; i < cpus; ++i) node.link(fmt::format("cpu{}", i), [i]() -> Text { return fmt::format("../../cpu/cpu{}", i); });
}

}  // namespace vitro::fs
