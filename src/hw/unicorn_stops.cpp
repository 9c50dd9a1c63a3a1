// Faults, exceptions and interrupts: what the kernel is told of them, and how much of the block had run.
#include <algorithm>
#include <array>
#include <cstring>

#include "hw/instruction_scan.h"
#include "hw/unicorn_cpu.h"

namespace vitro::hw {

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
    fault_in(code, r, access);
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

// The next emulate() runs the instruction at rip and no more. A stop where that cannot be fetched: how long it is must be known first.
std::optional<CpuStop> UnicornCpu::prepare_single_step() {
  const uint64_t rip = read(UC_X86_REG_RIP);
  std::array<std::byte, 16> buffer;
  auto code = code_at(rip, buffer);
  if (code.empty()) {
    if (const Result<Translation, Fault> t = mmu_.resolve(VirtAddr{rip}, Access::Fetch, Privilege::User); !t) {
      fault_ = t.error();
      const bool may_resolve = !precise_faults_ && service_ && !fault_.general_protection;
      if (!may_resolve || !service_->resolve_without_waiting(fault_, Access::Fetch)) return CpuStop{StopKind::Fault, fault_, Access::Fetch, 0};
    }
    code = code_at(rip, buffer);
  }
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
  return std::nullopt;
}

void UnicornCpu::step_over_store() {
  const uint64_t rip = read(UC_X86_REG_RIP);
  take_back_from(rip);
  position_.interrupt();
  std::array<std::byte, 16> buffer;
  const auto code = code_at(rip, buffer);
  fault_in(code, registers(), Access::Write);
  for (const Pfn frame : {block_.start.pfn(), block_.second_frame})
    if (frame != Pfn{0}) drop_translations(frame.address(), kPageSize);
  step_ = true;
  step_branches_ = false;
  step_rcx_ = read(UC_X86_REG_RCX);
  split_before(rip + (code.empty() ? 1 : scan_instruction(code).length));
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
  const auto offset = static_cast<uint32_t>(rip - block_address_);
  clock_.uncount_instructions(blocks_.instructions_from(block_, offset));
  if (counts_accesses() && running_block_) mmu_.count_data_accesses(-uint64_t{running_block_->accesses_from(offset)});
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

}  // namespace vitro::hw
