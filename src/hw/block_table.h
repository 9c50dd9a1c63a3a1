// How many instructions a translated block has, and whether virtual time may stop the CPU behind it. A cache in front of decoding.
//
// Blocks are known by physical address, so processes that share text share entries, and different code at one virtual address never
// mixes. Two ways keep an entry from outliving its bytes: the version of a frame changes whenever the host writes to it or the guest
// might begin to; and while the guest may write to a frame (it has a writable entry in the soft TLB), nothing about it is cached.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "hw/lazy_array.h"
#include "vitro/base/types.h"

namespace vitro::hw {

// A block of guest code in RAM; one that crosses a page has a second frame.
struct BlockPlace {
  PhysAddr start;
  uint32_t size = 0;
  Pfn second_frame{0};  // 0: there is none
};

struct BlockFacts {
  uint16_t instructions = 0;
  bool ends_in_branch = false;  // a branch or a repeated string instruction: a point where the CPU may stop for the limit
  bool needs_care = false;      // holds an instruction that must not run: port I/O
};

class BlockTable {
 public:
  // `ram`: all of guest RAM.
  explicit BlockTable(std::span<const std::byte> ram);

  // The guest may write to the frame until `epoch` is over.
  void note_writable(Pfn frame, uint64_t epoch) {
    Frame& f = frames_[frame.value()];
    if (f.writable_epoch == epoch) return;
    f.writable_epoch = epoch;
    ++f.version;
    if (f.has_code) ++generation_;
  }
  // Instructions were fetched from the frame in `epoch`.
  void note_fetched(Pfn frame, uint64_t epoch) {
    frames_[frame.value()].fetched_epoch = epoch;
    frames_[frame.value()].has_code = true;
  }
  bool fetched(Pfn frame, uint64_t epoch) const { return frames_[frame.value()].fetched_epoch == epoch; }
  bool writable(Pfn frame, uint64_t epoch) const { return frames_[frame.value()].writable_epoch == epoch; }
  // Whether there may be translations of it.
  bool has_code(Pfn frame) const { return frames_[frame.value()].has_code; }
  // Its bytes changed, and its translations were removed.
  void invalidate(Pfn frame) {
    ++frames_[frame.value()].version;
    frames_[frame.value()].has_code = false;
    ++generation_;
  }
  // Changes whenever what is known of any block may be wrong from now on; pages that were fetched from may have changed, too.
  uint64_t generation() const { return generation_; }
  void start_generation() { ++generation_; }
  // Whether the guest may write to the block in `epoch`.
  bool writable(const BlockPlace& place, uint64_t epoch) const {
    return writable(place.start.pfn(), epoch) || (place.second_frame != Pfn{0} && writable(place.second_frame, epoch));
  }

  BlockFacts find(const BlockPlace& place, uint64_t epoch) {
    const Frame& frame = frames_[place.start.pfn().value()];
    const Entry& e = entries_[index(place.start)];
    if (e.start == place.start.value() && e.size == place.size && e.version == frame.version && frame.writable_epoch != epoch) [[likely]]
      if (e.second_frame == place.second_frame.value() && place.second_frame == Pfn{0}) [[likely]]
        return e.facts;
    return find_slowly(place, epoch);
  }
  // Instructions of the block that begin at or behind `offset`.
  unsigned instructions_from(const BlockPlace& place, uint32_t offset) const;
  // Offset of the first instruction that must not run (port I/O) or does not lie wholly inside; the size if there is none.
  uint32_t first_careful_offset(const BlockPlace& place) const;
  uint32_t last_offset(const BlockPlace& place) const;
  // Offset of the first instruction that reaches to or beyond `offset`.
  uint32_t first_offset_reaching(const BlockPlace& place, uint32_t offset) const;
  // The bytes of the block. At most kMaximumSize of them.
  static constexpr uint32_t kMaximumSize = 8192;
  std::span<const std::byte> bytes(const BlockPlace& place, std::span<std::byte, kMaximumSize> buffer) const;

 private:
  struct Frame {
    uint32_t version = 0;
    bool has_code = false;
    uint64_t writable_epoch = 0, fetched_epoch = 0;
  };
  struct Entry {
    uint64_t start = UINT64_MAX;
    uint64_t second_frame = 0;
    uint32_t size = 0, version = 0, second_version = 0;
    BlockFacts facts;
  };
  static constexpr size_t kEntries = 1 << 14;
  static size_t index(PhysAddr a) { return (a.value() ^ (a.value() >> 13)) & (kEntries - 1); }
  BlockFacts find_slowly(const BlockPlace& place, uint64_t epoch);
  BlockFacts decode(const BlockPlace& place) const;
  template <class Visit>
  void for_each_instruction(const BlockPlace& place, Visit visit) const;

  std::span<const std::byte> ram_;
  uint64_t generation_ = 1;
  LazyArray<Frame> frames_;
  std::unique_ptr<std::array<Entry, kEntries>> entries_storage_;
  Entry* entries_;
};

}  // namespace vitro::hw
