// Who allocated what, at which line, and who gave it back: the lab's own book, beside the allocators' state. It is what lets a report name lines.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "vitro/base/types.h"
#include "vitro/mm/gfp.h"
#include "vitro/mm/slab.h"

namespace vitro::lab {

struct Allocation {
  enum class Kind : uint8_t { Object, LargeKmalloc, Pages, Vmalloc, Vmap, Kmap, UserMemory };
  uint32_t id = 0;             // from 1
  Kind kind = Kind::Object;
  std::string name;            // the variable, "p" or "p[3]"; "(nobody)" where the result was thrown away
  std::string call;            // as written
  unsigned line = 0, freed_line = 0;  // freed_line 0: it is live
  VirtAddr address{0};         // 0: pages without an address (HighMem)
  Pfn first{0};                // Pages
  Order order{0};              // Pages
  Bytes size{0};               // as asked for
  mm::SlabCache* cache = nullptr;  // Object. Valid while the cache exists
  std::string cache_name;
  uint32_t mapped_by = 0;      // Pages: the live vmap or kmap that shows them; 0: none
  bool live() const { return freed_line == 0; }
};

class Ledger {
 public:
  // Returns its number. The allocation at the same address before it, if any, is history.
  uint32_t add(Allocation a);
  void free(uint32_t id, unsigned line);
  Allocation& at(uint32_t id) { return all_[id - 1]; }
  const Allocation& at(uint32_t id) const { return all_[id - 1]; }
  // The latest one that starts at `a`, live or not; null where there never was one.
  const Allocation* find(VirtAddr a) const;
  // The live one that `a` lies in, by the sizes asked for.
  const Allocation* containing(VirtAddr a) const;
  // The latest one whose block holds the frame, live or not.
  const Allocation* of_frame(Pfn f) const;
  const std::vector<Allocation>& all() const { return all_; }

 private:
  std::vector<Allocation> all_;
  std::map<uint64_t, uint32_t> by_address_;  // latest
  std::map<uint64_t, uint32_t> by_frame_;    // first frames of Pages, latest
};

}  // namespace vitro::lab
