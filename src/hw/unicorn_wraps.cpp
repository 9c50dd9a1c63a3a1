// See unicorn_wraps.h: blocks are kept short, and regions of memory are found quickly.
#include "hw/unicorn_wraps.h"

#include <array>
#include <cstring>

#include "vitro/hw/cpu.h"

// Unicorn leaks up to two of its 512 temporaries with each x87 (and some other) instruction that it translates, and writes beyond their
// table when a block has too many: a guest could bring the host down with 233 FXCHs in a row. So blocks are kept short. How blocks are cut
// makes no other difference.
struct CPUState;
struct TranslationBlock;
extern "C" {
[[gnu::weak]] void __real_gen_intermediate_code_x86_64(CPUState* cpu, TranslationBlock* block, int maximum_instructions);
void __wrap_gen_intermediate_code_x86_64(CPUState* cpu, TranslationBlock* block, int maximum_instructions);
}

namespace {
bool blocks_are_bounded = false;
vitro::hw::TranslationWatch* translating = nullptr;
}  // namespace

void __wrap_gen_intermediate_code_x86_64(CPUState* cpu, TranslationBlock* block, int maximum_instructions) {
  constexpr int kMaximumInstructions = 64;
  blocks_are_bounded = true;
  int most = std::min(maximum_instructions, kMaximumInstructions);
  if (translating) {
    translating->see(block);
    if (translating->instructions_together) [[unlikely]] {
      uint64_t address;  // a TranslationBlock begins with it
      std::memcpy(&address, reinterpret_cast<const void*>(block), sizeof address);
      most = std::min(most, translating->instructions_together(translating->cpu, address));
    }
  }
  __real_gen_intermediate_code_x86_64(cpu, block, most);
}

// Unicorn 2.1.1 calls the hook that fills its soft TLB while its instruction pointer may be at an earlier instruction. The return address
// into the translated code tells at which it is. Newer ones do this by themselves.
extern "C" {
[[gnu::weak]] bool __real_unicorn_fill_tlb_x86_64(CPUState* cpu, uint64_t address, int size, int access, int mmu_index, bool probe,
                                                  uintptr_t return_address);
bool __wrap_unicorn_fill_tlb_x86_64(CPUState* cpu, uint64_t address, int size, int access, int mmu_index, bool probe,
                                    uintptr_t return_address);
[[gnu::weak]] bool cpu_restore_state_x86_64(CPUState* cpu, uintptr_t return_address, bool will_exit);
}

bool __wrap_unicorn_fill_tlb_x86_64(CPUState* cpu, uint64_t address, int size, int access, int mmu_index, bool probe,
                                    uintptr_t return_address) {
  if (translating && translating->instructions_together && return_address != 0) [[unlikely]]
    cpu_restore_state_x86_64(cpu, return_address, false);
  return __real_unicorn_fill_tlb_x86_64(cpu, address, size, access, mmu_index, probe, return_address);
}

// With memory hooks Unicorn looks up the memory region of every access in its tree of regions, or in the one it found last. Here too the
// linker lets us step in between: a small cache of what it found, by 16 MiB of physical memory. Its answer is the same for all of those,
// as whatever we map begins at a multiple of that, and nothing beyond the end of RAM is ever asked for.
struct uc_struct;
struct FlatView;
struct MemoryRegion;
extern "C" {
[[gnu::weak]] MemoryRegion* __real_flatview_translate_x86_64(uc_struct* uc, FlatView* view, uint64_t address, uint64_t* offset,
                                                             uint64_t* length, bool is_write, unsigned attributes);
MemoryRegion* __wrap_flatview_translate_x86_64(uc_struct* uc, FlatView* view, uint64_t address, uint64_t* offset, uint64_t* length,
                                               bool is_write, unsigned attributes);
}

namespace {
struct FoundRegion {
  FlatView* view = nullptr;
  uint64_t chunk = 0, difference = 0;
  MemoryRegion* region = nullptr;
};
std::array<FoundRegion, 256> found_regions;
}  // namespace

MemoryRegion* __wrap_flatview_translate_x86_64(uc_struct* uc, FlatView* view, uint64_t address, uint64_t* offset, uint64_t* length,
                                               bool is_write, unsigned attributes) {
  const uint64_t chunk = address >> 24;
  FoundRegion& found = found_regions[(chunk ^ chunk >> 8) % found_regions.size()];
  if (found.view == view && found.chunk == chunk && *length == 1) [[likely]] {
    *offset = address - found.difference;
    return found.region;
  }
  MemoryRegion* region = __real_flatview_translate_x86_64(uc, view, address, offset, length, is_write, attributes);
  if (*length == 1) found = {view, chunk, address - *offset, region};
  return region;
}

namespace vitro::hw {

void set_translation_watch(TranslationWatch* watch) { translating = watch; }
bool translation_can_be_watched() { return __real_gen_intermediate_code_x86_64 != nullptr; }
bool translated_blocks_are_bounded() { return blocks_are_bounded; }
void forget_regions() { found_regions.fill({}); }

}  // namespace vitro::hw
