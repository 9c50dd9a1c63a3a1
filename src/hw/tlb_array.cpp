// Replacement: LRU and FIFO by time stamps, tree-PLRU by a bit a node, random from the seeded generator.
#include "vitro/hw/tlb_array.h"

#include <algorithm>
#include <bit>

#include "vitro/base/check.h"

namespace vitro::hw {

TlbArray::TlbArray(const TlbGeometry& geometry, uint64_t seed)
    : geometry_(geometry), set_mask_(geometry.sets() - 1), tree_leaves_(std::bit_ceil(geometry.ways)), rng_(seed) {
  CHECK(geometry.entries >= 1 && geometry.ways >= 1 && geometry.entries <= kMaximumTlbEntries && geometry.entries % geometry.ways == 0 &&
            std::has_single_bit(geometry.sets()),
        "TLB geometry {}x{}", geometry.entries, geometry.ways);
  tags_.resize(geometry.entries);
  data_.resize(geometry.entries);
  stamps_.resize(geometry.entries);
  set_valid_.resize(geometry.sets());
  if (geometry.policy == Replacement::TreePlru) tree_.resize(size_t{geometry.sets()} * tree_leaves_);
  guesses_.resize(std::bit_ceil(std::max(64u, 4 * geometry.entries)));
  guess_mask_ = guesses_.size() - 1;
}

uint32_t TlbArray::search(const TlbKey& key) const {
  const uint32_t first = static_cast<uint32_t>(key.index & set_mask_) * geometry_.ways;
  const uint64_t* tags = tags_.data() + first;
  for (uint32_t way = 0; way < geometry_.ways; ++way)
    if (tags[way] == key.local || tags[way] == key.global) return guesses_[key.index & guess_mask_] = first + way;
  return kNone;
}

void TlbArray::touch_tree(uint32_t slot) {
  const uint32_t set = slot / geometry_.ways, way = slot % geometry_.ways;
  uint8_t* nodes = tree_.data() + size_t{set} * tree_leaves_;
  uint32_t node = 1;
  for (uint32_t half = tree_leaves_ / 2; half != 0; half /= 2) {
    const bool right = way & half;
    nodes[node] = !right;
    node = 2 * node + right;
  }
}

// The victim of a full set whose first slot is `first`.
uint32_t TlbArray::victim(uint32_t first) {
  switch (geometry_.policy) {
    case Replacement::Lru:
    case Replacement::Fifo: {
      // Without branches: which way is the oldest, nothing can predict.
      const uint64_t* stamps = stamps_.data() + first;
      uint64_t oldest = stamps[0];
      uint32_t way = 0;
      for (uint32_t other = 1; other < geometry_.ways; ++other) {
        const bool older = stamps[other] < oldest;
        oldest = older ? stamps[other] : oldest;
        way = older ? other : way;
      }
      return first + way;
    }
    case Replacement::TreePlru: {
      const uint8_t* nodes = tree_.data() + size_t{first / geometry_.ways} * tree_leaves_;
      uint32_t node = 1, way = 0;
      for (uint32_t half = tree_leaves_ / 2; half != 0; half /= 2) {
        // Where the ways are no power of two, the right half may hold none.
        const bool right = nodes[node] && way + half < geometry_.ways;
        way += right ? half : 0;
        node = 2 * node + right;
      }
      return first + way;
    }
    case Replacement::Random:
      break;
  }
  return first + static_cast<uint32_t>(rng_.below(geometry_.ways));
}

std::optional<TlbArray::Entry> TlbArray::insert(const TlbKey& key, TlbData data) {
  DCHECK(find(key) == kNone, "tag {:#x} is in the array already", key.local);
  const uint32_t set = static_cast<uint32_t>(key.index & set_mask_), first = set * geometry_.ways;
  std::optional<Entry> evicted;
  uint32_t slot = first;
  if (set_valid_[set] < geometry_.ways) {
    while (tags_[slot] != 0) ++slot;
  } else {
    slot = victim(first);
    evicted = at(slot);
    remove_from(set, slot);
  }
  tags_[slot] = data.raw & TlbData::kGlobal ? key.global : key.local;
  data_[slot] = data;
  stamps_[slot] = ++clock_;
  if (geometry_.policy == Replacement::TreePlru) touch_tree(slot);
  ++set_valid_[set];
  ++valid_[key.local >> TlbKey::kSizeShift & 3];
  guesses_[key.index & guess_mask_] = slot;
  return evicted;
}

void TlbArray::remove(uint32_t slot) { remove_from(slot / geometry_.ways, slot); }

void TlbArray::remove_from(uint32_t set, uint32_t slot) {
  DCHECK(tags_[slot] != 0, "slot {} is empty", slot);
  --valid_[tags_[slot] >> TlbKey::kSizeShift & 3];
  --set_valid_[set];
  tags_[slot] = 0;
}

void TlbArray::clear() {
  if (valid() == 0) return;
  std::fill(tags_.begin(), tags_.end(), 0);
  std::fill(set_valid_.begin(), set_valid_.end(), 0);
  valid_ = {};
}

unsigned TlbArray::age_rank(uint32_t slot) const {
  if (geometry_.policy != Replacement::Lru && geometry_.policy != Replacement::Fifo) return 0;
  const uint32_t first = slot / geometry_.ways * geometry_.ways;
  unsigned rank = 0;
  for (uint32_t other = first; other < first + geometry_.ways; ++other) rank += tags_[other] != 0 && stamps_[other] > stamps_[slot];
  return rank;
}

void TlbArray::verify() const {
  std::array<unsigned, 3> valid{};
  for (uint32_t set = 0; set < geometry_.sets(); ++set) {
    unsigned ways = 0;
    for (uint32_t slot = set * geometry_.ways; slot < (set + 1) * geometry_.ways; ++slot) {
      if (tags_[slot] == 0) continue;
      const Entry entry = at(slot);
      ++ways;
      ++valid[static_cast<size_t>(entry.size())];
      CHECK((entry.index() & set_mask_) == set, "tag {:#x} is in set {}", entry.tag, set);
      CHECK(entry.global() == ((entry.data.raw & TlbData::kGlobal) != 0), "tag {:#x}, data {:#x}", entry.tag, entry.data.raw);
      for (uint32_t other = slot + 1; other < (set + 1) * geometry_.ways; ++other)
        CHECK(tags_[other] != tags_[slot], "tag {:#x} twice in set {}", tags_[slot], set);
    }
    CHECK(ways == set_valid_[set], "set {} holds {} entries, counted {}", set, ways, set_valid_[set]);
  }
  CHECK(valid == valid_, "{}/{}/{} entries", valid_[0], valid_[1], valid_[2]);
}

}  // namespace vitro::hw
