// With memory hooks Unicorn looks up the memory region of every access in its tree of regions, or in the one it found last. The linker
// lets us step in between (ld --wrap; possible with a static libunicorn only): a small cache of what it found, by 16 MiB of physical
// memory. Its answer is the same for all of those, as whatever we map begins at a multiple of that, and nothing beyond the end of RAM is
// ever asked for.
#include "hw/unicorn_regions.h"

#include <array>
#include <cstdint>

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

void forget_regions() { found_regions.fill({}); }

}  // namespace vitro::hw
