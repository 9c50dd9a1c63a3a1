// What one run did, in numbers: a snapshot of every layer's counters, as JSON for programs and as a table for people.
//
//   RunStatistics s = capture(machine.vm(), machine.mmu(), machine.clock(), options.mmu);
//   s.exit_status = exit.status;
//   std::string json = to_json(s);
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "vitro/hw/clock.h"
#include "vitro/hw/cpu.h"
#include "vitro/hw/mmu.h"
#include "vitro/kernel/profile.h"
#include "vitro/mm/address_space.h"
#include "vitro/mm/ports.h"

namespace vitro::report {

struct RunStatistics {
  // Page faults of the machine, as its tasks count them: together Linux's pgfault.
  uint64_t minor_faults = 0, major_faults = 0;
  std::array<uint64_t, static_cast<size_t>(mm::FaultKind::Count)> faults_by_kind{};

  struct TlbLevel {
    uint64_t accesses = 0, hits = 0, misses = 0;
    std::array<uint64_t, 3> by_size{}, by_access{};  // of the misses: 4 KiB, 2 MiB, 1 GiB pages; loads, stores, fetches
  };
  struct Translation {
    TlbLevel l1d, l1i, l2;
    uint64_t walks = 0, walk_references = 0;                    // completed walks, and the page-table entries they read
    uint64_t faulting_walks = 0, faulting_walk_references = 0;  // walks that ended in a fault
    uint64_t l2_hit_cycles = 0, walk_cycles = 0;                // by the cost table
    uint64_t first_use_walks = 0;  // completed walks that a TLB of any size would have needed: first use since the page was invalidated
    uint64_t dirty_walks = 0;      // completed walks only to set Dirty, at the first write to a cached page
    std::array<uint64_t, static_cast<size_t>(hw::FlushReason::Count)> flushes{};
  };
  std::optional<Translation> translation;  // nothing: the TLBs are not modelled in this mode (fast)

  // Only where they exist: page-table isolation, high memory.
  std::optional<uint64_t> isolation_switches;
  struct Kmaps {
    uint64_t maps = 0, reused = 0, flushes = 0, atomic_maps = 0;
    Nanoseconds cost{0};
  };
  std::optional<Kmaps> kmaps;

  uint64_t instructions = 0;
  Nanoseconds virtual_time{0};
  std::vector<std::pair<std::string, int64_t>> vmstat;   // in the order and with the values of /proc/vmstat
  std::vector<std::pair<std::string, uint64_t>> frames;  // frames in each state; the sum is RAM
  uint64_t cycles_l2_hit = 0, cycles_walk_reference = 0;  // the cost table's
  std::optional<kernel::ProfileReport> profile;          // who caused misses and faults; nothing: nobody asked
  int exit_status = 0, exit_signal = 0;
};

// Reads the counters of every layer. The exit is the caller's to fill in.
RunStatistics capture(mm::VirtualMemory& vm, const hw::Mmu& mmu, const hw::Clock& clock, hw::MmuMode mode);

// One object with keys in a fixed order, and a newline. Where the TLBs are not modelled "tlb", "walks" and "cycles" are null and "tlb_note"
// says why.
std::string to_json(const RunStatistics& s);
// The counters, at most one screen of them; and where there is a profile, its tables.
std::string to_text(const RunStatistics& s);

}  // namespace vitro::report
