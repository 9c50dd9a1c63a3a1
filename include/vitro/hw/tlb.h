// Translation look-aside buffers: the arrays of one logical CPU, as a hierarchy of two levels and the paging-structure caches.
//
// What is looked up where: a data access in l1d, a fetch in l1i; what misses there in l2 (or l2i, where the core has one); what misses
// there walks, starting at the deepest level that a paging-structure cache knows. A walk fills both levels, an l2 hit the first. The
// levels are neither inclusive nor exclusive: an l2 eviction leaves the first level alone.
//
// A hit is a lookup that finds the page with rights enough for the access. An entry without them (a write to one that is not yet known to
// be dirty, too) is a miss at that level, and what is learned replaces it in place: no eviction.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "vitro/base/types.h"
#include "vitro/hw/fault.h"
#include "vitro/hw/page_walker.h"
#include "vitro/hw/pte.h"
#include "vitro/hw/tlb_array.h"
#include "vitro/hw/tlb_config.h"

namespace vitro::hw {

class PagingStructureCaches;

// The rights that an entry must have to answer an access: TlbData bits.
constexpr uint64_t needed_rights(Access access, Privilege privilege) {
  return (access == Access::Write ? TlbData::kWritable | TlbData::kDirty : access == Access::Fetch ? TlbData::kExecutable : 0) |
         (privilege == Privilege::User ? TlbData::kUser : 0);
}

// Where a walk may start: at table `table` of `level`, with the rights of the levels above.
struct WalkStart {
  PhysAddr table;
  Level level = 4;
  UpperRights rights;
};

class TlbHierarchy {
 public:
  explicit TlbHierarchy(const TlbConfig& config);
  ~TlbHierarchy();
  TlbHierarchy(const TlbHierarchy&) = delete;
  TlbHierarchy& operator=(const TlbHierarchy&) = delete;

  const TlbConfig& config() const { return config_; }

  // --- the first level
  // True on a hit, of which the replacement policy then knows. This is the hot path of `exact` mode.
  bool hit_first(VirtAddr address, Access access, uint64_t rights, Pcid pcid) {
    const Found found = find(access == Access::Fetch ? l1i_ : l1d_, address, pcid);
    if (found.array == nullptr || !found.array->data(found.slot).has(rights)) return false;
    found.array->touch(found.slot);
    return true;
  }
  // The entry for an address, whatever its rights; no effect.
  std::optional<TlbData> peek_first(VirtAddr address, Access access, Pcid pcid) const;
  // Whether the first level holds an address as (a piece of) 4 KiB; and whether larger pages live in the same array at the moment.
  bool holds_small(VirtAddr address, Access access, Pcid pcid) const {
    return (access == Access::Fetch ? l1i_ : l1d_).by_size[0]->find(TlbKey::of(address, PageSize::k4K, pcid)) != TlbArray::kNone;
  }
  bool shares_with_large(Access access) const {
    const TlbArray& array = *(access == Access::Fetch ? l1i_ : l1d_).by_size[0];
    return array.valid() != array.valid(PageSize::k4K);
  }
  // Where the first level holds an address as data: which set, counted over all its arrays, and whether the set's policy looks at hits.
  struct FirstPlace {
    uint32_t set;
    VirtAddr page;
    PageSize size;
    bool hits_matter;
  };
  std::optional<FirstPlace> first_place(VirtAddr address, Pcid pcid) const;
  uint32_t first_sets() const;
  // What is cached once a page was inserted: the page itself, or the piece of it that the first level has room for.
  struct Evicted {
    VirtAddr page;
    PageSize size;
    Pcid pcid;
    bool global;
  };
  // Puts a translation into the first level. `frame_address` is where `address` lies in memory. Returns what had to go, if anything.
  std::optional<Evicted> insert_first(VirtAddr address, Access access, Pcid pcid, PageSize size, TlbData data);

  // --- what may answer a data access of 4 KiB without the tables: the first level, or else the second. No effect; count it with use().
  struct Cached {
    TlbData data;
    uint32_t slot;
    bool first;  // level
  };
  // Nullopt where neither has the page with these rights, and as long as larger pages are cached, which may answer too.
  std::optional<Cached> find_small(VirtAddr address, uint64_t rights, Pcid pcid) const {
    if (holds_large(l1d_) || holds_large(l2_)) return std::nullopt;
    const TlbKey key = TlbKey::of(address, PageSize::k4K, pcid);
    for (const LevelArrays* level : {&l1d_, &l2_}) {
      const TlbArray* array = level->by_size[0];
      if (array == nullptr) continue;
      const uint32_t slot = array->find(key);
      if (slot == TlbArray::kNone) continue;
      const TlbData data = array->data(slot);
      // A piece of a larger page is the business of whoever knows that page.
      if (!data.has(rights) || data.has(TlbData::kPiece)) return std::nullopt;
      return Cached{data, slot, level == &l1d_};
    }
    return std::nullopt;
  }
  // The policy of its level learns of the hit.
  void use(const Cached& c) { (c.first ? l1d_ : l2_).by_size[0]->touch(c.slot); }

