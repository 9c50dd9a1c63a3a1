#include "hw/alias_map.h"

#include <bit>

namespace vitro::hw {

AliasMap::AliasMap(Bytes ram_size)
    : frames_(ram_size.pages_up().value()),
      stride_shift_(std::bit_width(ram_size.value() - 1)),
      stride_mask_((uint64_t{1} << stride_shift_) - 1),
      zero_pages_(kZeroSlots) {
  slots_[0] = LazyArray<Slot>(frames_);
}

}  // namespace vitro::hw
