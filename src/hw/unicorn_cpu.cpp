// The Cpu on Unicorn >= 2.1.1. The only file that includes its header.
//
// How it hangs together (see UnicornCpu::run):
//  - Unicorn runs in its virtual-TLB mode; its soft TLB asks fill() for every page it does not know, and fill() asks the Mmu.
//  - Guest code runs at CPL 3 for real (entered by a SYSRET when the engine is set up), so privileged instructions raise #GP by themselves;
//    port I/O, which Unicorn lets through, is found when a block is decoded and never reached. CR4.TSD makes RDTSC trap.
//  - Time is counted a block at its start (on_block); whatever of a block did not run is taken back.
//  - The limit of the clock is looked at only behind branches and iterations of repeated string instructions, which are the same places
//    however Unicorn cuts code into blocks and wherever a run was interrupted.
#include <sys/mman.h>
#include <unicorn/unicorn.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "hw/access_recorder.h"
#include "hw/alias_map.h"
#include "hw/block_table.h"
#include "hw/instruction_scan.h"
#include "hw/page_states.h"
#include "vitro/base/check.h"
#include "vitro/hw/cpu.h"
#include "vitro/hw/disassembler.h"

// Unicorn leaks up to two of its 512 temporaries with each x87 (and some other) instruction that it translates, and writes beyond their
// table when a block has too many: a guest could bring the host down with 233 FXCHs in a row. So blocks are kept short where the linker
// lets us step in between (ld --wrap=gen_intermediate_code_x86_64; possible with a static libunicorn). How blocks are cut makes no other
// difference.
//
// Unicorn also loses its way when its buffer of translations is full: it empties the buffer in the middle of a run and then jumps into what
// was there. So we watch how far the buffer has filled (a block's descriptor lies in it), and empty it between two runs.
struct CPUState;
struct TranslationBlock;
extern "C" {
[[gnu::weak]] void __real_gen_intermediate_code_x86_64(CPUState* cpu, TranslationBlock* block, int maximum_instructions);
void __wrap_gen_intermediate_code_x86_64(CPUState* cpu, TranslationBlock* block, int maximum_instructions);
}

namespace {
constexpr uint64_t kTranslationBuffer = 64u << 20;

// How far the translations of one engine have filled its buffer.
struct TranslationWatch {
  uintptr_t first = UINTPTR_MAX;  // the lowest block seen: about the start of the buffer
  std::atomic<uint32_t>* attention;
  uint32_t request;  // set in `attention` when it is time to empty the buffer

  void see(const void* block) {
    const auto at = reinterpret_cast<uintptr_t>(block);
    first = std::min(first, at);
    if (at - first > kTranslationBuffer / 4 * 3) attention->fetch_or(request, std::memory_order_relaxed);
  }
};

bool blocks_are_bounded = false;
TranslationWatch* translating = nullptr;  // of the engine that runs
}  // namespace

