// What is counted and looked at before a block runs, and at each access.
#include "hw/unicorn_cpu.h"

namespace vitro::hw {

void UnicornCpu::on_memory(uc_mem_type type, uint64_t physical, unsigned size) {
  if (setting_up_) [[unlikely]] {
    ++set_up_accesses_;
    return;
  }
  const uint64_t offset = physical & kPageOffsetMask;
  const uint64_t address = aliases_.page_of(physical).address().value() | offset;
  recorder_.data(address, size, type == UC_MEM_WRITE ? Access::Write : Access::Read);
}

// The frame of a page that a fetch fill of this epoch has vouched for.
std::optional<Pfn> UnicornCpu::code_frame(uint64_t vpn) {
  const CodePage& known = code_pages_[vpn % code_pages_.size()];
  if (known.vpn == vpn && known.epoch == aliases_.epoch()) [[likely]]
    return known.frame;
  // Another page has taken its place.
  if (!(pages_.get(Vpn{vpn}) & PageStates::kFetched) || vpn >= kUserEnd >> kPageShift) return std::nullopt;
  const WalkResult w = mmu_.inspect(Vpn{vpn}.address());
  if (!w.ok) return std::nullopt;
  code_pages_[vpn % code_pages_.size()] = {vpn, aliases_.epoch(), w.address.pfn()};
  return w.address.pfn();
}

void UnicornCpu::on_block(uint64_t address, uint32_t size) {
  const bool was_cut = cut_at_ && std::exchange(cut_at_, std::nullopt) == address;
  if (stepping_) [[unlikely]] {
    // The instruction is over, unless it wrote to its own bytes: then Unicorn starts it again, once.
    if (std::exchange(stepped_, true)) {
      if (address == block_address_ && !step_branches_ && read(UC_X86_REG_RCX) == step_rcx_) return;
      return stop_before_block(Ending::Rewritten, address);
    }
  } else {
    if (!rewritten_.empty()) [[unlikely]]
      return stop_before_block(Ending::Rewritten, address);
    if (attention_.load(std::memory_order_relaxed) != 0) [[unlikely]]
      return stop_before_block(Ending::Attention, address);
  }
  if (position_.limit_unchecked && clock_.limit_reached()) [[unlikely]]
    return stop_before_block(Ending::Limit, address);

  RecentBlock& recent = recent_blocks_[(address ^ address >> 12) % kRecentBlocks];
  if (recent.address == address && recent.place.size == size && recent.generation == blocks_.generation()) [[likely]] {
    block_address_ = address;
    block_ = recent.place;
    return count_block(address, size, recent.facts);
  }

  const uint64_t vpn = address >> kPageShift;
  if (vpn != last_code_vpn_) [[unlikely]] {
    const std::optional<Pfn> frame = code_frame(vpn);
    if (!frame) return stop_before_block(Ending::UnknownPage, address);
    last_code_vpn_ = vpn;
    last_code_frame_ = *frame;
  }
  BlockPlace place{last_code_frame_.address() + Bytes{address & kPageOffsetMask}, size, Pfn{0}};
  if ((address & kPageOffsetMask) + size > kPageSize) [[unlikely]] {
    const std::optional<Pfn> second = code_frame(vpn + 1);
    if (!second) return stop_before_block(Ending::UnknownPage, address);
    place.second_frame = *second;
  }
  const BlockFacts facts = blocks_.find(place, aliases_.epoch());

  block_address_ = address;
  block_ = place;
  if (facts.needs_care && !was_cut) [[unlikely]] {
    return stop_before_block(Ending::Care, address);
  }
  if (!facts.needs_care && !blocks_.writable(place, aliases_.epoch())) recent = {address, blocks_.generation(), place, facts};
  count_block(address, size, facts);
}

void UnicornCpu::count_block(uint64_t address, uint32_t size, const BlockFacts& facts) {
  clock_.count_instructions(facts.instructions);
  recorder_.block(address, size);
  position_.behind_branch = position_.limit_unchecked = facts.ends_in_branch;
}

}  // namespace vitro::hw
