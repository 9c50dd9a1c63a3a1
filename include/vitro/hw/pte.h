// The x86-64 page-table entry: bit layout only (SDM volume 3, 4.5, tables 4-14 to 4-20).
//
//  63 62    52 51                12 11  9  8  7  6 5  4   3   2 1 0
// +--+--------+--------------------+-----+--+--+--+-+---+---+---+-+-+
// |NX| ignored|    frame address   | soft| G|PS| D|A|PCD|PWT|U/S|W|P|
// +--+--------+--------------------+-----+--+--+--+-+---+---+---+-+-+
#pragma once

#include <cstdint>

#include "vitro/base/types.h"

namespace vitro::hw {

inline constexpr unsigned kPhysicalBits = 40;  // MAXPHYADDR of the model, as CPUID reports it; bits 40..51 are reserved
inline constexpr unsigned kEntriesPerTable = 512;

struct Pte {
  uint64_t raw = 0;

  static constexpr uint64_t kPresent = 1ull << 0, kWritable = 1ull << 1, kUser = 1ull << 2, kWriteThrough = 1ull << 3,
                            kCacheDisable = 1ull << 4, kAccessed = 1ull << 5, kDirty = 1ull << 6, kLarge = 1ull << 7,
                            kGlobal = 1ull << 8, kSoft1 = 1ull << 9, kSoft2 = 1ull << 10, kSoft3 = 1ull << 11, kNoExecute = 1ull << 63;
  static constexpr uint64_t kFrameMask = 0x000f'ffff'ffff'f000;
  static constexpr uint64_t kReservedMask = 0x000f'ffff'ffff'ffff & ~((1ull << kPhysicalBits) - 1);

  constexpr bool present() const { return raw & kPresent; }
  constexpr bool writable() const { return raw & kWritable; }
  constexpr bool user() const { return raw & kUser; }
  constexpr bool accessed() const { return raw & kAccessed; }
  constexpr bool dirty() const { return raw & kDirty; }
  constexpr bool large() const { return raw & kLarge; }
  constexpr bool global() const { return raw & kGlobal; }
  constexpr bool no_execute() const { return raw & kNoExecute; }
  constexpr Pfn pfn() const { return Pfn{(raw & kFrameMask) >> kPageShift}; }
  constexpr Pte with(uint64_t bits) const { return Pte{raw | bits}; }
  constexpr Pte without(uint64_t bits) const { return Pte{raw & ~bits}; }
  constexpr bool operator==(const Pte&) const = default;
};
constexpr Pte make_pte(Pfn frame, uint64_t flags) { return Pte{(frame.value() << kPageShift) | flags}; }

// Level 4 is the PGD (PML4), 3 the PUD (PDPT), 2 the PMD (PD), 1 the PTE (PT).
using Level = unsigned;
constexpr unsigned table_index(VirtAddr a, Level level) { return (a.value() >> (kPageShift + 9 * (level - 1))) & (kEntriesPerTable - 1); }
// What one entry of a level maps: 4 KiB, 2 MiB, 1 GiB, 512 GiB.
constexpr Bytes entry_span(Level level) { return Bytes{kPageSize << (9 * (level - 1))}; }
constexpr bool canonical(VirtAddr a) { return static_cast<uint64_t>(static_cast<int64_t>(a.value() << 16) >> 16) == a.value(); }

enum class PageSize : uint8_t { k4K, k2M, k1G };
constexpr Bytes bytes(PageSize s) { return Bytes{kPageSize << (9 * static_cast<unsigned>(s))}; }

}  // namespace vitro::hw
