// The Cpu on Unicorn >= 2.1.1. Unicorn's header is included here and in the files that implement this class, unicorn_*.cpp, only.
//
// How it hangs together (see UnicornCpu::run):
//  - Unicorn runs in its virtual-TLB mode; its soft TLB asks fill() for every page it does not know, and fill() asks the Mmu.
//  - Guest code runs at CPL 3 for real (entered by a SYSRET when the engine is set up), so privileged instructions raise #GP by themselves;
//    port I/O, which Unicorn lets through, is found when a block is decoded and never reached. CR4.TSD makes RDTSC trap.
//  - Time is counted a block at its start (on_block); whatever of a block did not run is taken back.
//  - The limit of the clock is looked at only behind branches and iterations of repeated string instructions, which are the same places
//    however Unicorn cuts code into blocks and wherever a run was interrupted.
//
//   unicorn_setup.cpp       makes an engine that runs user code
//   unicorn_cpu.cpp         run(): starts the engine, and what its stops mean
//   unicorn_stops.cpp       faults, exceptions and interrupts: what the kernel is told of them
//   unicorn_fill.cpp        the soft TLB: fills, evictions, and keeping translated code in step with memory
//   unicorn_blocks.cpp      what is counted and looked at before a block runs
//   unicorn_attribution.cpp which instruction makes an access
//   unicorn_registers.cpp   registers and contexts
//   unicorn_accesses.cpp    accesses of translated code that the soft TLB did not answer
//   unicorn_softmmu.cpp     the soft TLB itself, and where we step in behind it
//   unicorn_tcg.cpp         what is put into the blocks that Unicorn translates
#pragma once

#include <unicorn/unicorn.h>

#include <array>
#include <atomic>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "hw/access_recorder.h"
#include "hw/alias_map.h"
#include "hw/block_table.h"
#include "hw/page_states.h"
#include "hw/unicorn_regions.h"
#include "hw/unicorn_softmmu.h"
#include "hw/unicorn_tcg.h"
#include "vitro/base/check.h"
#include "vitro/hw/cpu.h"
#include "vitro/hw/disassembler.h"

namespace vitro::hw {

constexpr uint64_t kUserEnd = uint64_t{1} << 47;
constexpr uint64_t kTrapFlag = 0x100, kResumeFlag = 0x10000;

// A private window onto all physical memory, in the kernel half, where the host names translated code that is to go. Never filled for
// the guest.
constexpr uint64_t kWindow = 0xffff'8000'0000'0000;
// Host pages that are no guest RAM: one of INT3, which evicted pages are filled with, and the set-up code and its data.
constexpr uint64_t kHostPages = uint64_t{1} << 47;
constexpr uint64_t kHostPagesSize = 4 * kPageSize;
constexpr uint64_t kSetUpCode = 0x1000, kSetUpData = 0x2000;  // offsets, and virtual addresses during set-up

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

inline CpuStop stopped(StopKind kind, uint8_t vector = 0) { return CpuStop{kind, Fault{}, Access::Read, vector}; }

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

class UnicornCpu final : public Cpu, private BlockClient, private AccessClient {
 public:
  UnicornCpu(Ram& ram, Mmu& mmu, Clock& clock, MmuMode mode, CountBy by)
      : ram_(ram),
        mmu_(mmu),
        clock_(clock),
        mode_(mode),
        by_(by),
        recorder_(mmu, mode),
        aliases_(ram.size()),
        blocks_({ram.host_base(), ram.size().value()}) {}
  ~UnicornCpu() override;
  std::optional<UserError> set_up();
  std::optional<UserError> watch_accesses();

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
  void set_attribution(bool on) override;
  std::optional<VirtAddr> accessing_instruction(VirtAddr address, Access access) const override;
  void set_single_step(bool on) override { single_step_ = on; }
  void request_stop() override { attention_.fetch_or(kAttentionStop, std::memory_order_relaxed); }
  MmuMode mode() const override { return mode_; }
  void set_zero_frame(Pfn frame) override { zero_frame_ = frame; }

