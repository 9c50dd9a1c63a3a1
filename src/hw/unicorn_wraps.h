// Where vitro steps in between Unicorn's own functions (ld --wrap; possible with a static libunicorn only).
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace vitro::hw {

constexpr uint64_t kTranslationBuffer = 64u << 20;

// How far the translations of one engine have filled its buffer.
//
// Unicorn loses its way when the buffer is full: it empties it in the middle of a run and then jumps into what was there. So we watch how
// far it has filled (a block's descriptor lies in it), and empty it between two runs.
struct TranslationWatch {
  uintptr_t first = UINTPTR_MAX;  // the lowest block seen: about the start of the buffer
  std::atomic<uint32_t>* attention;
  uint32_t request;  // set in `attention` when it is time to empty the buffer

  // Where accesses are attributed to instructions: how many instructions from an address on may share a block.
  int (*instructions_together)(const void* cpu, uint64_t address) = nullptr;
  const void* cpu = nullptr;

  void see(const void* block) {
    const auto at = reinterpret_cast<uintptr_t>(block);
    first = std::min(first, at);
    if (at - first > kTranslationBuffer / 4 * 3) attention->fetch_or(request, std::memory_order_relaxed);
  }
};

// Of the engine that runs.
void set_translation_watch(TranslationWatch* watch);
// Whether the linker lets us step in between.
bool translation_can_be_watched();
// To be called after every change of what is mapped.
void forget_regions();

}  // namespace vitro::hw
