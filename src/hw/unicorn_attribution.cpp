// Which instruction makes an access: for those who ask who causes misses and faults.
//
// In the middle of a block the emulator keeps its instruction pointer up to date only for accesses that it translates in its ordinary way,
// and only where they are watched (`exact`). So, where attribution is on, in `exact` every other instruction that touches memory gets a
// block of its own, which says where it is; and in all modes a fill of the soft TLB first recovers the pointer (unicorn_wraps.cpp).
#include <array>
#include <climits>

#include "hw/instruction_scan.h"
#include "hw/unicorn_cpu.h"

namespace vitro::hw {

void UnicornCpu::set_attribution(bool on) {
  attributing_ = on;
  constexpr bool kKnowsFills = UC_API_MAJOR > 2 || UC_API_MINOR > 1 || UC_API_PATCH >= 2;
  constexpr bool kKnowsAccesses = UC_API_MAJOR > 2 || UC_API_MINOR > 1 || UC_API_PATCH >= 4;
  knows_instructions_ = on && (exact() ? kKnowsAccesses || translation_can_be_watched() : kKnowsFills || translation_can_be_watched());
  translation_watch_.cpu = this;
  translation_watch_.instructions_together = nullptr;
  if (!on) return;
  translation_watch_.instructions_together = [](const void* cpu, uint64_t address) {
    return static_cast<const UnicornCpu*>(cpu)->instructions_together(address);
  };
}

int UnicornCpu::instructions_together(uint64_t address) const {
  if (!exact()) return INT_MAX;
  for (int n = 0; n < 64; ++n) {
    std::array<std::byte, 16> buffer;
    const auto code = code_at(address, buffer);
    if (code.empty() || !emulator_names_accesses(code)) return std::max(n, 1);
    address += scan_instruction(code).length;
  }
  return INT_MAX;
}

uint64_t UnicornCpu::instruction_in_block() const {
  if (exact() && blocks_.last_offset(block_) == 0) return block_address_;
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
