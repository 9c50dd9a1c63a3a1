// Which TLBs a core has: sizes, associativity, replacement. Presets are named after real cores.
//
//   TlbGeometry g = TRY(parse_tlb_geometry("64x4:lru"));       // 64 entries, 4 ways: 16 sets
//   TlbConfig config = find_tlb_preset("haswell")->config;
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "vitro/base/result.h"

namespace vitro::hw {

enum class Replacement : uint8_t { Lru, TreePlru, Fifo, Random };
std::string_view replacement_name(Replacement r);  // "lru", "plru", "fifo", "random"

struct TlbGeometry {
  unsigned entries = 64;
  unsigned ways = 4;  // entries / ways sets, a power of two
  Replacement policy = Replacement::Lru;
  constexpr unsigned sets() const { return ways == 0 ? 0 : entries / ways; }
  constexpr bool operator==(const TlbGeometry&) const = default;
};
inline constexpr unsigned kMaximumTlbEntries = 65536;
// "64x4", "64x4:fifo". Errors name what is wrong with it (0 ways, ways > entries, sets not a power of two, unknown policy).
Result<TlbGeometry, UserError> parse_tlb_geometry(std::string_view text);
// The inverse: "64x4:lru"; "none" for an array that does not exist.
std::string to_string(const TlbGeometry& geometry);

// A TLB that a core does not have.
inline constexpr TlbGeometry kNoTlb{0, 0, Replacement::Lru};

// Which TLBs a core has. The default is Skylake-like: see docs/tlb.md for the sources.
//
// Where a first level has no array for a page size, it keeps the piece that was used as a smaller page, as cores do (SDM 4.10.2.3). Where
// a second level has none, such pages are not in it and a first-level miss walks.
struct TlbConfig {
  TlbGeometry l1i{128, 8, Replacement::Lru};
  TlbGeometry l1d_4k{64, 4, Replacement::Lru};
  TlbGeometry l1d_2m{32, 4, Replacement::Lru};  // may be kNoTlb
  TlbGeometry l1d_1g{4, 4, Replacement::Lru};   // may be kNoTlb
  TlbGeometry l2{1536, 12, Replacement::Lru};   // shared by 4 KiB and 2 MiB pages
  unsigned psc_pml4e = 16, psc_pdpte = 16, psc_pde = 32;  // paging-structure caches, fully associative; 0: none
  bool pcid = true;   // CR4.PCIDE; without it every load of CR3 flushes all that is not global
  uint64_t seed = 1;  // for Replacement::Random

  TlbGeometry l1i_2m{8, 8, Replacement::Lru};   // for 2 MiB pages; kNoTlb: they live in l1i as 4 KiB pieces
  bool l1_holds_all_sizes = false;              // l1i and l1d_4k hold pages of every size (AMD); the other first-level arrays are not used
  bool l2_holds_2m = true;                      // false: l2 holds 4 KiB pages only
  TlbGeometry l2_1g{16, 4, Replacement::Lru};   // 1 GiB pages in the second level, or kNoTlb
  TlbGeometry l2i = kNoTlb;                     // a second level of its own for instructions (AMD); kNoTlb: l2 serves both
};

struct TlbPreset {
  std::string_view name;         // "skylake"
  std::string_view description;  // "Intel Skylake client (2015)"
  std::string_view source;       // where the figures come from
  TlbConfig config;
};
std::span<const TlbPreset> tlb_presets();
// Null where there is none of this name.
const TlbPreset* find_tlb_preset(std::string_view name);

}  // namespace vitro::hw
