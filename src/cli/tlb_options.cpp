#include "tlb_options.h"

#include <fmt/format.h>

#include <array>
#include <charconv>

namespace vitro::cli {
namespace {

// Puts the option's name before what is wrong with its value.
Result<hw::TlbGeometry, UserError> geometry(const char* option, const std::string& text) {
  auto parsed = hw::parse_tlb_geometry(text);
  if (!parsed) return fail(UserError{fmt::format("{}: {}", option, parsed.error().what), parsed.error().hint});
  return *parsed;
}

Result<std::array<unsigned, 3>, UserError> parse_psc(std::string_view text) {
  const auto refuse = [&](std::string_view why) {
    return fail(UserError{fmt::format("--psc '{}' {}", text, why), "write entries for PML4E,PDPTE,PDE, e.g. 16,16,32; 0 for none"});
  };
  std::array<unsigned, 3> sizes{};
  const char *at = text.data(), *const end = text.data() + text.size();
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (i != 0 && (at == end || *at++ != ',')) return refuse("is not three numbers");
    const auto [next, error] = std::from_chars(at, end, sizes[i]);
    if (error == std::errc::result_out_of_range || (error == std::errc{} && sizes[i] > hw::kMaximumTlbEntries)) return refuse("is too large");
    if (error != std::errc{}) return refuse("is not three numbers");
    at = next;
  }
  if (at != end) return refuse("is not three numbers");
  return sizes;
}

}  // namespace

void add_tlb_options(CLI::App& command, TlbOptions& o) {
  command.add_option("--tlb", o.preset, "Whose TLBs: a preset of `vitro tlbs` (default skylake)")->type_name("PRESET");
  command.add_option("--tlb-l1d", o.l1d, "First-level data TLB for 4 KiB pages; policies: lru (default), plru, fifo, random")->type_name("ENTRIESxWAYS[:POLICY]");
  command.add_option("--tlb-l1i", o.l1i, "First-level instruction TLB for 4 KiB pages")->type_name("ENTRIESxWAYS[:POLICY]");
  command.add_option("--tlb-l2", o.l2, "Second-level TLB")->type_name("ENTRIESxWAYS[:POLICY]");
  command.add_option("--psc", o.psc, "Entries of the paging-structure caches; 0: none")->type_name("PML4E,PDPTE,PDE");
  command.add_flag("--no-pcid", o.no_pcid, "Without process-context identifiers: every change of address space flushes");
}

Result<hw::TlbConfig, UserError> tlb_config(const TlbOptions& o, hw::MmuMode mode) {
  const hw::TlbPreset* preset = hw::find_tlb_preset(o.preset);
  if (preset == nullptr) return fail(UserError{fmt::format("--tlb: no preset is called '{}'", o.preset), "vitro tlbs lists them"});
  hw::TlbConfig config = preset->config;
  if (!o.l1d.empty()) config.l1d_4k = TRY(geometry("--tlb-l1d", o.l1d));
  const bool needs_hits = config.l1d_4k.policy == hw::Replacement::Lru || config.l1d_4k.policy == hw::Replacement::TreePlru;
  if (mode == hw::MmuMode::Trap && needs_hits) {
    if (o.l1d.find(':') != std::string::npos)
      return fail(UserError{fmt::format("--tlb-l1d {} needs to know of hits, which --mmu trap does not see", o.l1d),
                            "use :fifo or :random, or --mmu exact"});
    config.l1d_4k.policy = hw::Replacement::Fifo;
  }
  if (!o.l1d.empty() || mode == hw::MmuMode::Trap) config.l1d_2m.policy = config.l1d_1g.policy = config.l1d_4k.policy;
  if (!o.l1i.empty()) config.l1i = TRY(geometry("--tlb-l1i", o.l1i));
  if (!o.l2.empty()) config.l2 = TRY(geometry("--tlb-l2", o.l2));
  if (!o.psc.empty()) {
    const auto sizes = TRY(parse_psc(o.psc));
    config.psc_pml4e = sizes[0], config.psc_pdpte = sizes[1], config.psc_pde = sizes[2];
  }
  if (o.no_pcid) config.pcid = false;
  return config;
}

}  // namespace vitro::cli
