#include "vitro/hw/disassembler.h"

#include <capstone/capstone.h>

#include <algorithm>

#include "vitro/base/check.h"

namespace vitro::hw {

struct Disassembler::State {
  csh handle = 0;
  cs_insn* instruction = nullptr;

  // Decodes the first instruction into `instruction`.
  bool decode(std::span<const std::byte> code, uint64_t address) const {
    const auto* bytes = reinterpret_cast<const uint8_t*>(code.data());
    size_t size = std::min<size_t>(code.size(), 15);
    return cs_disasm_iter(handle, &bytes, &size, &address, instruction);
  }
};

Disassembler::Disassembler() : state_(std::make_unique<State>()) {
  CHECK(cs_open(CS_ARCH_X86, CS_MODE_64, &state_->handle) == CS_ERR_OK, "Capstone has no x86");
  cs_option(state_->handle, CS_OPT_DETAIL, CS_OPT_ON);
  state_->instruction = cs_malloc(state_->handle);
}

Disassembler::~Disassembler() {
  cs_free(state_->instruction, 1);
  cs_close(&state_->handle);
}

std::optional<Instruction> Disassembler::decode(std::span<const std::byte> code, VirtAddr at) const {
  if (!state_->decode(code, at.value())) return std::nullopt;
  const cs_insn& i = *state_->instruction;
  Instruction result{i.size, i.mnemonic};
  if (i.op_str[0] != '\0') result.text.append(" ").append(i.op_str);
  return result;
}

unsigned Disassembler::count(std::span<const std::byte> code) const {
  unsigned n = 0;
  while (!code.empty() && state_->decode(code, 0)) {
    code = code.subspan(std::min<size_t>(state_->instruction->size, code.size()));
    ++n;
  }
  return n;
}

namespace {

// A general register's value as an address uses it: the 32-bit names are zero-extended.
uint64_t register_value(const UserRegisters& r, unsigned reg, uint64_t next_rip) {
  const auto low = [](uint64_t v) { return v & 0xffff'ffff; };
  switch (reg) {
    case X86_REG_RAX:
      return r.rax;
    case X86_REG_RBX:
      return r.rbx;
    case X86_REG_RCX:
      return r.rcx;
    case X86_REG_RDX:
      return r.rdx;
    case X86_REG_RSI:
      return r.rsi;
    case X86_REG_RDI:
      return r.rdi;
    case X86_REG_RBP:
      return r.rbp;
    case X86_REG_RSP:
      return r.rsp;
    case X86_REG_R8:
      return r.r8;
    case X86_REG_R9:
      return r.r9;
    case X86_REG_R10:
      return r.r10;
    case X86_REG_R11:
      return r.r11;
    case X86_REG_R12:
      return r.r12;
    case X86_REG_R13:
      return r.r13;
    case X86_REG_R14:
      return r.r14;
    case X86_REG_R15:
      return r.r15;
    case X86_REG_RIP:
      return next_rip;
    case X86_REG_EAX:
      return low(r.rax);
    case X86_REG_EBX:
      return low(r.rbx);
    case X86_REG_ECX:
      return low(r.rcx);
    case X86_REG_EDX:
      return low(r.rdx);
    case X86_REG_ESI:
      return low(r.rsi);
    case X86_REG_EDI:
      return low(r.rdi);
    case X86_REG_EBP:
      return low(r.rbp);
    case X86_REG_ESP:
      return low(r.rsp);
    case X86_REG_R8D:
      return low(r.r8);
    case X86_REG_R9D:
      return low(r.r9);
    case X86_REG_R10D:
      return low(r.r10);
    case X86_REG_R11D:
      return low(r.r11);
    case X86_REG_R12D:
      return low(r.r12);
    case X86_REG_R13D:
      return low(r.r13);
    case X86_REG_R14D:
      return low(r.r14);
    case X86_REG_R15D:
      return low(r.r15);
    case X86_REG_EIP:
      return low(next_rip);
    default:
      return 0;  // none, or the index that means none
  }
}

uint64_t segment_base(const UserRegisters& r, unsigned segment) {
  return segment == X86_REG_FS ? r.fs_base : segment == X86_REG_GS ? r.gs_base : 0;
}

// A bit-test instruction with a register operand reaches beyond its memory operand: the register selects the word (SDM, BT).
uint64_t bit_string_offset(const UserRegisters& r, const cs_x86_op& index, unsigned size) {
  if (index.type != X86_OP_REG || size < 2) return 0;
  int64_t bit = 0;
  static constexpr std::pair<unsigned, uint64_t UserRegisters::*> kWords[] = {
      {X86_REG_AX, &UserRegisters::rax},   {X86_REG_BX, &UserRegisters::rbx},   {X86_REG_CX, &UserRegisters::rcx},
      {X86_REG_DX, &UserRegisters::rdx},   {X86_REG_SI, &UserRegisters::rsi},   {X86_REG_DI, &UserRegisters::rdi},
      {X86_REG_BP, &UserRegisters::rbp},   {X86_REG_SP, &UserRegisters::rsp},   {X86_REG_R8W, &UserRegisters::r8},
      {X86_REG_R9W, &UserRegisters::r9},   {X86_REG_R10W, &UserRegisters::r10}, {X86_REG_R11W, &UserRegisters::r11},
      {X86_REG_R12W, &UserRegisters::r12}, {X86_REG_R13W, &UserRegisters::r13}, {X86_REG_R14W, &UserRegisters::r14},
      {X86_REG_R15W, &UserRegisters::r15},
  };
  if (size == 2) {
    for (const auto& [reg, member] : kWords)
      if (reg == static_cast<unsigned>(index.reg)) bit = static_cast<int16_t>(r.*member);
  } else {
    const uint64_t v = register_value(r, index.reg, 0);
    bit = size == 4 ? static_cast<int32_t>(v) : static_cast<int64_t>(v);
  }
  const int64_t bits = size * 8;
  const int64_t word = bit >= 0 ? bit / bits : -((-(bit + 1)) / bits) - 1;
  return static_cast<uint64_t>(word * static_cast<int64_t>(size));
}

}  // namespace

std::vector<MemoryAccess> Disassembler::accesses(std::span<const std::byte> code, const UserRegisters& r) const {
  std::vector<MemoryAccess> result;
  if (!state_->decode(code, r.rip)) return result;
  const cs_insn& i = *state_->instruction;
  const cs_x86& x86 = i.detail->x86;
  const auto add = [&](uint64_t address, uint64_t size, Access access) { result.push_back({VirtAddr{address}, Bytes{size}, access}); };
  const uint64_t stack_size = x86.prefix[2] == 0x66 ? 2 : 8;

  const auto memory_operand = [&](const cs_x86_op& op, uint64_t rsp_change) {
    uint64_t address = static_cast<uint64_t>(op.mem.disp) + register_value(r, op.mem.base, r.rip + i.size) +
                       register_value(r, op.mem.index, 0) * static_cast<uint64_t>(op.mem.scale);
    if (op.mem.base == X86_REG_RSP) address += rsp_change;
    if (i.id == X86_INS_BT || i.id == X86_INS_BTS || i.id == X86_INS_BTR || i.id == X86_INS_BTC)
      address += bit_string_offset(r, x86.operands[x86.op_count - 1], op.size);
    if (x86.addr_size == 4) address &= 0xffff'ffff;
    return address + segment_base(r, op.mem.segment);
  };

  // The stack side of instructions whose memory operand is read first.
  switch (i.id) {
    case X86_INS_POP:
      add(r.rsp, stack_size, Access::Read);
      break;
    case X86_INS_POPF:
    case X86_INS_POPFQ:
      add(r.rsp, stack_size, Access::Read);
      break;
    case X86_INS_RET:
      add(r.rsp, 8, Access::Read);
      break;
    case X86_INS_RETF:
    case X86_INS_RETFQ:
      add(r.rsp, 16, Access::Read);
      break;
    case X86_INS_IRET:
    case X86_INS_IRETD:
    case X86_INS_IRETQ:
      add(r.rsp, 40, Access::Read);
      break;
    case X86_INS_LEAVE:
      add(r.rbp, 8, Access::Read);
      break;
    case X86_INS_XLATB:
      add(r.rbx + (r.rax & 0xff), 1, Access::Read);
      break;
    default:
      break;
  }
  const bool no_access = i.id == X86_INS_LEA || i.id == X86_INS_NOP || i.id == X86_INS_PREFETCH || i.id == X86_INS_PREFETCHW ||
                         i.id == X86_INS_PREFETCHNTA || i.id == X86_INS_PREFETCHT0 || i.id == X86_INS_PREFETCHT1 ||
                         i.id == X86_INS_PREFETCHT2 || i.id == X86_INS_INVLPG || i.id == X86_INS_CLFLUSH;
  if (!no_access && i.id != X86_INS_XLATB) {
    // Capstone does not say of every instruction whether it reads or writes; an operand it is silent about is taken as read, and written
    // too where it comes first.
    for (unsigned pass = 0; pass < 2; ++pass) {
      for (unsigned k = 0; k < x86.op_count; ++k) {
        const cs_x86_op& op = x86.operands[k];
        if (op.type != X86_OP_MEM) continue;
        const bool silent = op.access == 0;
        const bool reads = silent || (op.access & CS_AC_READ), writes = (silent && k == 0) || (op.access & CS_AC_WRITE);
        const uint64_t address = memory_operand(op, i.id == X86_INS_POP ? stack_size : 0);
        const uint64_t size = op.size ? op.size : 1;
        if (pass == 0 && reads) add(address, size, Access::Read);
        if (pass == 1 && writes) add(address, size, Access::Write);
      }
    }
  }
  switch (i.id) {
    case X86_INS_PUSH:
      add(r.rsp - stack_size, stack_size, Access::Write);
      break;
    case X86_INS_PUSHF:
    case X86_INS_PUSHFQ:
      add(r.rsp - stack_size, stack_size, Access::Write);
      break;
    case X86_INS_CALL:
      add(r.rsp - 8, 8, Access::Write);
      break;
    case X86_INS_ENTER:
      add(r.rsp - 8, 8, Access::Write);
      break;
    case X86_INS_MASKMOVDQU:
      add(r.rdi, 16, Access::Write);
      break;
    case X86_INS_MASKMOVQ:
      add(r.rdi, 8, Access::Write);
      break;
    default:
      break;
  }
  return result;
}

VirtAddr Disassembler::accessed_address(std::span<const std::byte> code, const UserRegisters& registers, VirtAddr page,
                                        Access access) const {
  const uint64_t first = page.page_floor().value(), last = first + kPageSize - 1;
  const std::vector<MemoryAccess> all = accesses(code, registers);
  const auto find = [&](bool any_kind) -> std::optional<VirtAddr> {
    for (const MemoryAccess& a : all) {
      if (!any_kind && a.access != access) continue;
      const uint64_t begin = a.address.value();
      if (begin >= first && begin <= last) return a.address;
      // An access that comes in from the page before faults at the first byte here.
      if (begin < first && first - begin < a.size.value()) return VirtAddr{first};
    }
    return std::nullopt;
  };
  if (const auto exact = find(false)) return *exact;
  return find(true).value_or(VirtAddr{first});
}

bool Disassembler::privileged(std::span<const std::byte> code) const {
  if (!state_->decode(code, 0)) return false;
  switch (state_->instruction->id) {
    case X86_INS_HLT:
    case X86_INS_CLI:
    case X86_INS_STI:
    case X86_INS_CLTS:
    case X86_INS_INVD:
    case X86_INS_WBINVD:
    case X86_INS_INVLPG:
    case X86_INS_INVPCID:
    case X86_INS_LGDT:
    case X86_INS_LIDT:
    case X86_INS_LLDT:
    case X86_INS_LTR:
    case X86_INS_LMSW:
    case X86_INS_RDMSR:
    case X86_INS_WRMSR:
    case X86_INS_RDPMC:
    case X86_INS_SWAPGS:
    case X86_INS_SYSEXIT:
    case X86_INS_SYSRET:
    case X86_INS_IN:
    case X86_INS_OUT:
    case X86_INS_INSB:
    case X86_INS_INSW:
    case X86_INS_INSD:
    case X86_INS_OUTSB:
    case X86_INS_OUTSW:
    case X86_INS_OUTSD:
    case X86_INS_XSETBV:
      return true;
    case X86_INS_MOV:
      for (unsigned k = 0; k < state_->instruction->detail->x86.op_count; ++k) {
        const cs_x86_op& op = state_->instruction->detail->x86.operands[k];
        if (op.type != X86_OP_REG) continue;
        if (op.reg >= X86_REG_CR0 && op.reg <= X86_REG_CR15) return true;
        if (op.reg >= X86_REG_DR0 && op.reg <= X86_REG_DR15) return true;
      }
      return false;
    default:
      return false;
  }
}

}  // namespace vitro::hw
