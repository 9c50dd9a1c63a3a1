// Runs the engine until something needs the kernel.
#include "hw/unicorn_cpu.h"

namespace vitro::hw {

uc_err UnicornCpu::emulate() {
  ending_ = Ending::None;
  block_stop_.reset();
  exit_ = std::exchange(split_, std::nullopt);
  if (exit_) {
    uint64_t address = *exit_;
    uc_ctl_set_exits(uc_, &address, 1);
  }
  stepping_ = std::exchange(step_, false);
  stepped_ = false;
  in_helper_ = refused_already_ = false;
  running_ = true;
  arm();
  set_block_client(this);
  if (direct()) set_access_client(this);
  recover_instructions_at_fills(attributing_);
  const uc_err e = uc_emu_start(uc_, read(UC_X86_REG_RIP), UINT64_MAX, 0, 0);
  set_block_client(nullptr);
  set_access_client(nullptr);
  recover_instructions_at_fills(false);
  catch_up();
  running_ = stepping_ = false;
  if (exit_) {
    uc_ctl_set_exits(uc_, nullptr, 0);
    // The translations that were cut must not stay.
    for (const uint64_t page : {*exit_ & ~kPageOffsetMask, (*exit_ & ~kPageOffsetMask) - kPageSize}) {
      const WalkResult w = mmu_.inspect(VirtAddr{page});
      if (w.ok) drop_translations(w.address, kPageSize);
    }
    flush();
    exit_.reset();
  }
  if (block_stop_) write(UC_X86_REG_RIP, *block_stop_);
  return e;
}

CpuStop UnicornCpu::run() {
  unsigned without_reason = 0;
  uint64_t last_without_reason = 0;
  for (;;) {
    if (single_step_) [[unlikely]] {
      const uint32_t why = attention_.exchange(0, std::memory_order_relaxed);
      if (why & kAttentionEmptyTranslations) uc_ctl_flush_tb(uc_);
      if (why & kAttentionStop) return stopped(StopKind::Requested);
      if (const auto stop = prepare_single_step()) return *stop;
    }
    const uc_err error = emulate();
    const bool refused = ending_ == Ending::Refused || ending_ == Ending::StoreToRunningCode;
    recorder_.end_of_run(refused ? std::optional(fault_.address) : std::nullopt);
    if (!rewritten_.empty()) drop_rewritten();
    if (ending_ != Ending::None) without_reason = 0;

    switch (ending_) {
      case Ending::Limit:
        position_.limit_unchecked = false;
        return stopped(StopKind::Limit);
      case Ending::Attention: {
        const uint32_t why = attention_.exchange(0, std::memory_order_relaxed);
        if (why & kAttentionEmptyTranslations) {
          uc_ctl_flush_tb(uc_);
          forget_translations();
          translated_.clear();
          running_block_ = nullptr;
        }
        if (why & kAttentionStop) return stopped(StopKind::Requested);
        continue;
      }
      case Ending::Rewritten:
        if (single_step_ && stepped_) return stopped(StopKind::Stepped);
        continue;
      case Ending::UnknownPage:
        flush();
        continue;
      case Ending::Care: {
        const uint32_t offset = blocks_.first_careful_offset(block_);
        if (offset == 0) {
          position_.interrupt();
          return exception(13);
        }
        drop_translations(block_.start.pfn().address(), kPageSize);
        if (block_.second_frame != Pfn{0}) drop_translations(block_.second_frame.address(), kPageSize);
        // Once. Where the emulator sees other instructions in these bytes than we do, it does not end there; what we took for port I/O is
        // perhaps none, and if there is any, it is noticed when it has run, without effect (Ending::PortIo).
        cut_at_ = block_address_;
        split_before(block_address_ + offset);
        continue;
      }
      case Ending::PortIo:
        position_.interrupt();
        return exception(13);
      case Ending::Syscall: {
        write(UC_X86_REG_RCX, read(UC_X86_REG_RIP));
        write(UC_X86_REG_R11, read(UC_X86_REG_RFLAGS) & ~kResumeFlag);
        position_.interrupt();
        return stopped(StopKind::Syscall);
      }
      case Ending::Sysenter:
        write(UC_X86_REG_RIP, block_address_ + blocks_.last_offset(block_));
        clock_.uncount_instructions(1);
        position_.interrupt();
        return exception(13);
      case Ending::Refused:
        return *after_refusal(refused_access_);
      case Ending::StoreToRunningCode:
        step_over_store();
        continue;
      case Ending::EarlyFetch:
        if (const auto stop = after_refusal(Access::Fetch)) return *stop;
        continue;
      case Ending::Interrupt:
        if (const auto stop = after_interrupt()) return *stop;
        if (single_step_) return stopped(StopKind::Stepped);
        continue;
      case Ending::None:
        if (single_step_ && stepped_ && error == UC_ERR_OK) return stopped(StopKind::Stepped);
        break;
    }
    if (error == UC_ERR_INSN_INVALID) return after_invalid_instruction();
    // It stopped for a reason of its own: a block that ends in an exit which is no longer set, for instance. Go on, but not for ever.
    const uint64_t rip = read(UC_X86_REG_RIP);
    without_reason = rip == last_without_reason ? without_reason + 1 : 0;
    last_without_reason = rip;
    if (without_reason == 3 || error != UC_ERR_OK) {
      take_back_from(rip);
      position_.interrupt();
      return exception(13);
    }
  }
}

}  // namespace vitro::hw
