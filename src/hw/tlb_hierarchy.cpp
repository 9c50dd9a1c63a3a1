#include <algorithm>

#include "paging_structure_cache.h"
#include "vitro/base/check.h"
#include "vitro/hw/tlb.h"

namespace vitro::hw {

TlbHierarchy::TlbHierarchy(const TlbConfig& config) : config_(config), structures_(std::make_unique<PagingStructureCaches>(config)) {
  TlbArray* data = make("l1d-4k", config.l1d_4k);
  TlbArray* code = make("l1i", config.l1i);
  CHECK(data != nullptr && code != nullptr, "a core needs first-level TLBs for 4 KiB pages");
  if (config.l1_holds_all_sizes) {
    l1d_.by_size = {data, data, data};
    l1i_.by_size = {code, code, code};
  } else {
    l1d_.by_size = {data, make("l1d-2m", config.l1d_2m), make("l1d-1g", config.l1d_1g)};
    l1i_.by_size = {code, make("l1i-2m", config.l1i_2m), nullptr};
  }
  TlbArray* l2 = make("l2", config.l2);
  l2_.by_size = {l2, config.l2_holds_2m ? l2 : nullptr, make("l2-1g", config.l2_1g)};
  if (TlbArray* l2i = make("l2i", config.l2i)) {
    l2i_.by_size = {l2i, l2i, nullptr};
    has_l2i_ = true;
  }
}

TlbHierarchy::~TlbHierarchy() = default;

TlbArray* TlbHierarchy::make(std::string_view name, const TlbGeometry& geometry) {
  if (geometry.entries == 0) return nullptr;
  // Each array draws its own random numbers, so that one array's misses do not change another's victims.
  arrays_.push_back({name, std::make_unique<TlbArray>(geometry, config_.seed * 0x9e3779b97f4a7c15 + arrays_.size())});
  return arrays_.back().array.get();
}

std::optional<TlbData> TlbHierarchy::peek_first(VirtAddr address, Access access, Pcid pcid) const {
  const Found found = find(access == Access::Fetch ? l1i_ : l1d_, address, pcid);
  if (found.array == nullptr) return std::nullopt;
  return found.array->data(found.slot);
}

std::optional<TlbHierarchy::FirstPlace> TlbHierarchy::first_place(VirtAddr address, Pcid pcid) const {
  const Found found = find(l1d_, address, pcid);
  if (found.array == nullptr) return std::nullopt;
  const TlbArray::Entry entry = found.array->at(found.slot);
  uint32_t set = found.slot / found.array->geometry().ways;
  for (const TlbArray* array : l1d_.by_size) {
    if (array == found.array) break;
    if (array != nullptr) set += array->geometry().sets();
  }
  const Replacement policy = found.array->geometry().policy;
  return FirstPlace{set, entry.page(), entry.size(), policy == Replacement::Lru || policy == Replacement::TreePlru};
}

uint32_t TlbHierarchy::first_sets() const {
  uint32_t sets = 0;
  for (const TlbArray* array : l1d_.by_size) sets += array == nullptr ? 0 : array->geometry().sets();
  return sets;
}

std::optional<TlbData> TlbHierarchy::peek_second(VirtAddr address, Access access, Pcid pcid) const {
  const Found found = find(second(access), address, pcid);
  if (found.array == nullptr) return std::nullopt;
  return found.array->data(found.slot);
}

std::optional<TlbHierarchy::SecondHit> TlbHierarchy::hit_second(VirtAddr address, Access access, uint64_t rights, Pcid pcid) {
  const Found found = find(second(access), address, pcid);
  if (found.array == nullptr || !found.array->data(found.slot).has(rights)) return std::nullopt;
  found.array->touch(found.slot);
  const TlbArray::Entry entry = found.array->at(found.slot);
  return SecondHit{entry.data, entry.size()};
}

std::optional<TlbArray::Entry> TlbHierarchy::insert(TlbArray& array, VirtAddr address, Pcid pcid, PageSize size, TlbData data) {
  const TlbKey key = TlbKey::of(address, size, pcid);
  if (const uint32_t slot = array.find(key); slot != TlbArray::kNone) {
    const bool global = data.has(TlbData::kGlobal);
    if (array.at(slot).global() == global) {
      array.set_data(slot, data);
      array.touch(slot);
      return std::nullopt;
    }
    array.remove(slot);  // the tag differs; the slot is free for it
  }
  return array.insert(key, data);
}

std::optional<TlbHierarchy::Evicted> TlbHierarchy::insert_first(VirtAddr address, Access access, Pcid pcid, PageSize size, TlbData data) {
  const LevelArrays& level = access == Access::Fetch ? l1i_ : l1d_;
  while (level.by_size[static_cast<size_t>(size)] == nullptr) {
    // No array for this size: keep the next smaller piece that holds the address.
    size = static_cast<PageSize>(static_cast<unsigned>(size) - 1);
    const uint64_t offset = address.value() & (bytes(static_cast<PageSize>(static_cast<unsigned>(size) + 1)).value() - 1);
    data.raw = (data.raw + (offset & ~(bytes(size).value() - 1))) | TlbData::kPiece;
    holds_pieces_ = true;
  }
  const auto evicted = insert(*level.by_size[static_cast<size_t>(size)], address, pcid, size, data);
  if (!evicted) return std::nullopt;
  return Evicted{evicted->page(), evicted->size(), evicted->pcid(), evicted->global()};
}

void TlbHierarchy::insert_second(VirtAddr address, Access access, Pcid pcid, PageSize size, TlbData data) {
  if (TlbArray* array = second(access).by_size[static_cast<size_t>(size)]) insert(*array, address, pcid, size, data);
}

WalkStart TlbHierarchy::walk_start(VirtAddr address, PhysAddr root, Pcid pcid) { return structures_->start(address, root, pcid); }

void TlbHierarchy::remember_walk(VirtAddr address, Pcid pcid, const WalkStart& start, std::span<const WalkStep> steps) {
  structures_->remember(address, pcid, start, steps);
}

bool TlbHierarchy::invalidate_page(VirtAddr address, Pcid pcid) {
  unsigned pieces = 0;
  for (const Named& named : arrays_) {
    for (PageSize size : {PageSize::k4K, PageSize::k2M, PageSize::k1G}) {
      if (named.array->valid(size) == 0) continue;
      // Twice: a page may be held as global and, from before it became global, for its address space.
      while (true) {
        const uint32_t slot = named.array->find(TlbKey::of(address, size, pcid));
        if (slot == TlbArray::kNone) break;
        named.array->remove(slot);
      }
    }
    // Pieces do not know the page they came from, so all of them go: allowed by SDM 4.10.4.1, and rare. AMD's cores flush everything here
    // (Software Optimization Guide for Family 16h, 2.6.3).
    if (holds_pieces_)
      pieces += named.array->remove_if(
          [pcid](const TlbArray::Entry& e) { return e.data.has(TlbData::kPiece) && (e.global() || e.pcid() == pcid); });
  }
  structures_->flush_pcid(pcid);
  return pieces != 0;
}

void TlbHierarchy::flush_pcid(Pcid pcid) {
  for (const Named& named : arrays_) named.array->remove_if([pcid](const TlbArray::Entry& e) { return !e.global() && e.pcid() == pcid; });
  structures_->flush_pcid(pcid);
}

void TlbHierarchy::flush_non_global() {
  for (const Named& named : arrays_) named.array->remove_if([](const TlbArray::Entry& e) { return !e.global(); });
  structures_->flush_all();
}

void TlbHierarchy::flush_all() {
  for (const Named& named : arrays_) named.array->clear();
  structures_->flush_all();
  holds_pieces_ = false;
}

std::vector<TlbHierarchy::ArrayInfo> TlbHierarchy::arrays() const {
  std::vector<ArrayInfo> all;
  for (const Named& named : arrays_) all.push_back({named.name, named.array->geometry(), named.array->valid()});
  for (Level level = 2; level <= 4; ++level)
    if (const TlbArray* array = structures_->array(level))
      all.push_back({PagingStructureCaches::kNames[level - 2], array->geometry(), array->valid()});
  return all;
}

void TlbHierarchy::visit(const std::function<void(const Slot&)>& visitor) const {
  const auto visit_array = [&](std::string_view name, const TlbArray& array, auto page_of) {
    const unsigned ways = array.geometry().ways;
    for (uint32_t slot = 0; slot < array.geometry().entries; ++slot) {
      if (!array.valid_at(slot)) continue;
      const TlbArray::Entry entry = array.at(slot);
      visitor(
          {name, slot / ways, slot % ways, array.age_rank(slot), page_of(entry), entry.size(), entry.pcid(), entry.global(), entry.data});
    }
  };
  for (const Named& named : arrays_) visit_array(named.name, *named.array, [](const TlbArray::Entry& e) { return e.page(); });
  for (Level level = 2; level <= 4; ++level)
    if (const TlbArray* array = structures_->array(level))
      visit_array(PagingStructureCaches::kNames[level - 2], *array,
                  [level](const TlbArray::Entry& e) { return PagingStructureCaches::page_of(level, e.index()); });
}

void TlbHierarchy::verify() const {
  for (const Named& named : arrays_) named.array->verify();
  for (Level level = 2; level <= 4; ++level)
    if (const TlbArray* array = structures_->array(level)) array->verify();
}

}  // namespace vitro::hw
