// /sys/devices/system/cpu: which CPUs there are, how they lie in the package, and their caches (drivers/base/cpu.c, topology.c,
// cacheinfo.c).
#include <fmt/format.h>

#include <algorithm>

#include "fs/proc_cpuinfo.h"
#include "fs/proc_text.h"
#include "fs/proc_tree.h"

namespace vitro::fs {
namespace {

using Text = Result<std::string>;

void constant(PseudoDirectory& d, std::string_view name, std::string text) {
  d.file(name, [text = std::move(text) + "\n"]() -> Text { return text; });
}

// Only CPU `cpu` of `cpus`, as a bitmap of that width.
std::string single_mask(unsigned cpu, unsigned cpus) {
  std::string out;
  for (unsigned group = (cpus + 31) / 32; group-- > 0;) {
    const uint32_t word = cpu / 32 == group ? uint32_t{1} << cpu % 32 : 0;
    const unsigned bits = std::min(cpus - group * 32, 32u);
    if (out.empty())
      out = fmt::format("{:0{}x}", word, (bits + 3) / 4);
    else
      out += fmt::format(",{:08x}", word);
  }
  return out;
}

// Each CPU is a core of its own; all are in one package.
void add_topology(PseudoDirectory& d, unsigned cpu, unsigned cpus) {
  const std::string one = single_mask(cpu, cpus), one_list = fmt::format("{}", cpu), all = cpu_mask(cpus), all_list = cpu_list(cpus);
  constant(d, "core_id", one_list);
  constant(d, "die_id", "0");
  constant(d, "physical_package_id", "0");
  for (const std::string_view name : {"core_cpus", "thread_siblings"}) {
    constant(d, name, one);
    constant(d, std::string(name) + "_list", one_list);
  }
  for (const std::string_view name : {"core_siblings", "die_cpus", "package_cpus"}) {
    constant(d, name, all);
    constant(d, std::string(name) + "_list", all_list);
  }
}

void add_caches(PseudoDirectory& d, unsigned cpu, unsigned cpus) {
  unsigned index = 0;
  for (const CacheLevel& cache : cpu_caches()) {
    PseudoDirectory& c = d.directory(fmt::format("index{}", index++));
    constant(c, "coherency_line_size", fmt::format("{}", cache.line));
    constant(c, "id", fmt::format("{}", cpu));
    constant(c, "level", fmt::format("{}", cache.level));
    constant(c, "number_of_sets", fmt::format("{}", cache.sets));
    constant(c, "physical_line_partition", "1");
    constant(c, "shared_cpu_list", fmt::format("{}", cpu));
    constant(c, "shared_cpu_map", single_mask(cpu, cpus));
    constant(c, "size", fmt::format("{}K", cache.kib()));
    constant(c, "type", std::string(cache.type));
    constant(c, "ways_of_associativity", fmt::format("{}", cache.ways));
  }
}

}  // namespace

void add_cpu_tree(PseudoDirectory& root, const ProcContext& c) {
  PseudoDirectory& cpu = root.directory("devices/system/cpu");
  for (const std::string_view name : {"online", "possible", "present"})
    cpu.file(name, [c]() -> Text { return cpu_list(c.processes.system().cpus) + "\n"; });
  for (const std::string_view name : {"isolated", "offline"}) cpu.file(name, []() -> Text { return std::string("\n"); });
  constant(cpu, "kernel_max", "8191");
  constant(cpu.directory("smt"), "active", "0");
  constant(cpu.directory("smt"), "control", "notsupported");
  cpu.list_dynamic = [c] {
    std::vector<std::string> names;
    for (unsigned i = 0; i < c.processes.system().cpus; ++i) names.push_back(fmt::format("cpu{}", i));
    return names;
  };
  cpu.find_dynamic = [c](std::string_view name) -> std::optional<PseudoEntry> {
    const unsigned cpus = c.processes.system().cpus;
    for (unsigned i = 0; i < cpus; ++i) {
      if (name != fmt::format("cpu{}", i)) continue;
      PseudoEntry e;
      e.directory = std::make_shared<PseudoDirectory>();
      add_topology(e.directory->directory("topology"), i, cpus);
      add_caches(e.directory->directory("cache"), i, cpus);
      e.directory->link("node0", []() -> Text { return std::string("../../node/node0"); });
      return e;
    }
    return std::nullopt;
  };
}

}  // namespace vitro::fs
