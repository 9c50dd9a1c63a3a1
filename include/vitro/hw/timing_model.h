// The cost table: what each thing takes on the simulated machine. One place, documented in docs/timing.md, configurable.
#pragma once

#include "vitro/base/types.h"

namespace vitro::hw {

struct TimingModel {
  // Virtual time.
  uint64_t instruction_ps = 1000;  // one instruction a nanosecond
  Nanoseconds syscall{120};
  Nanoseconds context_switch{1200};
  Nanoseconds fault_entry{400};         // exception, entry, vma lookup, return
  Nanoseconds fault_zero_page{150};     // map the shared zero page
  Nanoseconds fault_anonymous{350};     // allocate and clear a frame
  Nanoseconds fault_copy{500};          // allocate and copy a frame
  Nanoseconds fault_map_page{60};       // map a page-cache page; each one of a fault-around
  Nanoseconds fork_page{60};            // copy an entry, count the page once more
  Nanoseconds zap_page{100};            // clear an entry, count the page once less
  Nanoseconds free_page{100};           // off the LRU list, to the per-CPU list and the buddy allocator
  Nanoseconds move_page_entry{40};      // mremap: from one table to another
  Nanoseconds reclaim_round{500};       // look at a node's lists and caches once, whatever they hold
  Nanoseconds reclaim_scan{150};        // look at one page at the end of its list
  Nanoseconds reclaim_unmap{400};       // find its entries, clear them, drop the translations
  Nanoseconds copy_per_kib{60};         // kernel copies to and from user memory
  Nanoseconds generate_per_kib{5'000};  // the kernel prints what a file of /proc or /sys has to say
  Nanoseconds kmap{60};                 // a new pkmap slot for a frame of high memory
  Nanoseconds kmap_atomic{30};          // a CPU's own slot: write the entry, INVLPG
  Nanoseconds kmap_flush{500};          // clear all unused pkmap slots and flush the TLBs
  Nanoseconds cr3_switch{70};           // page-table isolation: each way between user mode and the kernel
  Nanoseconds migrate_page{600};        // move a page that is in use: copy, change its entries, flush
  Nanoseconds time_slice{4'000'000};    // CONFIG_HZ=250
  // Disk.
  Nanoseconds disk_request{20'000};
  Nanoseconds disk_per_sector{150};     // 512 bytes: about 3.4 GB/s
  // Cycles, reported beside virtual time and never part of it.
  uint64_t cycles_l2_tlb_hit = 7;
  uint64_t cycles_walk_reference = 20;
};

}  // namespace vitro::hw
