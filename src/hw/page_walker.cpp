// The walk itself. Order of checks, as in SDM 4.7: not present before reserved bits, level by level; rights once the leaf is known.
#include "vitro/hw/page_walker.h"

namespace vitro::hw {
namespace {

// Bits of an entry that must be 0: above MAXPHYADDR everywhere; PS in a PML4 entry (SDM table 4-15); the address bits inside a large page
// (tables 4-16 and 4-18; bit 12 is PAT).
constexpr uint64_t reserved_bits(Pte entry, Level level) {
  if (level == 4) return Pte::kReservedMask | Pte::kLarge;
  if (level == 1 || !entry.large()) return Pte::kReservedMask;
  return Pte::kReservedMask | ((entry_span(level).value() - 1) & Pte::kFrameMask & ~kPageSize);
}

constexpr uint32_t access_bits(Access access, Privilege privilege) {
  return (access == Access::Write ? FaultCode::kWrite : 0) | (access == Access::Fetch ? FaultCode::kFetch : 0) |
         (privilege == Privilege::User ? FaultCode::kUser : 0);
}

}  // namespace

WalkResult walk(Ram& ram, PhysAddr root, VirtAddr address, Access access, Privilege privilege, SetAccessedDirty set, Level first_level,
                UpperRights upper) {
  WalkResult result;
  result.fault.address = address;
  if (!canonical(address)) {
    result.fault.general_protection = true;
    return result;
  }
  result.writable = upper.writable;
  result.executable = upper.executable;
  result.user = upper.user;

  constexpr uint32_t kRefused = FaultCode::kProtection, kReserved = FaultCode::kProtection | FaultCode::kReserved;
  uint32_t why = 0;  // not present
  PhysAddr table = root.page_floor();
  for (Level level = first_level;; --level) {
    const PhysAddr entry_address = table + Bytes{table_index(address, level) * sizeof(uint64_t)};
    if (!ram.contains(entry_address, Bytes{sizeof(uint64_t)})) {
      why = kReserved;
      break;
    }
    uint64_t& raw = ram.at<uint64_t>(entry_address);
    Pte entry{raw};
    result.steps[result.references++] = {level, entry_address, entry};
    if (!entry.present()) break;
    if (entry.raw & reserved_bits(entry, level)) {
      why = kReserved;
      break;
    }
    result.writable = result.writable && entry.writable();
    result.user = result.user && entry.user();
    result.executable = result.executable && !entry.no_execute();

    if (level != 1 && !entry.large()) {
      // An entry that leads to a table has been used, whatever comes of the walk: Accessed is set here (SDM 4.8).
      if (set == SetAccessedDirty::Yes && !entry.accessed()) raw = entry.with(Pte::kAccessed).raw;
      table = entry.pfn().address();
      continue;
    }

    const Bytes span = entry_span(level);
    const PhysAddr page{entry.raw & Pte::kFrameMask & ~(span.value() - 1)};
    if (!ram.contains(page, span)) {
      why = kReserved;
      break;
    }
    if ((privilege == Privilege::User && !result.user) || (access == Access::Write && !result.writable) ||
        (access == Access::Fetch && !result.executable)) {
      why = kRefused;
      break;
    }
    if (set == SetAccessedDirty::Yes) {
      entry = entry.with(Pte::kAccessed | (access == Access::Write ? Pte::kDirty : 0));
      if (entry.raw != raw) raw = entry.raw;
    }
    result.ok = true;
    result.leaf = entry;
    result.size = static_cast<PageSize>(level - 1);
    result.address = page + Bytes{address.value() & (span.value() - 1)};
    return result;
  }
  result.fault.error_code = why | access_bits(access, privilege);
  return result;
}

}  // namespace vitro::hw