  // --- the second level
  struct SecondHit {
    TlbData data;
    PageSize size;
  };
  std::optional<SecondHit> hit_second(VirtAddr address, Access access, uint64_t rights, Pcid pcid);
  std::optional<TlbData> peek_second(VirtAddr address, Access access, Pcid pcid) const;
  void insert_second(VirtAddr address, Access access, Pcid pcid, PageSize size, TlbData data);

  // --- the paging-structure caches
  WalkStart walk_start(VirtAddr address, PhysAddr root, Pcid pcid);
  // Remembers the tables that a completed walk, begun at `start`, went through.
  void remember_walk(VirtAddr address, Pcid pcid, const WalkStart& start, std::span<const WalkStep> steps);

  // --- invalidation (SDM 4.10.4.1)
  // INVLPG and INVPCID type 0: one page, whatever its size, in one address space, also where it is global; and all that the
  // paging-structure caches hold of that address space. All pieces of larger pages go too; true where there were any.
  bool invalidate_page(VirtAddr address, Pcid pcid);
  // INVPCID type 1, MOV to CR3: all non-global translations of one address space.
  void flush_pcid(Pcid pcid);
  // INVPCID type 3, MOV to CR3 without PCIDs: all non-global translations.
  void flush_non_global();
  // INVPCID type 2: everything.
  void flush_all();

  // --- inspection
  struct Slot {
    std::string_view array;  // "l1d-4k", "l2", "psc-pde", ...
    unsigned set = 0, way = 0;
    unsigned age = 0;        // 0: used (LRU) or inserted (FIFO) last in its set
    VirtAddr page;           // first byte; in a paging-structure cache of what the table maps
    PageSize size = PageSize::k4K;
    Pcid pcid;
    bool global = false;
    TlbData data;            // in a paging-structure cache the frame is the next table's
  };
  struct ArrayInfo {
    std::string_view name;
    TlbGeometry geometry;
    unsigned valid = 0;
  };
  std::vector<ArrayInfo> arrays() const;
  // Every valid slot: array by array, set by set, way by way.
  void visit(const std::function<void(const Slot&)>& visitor) const;
  // CHECKs the arrays' own invariants.
  void verify() const;

 private:
  // The array for each page size; one array may serve several, and a size may have none.
  struct LevelArrays {
    std::array<TlbArray*, 3> by_size{};
  };
  struct Found {
    TlbArray* array = nullptr;
    uint32_t slot = 0;
  };
  struct Named {
    std::string_view name;
    std::unique_ptr<TlbArray> array;
  };

  static Found find(const LevelArrays& level, VirtAddr address, Pcid pcid) {
    for (unsigned s = 0; s < 3; ++s) {
      TlbArray* array = level.by_size[s];
      const auto size = static_cast<PageSize>(s);
      if (array == nullptr || array->valid(size) == 0) continue;
      if (const uint32_t slot = array->find(TlbKey::of(address, size, pcid)); slot != TlbArray::kNone) return {array, slot};
    }
    return {};
  }
  static bool holds_large(const LevelArrays& level) {
    for (const PageSize size : {PageSize::k2M, PageSize::k1G})
      if (const TlbArray* array = level.by_size[static_cast<size_t>(size)]; array != nullptr && array->valid(size) != 0) return true;
    return false;
  }
  const LevelArrays& second(Access access) const { return access == Access::Fetch && has_l2i_ ? l2i_ : l2_; }
  TlbArray* make(std::string_view name, const TlbGeometry& geometry);
  std::optional<TlbArray::Entry> insert(TlbArray& array, VirtAddr address, Pcid pcid, PageSize size, TlbData data);

  TlbConfig config_;
  LevelArrays l1d_, l1i_, l2_, l2i_;
  bool has_l2i_ = false;
  bool holds_pieces_ = false;  // some first-level entry is a piece of a larger page
  std::vector<Named> arrays_;
  std::unique_ptr<PagingStructureCaches> structures_;
};

}  // namespace vitro::hw
