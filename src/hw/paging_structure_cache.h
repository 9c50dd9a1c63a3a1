// The paging-structure caches (SDM 4.10.3): which table the upper levels of a walk lead to, with their rights. Three fully associative
// arrays, by the level of the entry they remember; a walk starts below the deepest that knows its address.
#pragma once

#include <array>
#include <memory>

#include "vitro/hw/tlb.h"

namespace vitro::hw {

class PagingStructureCaches {
 public:
  explicit PagingStructureCaches(const TlbConfig& config);

  WalkStart start(VirtAddr address, PhysAddr root, Pcid pcid);
  void remember(VirtAddr address, Pcid pcid, const WalkStart& start, std::span<const WalkStep> steps);
  void flush_pcid(Pcid pcid);
  void flush_all();

  static constexpr std::array<std::string_view, 3> kNames{"psc-pde", "psc-pdpte", "psc-pml4e"};
  // Level 2: PDEs, 3: PDPTEs, 4: PML4Es. Null where the core has none.
  const TlbArray* array(Level level) const { return arrays_[level - 2].get(); }
  // The first byte of what an entry of `level` with this index maps.
  static VirtAddr page_of(Level level, uint64_t index);

 private:
  static TlbKey key(VirtAddr address, Level level, Pcid pcid);
  std::array<std::unique_ptr<TlbArray>, 3> arrays_;
};

}  // namespace vitro::hw
