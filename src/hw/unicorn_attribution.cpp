// Which instruction makes an access: for those who ask who causes misses and faults.
//
// In the middle of a block the emulator keeps its instruction pointer where it was. Where we make the accesses that its soft TLB does not
// answer, the return address into translated code says which instruction asks. Where hooks watch them (`exact`), only the accesses that the
// emulator translates in its ordinary way come with their instruction: every other instruction that touches memory gets a block of its own,
// which says where it is. A fill of the soft TLB first recovers the pointer (unicorn_softmmu.cpp).
#include <algorithm>
#include <array>

#include "hw/instruction_scan.h"
#include "hw/unicorn_cpu.h"

namespace vitro::hw {

void UnicornCpu::set_attribution(bool on) {
  attributing_ = on;
  constexpr bool kKnowsFills = UC_API_MAJOR > 2 || UC_API_MINOR > 1 || UC_API_PATCH >= 2;
  constexpr bool kKnowsAccesses = UC_API_MAJOR > 2 || UC_API_MINOR > 1 || UC_API_PATCH >= 4;
  knows_instructions_ = on && (direct() || translation_can_be_watched() || (exact() ? kKnowsAccesses : kKnowsFills));
}

int UnicornCpu::instructions_together(uint64_t address) const {
  if (!attributing_ || !exact() || direct()) return kMaximumInstructionsOfBlock;
  for (int n = 0; n < kMaximumInstructionsOfBlock; ++n) {
    std::array<std::byte, 16> buffer;
    const auto code = code_at(address, buffer);
    if (code.empty() || !emulator_names_accesses(code)) return std::max(n, 1);
    address += scan_instruction(code).length;
  }
  return kMaximumInstructionsOfBlock;
}

uint64_t UnicornCpu::instruction_in_block() const {
  if (direct())
    recover_instruction(emulator_, access_where_);
  else if (exact() && blocks_.last_offset(block_) == 0)
    return block_address_;
  return read(UC_X86_REG_RIP);
}

std::optional<VirtAddr> UnicornCpu::accessing_instruction(VirtAddr address, Access access) const {
  if (!knows_instructions_) return std::nullopt;
  if (access == Access::Fetch) {
    const uint64_t page = address.page_floor().value();
    if (page == (block_address_ & ~kPageOffsetMask)) return VirtAddr{block_address_};
    if (page - block_address_ < block_.size)
      return VirtAddr{block_address_ + blocks_.first_offset_reaching(block_, static_cast<uint32_t>(page - block_address_))};
    return VirtAddr{read(UC_X86_REG_RIP)};  // of a block that is only being looked for
  }
  if (recorder_.settling()) return VirtAddr{crossing_ip_};
  return VirtAddr{instruction_in_block()};
}

}  // namespace vitro::hw
