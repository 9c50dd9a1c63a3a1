// Puts our own operations into the blocks that Unicorn translates: its own functions for that are there in the static library, and its
// header files of TCG are not, so what is needed of them is declared in unicorn_tcg.cpp and checked when an engine is set up.
//
// Each block begins with these few operations, in place of the call of a block hook:
//
//   word += block.delta;  if (word < 0) goto slow            // instructions left until something wants to be looked at; see Pulse
//   if (*fetch_filter != page) goto slow                     // `exact` and `trap`: the block's fetch is no plain hit
//   current = block
//   body: ...
//   slow: enter_slowly(block);  if (asked to stop) leave;  goto body
#pragma once

#include <cstdint>
#include <vector>

#include "hw/block_table.h"

namespace vitro::hw {

// What generated code counts with. The word holds three numbers, so that one addition counts a block:
//
//   63        42 41        22 21         0
//  +------------+------------+------------+
//  | budget     | blocks     | accesses   |     budget: instructions left, signed; below 0 every block goes through enter_slowly()
//  +------------+------------+------------+
struct TranslatedBlock;
struct Pulse {
  static constexpr unsigned kBudgetShift = 42, kBlocksShift = 22;
  static constexpr int64_t kMaximumBudget = 1 << 17;  // no field can overflow: a block has at most 512 instructions, with 8 accesses each
  static constexpr int64_t kNoBudget = -(1 << 19);    // added by blocks that always go through enter_slowly()
  int64_t word = 0;
  const TranslatedBlock* current = nullptr;  // the last block that went the short way

  static constexpr int64_t delta(int64_t instructions, int64_t accesses) {
    return -(instructions << kBudgetShift) + (int64_t{1} << kBlocksShift) + accesses;
  }
  int64_t budget() const { return word >> kBudgetShift; }
  uint64_t blocks() const { return static_cast<uint64_t>(word) >> kBlocksShift & ((1 << (kBudgetShift - kBlocksShift)) - 1); }
  uint64_t accesses() const { return static_cast<uint64_t>(word) & ((1 << kBlocksShift) - 1); }
};

struct TranslatedBlock {
  class BlockClient* client = nullptr;
  uint64_t address = 0;
  BlockPlace place;  // size is 0 where the page is not known
  BlockFacts facts;
  bool short_way = false;
  int64_t delta = 0;

  // Loads and stores that translated code makes (those of Unicorn's helper functions are seen as they happen): how many come before each
  // instruction, and altogether; and those behind a branch inside the last instruction (an iteration of a repeated string
  // instruction), which count where they are reached.
  struct Start {
    uint16_t offset = 0, accesses_before = 0;
  };
  std::vector<Start> starts;
  uint16_t accesses = 0, tail_accesses = 0;
  // Those that have not been made when the block ends before the instruction at `offset`, or in it.
  unsigned accesses_from(uint32_t offset) const {
    for (const Start& s : starts)
      if (s.offset >= offset) return accesses - s.accesses_before;
    return 0;
  }
  bool is_last(uint32_t offset) const { return !starts.empty() && starts.back().offset == offset; }
};

// Who counts: the CPU whose engine runs.
class BlockClient {
 public:
  virtual ~BlockClient() = default;
  // A block is about to be translated. Null: nothing is to be put into it.
  virtual TranslatedBlock* begin_translation(uint64_t address) = 0;
  // It was, and has so many bytes: fills in the rest of the block.
  virtual void end_translation(TranslatedBlock& block, uint32_t size) = 0;
  virtual bool counts_accesses() const = 0;
  // Whether nothing asks a block to stop behind an access.
  virtual bool exits_in_blocks_are_unused() const = 0;
  // Where generated code finds the word, and what has to be found at the filter for the short way; null for no filter.
  virtual Pulse& pulse() = 0;
  virtual const uint64_t* fetch_filter(uint64_t address, uint64_t& expected) = 0;
  // Called by generated code, before the block. To stop there it calls uc_emu_stop().
  virtual void enter_slowly(const TranslatedBlock& block) = 0;
  // The translations fill their buffer.
  virtual void translations_are_many() = 0;
  // At most how many instructions may share a block that begins at `address`.
  virtual int instructions_together(uint64_t address) const = 0;
};

// The client of the engine that runs; null for none.
void set_block_client(BlockClient* client);
// Whether the linker lets us step in between at all.
bool translation_can_be_watched();
// How long a block may be at most.
constexpr int kMaximumInstructionsOfBlock = 128;
// Looks at the next translations whether they are made as we know it; then says so.
void examine_translations(bool on);
bool translations_are_understood();
// The translation buffer was emptied.
void forget_translations();

constexpr uint64_t kTranslationBuffer = 64u << 20;

}  // namespace vitro::hw
