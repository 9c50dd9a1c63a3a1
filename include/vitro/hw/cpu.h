// One emulated x86-64 CPU in user mode: registers, and run() until something needs the kernel.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "vitro/base/result.h"
#include "vitro/base/types.h"
#include "vitro/hw/clock.h"
#include "vitro/hw/fault.h"
#include "vitro/hw/mmu.h"
#include "vitro/hw/ram.h"

namespace vitro::hw {

// How much of the access stream the MMU sees. Guest-visible behaviour is the same in all.
enum class MmuMode : uint8_t { Exact, Trap, Fast };

struct UserRegisters {
  uint64_t rax = 0, rbx = 0, rcx = 0, rdx = 0, rsi = 0, rdi = 0, rbp = 0, rsp = 0;
  uint64_t r8 = 0, r9 = 0, r10 = 0, r11 = 0, r12 = 0, r13 = 0, r14 = 0, r15 = 0;
  uint64_t rip = 0, rflags = 0x202;
  uint64_t fs_base = 0, gs_base = 0;
};

// The FXSAVE image (SDM volume 1, 10.5.1): x87, MXCSR, XMM0..15.
struct alignas(16) FpuState {
  std::array<std::byte, 512> fxsave{};
};
// As execve leaves it: FCW 0x37f, MXCSR 0x1f80, all else zero.
FpuState initial_fpu_state();

// Everything a task has in the CPU, saved and restored at a task switch.
class CpuContext {
 public:
  virtual ~CpuContext() = default;
};

enum class StopKind : uint8_t {
  Limit,       // the clock's instruction limit: an event is due or the time slice is over
  Syscall,     // SYSCALL executed; rip is the next instruction, rcx and r11 are set as the SDM says
  Fault,       // #PF or #GP(non-canonical): rip is the faulting instruction, nothing of it has taken effect
  Exception,   // another exception: `vector` says which (#DE 0, #DB 1, #BP 3, #OF 4, #UD 6, #GP 13 for a privileged instruction, #MF 16, #AC 17, #XM 19)
  Interrupt,   // INT n with n != 3, 4 (INT 0x80): `vector` = n; rip is the next instruction
  Requested,   // request_stop() was called
  Stepped,     // set_single_step(true): one instruction has run
};

struct CpuStop {
  StopKind kind = StopKind::Limit;
  // Fault: exact address (decoded), error code. Valid where kind == Fault.
  Fault fault;
  Access access = Access::Read;
  uint8_t vector = 0;
};

// Asked for by the CPU in the middle of an instruction when a translation is missing. Implemented by the kernel.
class FaultService {
 public:
  virtual ~FaultService() = default;
  // Tries to resolve without waiting. True: resolved, the access is retried. False: the CPU stops with StopKind::Fault.
  // `fault.address` is only known to the page here. A Read may be the first half of an instruction that writes the same operand: a processor
  // asks once, for writing. Where that makes a difference, answer false: the stop has the access and the error code of the whole instruction.
  virtual bool resolve_without_waiting(const Fault& fault, Access access) = 0;
};

class Cpu : public SoftTlb, public CodeInvalidator {
 public:
  // Runs the current context in the Mmu's current address space until something happens. Counts instructions in the Clock, a block at
  // its start, so that time is the same however the run is interrupted.
  virtual CpuStop run() = 0;

  virtual UserRegisters registers() const = 0;
  virtual void set_registers(const UserRegisters& r) = 0;
  virtual FpuState fpu_state() const = 0;
  virtual void set_fpu_state(const FpuState& s) = 0;
  // The registers a system call needs: number, six arguments; and its result. Cheaper than registers().
  struct SyscallArguments {
    uint64_t number = 0;
    std::array<uint64_t, 6> arguments{};
  };
  virtual SyscallArguments syscall_arguments() const = 0;
  virtual void set_syscall_result(uint64_t rax) = 0;
  virtual uint64_t instruction_pointer() const = 0;
  virtual uint64_t stack_pointer() const = 0;

  virtual std::unique_ptr<CpuContext> make_context() = 0;
  virtual void save(CpuContext& to) = 0;
  virtual void restore(const CpuContext& from) = 0;

  virtual void set_fault_service(FaultService* s) = 0;
  // Every fault stops the CPU instead of being resolved inside the access, so that registers, the instruction and the exact address are
  // known when it is handled (for traces). Same virtual time, same counts.
  virtual void set_precise_faults(bool on) = 0;
  // Whether accessing_instruction() can tell instructions of a block apart. To be set before the first run; costs time. Same counts.
  virtual void set_attribution(bool on) = 0;
  // The instruction whose access to `address` the Mmu or the FaultService is just being told of; for a fetch, the first instruction that
  // needs the page. Valid only inside such a call. Nothing without attribution, or where the emulator's library does not let us know
  // (a shared one before 2.1.4).
  virtual std::optional<VirtAddr> accessing_instruction(VirtAddr address, Access access) const = 0;
  // run() returns Stepped after each instruction (one iteration of a repeated string instruction) that ends in no other stop. Slow; time, counts and
  // all that the guest sees are the same.
  virtual void set_single_step(bool on) = 0;
  // From a host signal handler or another thread: run() returns Requested soon.
  virtual void request_stop() = 0;
  virtual MmuMode mode() const = 0;
  // The frame of zeros that may be mapped read-only at any number of pages. Without it such pages cost flushes in `exact` mode.
  virtual void set_zero_frame(Pfn frame) = 0;
  // What RDTSC reads advances this fast.
  static constexpr uint64_t kTscKhz = 2'500'000;
};

// Whether long straight code is kept from overrunning Unicorn's tables: known once a CPU was made. False with a shared libunicorn.
bool translated_blocks_are_bounded();

// How blocks and accesses are counted: by operations put into translated code, where this Unicorn's is understood; or by Unicorn's hooks,
// which are slower and count the same.
enum class CountBy : uint8_t { TranslatedCode, Hooks };
Result<std::unique_ptr<Cpu>, UserError> make_unicorn_cpu(Ram& ram, Mmu& mmu, Clock& clock, MmuMode mode,
                                                         CountBy by = CountBy::TranslatedCode);

}  // namespace vitro::hw
