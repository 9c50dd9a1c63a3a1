// The 4-level page walk (SDM volume 3, 4.5): a pure function over RAM.
#pragma once

#include <array>

#include "vitro/base/result.h"
#include "vitro/base/types.h"
#include "vitro/hw/fault.h"
#include "vitro/hw/pte.h"
#include "vitro/hw/ram.h"

namespace vitro::hw {

struct WalkStep {
  Level level = 0;        // 4 = PGD ... 1 = PTE
  PhysAddr entry_address; // where the entry lies
  Pte entry;              // as read, before Accessed and Dirty were set
};

struct WalkResult {
  std::array<WalkStep, 4> steps{};
  unsigned references = 0;  // entries read: steps[0 .. references)
  bool ok = false;
  // Where ok:
  PhysAddr address;         // of the byte asked for
  PageSize size = PageSize::k4K;
  Pte leaf;                 // after Accessed and Dirty were set
  bool writable = false, executable = false, user = false;
  // Otherwise:
  Fault fault;
};

// SetBits::No looks without effect.
enum class SetAccessedDirty : bool { No, Yes };

// Walks from `root` for one access. Errors are in `fault`, with the error code of SDM 4.7. A table or a leaf beyond RAM is refused as a
// reserved-bit fault: nothing answers there, and a bus that answers all ones would set reserved bits. Accessed is set in each entry that
// led to a table even where the walk fails further down, in the leaf only where the access is permitted; Dirty only with it.
//
// Supervisor writes honour read-only entries (CR0.WP = 1); NX is enabled (EFER.NXE = 1); SMEP and SMAP are off. `first_level` < 4 starts
// below the top, at table `root`, when a paging-structure cache already knows the upper part; the caller then passes the rights of the
// skipped levels.
struct UpperRights {
  bool writable = true, executable = true, user = true;
};
WalkResult walk(Ram& ram, PhysAddr root, VirtAddr address, Access access, Privilege privilege, SetAccessedDirty set,
                Level first_level = 4, UpperRights upper = {});

}  // namespace vitro::hw
