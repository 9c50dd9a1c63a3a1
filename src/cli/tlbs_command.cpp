// vitro tlbs: the presets of real cores, their figures and where those come from.
#include <fmt/format.h>

#include "commands.h"
#include "vitro/base/print.h"
#include "vitro/hw/tlb_config.h"

namespace vitro::cli {
namespace {

int list_presets() {
  for (const hw::TlbPreset& p : hw::tlb_presets()) {
    const hw::TlbConfig& c = p.config;
    const auto show = [](const hw::TlbGeometry& g) { return hw::to_string(g); };
    print(stdout, "{:<12} {}\n", p.name, p.description);
    if (c.l1_holds_all_sizes)
      print(stdout, "  first level  data {}, code {} (pages of every size)\n", show(c.l1d_4k), show(c.l1i));
    else
      print(stdout, "  first level  data 4K {}, 2M {}, 1G {}; code 4K {}, 2M {}\n", show(c.l1d_4k), show(c.l1d_2m), show(c.l1d_1g), show(c.l1i), show(c.l1i_2m));
    print(stdout, "  second level {} ({}), 1G {}{}\n", show(c.l2), c.l2_holds_2m ? "4K and 2M" : "4K only", show(c.l2_1g),
               c.l2i.entries != 0 ? fmt::format("; code {}", show(c.l2i)) : "");
    print(stdout, "  structures   PML4E {}, PDPTE {}, PDE {}; {}\n", c.psc_pml4e, c.psc_pdpte, c.psc_pde, c.pcid ? "PCID" : "no PCID");
    print(stdout, "  source       {}\n\n", p.source);
  }
  print(stdout, "Replacement policies and the sizes of the paging-structure caches are not published: a model, the same in every preset.\n");
  return 0;
}

}  // namespace

void add_tlbs_command(CLI::App& app, Action& chosen) {
  CLI::App* command = app.add_subcommand("tlbs", "List the TLB presets of real cores (run --tlb PRESET) and the sources of their figures");
  command->callback([&chosen] { chosen = [] { return list_presets(); }; });
}

}  // namespace vitro::cli
