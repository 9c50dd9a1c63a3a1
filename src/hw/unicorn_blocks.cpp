// What is counted and looked at before a block runs, and at each access.
#include <algorithm>

#include "hw/unicorn_cpu.h"

namespace vitro::hw {

void UnicornCpu::on_memory(uc_mem_type type, uint64_t physical, unsigned size) {
  if (setting_up_) [[unlikely]] {
    ++set_up_accesses_;
    return;
  }
  const uint64_t offset = physical & kPageOffsetMask;
  const uint64_t address = aliases_.page_of(physical).address().value() | offset;
  if (attributing_ && offset + size > kPageSize) [[unlikely]] crossing_ip_ = instruction_in_block();
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

// Whether the CPU is to stop before this block.
bool UnicornCpu::stops_before(uint64_t address) {
  const auto stop = [&](Ending e) {
    stop_before_block(e, address);
    return true;
  };
  if (stepping_) [[unlikely]] {
    // The instruction is over.
    if (stepped_) return stop(Ending::Rewritten);
    stepped_ = true;
  } else {
    if (!rewritten_.empty()) [[unlikely]]
      return stop(Ending::Rewritten);
    if (attention_.load(std::memory_order_relaxed) != 0) [[unlikely]]
      return stop(Ending::Attention);
  }
  if (position_.limit_unchecked && clock_.limit_reached()) [[unlikely]]
    return stop(Ending::Limit);
  return false;
}

void UnicornCpu::on_block(uint64_t address, uint32_t size) {
  const bool was_cut = cut_at_ && std::exchange(cut_at_, std::nullopt) == address;
  // A stepped instruction that wrote to its own bytes is started again by Unicorn, once.
  if (stepping_ && stepped_ && address == block_address_ && !step_branches_ && read(UC_X86_REG_RCX) == step_rcx_) [[unlikely]]
    return;
  if (stops_before(address)) return;

  RecentBlock& recent = recent_blocks_[(address ^ address >> 12) % kRecentBlocks];
  if (recent.address == address && recent.place.size == size && recent.generation == blocks_.generation()) [[likely]]
    return begin_block(address, recent.place, recent.facts);

  const std::optional<BlockPlace> place = place_of(address, size);
  if (!place) return stop_before_block(Ending::UnknownPage, address);
  const BlockFacts facts = blocks_.find(*place, aliases_.epoch());
  if (facts.needs_care && !was_cut) [[unlikely]] {
    block_address_ = address;
    block_ = *place;
    return stop_before_block(Ending::Care, address);
  }
  if (!facts.needs_care && !blocks_.writable(*place, aliases_.epoch())) recent = {address, blocks_.generation(), *place, facts};
  begin_block(address, *place, facts);
}

// Where a block lies, if fetch fills have vouched for its pages.
std::optional<BlockPlace> UnicornCpu::place_of(uint64_t address, uint32_t size) {
  const uint64_t vpn = address >> kPageShift;
  if (vpn != last_code_vpn_) [[unlikely]] {
    const std::optional<Pfn> frame = code_frame(vpn);
    if (!frame) return std::nullopt;
    last_code_vpn_ = vpn;
    last_code_frame_ = *frame;
  }
  BlockPlace place{last_code_frame_.address() + Bytes{address & kPageOffsetMask}, size, Pfn{0}};
  if ((address & kPageOffsetMask) + size > kPageSize) [[unlikely]] {
    const std::optional<Pfn> second = code_frame(vpn + 1);
    if (!second) return std::nullopt;
    place.second_frame = *second;
  }
  return place;
}

void UnicornCpu::begin_block(uint64_t address, const BlockPlace& place, const BlockFacts& facts) {
  block_address_ = address;
  block_ = place;
  clock_.count_instructions(facts.instructions);
  recorder_.block(address, place.size);
  position_.behind_branch = position_.limit_unchecked = facts.ends_in_branch;
}

// --- Blocks that count by themselves

TranslatedBlock* UnicornCpu::begin_translation(uint64_t address) {
  if (!blocks_count_ || address == exit_) return nullptr;
  TranslatedBlock& block = translated_.emplace_back();
  block.client = this;
  block.address = address;
  return &block;
}

void UnicornCpu::end_translation(TranslatedBlock& block, uint32_t size) {
  block.delta = Pulse::kNoBudget << Pulse::kBudgetShift;
  const std::optional<BlockPlace> place = place_of(block.address, size);
  if (!place) return;
  block.place = *place;
  block.facts = blocks_.find(*place, aliases_.epoch());
  if (block.facts.needs_care) return;
  // Only a fetch behind a branch, from one page, is one access (AccessRecorder::count_fetches).
  if (mode_ != MmuMode::Fast && (!block.facts.ends_in_branch || place->second_frame != Pfn{0})) return;
  block.short_way = true;
  block.delta = Pulse::delta(block.facts.instructions, block.accesses);
}

const uint64_t* UnicornCpu::fetch_filter(uint64_t address, uint64_t& expected) {
  return mode_ == MmuMode::Fast ? nullptr : mmu_.fetch_filter(VirtAddr{address}, expected);
}

void UnicornCpu::translations_are_many() {
  attention_.fetch_or(kAttentionEmptyTranslations, std::memory_order_relaxed);
  catch_up();
  arm();
}

// Tells the clock and the MMU of the blocks that went the short way since.
void UnicornCpu::catch_up() {
  if (counts_accesses()) {
    mmu_.count_data_accesses(pulse_.accesses() + std::exchange(helper_accesses_, 0));
    pulse_.word -= static_cast<int64_t>(pulse_.accesses());
  }
  const uint64_t blocks = pulse_.blocks();
  if (blocks == 0) return;
  const int64_t budget = pulse_.budget();
  clock_.count_instructions(static_cast<uint64_t>(armed_ - budget));
  armed_ = budget;
  pulse_.word = budget << Pulse::kBudgetShift;
  running_block_ = pulse_.current;
  const TranslatedBlock& block = *running_block_;
  block_address_ = block.address;
  block_ = block.place;
  if (mode_ != MmuMode::Fast) {
    mmu_.count_fetch_hits(blocks);
    position_.fetched_from = block.address;
    position_.fetched_until = block.address + block.place.size;
  }
  position_.behind_branch = position_.limit_unchecked = block.facts.ends_in_branch;
}

// Sets how far blocks may run by themselves. Everything must have caught up.
void UnicornCpu::arm() {
  const uint64_t now = clock_.instructions(), limit = clock_.instruction_limit();
  const bool look = ending_ != Ending::None || stepping_ || !rewritten_.empty() || attention_.load(std::memory_order_relaxed) != 0 || now >= limit || cut_at_ ||
                    (mode_ != MmuMode::Fast && (!position_.behind_branch || position_.repeat_count != 0));
  armed_ = look ? -1 : static_cast<int64_t>(std::min<uint64_t>(limit - now, Pulse::kMaximumBudget));
  pulse_.word = armed_ << Pulse::kBudgetShift;
}

void UnicornCpu::enter_slowly(const TranslatedBlock& block) {
  pulse_.word -= block.delta;
  catch_up();
  if (ending_ != Ending::None) return;  // asked to stop
  const bool was_cut = cut_at_ && std::exchange(cut_at_, std::nullopt) == block.address;
  // A stepped instruction that wrote to its own bytes is started again by Unicorn, once.
  const bool again = stepping_ && stepped_ && block.address == block_address_ && !step_branches_ && read(UC_X86_REG_RCX) == step_rcx_;
  if (!again && !stops_before(block.address)) {
    if (block.place.size == 0) {
      stop_before_block(Ending::UnknownPage, block.address);
    } else if (block.facts.needs_care && !was_cut) {
      block_address_ = block.address;
      block_ = block.place;
      stop_before_block(Ending::Care, block.address);
    } else {
      running_block_ = &block;
      begin_block(block.address, block.place, block.facts);
      if (counts_accesses()) mmu_.count_data_accesses(block.accesses);
    }
  }
  arm();
}

}  // namespace vitro::hw
