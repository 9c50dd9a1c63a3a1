#include "vitro/mm/absent_entry.h"

#include <fmt/format.h>

#include "mm/space/page_table.h"
#include "mm/swap/swap_state.h"

namespace vitro::mm {

std::string describe_absent_entry(hw::Pte entry) {
  if (entry.present() || entry.raw == 0) return {};
  if (holds_frame(entry)) return fmt::format("PROT_NONE: the page may not be touched, but keeps frame {:#x}", entry.pfn().value());
  if (entry.raw & kPteSwap) {
    const SwapSlot slot = slot_of(entry);
    return fmt::format("swapped out: slot {} of swap area {}{}", slot.offset(), slot.area(), is_exclusive_swap(entry) ? ", belongs to this entry alone" : "");
  }
  return fmt::format("{:#x} is no entry of this kernel's", entry.raw);
}

}  // namespace vitro::mm
