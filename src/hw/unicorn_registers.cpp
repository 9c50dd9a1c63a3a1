// Registers, and the contexts that hold them.
#include <array>
#include <cstring>

#include "hw/unicorn_cpu.h"

namespace vitro::hw {
namespace {

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

// Offsets in the FXSAVE image.
constexpr size_t kFcw = 0, kFsw = 2, kFtw = 4, kMxcsr = 24, kMxcsrMask = 28, kSt0 = 32, kXmm0 = 160;
constexpr uint32_t kMxcsrValid = 0xffff;

}  // namespace

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

FpuState initial_fpu_state() {
  FpuState s;
  const uint16_t control = 0x37f;
  const uint32_t mxcsr = 0x1f80;
  std::memcpy(s.fxsave.data() + kFcw, &control, 2);
  std::memcpy(s.fxsave.data() + kMxcsr, &mxcsr, 4);
  std::memcpy(s.fxsave.data() + kMxcsrMask, &kMxcsrValid, 4);
  return s;
}

}  // namespace vitro::hw
