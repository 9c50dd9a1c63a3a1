// Page tables over consecutive frames for the benchmarks: `pages` 4 KiB pages at `base`, tables from frame 16 on.
#pragma once

#include <memory>

#include "vitro/hw/pte.h"
#include "vitro/hw/ram.h"

namespace vitro::hw::bench {

inline constexpr VirtAddr kBase{0x7f00'0000'0000};

struct MappedRam {
  std::unique_ptr<Ram> ram;
  PhysAddr root{16 * kPageSize};

  explicit MappedRam(uint64_t pages) : ram(std::move(*Ram::create(gib(2)))) {
    Pfn next{17};
    for (uint64_t i = 0; i < pages; ++i) {
      const VirtAddr a = kBase + Pages{i};
      PhysAddr table = root;
      for (Level level = 4; level > 1; --level) {
        uint64_t& entry = ram->at<uint64_t>(table + Bytes{8 * table_index(a, level)});
        if (entry == 0) entry = make_pte(next, 7).raw, ++next;
        table = Pte{entry}.pfn().address();
      }
      ram->at<uint64_t>(table + Bytes{8 * table_index(a, 1)}) = make_pte(Pfn{65536 + i}, 7).raw;
    }
  }
};

}  // namespace vitro::hw::bench
