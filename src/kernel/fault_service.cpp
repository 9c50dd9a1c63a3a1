// Page faults as the CPU and the memory manager report them: resolution inside an access, and the bookkeeping afterwards.
#include "kernel/state.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::kernel {

bool Kernel::resolve_without_waiting(const hw::Fault& fault, hw::Access access) {
  State& s = *state_;
  if (fault.general_protection) return false;
  Task* t = s.scheduler.current();
  if (!t || !t->space()) return false;
  if (access == hw::Access::Read) {
    // The load may be the first half of a read-modify-write, which faults once, as a write. Only a stopped CPU knows its instruction.
    const mm::Vma* vma = t->space()->find(fault.address);
    if (vma && has(vma->flags, mm::VmFlag::Write)) return false;
  }
  s.resolving = true;
  const mm::FaultOutcome outcome = t->space()->handle_fault(fault.address, access, hw::Privilege::User, mm::MayWait::No);
  s.resolving = false;
  return outcome.result == mm::FaultOutcome::Result::Resolved;
}

void Kernel::fault_handled(const mm::FaultReport& report) {
  State& s = *state_;
  // A refused fill stops the CPU, and the fault comes again with its exact address: that is when it counts.
  if (s.resolving && report.kind == mm::FaultKind::Bad) return;
  account_fault(report);
  trace_fault(report);
  if (s.watcher) [[unlikely]] s.watcher->fault_handled(report);
}

void Kernel::account_fault(const mm::FaultReport& report) {
  State& s = *state_;
  Task* t = s.scheduler.current();
  if (t) {
    if (report.kind != mm::FaultKind::Bad) ++(report.major ? t->usage.maj_flt : t->usage.min_flt);
    if (s.resolving) s.scheduler.account_user();
  }
  s.clock.advance(report.cost);
  // Handled inside the access: the exception's way into the kernel and back was not seen by the task's loop.
  if (s.resolving && s.vm.isolated()) {
    s.vm.mmu().count_isolation_switches(2);
    s.clock.advance(s.timing.cr3_switch * 2);
  }
  if (t) s.scheduler.account_system();
}

void Kernel::trace_fault(const mm::FaultReport& report) {
  State& s = *state_;
  const bool from_user = report.privilege == hw::Privilege::User;
  const Event event = from_user ? Event::PageFaultUser : Event::PageFaultKernel;
  if (!s.tracer.enabled(event)) return;
  Task* t = s.scheduler.current();
  const uint64_t ip = t && t->context ? s.cpu.instruction_pointer() : 0;
  std::string text = "-", symbol = "-";
  if (t && t->space() && ip) {
    const bool before = std::exchange(s.untimed, true);  // looking on must not change what happens
    symbol = symbolize(*t, VirtAddr{ip});
    if (from_user) {
      std::array<std::byte, 15> code{};
      size_t n = 0;
      // Only bytes whose page is mapped: reading the rest would fault on the guest's behalf.
      for (; n < code.size(); ++n) {
        const hw::WalkResult walk = s.vm.mmu().inspect(VirtAddr{ip + n});
        if (!walk.ok) break;
        code[n] = s.vm.physical().ram().read(walk.address, Bytes{1})[0];
      }
      if (const auto instruction = s.disassembler.decode(std::span{code}.first(n), VirtAddr{ip})) text = instruction->text;
    } else {
      text = t->in_syscall ? "syscall" : "-";
    }
    s.untimed = before;
  }
  TRACE(s.tracer, event, report.address.value(), ip, report.error_code, mm::fault_kind_name(report.kind), report.pfn.value(),
        report.cost.value(), text, symbol);
}

}  // namespace vitro::kernel
