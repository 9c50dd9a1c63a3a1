#include "paging_structure_cache.h"

namespace vitro::hw {
namespace {

constexpr unsigned shift_of(Level level) { return kPageShift + 9 * (level - 1); }

TlbData pack(PhysAddr table, UpperRights rights) {
  return TlbData{table.value() | (rights.writable ? TlbData::kWritable : 0) | (rights.executable ? TlbData::kExecutable : 0) |
                 (rights.user ? TlbData::kUser : 0)};
}

}  // namespace

PagingStructureCaches::PagingStructureCaches(const TlbConfig& config) {
  const std::array<unsigned, 3> entries{config.psc_pde, config.psc_pdpte, config.psc_pml4e};
  for (size_t i = 0; i < 3; ++i)
    if (entries[i] != 0) arrays_[i] = std::make_unique<TlbArray>(TlbGeometry{entries[i], entries[i], Replacement::Lru}, config.seed);
}

// Entries of these caches are never global: the G bit means nothing above the leaf.
TlbKey PagingStructureCaches::key(VirtAddr address, Level level, Pcid pcid) {
  return TlbKey::of_index((address.value() & ((uint64_t{1} << 48) - 1)) >> shift_of(level), PageSize::k4K, pcid);
}

VirtAddr PagingStructureCaches::page_of(Level level, uint64_t index) {
  return VirtAddr{static_cast<uint64_t>(static_cast<int64_t>(index << shift_of(level) << 16) >> 16)};
}

WalkStart PagingStructureCaches::start(VirtAddr address, PhysAddr root, Pcid pcid) {
  for (Level level = 2; level <= 4; ++level) {
    TlbArray* array = arrays_[level - 2].get();
    if (array == nullptr) continue;
    const uint32_t slot = array->find(key(address, level, pcid));
    if (slot == TlbArray::kNone) continue;
    array->touch(slot);
    const TlbData data = array->data(slot);
    return {data.frame().address(), level - 1, {data.has(TlbData::kWritable), data.has(TlbData::kExecutable), data.has(TlbData::kUser)}};
  }
  return {root, 4, {}};
}

void PagingStructureCaches::remember(VirtAddr address, Pcid pcid, const WalkStart& start, std::span<const WalkStep> steps) {
  UpperRights rights = start.rights;
  // The last entry read is the leaf: it leads to no table.
  for (unsigned i = 0; i + 1 < steps.size(); ++i) {
    const auto& [level, entry_address, entry] = steps[i];
    rights.writable = rights.writable && entry.writable();
    rights.executable = rights.executable && !entry.no_execute();
    rights.user = rights.user && entry.user();
    TlbArray* array = arrays_[level - 2].get();
    if (array == nullptr) continue;
    const TlbKey k = key(address, level, pcid);
    const TlbData data = pack(entry.pfn().address(), rights);
    if (const uint32_t slot = array->find(k); slot != TlbArray::kNone)
      array->set_data(slot, data), array->touch(slot);
    else
      array->insert(k, data);
  }
}

void PagingStructureCaches::flush_pcid(Pcid pcid) {
  for (auto& array : arrays_)
    if (array) array->remove_if([pcid](const TlbArray::Entry& e) { return e.pcid() == pcid; });
}

void PagingStructureCaches::flush_all() {
  for (auto& array : arrays_)
    if (array) array->clear();
}

}  // namespace vitro::hw
