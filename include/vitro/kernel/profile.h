// Who causes TLB misses and page faults: counts by task, area, page, symbol and instruction.
//
//   kernel.start_profile();
//   ... run ...
//   ProfileReport r = kernel.profile_report(10);   // while the processes of interest are alive or after
//
// Every table holds every miss and every fault exactly once, so its rows and its `rest` add up to `total`.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "vitro/base/types.h"
#include "vitro/hw/fault.h"
#include "vitro/hw/mmu.h"
#include "vitro/hw/pte.h"

namespace vitro::kernel {

struct ProfileCounts {
  std::array<uint64_t, 3> misses{};     // of the first-level TLBs, by hw::Access
  std::array<uint64_t, 3> by_size{};    // the same, by hw::PageSize of the page
  // Why there was a walk, where the second level missed too. The four add up to walks().
  uint64_t cold = 0;                    // this address space had never walked to the page before
  uint64_t flushed = 0;                 // it had, but the page was invalidated or flushed since
  uint64_t evicted = 0;                 // a larger or more associative TLB would still have had it
  uint64_t dirty = 0;                   // it was cached; the walk sets Dirty for a first write
  uint64_t references = 0;              // page-table entries read by the walks
  uint64_t minor_faults = 0, major_faults = 0;

  uint64_t all_misses() const { return misses[0] + misses[1] + misses[2]; }
  uint64_t walks() const { return cold + flushed + evicted + dirty; }
  uint64_t faults() const { return minor_faults + major_faults; }
  ProfileCounts& operator+=(const ProfileCounts& o);
  bool operator==(const ProfileCounts&) const = default;
};

struct ProfileRow {
  ProfileCounts counts;
  Pid pid{0};           // of the task; of the process whose address space it is
  std::string comm;
  VirtAddr address{0};  // of the page, the area's start, the instruction
  VirtAddr end{0};      // of an area
  hw::PageSize size = hw::PageSize::k4K;
  std::string name;     // area: path or [heap]; symbol: its name; instruction: main+0x1c
  std::string object;   // symbol and instruction: the file it lies in
  std::string text;     // area: rw-p; instruction: disassembled
};

struct ProfileRanking {
  std::vector<ProfileRow> rows;  // most first
  size_t distinct = 0;           // rows that there would be without a limit: all with a miss, or a fault
  ProfileCounts rest;            // of all that are not in `rows`
};

enum class ProfileTable : uint8_t { Task, Area, Page, Symbol, Instruction, Count };
inline constexpr size_t kProfileTables = static_cast<size_t>(ProfileTable::Count);
const char* profile_table_name(ProfileTable t);  // "task", "area", ...

struct ProfileReport {
  ProfileCounts total;
  bool tlb = true;           // false: no TLBs are modelled, there are only faults
  bool instructions = true;  // false: the emulator's library does not tell instructions apart; those two tables are empty
  std::array<ProfileRanking, kProfileTables> misses, faults;
};

}  // namespace vitro::kernel
