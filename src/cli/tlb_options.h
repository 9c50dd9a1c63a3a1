// The options that choose a core's TLBs: --tlb PRESET, and single arrays over it.
//
//   TlbOptions o;  add_tlb_options(run_command, o);
//   hw::TlbConfig config = TRY(tlb_config(o, mode));
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "vitro/base/result.h"
#include "vitro/hw/cpu.h"
#include "vitro/hw/tlb_config.h"

namespace vitro::cli {

struct TlbOptions {
  std::string preset = "skylake";
  std::string l1d, l1i, l2;  // ENTRIESxWAYS[:POLICY]; empty: as the preset has it
  std::string psc;           // PML4E,PDPTE,PDE
  bool no_pcid = false;
};

void add_tlb_options(CLI::App& command, TlbOptions& options);

// The preset with what the other options replace: --tlb-l1d and --tlb-l1i replace the array for 4 KiB pages, --tlb-l2 the second level that
// both share; arrays for larger pages, and a second level of its own for instructions, stay the preset's, but for the policy of the
// first-level data arrays: they all follow --tlb-l1d.
// In `trap` hits are not seen, so the first-level data arrays replace first-in first-out unless `random` was asked for.
// Errors: an unknown preset, a geometry that no TLB can have, lru or plru asked for l1d in `trap`.
Result<hw::TlbConfig, UserError> tlb_config(const TlbOptions& options, hw::MmuMode mode);

}  // namespace vitro::cli
