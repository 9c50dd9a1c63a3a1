// Classifies a page fault and hands it to its kind (arch/x86/mm/fault.c: do_user_addr_fault; mm/memory.c: handle_pte_fault).
#include "mm/fault/page_fault.h"
#include "mm/swap/swap_state.h"
#include "vitro/base/check.h"

namespace vitro::mm {
namespace {

FaultOutcome::Result outcome_of(Attempt a) {
  switch (a) {
    case Attempt::Done: return FaultOutcome::Result::Resolved;
    case Attempt::SegvMapError: return FaultOutcome::Result::SegvMapError;
    case Attempt::SegvAccessError: return FaultOutcome::Result::SegvAccessError;
    case Attempt::BusError: return FaultOutcome::Result::BusError;
    case Attempt::OutOfMemory: return FaultOutcome::Result::OutOfMemory;
    default: return FaultOutcome::Result::WouldWait;
  }
}

// arch/x86/mm/fault.c: access_error, with the fetch from a non-executable area refused at once.
bool access_allowed(const Vma& v, hw::Access access) {
  switch (access) {
    case hw::Access::Write: return has(v.flags, VmFlag::Write);
    case hw::Access::Fetch: return has(v.flags, VmFlag::Exec);
    default: return v.accessible();
  }
}

Attempt attempt(FaultContext& f, hw::Access access) {
  AddressSpace::State& s = f.space;
  const auto entry = s.tables.find_entry(f.page);
  f.pte = entry ? s.tables.at(*entry) : Pte{};
  f.vma = s.vmas.find_ending_after(f.page);
  if (!f.vma) return Attempt::SegvMapError;
  bool grown = false;
  if (f.vma->start > f.page) {
    if (!has(f.vma->flags, VmFlag::GrowsDown)) return Attempt::SegvMapError;
    if (const Attempt a = expand_stack(f, *f.vma); a != Attempt::Done) return a;
    grown = true;
  }
  if (!access_allowed(*f.vma, access)) return Attempt::SegvAccessError;
  Attempt result;
  if (f.pte.raw == 0) {
    result = f.vma->file ? fault_file(f) : f.vma->special ? fault_special(f) : fault_anonymous(f);
  } else if (is_swap(f.pte)) {
    result = fault_swap(f);
  } else if (f.write && !f.pte.writable()) {
    result = fault_write_protected(f);
  } else {
    // Another thread was faster, or a TLB was stricter than the tables.
    uint64_t bits = Pte::kAccessed;
    if (f.write) bits |= Pte::kDirty;
    s.tables.mark(*entry, bits);
    f.kind = FaultKind::Spurious;
    f.pfn = f.pte.pfn();
    result = Attempt::Done;
  }
  if (result == Attempt::Done && grown) f.kind = FaultKind::Stack;
  return result;
}

}  // namespace

FaultOutcome AddressSpace::handle_fault(VirtAddr address, hw::Access access, hw::Privilege privilege, MayWait may_wait, AfterWait after) {
  State& s = *state_;
  Attempt result = Attempt::SegvMapError;
  FaultKind kind = FaultKind::Bad;
  bool major = false;
  FaultReport report;
  if (address < kUserEnd) {
    for (;;) {
      if (s.locked && may_wait == MayWait::No) return {FaultOutcome::Result::WouldWait, FaultKind::Bad, false};
      MmapLock lock(s);
      FaultContext f{s, lock, address.page_floor(), access == hw::Access::Write, may_wait};
      result = attempt(f, access);
      major |= f.major || (f.tried && after == AfterWait::CountsMajor);
      kind = result == Attempt::Done ? f.kind : FaultKind::Bad;
      report.pfn = f.pfn;
      report.cost = f.cost;
      report.error_code = f.pte.present() ? hw::FaultCode::kProtection : 0;
      if (result != Attempt::Again) break;
    }
    if (result == Attempt::WouldWait) return {FaultOutcome::Result::WouldWait, FaultKind::Bad, false};
    // A bad access is handled, and counted, once: when it is asked for again with the registers known.
    if (result != Attempt::Done && may_wait == MayWait::No) return {outcome_of(result), FaultKind::Bad, false};
  } else if (may_wait == MayWait::No) {
    return {FaultOutcome::Result::SegvMapError, FaultKind::Bad, false};
  } else if (hw::canonical(address) && s.vm.mmu().inspect(address).ok) {
    report.error_code |= hw::FaultCode::kProtection;  // the kernel half is mapped, but not for user mode
  }

  if (result == Attempt::Done) {
    s.vm.physical().stat().add(VmItem::pgfault);
    s.vm.major_faults += major;
  }
  ++s.vm.faults_by_kind[static_cast<size_t>(kind)];
  if (FaultObserver* observer = s.vm.fault_observer()) {
    report.address = address;
    if (access == hw::Access::Write) report.error_code |= hw::FaultCode::kWrite;
    if (access == hw::Access::Fetch) report.error_code |= hw::FaultCode::kFetch;
    if (privilege == hw::Privilege::User) report.error_code |= hw::FaultCode::kUser;
    report.access = access;
    report.privilege = privilege;
    report.kind = kind;
    report.major = major;
    report.cost += s.vm.timing().fault_entry;
    report.space = this;
    observer->fault_handled(report);
  }
  return {outcome_of(result), kind, major};
}

}  // namespace vitro::mm