  void evict(VirtAddr page) override;
  void evict_data(VirtAddr page) override;
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
  void begin_block(uint64_t address, const BlockPlace& place, const BlockFacts& facts);
  bool stops_before(uint64_t address);

  // --- blocks that count by themselves (see unicorn_tcg.h)
  TranslatedBlock* begin_translation(uint64_t address) override;
  void end_translation(TranslatedBlock& block, uint32_t size) override;
  Pulse& pulse() override { return pulse_; }
  const uint64_t* fetch_filter(uint64_t address, uint64_t& expected) override;
  void enter_slowly(const TranslatedBlock& block) override;
  void translations_are_many() override;
  bool counts_accesses() const override { return direct() && exact(); }
  bool exits_in_blocks_are_unused() const override { return direct(); }
  void catch_up();
  void arm();
  void on_memory(uc_mem_type type, uint64_t physical, unsigned size);
  int instructions_together(uint64_t address) const override;
  uint64_t instruction_in_block() const;

  // --- accesses that the soft TLB did not answer (see unicorn_softmmu.h)
  bool load(uint64_t address, void* to, unsigned size, uintptr_t where) override;
  bool store(uint64_t address, const void* from, unsigned size, uintptr_t where) override;
  void count_helper_access(uint64_t where) override;
  void helper_access_done() override { in_helper_ = false; }
  std::byte* reach(uint64_t address, Access access);
  void grant(uint64_t page, Pfn frame, std::byte* host, bool writable);
  // RAM's mark lies closer together than what is known of blocks, and says no for nearly every frame.
  bool has_code(Pfn frame) const { return ram_.executed(frame) && blocks_.has_code(frame); }
  bool reach_both(uint64_t address, unsigned size, Access access, std::byte*& first, std::byte*& second);
  std::optional<Translation> translate_for(uint64_t page, Access access);
  bool direct() const { return table_.found(); }
  void fault_in(std::span<const std::byte> code, const UserRegisters& r, Access access);

  // --- stopping
  void stop_for(Ending e) {
    ending_ = e;
    uc_emu_stop(uc_);
    // Only enter_slowly() lets a block stop.
    catch_up();
    arm();
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
  std::optional<BlockPlace> place_of(uint64_t address, uint32_t size);
  std::span<const std::byte> code_at(uint64_t address, std::span<std::byte, 16> buffer) const;
  void drop_translations(PhysAddr first, uint64_t size);
  void step_over_store();
  std::optional<CpuStop> prepare_single_step();
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
  const CountBy by_;
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
  static_assert(std::atomic<uint32_t>::is_always_lock_free, "request_stop() is called from signal handlers");
  bool attributing_ = false, knows_instructions_ = false;
  Emulator* emulator_ = nullptr;  // what recovers the instruction pointer
  uintptr_t access_where_ = 0;    // and from where: of the access that is being made
  uint64_t crossing_ip_ = 0;  // where attributing: the instruction of the last access that crossed a page
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

  std::optional<uint64_t> exit_;   // this one does

  // Blocks count by themselves: what is not yet known to the clock and the recorder is in the pulse, up to the last catch_up().
  bool blocks_count_ = false;
  Pulse pulse_;
  int64_t armed_ = 0;  // the budget at that time
  std::deque<TranslatedBlock> translated_;
  const TranslatedBlock* running_block_ = nullptr;
  SoftTable table_;
  bool granted_ = false;          // something was put into the table since the last flush
  bool refused_already_ = false;  // the next fill is of an access that was refused already
  size_t conflicts_ = 0;          // pages put in the place of others since the last flush
  uint64_t resolved_faults_ = 0;
  // Accesses of Unicorn's helper functions, which are not counted with their blocks, and second pages.
  uint64_t helper_accesses_ = 0;
  bool in_helper_ = false;
  uint64_t helper_where_ = 0, helper_time_ = 0, helper_row_ = 0;  // how many the same call has made

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

}  // namespace vitro::hw