void __wrap_gen_intermediate_code_x86_64(CPUState* cpu, TranslationBlock* block, int maximum_instructions) {
  constexpr int kMaximumInstructions = 64;
  blocks_are_bounded = true;
  if (translating) translating->see(block);
  __real_gen_intermediate_code_x86_64(cpu, block, std::min(maximum_instructions, kMaximumInstructions));
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

// To be called after every change of what is mapped.
void forget_regions() { found_regions.fill({}); }
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
namespace {

constexpr uint64_t kCr4 = 0x10604;   // FSGSBASE, OSXMMEXCPT, OSFXSR, TSD: RDTSC traps in user mode
constexpr uint64_t kCr0Bits = 0x22;  // NE: x87 errors are exceptions; MP
constexpr uint32_t kMsrEfer = 0xc000'0080, kMsrStar = 0xc000'0081;
constexpr uint64_t kEferSyscallNx = 0x801;
constexpr uint64_t kStar = uint64_t{0x23} << 48;  // SYSRET loads CS 0x33 and SS 0x2b, as Linux has them
constexpr uint64_t kUnwatchedTranslationBuffer = 1u << 30;
constexpr uint64_t kUserEnd = uint64_t{1} << 47;
constexpr uint64_t kTrapFlag = 0x100, kResumeFlag = 0x10000;

// A private window onto all physical memory, in the kernel half, where the host names translated code that is to go. Never filled for
// the guest.
constexpr uint64_t kWindow = 0xffff'8000'0000'0000;
// Host pages that are no guest RAM: one of INT3, which evicted pages are filled with, and the set-up code and its data.
constexpr uint64_t kHostPages = uint64_t{1} << 47;
constexpr uint64_t kHostPagesSize = 4 * kPageSize;
constexpr uint64_t kSetUpCode = 0x1000, kSetUpData = 0x2000;  // offsets, and virtual addresses during set-up

constexpr uc_x86_reg kRegisters[] = {UC_X86_REG_RAX, UC_X86_REG_RBX, UC_X86_REG_RCX,    UC_X86_REG_RDX,     UC_X86_REG_RSI,
                                     UC_X86_REG_RDI, UC_X86_REG_RBP, UC_X86_REG_RSP,    UC_X86_REG_R8,      UC_X86_REG_R9,
                                     UC_X86_REG_R10, UC_X86_REG_R11, UC_X86_REG_R12,    UC_X86_REG_R13,     UC_X86_REG_R14,
                                     UC_X86_REG_R15, UC_X86_REG_RIP, UC_X86_REG_RFLAGS, UC_X86_REG_FS_BASE, UC_X86_REG_GS_BASE};
constexpr uint64_t UserRegisters::*kMembers[] = {
    &UserRegisters::rax, &UserRegisters::rbx, &UserRegisters::rcx,    &UserRegisters::rdx,     &UserRegisters::rsi,
    &UserRegisters::rdi, &UserRegisters::rbp, &UserRegisters::rsp,    &UserRegisters::r8,      &UserRegisters::r9,
    &UserRegisters::r10, &UserRegisters::r11, &UserRegisters::r12,    &UserRegisters::r13,     &UserRegisters::r14,
    &UserRegisters::r15, &UserRegisters::rip, &UserRegisters::rflags, &UserRegisters::fs_base, &UserRegisters::gs_base};
constexpr size_t kRegisterCount = std::size(kRegisters);
static_assert(kRegisterCount == std::size(kMembers));

// What ended uc_emu_start, as the hooks saw it.
enum class Ending : uint8_t {
  None,
  Limit,        // before a block
  Attention,    // before a block: request_stop(), or code that is running was unmapped
  Rewritten,    // before a block: the block before may have changed code
  UnknownPage,  // before a block: from a page that no fetch fill has vouched for in this epoch
  Care,         // before a block that holds port I/O
  PortIo,       // in a block where none was seen
  Syscall,
  Sysenter,
  Refused,  // a fill was refused; or, for EarlyFetch, a block's second page was asked for before its first instructions have run
  EarlyFetch,
  StoreToRunningCode,  // a fill was refused, so that the storing instruction is made alone
  Interrupt,           // exception or INT n
};

constexpr uint32_t kAttentionStop = 1, kAttentionRestart = 2, kAttentionEmptyTranslations = 4;

CpuStop stopped(StopKind kind, uint8_t vector = 0) { return CpuStop{kind, Fault{}, Access::Read, vector}; }

class UnicornContext final : public CpuContext {
 public:
  explicit UnicornContext(uc_engine* uc) {
    const uc_err e = uc_context_alloc(uc, &context);
    CHECK(e == UC_ERR_OK, "{}", uc_strerror(e));
  }
  ~UnicornContext() override { uc_context_free(context); }
  UnicornContext(const UnicornContext&) = delete;
  UnicornContext& operator=(const UnicornContext&) = delete;

  uc_context* context = nullptr;
  Position position;
};

class UnicornCpu final : public Cpu {
 public:
  UnicornCpu(Ram& ram, Mmu& mmu, Clock& clock, MmuMode mode)
      : ram_(ram),
        mmu_(mmu),
        clock_(clock),
        mode_(mode),
        recorder_(mmu, mode),
        aliases_(ram.size()),
        blocks_({ram.host_base(), ram.size().value()}) {}
  ~UnicornCpu() override;
  std::optional<UserError> set_up();

  CpuStop run() override;
  UserRegisters registers() const override;
  void set_registers(const UserRegisters& r) override;
  FpuState fpu_state() const override;
  void set_fpu_state(const FpuState& s) override;
  SyscallArguments syscall_arguments() const override;
  void set_syscall_result(uint64_t rax) override { write(UC_X86_REG_RAX, rax); }
  uint64_t instruction_pointer() const override { return read(UC_X86_REG_RIP); }
  uint64_t stack_pointer() const override { return read(UC_X86_REG_RSP); }
  std::unique_ptr<CpuContext> make_context() override;
  void save(CpuContext& to) override;
  void restore(const CpuContext& from) override;
  void set_fault_service(FaultService* s) override { service_ = s; }
  void set_precise_faults(bool on) override { precise_faults_ = on; }
  void set_single_step(bool on) override { single_step_ = on; }
  void request_stop() override { attention_.fetch_or(kAttentionStop, std::memory_order_relaxed); }
  MmuMode mode() const override { return mode_; }
  void set_zero_frame(Pfn frame) override { zero_frame_ = frame; }

  void evict(VirtAddr page) override;
  void flush() override;
  void invalidate_code(Pfn frame) override;

 private:
  // --- hooks
  static bool fill_hook(uc_engine*, uint64_t va, uc_mem_type type, uc_tlb_entry* result, void* self) {
    return static_cast<UnicornCpu*>(self)->fill(va, type, result);
  }
  static void block_hook(uc_engine*, uint64_t address, uint32_t size, void* self) {
    static_cast<UnicornCpu*>(self)->on_block(address, size);
  }
  static void memory_hook(uc_engine*, uc_mem_type type, uint64_t physical, int size, int64_t, void* self) {
    static_cast<UnicornCpu*>(self)->on_memory(type, physical, static_cast<unsigned>(size));
  }
  static void syscall_hook(uc_engine*, void* self) { static_cast<UnicornCpu*>(self)->stop_for(Ending::Syscall); }
  static uint32_t port_in_hook(uc_engine*, uint32_t, int, void* self) {
    static_cast<UnicornCpu*>(self)->stop_for(Ending::PortIo);
    return 0;
  }
  static void port_out_hook(uc_engine*, uint32_t, int, uint32_t, void* self) { static_cast<UnicornCpu*>(self)->stop_for(Ending::PortIo); }
  static void sysenter_hook(uc_engine*, void* self) { static_cast<UnicornCpu*>(self)->stop_for(Ending::Sysenter); }
  static void interrupt_hook(uc_engine*, uint32_t vector, void* self) {
    auto* cpu = static_cast<UnicornCpu*>(self);
    cpu->vector_ = vector;
    cpu->stop_for(Ending::Interrupt);
  }
  static bool invalid_instruction_hook(uc_engine*, void*) { return false; }
  bool fill(uint64_t va, uc_mem_type type, uc_tlb_entry* result);
  bool fill_fetch(uint64_t va, const Translation& t, uc_tlb_entry* result);
  bool fill_data(uint64_t va, Access access, const Translation& t, uc_tlb_entry* result);
  void on_block(uint64_t address, uint32_t size);
  void count_block(uint64_t address, uint32_t size, const BlockFacts& facts);
  void on_memory(uc_mem_type type, uint64_t physical, unsigned size);

  // --- stopping
  void stop_for(Ending e) {
    ending_ = e;
    uc_emu_stop(uc_);
  }
  void stop_before_block(Ending e, uint64_t address) {
    block_stop_ = address;
    stop_for(e);
  }
  uc_err emulate();
  std::optional<CpuStop> after_refusal(Access access);
  std::optional<CpuStop> after_interrupt();
  CpuStop after_invalid_instruction();
  CpuStop exception(uint8_t vector) const;
  bool read_clock_at(uint64_t rip);
  void split_before(uint64_t exit) { split_ = exit; }
  void take_back_from(uint64_t rip);
  void forget_exception();

  // --- code
  std::optional<Pfn> code_frame(uint64_t vpn);
  std::span<const std::byte> code_at(uint64_t address, std::span<std::byte, 16> buffer) const;
  void drop_translations(PhysAddr first, uint64_t size);
  void step_over_store();
  void prepare_single_step();
  void drop_rewritten();
  void map_alias(unsigned k);

  uint64_t read(uc_x86_reg r) const {
    uint64_t v = 0;
    uc_reg_read(uc_, r, &v);
    return v;
  }
  void write(uc_x86_reg r, uint64_t v) { uc_reg_write(uc_, r, &v); }
  bool exact() const { return mode_ == MmuMode::Exact; }

  Ram& ram_;
  Mmu& mmu_;
  Clock& clock_;
  const MmuMode mode_;
  uc_engine* uc_ = nullptr;
  uc_context* clean_ = nullptr;  // user mode with all registers zero
  std::byte* host_pages_ = nullptr;
  std::byte* zero_window_ = nullptr;
  Disassembler disassembler_;
  FaultService* service_ = nullptr;
  bool precise_faults_ = false;
  std::optional<Pfn> zero_frame_;

  // State of the run.
  std::atomic<uint32_t> attention_{0};
  TranslationWatch translation_watch_{UINTPTR_MAX, &attention_, kAttentionEmptyTranslations};
  static_assert(std::atomic<uint32_t>::is_always_lock_free, "request_stop() is called from signal handlers");
  bool running_ = false;
  bool setting_up_ = false;
  Ending ending_ = Ending::None;
  uint32_t vector_ = 0;
  Fault fault_;
  Access refused_access_ = Access::Read;
  std::optional<uint64_t> block_stop_;
  std::optional<uint64_t> cut_at_;  // the block here was to be cut short; its hook has not been called since
  AccessRecorder recorder_;
  Position& position_ = recorder_.position();
  std::optional<uint64_t> split_;  // the next emulate() ends before this address

  bool step_ = false;  // the next emulate() runs one instruction, which may store to its own frame
  bool stepping_ = false, stepped_ = false;
  uint64_t step_rcx_ = 0;
  bool step_branches_ = false;  // it is a branch, which may go to itself
  bool single_step_ = false;

  // The block that runs.
  uint64_t block_address_ = 0;
  BlockPlace block_;

  // What the soft TLB holds.
  AliasMap aliases_;
  PageStates pages_;
  BlockTable blocks_;
  unsigned mapped_aliases_ = 1;
  struct CodePage {
    uint64_t vpn = UINT64_MAX;
    uint64_t epoch = 0;
    Pfn frame{0};
  };
  std::array<CodePage, 1024> code_pages_{};
  uint64_t last_code_vpn_ = UINT64_MAX;
  Pfn last_code_frame_{0};
  // Blocks by virtual address, whose pages were vouched for and whose bytes were looked at in this generation.
  struct RecentBlock {
    uint64_t address = UINT64_MAX, generation = 0;
    BlockPlace place;
    BlockFacts facts;
  };
  static constexpr size_t kRecentBlocks = 4096;
  std::vector<RecentBlock> recent_blocks_{kRecentBlocks};
  struct EvictionInProgress {
    uint64_t page = 0;
    bool on = false;
  } evicting_;
  std::vector<Pfn> rewritten_;  // frames with translations that the current block may have written to
  bool naming_code_ = false;    // the host names code in the window

  unsigned set_up_accesses_ = 0;
};

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
  const auto buffer = static_cast<uint32_t>(__real_gen_intermediate_code_x86_64 ? kTranslationBuffer : kUnwatchedTranslationBuffer);
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
  if (exact()) {
    const uc_err e = uc_mem_map_ptr(uc_, AliasMap::kZeroWindow, AliasMap::kZeroSlots << kPageShift, UC_PROT_READ, zero_window_);
    if (e != UC_ERR_OK) return failed("zero window", e);
    map_alias(1);
  }

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
  if (exact()) add_hook(UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE, reinterpret_cast<void*>(memory_hook));

  // SYSRET to user mode, one load that crosses a page to see how many times this Unicorn reports it, SYSCALL to stop.
  std::memset(host_pages_, 0xcc, kPageSize);
  static constexpr uint8_t kCode[] = {0x48, 0x0f, 0x07, 0x48, 0x8b, 0x07, 0x0f, 0x05};
  std::memcpy(host_pages_ + kSetUpCode, kCode, sizeof kCode);
  write(UC_X86_REG_RCX, kSetUpCode + 3);
  write(UC_X86_REG_R11, 0x202);
  write(UC_X86_REG_RDI, kSetUpData + kPageSize - 4);
  setting_up_ = true;
  const uc_err e = uc_emu_start(uc_, kSetUpCode, UINT64_MAX, 0, 0);
  setting_up_ = false;
  if (e != UC_ERR_OK || ending_ != Ending::Syscall || (read(UC_X86_REG_CS) & 3) != 3) return failed("entering user mode", e);
  recorder_.set_loads_in_parts(set_up_accesses_ == 3);
  uc_ctl_flush_tlb(uc_);
  add_hook(UC_HOOK_BLOCK, reinterpret_cast<void*>(block_hook));

  set_registers(UserRegisters{});
  set_fpu_state(initial_fpu_state());
  if (const uc_err failure = uc_context_alloc(uc_, &clean_); failure != UC_ERR_OK) return failed("context", failure);
  uc_context_save(uc_, clean_);

  mmu_.set_tlb_modelled(mode_ != MmuMode::Fast);
  mmu_.set_soft_tlb(this);
  mmu_.set_soft_follows_l1d(mode_ == MmuMode::Trap);
  ram_.set_code_invalidator(this);
  return std::nullopt;
}

// --- The soft TLB

void UnicornCpu::flush() {
  if (pages_.empty()) return;
  uc_ctl_flush_tlb(uc_);
  pages_.clear();
  aliases_.start_epoch();
  blocks_.start_generation();
  last_code_vpn_ = UINT64_MAX;
  // Blocks of one page jump to each other without asking the soft TLB: leave them before the next one.
  if (running_) attention_.fetch_or(kAttentionRestart, std::memory_order_relaxed);
}

void UnicornCpu::evict(VirtAddr page) {
  const uint8_t state = pages_.get(page.vpn());
  if (state & PageStates::kFetched) return flush();
  if (!(state & PageStates::kData)) return;
  // There is no call for this. But the address range of removed translations is looked up as a fetch, and what fill() answers takes the
  // place of the entry: one that is executable only, and of no consequence as long as nobody jumps there (see Ending::UnknownPage).
  evicting_ = {page.page_floor().value(), true};
  uc_ctl_remove_cache(uc_, page.page_floor().value(), page.page_floor().value() + 1);
  evicting_.on = false;
  pages_.at(page.vpn()) = PageStates::kEvicted;
}

void UnicornCpu::drop_translations(PhysAddr first, uint64_t size) {
  naming_code_ = true;
  uc_ctl_remove_cache(uc_, kWindow + first.value(), kWindow + first.value() + size);
  naming_code_ = false;
  pages_.at(VirtAddr{kWindow + first.value()}.vpn()) |= PageStates::kFetched;
}

void UnicornCpu::invalidate_code(Pfn frame) {
  drop_translations(frame.address(), kPageSize);
  blocks_.invalidate(frame);
  // The frame is no longer marked as executed, so fetching from it must ask again.
  if (blocks_.fetched(frame, aliases_.epoch())) flush();
}

void UnicornCpu::drop_rewritten() {
  for (const Pfn frame : rewritten_) {
    drop_translations(frame.address(), kPageSize);
    blocks_.invalidate(frame);
  }
  rewritten_.clear();
  flush();
}

void UnicornCpu::map_alias(unsigned k) {
  if (mapped_aliases_ <= k) forget_regions();
  for (; mapped_aliases_ <= k; ++mapped_aliases_) {
    const uc_err e =
        uc_mem_map_ptr(uc_, aliases_.alias_base(mapped_aliases_), ram_.size().value(), UC_PROT_READ | UC_PROT_WRITE, ram_.host_base());
    CHECK(e == UC_ERR_OK, "alias {} of RAM: {}", mapped_aliases_, uc_strerror(e));
  }
}

bool UnicornCpu::fill(uint64_t va, uc_mem_type type, uc_tlb_entry* result) {
  const Access access = type == UC_MEM_FETCH ? Access::Fetch : type == UC_MEM_WRITE ? Access::Write : Access::Read;
  if (evicting_.on || naming_code_ || setting_up_) [[unlikely]] {
    result->perms = UC_PROT_EXEC;
    if (evicting_.on)
      result->paddr = kHostPages;
    else if (naming_code_)
      result->paddr = (va - kWindow) & ~kPageOffsetMask;
    else {
      result->paddr = kHostPages + (va & (kHostPagesSize - 1) & ~kPageOffsetMask);
      result->perms = UC_PROT_ALL;
    }
    return true;
  }

  // At a fetch the instruction pointer is that of the block. Its second page is asked for when it is translated: too early for a fault, as
  // the instructions on the first page have not run.
  if (access == Access::Fetch && (read(UC_X86_REG_RIP) & ~kPageOffsetMask) != va) [[unlikely]] {
    const WalkResult w = mmu_.inspect(VirtAddr{va});
    if (!w.ok || !w.user || !w.executable) {
      fault_.address = VirtAddr{va};
      ending_ = Ending::EarlyFetch;
      return false;
    }
  }
  Result<Translation, Fault> t = mmu_.resolve(VirtAddr{va}, access, Privilege::User);
  if (!t) [[unlikely]] {
    if (!precise_faults_ && service_ && !t.error().general_protection && service_->resolve_without_waiting(t.error(), access))
      t = mmu_.resolve(VirtAddr{va}, access, Privilege::User);
    if (!t) {
      fault_ = t.error();
      ending_ = Ending::Refused;
      refused_access_ = access;
      return false;
    }
  }
  return access == Access::Fetch ? fill_fetch(va, *t, result) : fill_data(va, access, *t, result);
}

bool UnicornCpu::fill_fetch(uint64_t va, const Translation& t, uc_tlb_entry* result) {
  const Vpn page = VirtAddr{va}.vpn();
  const Pfn frame = t.address.pfn();
  // Never writable: see fill_data().
  if (blocks_.writable(frame, aliases_.epoch())) flush();
  bool readable = true;
  if (mode_ == MmuMode::Trap) {
    readable = mmu_.count_fill(VirtAddr{va}, Access::Fetch).readable;
  } else if (exact()) {
    // Code runs at the frame's own address, where the emulator notices stores to it; so no alias may exist beside it.
    if (aliases_.aliased(frame)) flush();
    // Data of this page can be told from another's only if it is the one that has the frame's own address.
    readable = aliases_.place(frame, page, 0, 0, [&](Vpn other) { return pages_.get(other) == PageStates::kEvicted; }).has_value();
  }
  ram_.mark_executed(frame);
  blocks_.note_fetched(frame, aliases_.epoch());
  uint8_t& state = pages_.at(page);
  state = static_cast<uint8_t>((state & ~PageStates::kEvicted) | PageStates::kFetched | (readable ? PageStates::kData : 0));
  code_pages_[page.value() % code_pages_.size()] = {page.value(), aliases_.epoch(), frame};
  result->paddr = frame.address().value();
  result->perms = static_cast<uc_prot>(UC_PROT_EXEC | (readable ? UC_PROT_READ : 0));
  return true;
}

bool UnicornCpu::fill_data(uint64_t va, Access access, const Translation& t, uc_tlb_entry* result) {
  const Vpn page = VirtAddr{va}.vpn();
  const Pfn frame = t.address.pfn();
  // Writable only once Dirty is set: the first write comes back here.
  bool readable = true, writable = t.writable && t.leaf.dirty();
  // Unicorn notices the first store through an entry to a frame with translations, and removes what it overwrites; later ones it may miss.
  // So such a frame is writable only until the block is over, and then its translations go, and this entry with them; and a store to the
  // frame that is running is made alone.
  if (writable && blocks_.has_code(frame)) [[unlikely]] {
    writable = access == Access::Write;
    if (writable) {
      if (!stepping_ && (frame == block_.start.pfn() || frame == block_.second_frame)) {
        fault_.address = VirtAddr{va};
        ending_ = Ending::StoreToRunningCode;
        return false;
      }
      if (std::find(rewritten_.begin(), rewritten_.end(), frame) == rewritten_.end()) rewritten_.push_back(frame);
    }
  }
  uint64_t physical = frame.address().value();
  if (mode_ == MmuMode::Trap) {
    if (recorder_.take_counted(page.value(), access)) [[unlikely]] {
      writable = false;  // counted before the write of the same instruction faulted; the write comes here next
    } else {
      const Mmu::FillRights rights = mmu_.count_fill(VirtAddr{va}, access);
      readable = rights.readable;
      writable = writable && rights.writable;
    }
  } else if (exact()) {
    if (zero_frame_ == frame && !t.writable) {
      std::optional<uint64_t> slot = aliases_.place_zero(page);
      if (!slot) {
        flush();
        slot = aliases_.place_zero(page);
      }
      physical = *slot;
    } else {
      const auto reusable = [&](Vpn other) { return pages_.get(other) == PageStates::kEvicted; };
      // What holds code is reached at its own address, where stores to it are noticed.
      const bool code = ram_.executed(frame);
      const unsigned lowest = code ? 0 : 1, highest = code ? 0 : AliasMap::kAliases - 1;
      std::optional<uint64_t> slot = aliases_.place(frame, page, lowest, highest, reusable);
      if (!slot) {
        flush();
        slot = aliases_.place(frame, page, lowest, highest, reusable);
      }
      physical = *slot;
      if (physical >= aliases_.alias_base(1)) map_alias(static_cast<unsigned>(physical / aliases_.alias_base(1)));
    }
  }
  if (writable) blocks_.note_writable(frame, aliases_.epoch());
  uint8_t& state = pages_.at(page);
  state = static_cast<uint8_t>((state & ~PageStates::kEvicted) | PageStates::kData);
  result->paddr = physical;
  result->perms = static_cast<uc_prot>((readable ? UC_PROT_READ : 0) | (writable ? UC_PROT_WRITE : 0));
  return true;
}

// --- Accesses and blocks

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

// --- Running

uc_err UnicornCpu::emulate() {
  ending_ = Ending::None;
  block_stop_.reset();
  const std::optional<uint64_t> exit = std::exchange(split_, std::nullopt);
  if (exit) {
    uint64_t address = *exit;
    uc_ctl_set_exits(uc_, &address, 1);
  }
  stepping_ = std::exchange(step_, false);
  stepped_ = false;
  running_ = true;
  translating = &translation_watch_;
  const uc_err e = uc_emu_start(uc_, read(UC_X86_REG_RIP), UINT64_MAX, 0, 0);
  translating = nullptr;
  running_ = stepping_ = false;
  if (exit) {
    uc_ctl_set_exits(uc_, nullptr, 0);
    // The translations that were cut must not stay.
    for (const uint64_t page : {*exit & ~kPageOffsetMask, (*exit & ~kPageOffsetMask) - kPageSize}) {
      const WalkResult w = mmu_.inspect(VirtAddr{page});
      if (w.ok) drop_translations(w.address, kPageSize);
    }
    flush();
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
      prepare_single_step();
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
        if (why & kAttentionEmptyTranslations) uc_ctl_flush_tb(uc_);
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

CpuStop UnicornCpu::exception(uint8_t vector) const { return stopped(StopKind::Exception, vector); }

// Nullopt: not for the kernel; go on.
std::optional<CpuStop> UnicornCpu::after_refusal(Access access) {
  const uint64_t rip = read(UC_X86_REG_RIP);
  CpuStop stop{StopKind::Fault, fault_, access, 0};
  if (access != Access::Fetch) {
    take_back_from(rip);
    position_.interrupt();
    std::array<std::byte, 16> buffer;
    const auto code = code_at(rip, buffer);
    const UserRegisters r = registers();
    // The emulator loads before it stores; a processor asks once, for writing.
    if (access == Access::Read && !code.empty() && scan_instruction(code).modifies_memory) {
      stop.access = Access::Write;
      if (!stop.fault.general_protection) stop.fault.error_code |= FaultCode::kWrite;
    }
    stop.fault.address = disassembler_.accessed_address(code, r, fault_.address, access);
    if (mode_ != MmuMode::Fast) recorder_.fault(disassembler_.accesses(code, r), fault_.address.value(), access);
    return stop;
  }
  const uint64_t page = fault_.address.value() & ~kPageOffsetMask;
  if (ending_ == Ending::Refused) {
    stop.fault.address = VirtAddr{rip};
    return stop;
  }
  // The block's second page. What lies wholly on the first runs first, as it does on hardware.
  const WalkResult w = mmu_.inspect(VirtAddr{rip});
  if (w.ok) {
    const BlockPlace first{w.address, static_cast<uint32_t>(page - rip), Pfn{0}};
    const uint32_t offset = page - rip < kPageSize ? blocks_.first_careful_offset(first) : 0;
    // Once: where the emulator sees other instructions in these bytes than we do, it does not end there.
    if (offset != 0 && cut_at_ != rip) {
      cut_at_ = rip;
      drop_translations(w.address.page_floor(), kPageSize);
      split_before(rip + offset);
      return std::nullopt;
    }
  }
  // The instruction at rip itself crosses.
  const auto try_page = [&] {
    const Result<Translation, Fault> t = mmu_.resolve(VirtAddr{page}, Access::Fetch, Privilege::User);
    if (!t) stop.fault = t.error();
    return t.has_value();
  };
  if (try_page()) return std::nullopt;
  const bool may_resolve = !precise_faults_ && service_ && !stop.fault.general_protection;
  if (may_resolve && service_->resolve_without_waiting(stop.fault, access) && try_page()) return std::nullopt;
  return stop;
}

void UnicornCpu::step_over_store() {
  const uint64_t rip = read(UC_X86_REG_RIP);
  take_back_from(rip);
  position_.interrupt();
  std::array<std::byte, 16> buffer;
  const auto code = code_at(rip, buffer);
  if (mode_ != MmuMode::Fast) recorder_.fault(disassembler_.accesses(code, registers()), fault_.address.value(), Access::Write);
  for (const Pfn frame : {block_.start.pfn(), block_.second_frame})
    if (frame != Pfn{0}) drop_translations(frame.address(), kPageSize);
  step_ = true;
  step_branches_ = false;
  step_rcx_ = read(UC_X86_REG_RCX);
  split_before(rip + (code.empty() ? 1 : scan_instruction(code).length));
}

// The next emulate() runs the instruction at rip and no more.
void UnicornCpu::prepare_single_step() {
  const uint64_t rip = read(UC_X86_REG_RIP);
  std::array<std::byte, 16> buffer;
  const auto code = code_at(rip, buffer);
  unsigned length = 1;
  if (!code.empty()) {
    const ScannedInstruction i = scan_instruction(code);
    length = i.length;
    if (i.kind == InstructionKind::Invalid)
      if (const auto known = disassembler_.decode(code, VirtAddr{rip})) length = known->length;
    step_branches_ = i.kind == InstructionKind::Branch;
    const WalkResult w = mmu_.inspect(VirtAddr{rip});
    drop_translations(w.address.page_floor(), kPageSize);
  }
  step_ = true;
  step_rcx_ = read(UC_X86_REG_RCX);
  split_before(rip + length);
}

std::optional<CpuStop> UnicornCpu::after_interrupt() {
  const uint64_t rip = read(UC_X86_REG_RIP);
  const auto vector = static_cast<uint8_t>(vector_);
  position_.interrupt();
  // INT n ends its block and leaves rip behind it; an exception of an instruction leaves rip at the instruction.
  if (rip == block_address_ + block_.size && rip > block_address_) {
    std::array<std::byte, 16> buffer;
    const auto code = code_at(block_address_ + blocks_.last_offset(block_), buffer);
    if (!code.empty() && scan_instruction(code).kind == InstructionKind::Interrupt) {
      forget_exception();
      if (vector == 3 || vector == 4) return exception(vector);
      return stopped(StopKind::Interrupt, vector);
    }
  }
  take_back_from(rip);
  forget_exception();
  if (vector == 13 && read_clock_at(rip)) {
    if (!(read(UC_X86_REG_RFLAGS) & kTrapFlag)) return std::nullopt;
    return exception(1);
  }
  return exception(vector);
}

bool UnicornCpu::read_clock_at(uint64_t rip) {
  std::array<std::byte, 16> buffer;
  const auto code = code_at(rip, buffer);
  if (code.empty()) return false;
  const ScannedInstruction i = scan_instruction(code);
  if (i.kind != InstructionKind::ReadClock) return false;
  clock_.count_instructions(1);
  const auto ticks = static_cast<uint64_t>(static_cast<unsigned __int128>(clock_.now().value()) * kTscKhz / 1'000'000);
  write(UC_X86_REG_RAX, ticks & 0xffff'ffff);
  write(UC_X86_REG_RDX, ticks >> 32);
  write(UC_X86_REG_RIP, rip + i.length);
  return true;
}

CpuStop UnicornCpu::after_invalid_instruction() {
  const uint64_t rip = read(UC_X86_REG_RIP);
  take_back_from(rip);
  position_.interrupt();
  std::array<std::byte, 16> buffer;
  const auto code = code_at(rip, buffer);
  if (!code.empty() && code[0] == std::byte{0xf1}) {  // INT1 is a trap: it has run
    clock_.count_instructions(1);
    write(UC_X86_REG_RIP, rip + 1);
    return exception(1);
  }
  return exception(!code.empty() && disassembler_.privileged(code) ? 13 : 6);
}

// The part of the current block that begins at rip did not run.
void UnicornCpu::take_back_from(uint64_t rip) {
  if (rip - block_address_ >= block_.size) return;
  clock_.uncount_instructions(blocks_.instructions_from(block_, static_cast<uint32_t>(rip - block_address_)));
}

// Unicorn leaves the exception pending that a hook has seen; a second one would become a double fault. Only a context without it is clean.
void UnicornCpu::forget_exception() {
  const UserRegisters r = registers();
  const FpuState f = fpu_state();
  uc_context_restore(uc_, clean_);
  set_registers(r);
  set_fpu_state(f);
}

// Up to 15 bytes at a virtual address; fewer at the end of what is mapped.
std::span<const std::byte> UnicornCpu::code_at(uint64_t address, std::span<std::byte, 16> buffer) const {
  size_t n = 0;
  while (n < 15) {
    const WalkResult w = mmu_.inspect(VirtAddr{address + n});
    if (!w.ok || !ram_.contains(w.address)) break;
    const uint64_t here = std::min<uint64_t>(15 - n, kPageSize - ((address + n) & kPageOffsetMask));
    std::memcpy(buffer.data() + n, ram_.read(w.address, Bytes{here}).data(), here);
    n += here;
  }
  return buffer.first(n);
}

// --- Registers

UserRegisters UnicornCpu::registers() const {
  std::array<int, kRegisterCount> ids;
  std::array<void*, kRegisterCount> values;
  UserRegisters r;
  for (size_t i = 0; i < kRegisterCount; ++i) {
    ids[i] = kRegisters[i];
    values[i] = &(r.*kMembers[i]);
  }
  uc_reg_read_batch(uc_, ids.data(), values.data(), kRegisterCount);
  return r;
}

void UnicornCpu::set_registers(const UserRegisters& r) {
  if (r.rip != read(UC_X86_REG_RIP)) position_.move();
  std::array<int, kRegisterCount> ids;
  std::array<void*, kRegisterCount> values;
  for (size_t i = 0; i < kRegisterCount; ++i) {
    ids[i] = kRegisters[i];
    values[i] = const_cast<uint64_t*>(&(r.*kMembers[i]));
  }
  uc_reg_write_batch(uc_, ids.data(), values.data(), kRegisterCount);
}

Cpu::SyscallArguments UnicornCpu::syscall_arguments() const {
  SyscallArguments s;
  int ids[] = {UC_X86_REG_RAX, UC_X86_REG_RDI, UC_X86_REG_RSI, UC_X86_REG_RDX, UC_X86_REG_R10, UC_X86_REG_R8, UC_X86_REG_R9};
  void* values[] = {&s.number, &s.arguments[0], &s.arguments[1], &s.arguments[2], &s.arguments[3], &s.arguments[4], &s.arguments[5]};
  uc_reg_read_batch(uc_, ids, values, std::size(ids));
  return s;
}

// Offsets in the FXSAVE image.
constexpr size_t kFcw = 0, kFsw = 2, kFtw = 4, kMxcsr = 24, kMxcsrMask = 28, kSt0 = 32, kXmm0 = 160;
constexpr uint32_t kMxcsrValid = 0xffff;

FpuState UnicornCpu::fpu_state() const {
  FpuState s;
  std::byte* image = s.fxsave.data();
  uint16_t control = 0, status = 0, tags = 0;
  uint32_t mxcsr = 0;
  uc_reg_read(uc_, UC_X86_REG_FPCW, &control);
  uc_reg_read(uc_, UC_X86_REG_FPSW, &status);
  uc_reg_read(uc_, UC_X86_REG_FPTAG, &tags);
  uc_reg_read(uc_, UC_X86_REG_MXCSR, &mxcsr);
  // Abridged: a bit for each register that is not empty (SDM volume 1, 10.5.1.1).
  uint8_t valid = 0;
  for (unsigned i = 0; i < 8; ++i)
    if (((tags >> (2 * i)) & 3) != 3) valid |= 1u << i;
  std::memcpy(image + kFcw, &control, 2);
  std::memcpy(image + kFsw, &status, 2);
  std::memcpy(image + kFtw, &valid, 1);
  std::memcpy(image + kMxcsr, &mxcsr, 4);
  std::memcpy(image + kMxcsrMask, &kMxcsrValid, 4);
  for (int i = 0; i < 8; ++i) {
    std::array<std::byte, 16> value{};
    uc_reg_read(uc_, UC_X86_REG_ST0 + i, value.data());
    std::memcpy(image + kSt0 + 16 * i, value.data(), 10);
  }
  for (int i = 0; i < 16; ++i) uc_reg_read(uc_, UC_X86_REG_XMM0 + i, image + kXmm0 + 16 * i);
  return s;
}

void UnicornCpu::set_fpu_state(const FpuState& s) {
  const std::byte* image = s.fxsave.data();
  uint16_t control = 0, status = 0, tags = 0;
  uint8_t valid = 0;
  uint32_t mxcsr = 0;
  std::memcpy(&control, image + kFcw, 2);
  std::memcpy(&status, image + kFsw, 2);
  std::memcpy(&valid, image + kFtw, 1);
  std::memcpy(&mxcsr, image + kMxcsr, 4);
  mxcsr &= kMxcsrValid;
  for (unsigned i = 0; i < 8; ++i)
    if (!(valid & (1u << i))) tags |= 3u << (2 * i);
  uc_reg_write(uc_, UC_X86_REG_FPCW, &control);
  // The status word first: it says which register is ST(0).
  uc_reg_write(uc_, UC_X86_REG_FPSW, &status);
  for (int i = 0; i < 8; ++i) {
    std::array<std::byte, 16> value{};
    std::memcpy(value.data(), image + kSt0 + 16 * i, 10);
    uc_reg_write(uc_, UC_X86_REG_ST0 + i, value.data());
  }
  uc_reg_write(uc_, UC_X86_REG_FPTAG, &tags);
  uc_reg_write(uc_, UC_X86_REG_MXCSR, &mxcsr);
  for (int i = 0; i < 16; ++i) uc_reg_write(uc_, UC_X86_REG_XMM0 + i, image + kXmm0 + 16 * i);
}

std::unique_ptr<CpuContext> UnicornCpu::make_context() {
  auto context = std::make_unique<UnicornContext>(uc_);
  const UnicornContext current(uc_);
  uc_context_save(uc_, current.context);
  uc_context_restore(uc_, clean_);
  uc_context_save(uc_, context->context);
  uc_context_restore(uc_, current.context);
  return context;
}

void UnicornCpu::save(CpuContext& to) {
  auto& context = static_cast<UnicornContext&>(to);
  uc_context_save(uc_, context.context);
  context.position = position_;
}

void UnicornCpu::restore(const CpuContext& from) {
  const auto& context = static_cast<const UnicornContext&>(from);
  uc_context_restore(uc_, context.context);
  position_ = context.position;
}

}  // namespace

FpuState initial_fpu_state() {
  FpuState s;
  const uint16_t control = 0x37f;
  const uint32_t mxcsr = 0x1f80;
  std::memcpy(s.fxsave.data() + kFcw, &control, 2);
  std::memcpy(s.fxsave.data() + kMxcsr, &mxcsr, 4);
  std::memcpy(s.fxsave.data() + kMxcsrMask, &kMxcsrValid, 4);
  return s;
}

bool translated_blocks_are_bounded() { return blocks_are_bounded; }

Result<std::unique_ptr<Cpu>, UserError> make_unicorn_cpu(Ram& ram, Mmu& mmu, Clock& clock, MmuMode mode) {
  auto cpu = std::make_unique<UnicornCpu>(ram, mmu, clock, mode);
  if (auto error = cpu->set_up()) return fail(std::move(*error));
  return std::unique_ptr<Cpu>(std::move(cpu));
}

}  // namespace vitro::hw
