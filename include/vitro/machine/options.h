// Everything that describes one machine. Two runs with equal options, equal offered files and equal input are equal to the byte.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vitro/base/types.h"
#include "vitro/hw/cpu.h"
#include "vitro/hw/timing_model.h"
#include "vitro/hw/tlb.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::machine {

struct Bind {
  std::string host;
  std::string guest;
};

struct MachineOptions {
  Bytes ram = gib(1);
  Bytes disk = gib(16);               // the upper layer's simulated disk
  Bytes reserved{0};                  // beyond what boot reserves by default
  Bytes highmem{0};                   // --highmem: RAM from here on is high memory; 0: none
  bool isolation = false;             // --pti: page-table isolation
  hw::MmuMode mmu = hw::MmuMode::Exact;
  hw::TlbConfig tlb;
  hw::TimingModel timing;
  uint64_t seed = 1;
  mm::Verify verify = mm::Verify::Off;
  std::string trace;                  // event names and globs; empty: no trace
  std::string trace_out = "-";        // "-": stderr
  bool strace = false;
  std::optional<std::string> root;    // --root: this tree is the guest's /
  std::vector<Bind> binds;
  std::vector<std::string> environment;   // NAME=value, over the default environment
  uint64_t boot_time = 1'798'761'600;     // 2027-01-01 00:00:00 UTC: fixed, so that runs repeat
};

struct Program {
  std::string path;                   // as given; without a slash it is looked up in PATH
  std::vector<std::string> arguments; // argv[1..]
};

}  // namespace vitro::machine
