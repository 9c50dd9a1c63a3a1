// One set-associative array of translations with a replacement policy. Also used, fully associative, for the paging-structure caches.
//
//   TlbKey key = TlbKey::of(address, PageSize::k4K, pcid);
//   uint32_t slot = array.find(key);
//   if (slot != TlbArray::kNone) array.touch(slot);             // a hit: the policy learns of it
//   else array.insert(key, Global::No, entry);                  // may evict
//
// Invariants: at most one valid slot matches a key; a slot is valid exactly where its tag is not 0.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "vitro/base/rng.h"
#include "vitro/base/types.h"
#include "vitro/hw/pte.h"
#include "vitro/hw/tlb_config.h"

namespace vitro::hw {

// Process-context identifier, CR3 bits 0..11.
struct Pcid : Unit<Pcid, uint16_t> {
  using Unit::Unit;
};

// What an entry says, packed: bits 12..51 the frame, below them the rights of all levels together.
struct TlbData {
  static constexpr uint64_t kWritable = 1, kExecutable = 2, kUser = 4, kDirty = 8, kGlobal = 16, kPiece = 32;
  uint64_t raw = 0;
  constexpr Pfn frame() const { return Pfn{raw >> kPageShift}; }
  constexpr bool has(uint64_t rights) const { return (raw & rights) == rights; }
};

// What identifies a page in an array: two tags, since a global page matches under every PCID.
//
//   63  52 51           16 15 14 13  12 11   0
//  +------+---------------+-----+--+--+------+
//  |  0   | page index    |size | G| V| PCID |     G = 1: PCID is 0
//  +------+---------------+-----+--+--+------+
struct TlbKey {
  static constexpr unsigned kIndexShift = 16, kSizeShift = 14;
  static constexpr uint64_t kGlobal = 1 << 13, kValid = 1 << 12, kPcidMask = 0xfff;
  uint64_t index = 0;  // the address in units of the page size
  uint64_t local = 0, global = 0;

  static constexpr TlbKey of(VirtAddr a, PageSize size, Pcid pcid) {
    return of_index((a.value() & ((uint64_t{1} << 48) - 1)) >> (kPageShift + 9 * static_cast<unsigned>(size)), size, pcid);
  }
  static constexpr TlbKey of_index(uint64_t index, PageSize size, Pcid pcid) {
    const uint64_t base = index << kIndexShift | static_cast<uint64_t>(size) << kSizeShift | kValid;
    return {index, base | (pcid.value() & kPcidMask), base | kGlobal};
  }
};

class TlbArray {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  struct Entry {
    uint64_t tag = 0;
    TlbData data;
    PageSize size() const { return static_cast<PageSize>(tag >> TlbKey::kSizeShift & 3); }
    bool global() const { return tag & TlbKey::kGlobal; }
    Pcid pcid() const { return Pcid{static_cast<uint16_t>(tag & TlbKey::kPcidMask)}; }
    uint64_t index() const { return tag >> TlbKey::kIndexShift; }
    // The first byte of the page, sign-extended from bit 47.
    VirtAddr page() const {
      const uint64_t low = index() << (kPageShift + 9 * static_cast<unsigned>(size()));
      return VirtAddr{static_cast<uint64_t>(static_cast<int64_t>(low << 16) >> 16)};
    }
  };

  // `geometry` must be valid (parse_tlb_geometry says what that is): CHECKed. `seed` is used by Replacement::Random only.
  TlbArray(const TlbGeometry& geometry, uint64_t seed);

  const TlbGeometry& geometry() const { return geometry_; }
  // Valid entries, of all pages or of one size.
  unsigned valid() const { return valid_[0] + valid_[1] + valid_[2]; }
  unsigned valid(PageSize size) const { return valid_[static_cast<size_t>(size)]; }

  // The slot that holds the key's page, or kNone. No effect on replacement.
  uint32_t find(const TlbKey& key) const {
    const uint32_t guess = guesses_[key.index & guess_mask_];
    if (const uint64_t tag = tags_[guess]; tag == key.local || tag == key.global) [[likely]] return guess;
    return search(key);
  }
  // Tells the policy of a hit.
  void touch(uint32_t slot) {
    if (geometry_.policy == Replacement::Lru) stamps_[slot] = ++clock_;
    else if (geometry_.policy == Replacement::TreePlru) touch_tree(slot);
  }
  Entry at(uint32_t slot) const { return {tags_[slot], data_[slot]}; }
  TlbData data(uint32_t slot) const { return data_[slot]; }
  bool valid_at(uint32_t slot) const { return tags_[slot] != 0; }
  void set_data(uint32_t slot, TlbData data) { data_[slot] = data; }

  // Puts a page that is not in the array into it; where its set is full, the policy's victim goes and is returned. A free way is taken
  // before any victim, the lowest first.
  std::optional<Entry> insert(const TlbKey& key, TlbData data);
  void remove(uint32_t slot);
  void clear();
  // Removes every entry for which `goes(entry)`; returns how many.
  template <class Predicate>
  unsigned remove_if(Predicate goes) {
    const unsigned before = valid();
    for (uint32_t slot = 0; slot < geometry_.entries && before != 0; ++slot)
      if (tags_[slot] != 0 && goes(at(slot))) remove(slot);
    return before - valid();
  }
  // 0 for the entry of its set that was used (LRU) or inserted (FIFO) last, 1 for the one before, ...; 0 under the other policies.
  unsigned age_rank(uint32_t slot) const;
  // Valid counts and duplicates recounted from scratch: CHECKs.
  void verify() const;

 private:
  uint32_t search(const TlbKey& key) const;
  void touch_tree(uint32_t slot);
  uint32_t victim(uint32_t first);
  void remove_from(uint32_t set, uint32_t slot);

  TlbGeometry geometry_;
  uint32_t set_mask_;
  uint32_t tree_leaves_;  // ways rounded up to a power of two
  std::vector<uint64_t> tags_;  // set by set, the ways of a set side by side
  std::vector<TlbData> data_;
  std::vector<uint64_t> stamps_;     // LRU: last use; FIFO: insertion
  std::vector<uint8_t> tree_;        // tree-PLRU: one node a byte, node 1 the root; 1 points right
  std::vector<uint32_t> set_valid_;  // valid ways of each set
  // Where an index was found last: only a guess, checked against the tag. It makes a hit one comparison, whatever the associativity.
  mutable std::vector<uint32_t> guesses_;
  uint64_t guess_mask_;
  uint64_t clock_ = 0;
  std::array<unsigned, 3> valid_{};
  Rng rng_;
};

}  // namespace vitro::hw
