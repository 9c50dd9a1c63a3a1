// Which block holds each page of a file: sparse, 512 pages to a chunk, like the indirect blocks of ext2.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>

namespace vitro::fs {

class BlockMap {
 public:
  static constexpr uint64_t kHole = 0;                 // no block
  static constexpr uint64_t kReserved = UINT64_MAX;    // a block is set aside but not chosen yet (delayed allocation)
  static constexpr uint64_t kChunk = 512;

  // kHole, kReserved, or a block number + 1.
  uint64_t get(uint64_t page) const {
    const auto c = chunks_.find(page / kChunk);
    return c == chunks_.end() ? kHole : c->second->slots[page % kChunk];
  }
  void set(uint64_t page, uint64_t value) {
    auto c = chunks_.find(page / kChunk);
    if (c == chunks_.end()) {
      if (value == kHole) return;
      c = chunks_.emplace(page / kChunk, std::make_unique<Chunk>()).first;
    }
    uint64_t& slot = c->second->slots[page % kChunk];
    const int delta = (value != kHole) - (slot != kHole);
    slot = value;
    count_ += static_cast<uint64_t>(delta);
    if ((c->second->used += delta) == 0) chunks_.erase(c);
  }
  // Whether a page of [first, last] is not a hole.
  bool any(uint64_t first, uint64_t last) const {
    for (auto c = chunks_.lower_bound(first / kChunk); c != chunks_.end() && c->first <= last / kChunk; ++c)
      for (uint64_t i = 0; i < kChunk; ++i)
        if (c->second->slots[i] != kHole && c->first * kChunk + i >= first && c->first * kChunk + i <= last) return true;
    return false;
  }
  // Pages that are not holes.
  uint64_t count() const { return count_; }
  // Removes every page in [first, last], telling `gone(value)` of each. Costs what is there, not the length of the range.
  template <class F>
  void remove(uint64_t first, uint64_t last, F gone) {
    for (auto c = chunks_.lower_bound(first / kChunk); c != chunks_.end() && c->first <= last / kChunk;) {
      const uint64_t base = c->first * kChunk;
      for (uint64_t i = 0; i < kChunk; ++i) {
        uint64_t& slot = c->second->slots[i];
        if (slot == kHole || base + i < first || base + i > last) continue;
        gone(slot);
        slot = kHole;
        --count_, --c->second->used;
      }
      c = c->second->used == 0 ? chunks_.erase(c) : std::next(c);
    }
  }

 private:
  struct Chunk {
    std::array<uint64_t, kChunk> slots{};
    int used = 0;
  };
  std::map<uint64_t, std::unique_ptr<Chunk>> chunks_;
  uint64_t count_ = 0;
};

}  // namespace vitro::fs
