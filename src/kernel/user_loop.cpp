// A task's life in user mode: run the CPU until it stops, serve the stop, deliver signals, go on.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cstring>

#include "kernel/state.h"

namespace vitro::kernel {
namespace {

// asm/trapnr.h
constexpr unsigned kDivide = 0, kDebug = 1, kBreakpoint = 3, kOverflow = 4, kBounds = 5, kInvalidOpcode = 6, kStackSegment = 12,
                   kGeneralProtection = 13, kPageFault = 14, kFloatingPoint = 16, kAlignment = 17, kSimd = 19;

bool is_restart(Errno e) {
  return e == Errno::RestartSys || e == Errno::RestartNoIntr || e == Errno::RestartNoHand || e == Errno::RestartRestartBlock;
}

// arch/x86/kernel/fpu/core.c: fpu__exception_code.
int floating_point_code(const hw::FpuState& fpu, bool simd) {
  auto word = [&](size_t at, size_t n) {
    uint32_t v = 0;
    std::memcpy(&v, fpu.fxsave.data() + at, n);
    return v;
  };
  uint32_t error;
  if (simd) {
    const uint32_t mxcsr = word(24, 4);
    error = ~(mxcsr >> 7) & mxcsr;
  } else {
    error = word(2, 2) & ~word(0, 2);
  }
  if (error & 0x01) return 7;  // FPE_FLTINV
  if (error & 0x04) return 3;  // FPE_FLTDIV
  if (error & 0x08) return 4;  // FPE_FLTOVF
  if (error & 0x12) return 5;  // FPE_FLTUND
  if (error & 0x20) return 6;  // FPE_FLTRES
  return 0;
}

// A non-canonical access through the stack segment is #SS, not #GP (SDM volume 3, 6.15). Without segment overrides that is: rsp or rbp as
// the base, and the implicit accesses of push, pop, call, ret, enter and leave.
bool uses_stack_segment(std::string_view text) {
  const size_t bracket = text.find('[');
  if (bracket != std::string_view::npos) {
    const std::string_view base = text.substr(bracket + 1, 3);
    return base == "rsp" || base == "rbp";
  }
  for (std::string_view name : {"push", "pop", "call", "ret", "enter", "leave"})
    if (text.starts_with(name)) return true;
  return false;
}

}  // namespace

void Kernel::State::task_main(Task& t) {
  if (t.body) {
    auto body = std::move(t.body);
    t.body = nullptr;
    body();
  }
  if (t.space()) user_loop(t);
  exit_task(t);
}

void Kernel::State::user_loop(Task& t) {
  while (return_to_user(t)) {
    scheduler.account_system();
    if (vm.isolated()) {
      clock.advance(timing.cr3_switch);
      scheduler.account_system();
      scheduler.asids().enter_user();
    }
    const hw::CpuStop stop = run_user(t);
    scheduler.account_user();
    if (vm.isolated()) {
      scheduler.asids().enter_kernel();
      clock.advance(timing.cr3_switch);
    }
    switch (stop.kind) {
      case hw::StopKind::Limit:
      case hw::StopKind::Stepped:  // run_user() keeps it
        break;
      case hw::StopKind::Syscall:
        run_syscall(t);
        break;
      case hw::StopKind::Fault:
        user_fault(t, stop);
        break;
      case hw::StopKind::Exception:
        user_exception(t, stop);
        break;
      case hw::StopKind::Interrupt: {
        // INT n: the gate's privilege refuses it; the instruction pointer stays on the instruction. The 32-bit entry (INT 0x80) is not
        // offered.
        hw::UserRegisters r = cpu.registers();
        r.rip -= 2;
        cpu.set_registers(r);
        if (stop.vector == 0x80)
          log.append(clock.now(), fmt::format("{}[{}]: 32-bit system call entry (int 0x80) is not supported", t.comm, t.tid.value()));
        trap_signal(t, kSigSegv, kSiKernel, 0, kGeneralProtection, stop.vector * 8u + 2, "general protection fault");
        break;
      }
      case hw::StopKind::Requested:
        // Somebody outside wants our attention: the scheduler asks the host between tasks.
        if (!poll_host()) {
          host_asked = true;
          scheduler.give_way();
        }
        break;
    }
  }
}

// Runs until something concerns the kernel. Stops that are only for somebody who looks on are none: nothing but looking happens there.
hw::CpuStop Kernel::State::run_user(Task& t) {
  for (;;) {
    bool stepping = false;
    if (watcher) [[unlikely]] {
      stepping = watcher->entering_user(t);
      cpu.set_single_step(stepping);
    }
    const hw::CpuStop stop = cpu.run();
    if (stop.kind == hw::StopKind::Limit && clock.run_due_watches() && !clock.limit_reached()) continue;
    if (!stepping) return stop;
    const bool ran = stop.kind == hw::StopKind::Stepped || stop.kind == hw::StopKind::Syscall || stop.kind == hw::StopKind::Interrupt;
    if (ran) watcher->instruction_done(t);
    cpu.set_single_step(false);
    if (stop.kind != hw::StopKind::Stepped) return stop;
  }
}

// kernel/entry/common.c: exit_to_user_mode_loop. False: the task must die.
bool Kernel::State::return_to_user(Task& t) {
  scheduler.run_due_events();
  check_cpu_timers(t);
  while (!t.exiting) {
    if (t.restart.armed || signal_pending(t)) {
      handle_signals(t);
      continue;
    }
    if (t.saved_mask) {
      kernel.set_blocked(t, *std::exchange(t.saved_mask, std::nullopt));
      continue;
    }
    if (!scheduler.preemption_pending()) {
      if (!t.rseq_event) return true;
      settle_rseq(t);
      continue;
    }
    scheduler.preempt_if_needed();
    check_cpu_timers(t);
  }
  return false;
}

void Kernel::State::run_syscall(Task& t) {
  const hw::Cpu::SyscallArguments call = cpu.syscall_arguments();
  if (watcher) [[unlikely]] watcher->before_syscall(t, call.number);
  clock.advance(timing.syscall);
  t.in_syscall = true;
  t.syscall_number = call.number;
  t.registers_replaced = false;
  const Result<long> result = syscalls->dispatch(kernel, t, call.number, call.arguments);
  t.in_syscall = false;
  if (t.registers_replaced) return;
  if (result) {
    cpu.set_syscall_result(static_cast<uint64_t>(*result));
    return;
  }
  if (is_restart(result.error())) t.restart = {result.error(), call.number, true};
  cpu.set_syscall_result(static_cast<uint64_t>(-static_cast<int64_t>(result.error())));
}

// arch/x86/mm/fault.c: do_user_addr_fault and bad_area.
void Kernel::State::user_fault(Task& t, const hw::CpuStop& stop) {
  if (stop.fault.general_protection) {
    std::array<std::byte, 15> code{};
    const hw::UserRegisters r = cpu.registers();
    const size_t n = t.space()->read_remote(VirtAddr{r.rip}, code);
    const auto instruction = disassembler.decode(std::span{code}.first(n), VirtAddr{r.rip});
    if (instruction && uses_stack_segment(instruction->text))
      return trap_signal(t, kSigBus, kSiKernel, 0, kStackSegment, 0, "stack segment");
    return trap_signal(t, kSigSegv, kSiKernel, 0, kGeneralProtection, 0, "general protection fault");
  }
  const VirtAddr address = stop.fault.address;
  const mm::FaultOutcome outcome = t.space()->handle_fault(address, stop.access, hw::Privilege::User, mm::MayWait::Yes);
  using enum mm::FaultOutcome::Result;
  switch (outcome.result) {
    case Resolved:
      return;
    case WouldWait:
      CHECK(false, "a fault that may wait did not, at {:#x}", address.value());
    case SegvMapError:
    case SegvAccessError: {
      uint64_t code = stop.fault.error_code;
      if (address.value() >= mm::kUserEnd.value()) code |= hw::FaultCode::kProtection;  // says nothing of what is mapped in the kernel half
      t.fault_address = address.value();
      return trap_signal(t, kSigSegv, outcome.result == SegvMapError ? 1 : 2, address.value(), kPageFault, code, "segfault");
    }
    case BusError:
      t.fault_address = address.value();
      return trap_signal(t, kSigBus, 2, address.value(), kPageFault, stop.fault.error_code, "bus error");
    case OutOfMemory:
      // Who has to go was decided where the memory was asked for; everybody else tries again (pagefault_out_of_memory).
      return;
  }
}

// arch/x86/kernel/traps.c
void Kernel::State::user_exception(Task& t, const hw::CpuStop& stop) {
  const uint64_t ip = cpu.instruction_pointer();
  switch (stop.vector) {
    case kDivide:
      return trap_signal(t, kSigFpe, 1, ip, kDivide, 0, "divide error");
    case kDebug:
      return trap_signal(t, kSigTrap, 2, ip, kDebug, 0, "debug");
    case kBreakpoint:
      return trap_signal(t, kSigTrap, kSiKernel, 0, kBreakpoint, 0, "int3");
    case kOverflow:
      return trap_signal(t, kSigSegv, kSiKernel, 0, kOverflow, 0, "overflow");
    case kBounds:
      return trap_signal(t, kSigSegv, kSiKernel, 0, kBounds, 0, "bounds");
    case kInvalidOpcode:
      return trap_signal(t, kSigIll, 2, ip, kInvalidOpcode, 0, "invalid opcode");
    case kFloatingPoint:
    case kSimd: {
      const int code = floating_point_code(cpu.fpu_state(), stop.vector == kSimd);
      if (code == 0) return;  // a spurious one
      return trap_signal(t, kSigFpe, code, ip, stop.vector, 0, stop.vector == kSimd ? "SIMD exception" : "fpu exception");
    }
    case kAlignment:
      return trap_signal(t, kSigBus, 1, 0, kAlignment, 0, "alignment check");
    default:
      return trap_signal(t, kSigSegv, kSiKernel, 0, kGeneralProtection, 0, "general protection fault");
  }
}

// Forces the signal, and says so in the kernel log where nothing will catch it (show_unhandled_signals).
void Kernel::State::trap_signal(Task& t, int signal, int code, uint64_t address, unsigned vector, uint64_t error_code, const char* name) {
  const SignalAction& action = t.process->handlers->actions[static_cast<size_t>(signal)];
  t.fault_vector = vector;
  t.fault_error_code = error_code;
  if (action.handler <= 1 || (t.blocked & signal_bit(signal))) {
    const uint64_t ip = cpu.instruction_pointer(), sp = cpu.stack_pointer();
    std::string line =
        vector == kPageFault && signal == kSigSegv
            ? fmt::format("{}[{}]: segfault at {:x} ip {:016x} sp {:016x} error {:x}", t.comm, t.tid.value(), address, ip, sp, error_code)
            : fmt::format("traps: {}[{}] {} ip:{:x} sp:{:x} error:{:x}", t.comm, t.tid.value(), vector == kPageFault ? "bus error" : name,
                          ip, sp, error_code);
    if (const mm::Vma* v = t.space()->find(VirtAddr{ip}); v && v->file) {
      const std::string path = v->file->mapped_path();
      line += fmt::format(" in {}[{:x}+{:x}]", path.substr(path.rfind('/') + 1), v->start.value(), v->length().value());
    }
    log.append(clock.now(), line);
  }
  SignalInfo info;
  info.signal = signal;
  info.code = code;
  info.address = address;
  info.fault_vector = vector;
  info.fault_error_code = error_code;
  kernel.force_signal(t, info);
}

}  // namespace vitro::kernel
