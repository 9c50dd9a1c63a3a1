// Makes a Unicorn engine that runs user code, and takes it apart.
#include <sys/mman.h>

#include <cstring>

#include "hw/unicorn_cpu.h"

namespace vitro::hw {
namespace {

constexpr uint64_t kCr4 = 0x10604;   // FSGSBASE, OSXMMEXCPT, OSFXSR, TSD: RDTSC traps in user mode
constexpr uint64_t kCr0Bits = 0x22;  // NE: x87 errors are exceptions; MP
constexpr uint32_t kMsrEfer = 0xc000'0080, kMsrStar = 0xc000'0081;
constexpr uint64_t kEferSyscallNx = 0x801;
constexpr uint64_t kStar = uint64_t{0x23} << 48;  // SYSRET loads CS 0x33 and SS 0x2b, as Linux has them
constexpr uint64_t kUnwatchedTranslationBuffer = 1u << 30;

}  // namespace

UnicornCpu::~UnicornCpu() {
  mmu_.set_soft_tlb(nullptr);
  ram_.set_code_invalidator(nullptr);
  if (clean_) uc_context_free(clean_);
  if (uc_) uc_close(uc_);
  forget_regions();
  if (host_pages_) ::munmap(host_pages_, kHostPagesSize);
  if (zero_window_) ::munmap(zero_window_, AliasMap::kZeroSlots << kPageShift);
}

std::optional<UserError> UnicornCpu::set_up() {
  const auto failed = [](const char* what, uc_err e) {
    return UserError{std::string("the CPU emulator: ") + what + ": " + uc_strerror(e), "vitro needs Unicorn 2.1.1 or newer"};
  };
  const auto map_host = [](uint64_t size, int protection) -> std::byte* {
    void* at = ::mmap(nullptr, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? nullptr : static_cast<std::byte*>(at);
  };
  if (const uc_err e = uc_open(UC_ARCH_X86, UC_MODE_64, &uc_); e != UC_ERR_OK) return failed("open", e);
  // Nehalem: no AVX, XSAVE, ERMS or RDRAND, none of which the emulator has or does well.
  if (const uc_err e = uc_ctl_set_cpu_model(uc_, UC_CPU_X86_NEHALEM); e != UC_ERR_OK) return failed("CPU model", e);
  // Where nobody can watch it fill, it is large.
  const auto buffer = static_cast<uint32_t>(translation_can_be_watched() ? kTranslationBuffer : kUnwatchedTranslationBuffer);
  if (const uc_err e = uc_ctl_set_tcg_buffer_size(uc_, buffer); e != UC_ERR_OK) return failed("translation buffer", e);
  if (const uc_err e = uc_ctl_tlb_mode(uc_, UC_TLB_VIRTUAL); e != UC_ERR_OK) return failed("virtual TLB", e);
  if (const uc_err e = uc_mem_map_ptr(uc_, 0, ram_.size().value(), UC_PROT_ALL, ram_.host_base()); e != UC_ERR_OK) return failed("RAM", e);
  // With exits enabled and none set, the `until` address of uc_emu_start is not looked at.
  if (const uc_err e = uc_ctl_exits_enable(uc_); e != UC_ERR_OK) return failed("exits", e);

  host_pages_ = map_host(kHostPagesSize, PROT_READ | PROT_WRITE);
  zero_window_ = map_host(AliasMap::kZeroSlots << kPageShift, PROT_READ);
  if (!host_pages_ || !zero_window_)
    return UserError{"the host refuses memory for the CPU emulator", "raise the limit of address space (ulimit -v)"};
  if (const uc_err e = uc_mem_map_ptr(uc_, kHostPages, kHostPagesSize, UC_PROT_ALL, host_pages_); e != UC_ERR_OK)
    return failed("host pages", e);
  forget_regions();

  write(UC_X86_REG_CR0, read(UC_X86_REG_CR0) | kCr0Bits);
  write(UC_X86_REG_CR4, kCr4);
  uc_x86_msr msr{kMsrStar, kStar};
  uc_reg_write(uc_, UC_X86_REG_MSR, &msr);
  msr = {kMsrEfer, 0};
  uc_reg_read(uc_, UC_X86_REG_MSR, &msr);
  msr.value |= kEferSyscallNx;
  uc_reg_write(uc_, UC_X86_REG_MSR, &msr);

  uc_hook hook;
  const auto add_hook = [&](int type, void* callback) { return uc_hook_add(uc_, &hook, type, callback, this, 1, 0); };
  if (const uc_err e = add_hook(UC_HOOK_TLB_FILL, reinterpret_cast<void*>(fill_hook)); e != UC_ERR_OK) return failed("TLB hook", e);
  add_hook(UC_HOOK_INTR, reinterpret_cast<void*>(interrupt_hook));
  add_hook(UC_HOOK_INSN_INVALID, reinterpret_cast<void*>(invalid_instruction_hook));
  uc_hook_add(uc_, &hook, UC_HOOK_INSN, reinterpret_cast<void*>(syscall_hook), this, 1, 0, UC_X86_INS_SYSCALL);
  uc_hook_add(uc_, &hook, UC_HOOK_INSN, reinterpret_cast<void*>(sysenter_hook), this, 1, 0, UC_X86_INS_SYSENTER);
  uc_hook_add(uc_, &hook, UC_HOOK_INSN, reinterpret_cast<void*>(port_in_hook), this, 1, 0, UC_X86_INS_IN);
  uc_hook_add(uc_, &hook, UC_HOOK_INSN, reinterpret_cast<void*>(port_out_hook), this, 1, 0, UC_X86_INS_OUT);

  // SYSRET to user mode, one load that crosses a page to see how many times this Unicorn reports it, SYSCALL to stop.
  std::memset(host_pages_, 0xcc, kPageSize);
  static constexpr uint8_t kCode[] = {0x48, 0x0f, 0x07, 0x48, 0x8b, 0x07, 0x0f, 0x05};
  std::memcpy(host_pages_ + kSetUpCode, kCode, sizeof kCode);
  write(UC_X86_REG_RCX, kSetUpCode + 3);
  write(UC_X86_REG_R11, 0x202);
  write(UC_X86_REG_RDI, kSetUpData + kPageSize - 4);
  setting_up_ = true;
  examine_translations(true);
  const uc_err e = uc_emu_start(uc_, kSetUpCode, UINT64_MAX, 0, 0);
  setting_up_ = false;
  examine_translations(false);
  if (e != UC_ERR_OK || ending_ != Ending::Syscall || (read(UC_X86_REG_CS) & 3) != 3) return failed("entering user mode", e);
  if (by_ == CountBy::TranslatedCode && translations_are_understood() && accesses_can_be_watched()) {
    // In user mode it has fetched from one page and loaded from two.
    blocks_count_ = table_.find(last_environment(), kSetUpData, kHostPages + kSetUpData, host_pages_ + kSetUpData, 3);
    emulator_ = last_emulator();
  }
  uc_ctl_flush_tlb(uc_);
  if (exact() && !direct()) {
    if (auto error = watch_accesses()) return error;
  }
  if (!blocks_count_) add_hook(UC_HOOK_BLOCK, reinterpret_cast<void*>(block_hook));

  set_registers(UserRegisters{});
  set_fpu_state(initial_fpu_state());
  if (const uc_err failure = uc_context_alloc(uc_, &clean_); failure != UC_ERR_OK) return failed("context", failure);
  uc_context_save(uc_, clean_);

  mmu_.set_tlb_modelled(mode_ != MmuMode::Fast);
  mmu_.set_soft_tlb(this);
  mmu_.set_soft_follows_l1d(mode_ == MmuMode::Trap);
  if (counts_accesses()) mmu_.set_soft_holds_most_recent(true);
  ram_.set_code_invalidator(this);
  return std::nullopt;
}

// Every access comes to a hook, which is told its physical address: see alias_map.h.
std::optional<UserError> UnicornCpu::watch_accesses() {
  const auto failed = [](const char* what, uc_err e) {
    return UserError{std::string("the CPU emulator: ") + what + ": " + uc_strerror(e), "vitro needs Unicorn 2.1.1 or newer"};
  };
  const uc_err mapped = uc_mem_map_ptr(uc_, AliasMap::kZeroWindow, AliasMap::kZeroSlots << kPageShift, UC_PROT_READ, zero_window_);
  if (mapped != UC_ERR_OK) return failed("zero window", mapped);
  map_alias(1);
  uc_hook hook;
  uc_hook_add(uc_, &hook, UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE, reinterpret_cast<void*>(memory_hook), this, 1, 0);
  // How many times is a load that crosses a page reported?
  uc_ctl_flush_tb(uc_);
  write(UC_X86_REG_RDI, kSetUpData + kPageSize - 4);
  setting_up_ = true;
  const uc_err e = uc_emu_start(uc_, kSetUpCode + 3, UINT64_MAX, 0, 0);
  setting_up_ = false;
  if (e != UC_ERR_OK || ending_ != Ending::Syscall) return failed("watching accesses", e);
  recorder_.set_loads_in_parts(set_up_accesses_ == 3);
  uc_ctl_flush_tlb(uc_);
  return std::nullopt;
}

Result<std::unique_ptr<Cpu>, UserError> make_unicorn_cpu(Ram& ram, Mmu& mmu, Clock& clock, MmuMode mode, CountBy by) {
  auto cpu = std::make_unique<UnicornCpu>(ram, mmu, clock, mode, by);
  if (auto error = cpu->set_up()) return fail(std::move(*error));
  return std::unique_ptr<Cpu>(std::move(cpu));
}

}  // namespace vitro::hw
