#include "hw/instruction_scan.h"

#include <array>

namespace vitro::hw {
namespace {

// What follows an opcode (SDM volume 2, appendix A).
enum Follows : uint8_t {
  kNothing = 0,
  kModRm = 1,
  kImm8 = 2,
  kImm16 = 4,
  kImmZ = 8,      // 2 bytes with an operand-size prefix, else 4
  kImmV = 16,     // 2, 4 or, with REX.W, 8 bytes
  kOffset = 32,   // MOV with an absolute address: 8 bytes, 4 with an address-size prefix
  kSpecial = 64,  // handled by hand
  kInvalid = 128,
};

using OpcodeMap = std::array<uint8_t, 256>;

constexpr void fill(OpcodeMap& map, unsigned first, unsigned last, uint8_t follows) {
  for (unsigned i = first; i <= last; ++i) map[i] = follows;
}

constexpr OpcodeMap one_byte_map() {
  OpcodeMap m{};
  for (unsigned row = 0; row < 0x40; row += 8) {  // ADD, OR, ... CMP
    fill(m, row, row + 3, kModRm);
    m[row + 4] = kImm8;
    m[row + 5] = kImmZ;
    m[row + 6] = m[row + 7] = kInvalid;
  }
  fill(m, 0x60, 0x62, kInvalid);
  m[0x63] = kModRm;
  m[0x68] = kImmZ;
  m[0x69] = kModRm | kImmZ;
  m[0x6a] = kImm8;
  m[0x6b] = kModRm | kImm8;
  fill(m, 0x70, 0x7f, kImm8);
  m[0x80] = m[0x83] = kModRm | kImm8;
  m[0x81] = kModRm | kImmZ;
  m[0x82] = kInvalid;
  fill(m, 0x84, 0x8f, kModRm);
  m[0x9a] = kInvalid;
  fill(m, 0xa0, 0xa3, kOffset);
  m[0xa8] = kImm8;
  m[0xa9] = kImmZ;
  fill(m, 0xb0, 0xb7, kImm8);
  fill(m, 0xb8, 0xbf, kImmV);
  m[0xc0] = m[0xc1] = kModRm | kImm8;
  m[0xc2] = m[0xca] = kImm16;
  m[0xc4] = m[0xc5] = kInvalid;  // VEX: the modelled CPU has no AVX
  m[0xc6] = kModRm | kImm8;
  m[0xc7] = kModRm | kImmZ;
  m[0xc8] = kImm16 | kImm8;
  m[0xcd] = kImm8;
  m[0xce] = kInvalid;
  fill(m, 0xd0, 0xd3, kModRm);
  fill(m, 0xd4, 0xd6, kInvalid);
  fill(m, 0xd8, 0xdf, kModRm);
  fill(m, 0xe0, 0xe7, kImm8);
  m[0xe8] = m[0xe9] = kImmZ;
  m[0xea] = kInvalid;
  m[0xeb] = kImm8;
  m[0xf6] = m[0xf7] = kModRm | kSpecial;  // TEST has an immediate, NOT ... IDIV have none
  m[0xfe] = m[0xff] = kModRm;
  return m;
}

constexpr OpcodeMap two_byte_map() {
  OpcodeMap m{};
  fill(m, 0x00, 0xff, kModRm);
  m[0x04] = m[0x0a] = m[0x0c] = m[0x24] = m[0x25] = m[0x26] = m[0x27] = m[0x36] = m[0x39] = kInvalid;
  fill(m, 0x3b, 0x3f, kInvalid);
  m[0xb9] = m[0xff] = m[0x7a] = m[0x7b] = m[0xa6] = m[0xa7] = kInvalid;
  fill(m, 0x05, 0x09, kNothing);
  m[0x0b] = m[0x0e] = kNothing;
  m[0x0f] = kModRm | kImm8;    // 3DNow!
  fill(m, 0x20, 0x23, kImm8);  // MOV CR, DR: one byte whose mod field is ignored
  fill(m, 0x30, 0x35, kNothing);
  m[0x37] = kNothing;
  fill(m, 0x70, 0x73, kModRm | kImm8);
  m[0x77] = kNothing;
  fill(m, 0x80, 0x8f, kImmZ);
  fill(m, 0xa0, 0xa2, kNothing);
  m[0xa4] = m[0xac] = m[0xba] = kModRm | kImm8;
  fill(m, 0xa8, 0xaa, kNothing);
  m[0xc2] = m[0xc4] = m[0xc5] = m[0xc6] = kModRm | kImm8;
  fill(m, 0xc8, 0xcf, kNothing);
  return m;
}

constexpr OpcodeMap kOneByte = one_byte_map();
constexpr OpcodeMap kTwoByte = two_byte_map();

constexpr bool string_instruction(unsigned op) { return (op >= 0xa4 && op <= 0xa7) || (op >= 0xaa && op <= 0xaf); }
// Does the instruction write back the memory operand that it reads? `reg` is the ModRM field that extends some opcodes.
constexpr bool modifies(unsigned op, unsigned reg) {
  if (op < 0x38) return (op & 7) < 2;                         // ADD OR ADC SBB AND SUB XOR m, r
  if (op == 0x80 || op == 0x81 || op == 0x83) return reg != 7;  // the same with an immediate; not CMP
  if (op == 0x86 || op == 0x87) return true;                  // XCHG
  if (op == 0xc0 || op == 0xc1 || (op >= 0xd0 && op <= 0xd3)) return true;  // rotates and shifts
  if (op == 0xf6 || op == 0xf7) return reg == 2 || reg == 3;  // NOT, NEG
  return (op == 0xfe || op == 0xff) && reg < 2;               // INC, DEC
}
// The same for opcodes after 0F.
constexpr bool modifies_two_byte(unsigned op, unsigned reg) {
  if (op == 0xab || op == 0xb3 || op == 0xbb) return true;                // BTS, BTR, BTC
  if (op == 0xba) return reg >= 5;                                        // the same with an immediate; not BT
  if (op == 0xa4 || op == 0xa5 || op == 0xac || op == 0xad) return true;  // SHLD, SHRD
  if (op == 0xb0 || op == 0xb1 || op == 0xc0 || op == 0xc1) return true;  // CMPXCHG, XADD
  return op == 0xc7 && reg == 1;                                          // CMPXCHG8B, CMPXCHG16B
}

constexpr bool port_io(unsigned op) { return (op >= 0x6c && op <= 0x6f) || (op >= 0xe4 && op <= 0xe7) || (op >= 0xec && op <= 0xef); }

}  // namespace

ScannedInstruction scan_instruction(std::span<const std::byte> code) {
  const size_t limit = code.size() < 15 ? code.size() : 15;
  const auto byte = [&](size_t i) { return static_cast<unsigned>(code[i]); };
  const auto invalid = [&](size_t looked_at) {
    const size_t length = looked_at < 1 ? 1 : looked_at < limit ? looked_at : limit;
    return ScannedInstruction{static_cast<uint8_t>(length), InstructionKind::Invalid};
  };

  size_t at = 0;
  bool operand16 = false, address32 = false, repeat = false, rex_w = false;
  bool two_byte = false;
  unsigned op = 0, code_byte = 0;
  for (;; ++at) {
    if (at == limit) return invalid(at);
    op = byte(at);
    if (op == 0x66)
      operand16 = true;
    else if (op == 0x67)
      address32 = true;
    else if (op == 0xf2 || op == 0xf3)
      repeat = true;
    else if ((op & 0xf0) == 0x40)
      rex_w = op & 8;
    else if (op != 0xf0 && op != 0x2e && op != 0x36 && op != 0x3e && op != 0x26 && op != 0x64 && op != 0x65)
      break;
  }
  ++at;

  InstructionKind kind = InstructionKind::Plain;
  unsigned follows = 0;
  bool modifies_memory = false;
  if (op == 0x0f) {
    if (at == limit) return invalid(at);
    op = byte(at++);
    if (op == 0x38 || op == 0x3a) {
      if (at == limit) return invalid(at);
      follows = op == 0x38 ? kModRm : kModRm | kImm8;
      ++at;
    } else {
      follows = kTwoByte[op];
      two_byte = true;
      if (op == 0x78 && (operand16 || repeat)) follows = kModRm | kImm16;  // SSE4a EXTRQ, INSERTQ: two immediate bytes
      if (op >= 0x80 && op <= 0x8f) kind = InstructionKind::Branch;
      if (op == 0x31) kind = InstructionKind::ReadClock;
    }
    code_byte = op;
    op = 0x100;  // none of the one-byte cases below
  } else {
    follows = kOneByte[op];
    if (string_instruction(op) && repeat) kind = InstructionKind::RepString;
    if (port_io(op)) kind = InstructionKind::PortIo;
    if (op == 0xcd) kind = InstructionKind::Interrupt;
    if ((op >= 0x70 && op <= 0x7f) || (op >= 0xe0 && op <= 0xe3) || op == 0xe8 || op == 0xe9 || op == 0xeb || op == 0xc2 || op == 0xc3 ||
        op == 0xca || op == 0xcb || op == 0xcf)
      kind = InstructionKind::Branch;
  }
  if (follows & kInvalid) return invalid(at);

  if (follows & kModRm) {
    if (at == limit) return invalid(at);
    // MOVMSKPS and shifts by an immediate have register operands only; the emulator does not look at the mod field.
    const bool registers_only = two_byte && (code_byte == 0x50 || (code_byte >= 0x71 && code_byte <= 0x73));
    const unsigned modrm = byte(at++), mod = registers_only ? 3 : modrm >> 6, reg = (modrm >> 3) & 7, rm = modrm & 7;
    if (mod != 3) {
      modifies_memory = two_byte ? modifies_two_byte(code_byte, reg) : op < 0x100 && modifies(op, reg);
      size_t displacement = mod == 1 ? 1 : mod == 2 ? 4 : 0;
      if (rm == 4) {
        if (at == limit) return invalid(at);
        if (mod == 0 && (byte(at) & 7) == 5) displacement = 4;
        ++at;
      } else if (mod == 0 && rm == 5) {
        displacement = 4;
      }
      at += displacement;
    }
    if (follows & kSpecial && reg < 2) follows |= op == 0xf6 ? kImm8 : kImmZ;
    if (op == 0xff && reg >= 2 && reg <= 5) kind = InstructionKind::Branch;
  }
  // REX.W wins over the operand-size prefix.
  const bool short_immediate = operand16 && !rex_w;
  if (follows & kImm8) at += 1;
  if (follows & kImm16) at += 2;
  if (follows & kImmZ) at += short_immediate ? 2 : 4;
  if (follows & kImmV) at += rex_w ? 8 : operand16 ? 2 : 4;
  if (follows & kOffset) at += address32 ? 4 : 8;
  if (at > limit) return invalid(limit);
  return {static_cast<uint8_t>(at), kind, modifies_memory};
}

bool emulator_names_accesses(std::span<const std::byte> code) {
  const auto byte = [&](size_t i) { return i < code.size() ? static_cast<unsigned>(code[i]) : 0xc0u; };
  size_t at = 0;
  for (;; ++at) {
    const unsigned b = byte(at);
    if (b == 0xf0) return false;  // locked: an atomic operation of the emulator's
    const bool prefix = b == 0x66 || b == 0x67 || b == 0xf2 || b == 0xf3 || (b & 0xf0) == 0x40 || b == 0x2e || b == 0x36 || b == 0x3e ||
                        b == 0x26 || b == 0x64 || b == 0x65;
    if (!prefix || at == 15) break;
  }
  const unsigned op = byte(at++);
  const auto memory = [&](size_t modrm) { return byte(modrm) >> 6 != 3; };
  if (op != 0x0f) {
    if (op == 0x86 || op == 0x87) return !memory(at);  // XCHG is always locked
    return op < 0xd8 || op > 0xdf || !memory(at);      // x87
  }
  const unsigned second = byte(at++);
  if (second == 0x38 || second == 0x3a) return !memory(at + 1);
  // CMOV, Jcc, SETcc; PUSH and POP of FS and GS, CPUID, BT, SHLD; BTS, SHRD, IMUL; CMPXCHG, BTR, MOVZX; POPCNT, BTx, BSF, BSR, MOVSX; XADD,
  // MOVNTI, BSWAP: integer instructions. FXSAVE and its kin (AE) and CMPXCHG8B (C7) are not.
  if ((second >= 0x40 && second <= 0x4f) || (second >= 0x80 && second <= 0xad) || second == 0xaf) return true;
  if (second >= 0xb0 && second <= 0xbf) return true;
  if (second == 0xc0 || second == 0xc1 || second == 0xc3 || (second >= 0xc8 && second <= 0xcf)) return true;
  constexpr unsigned kNoModRm[] = {0x05, 0x06, 0x07, 0x08, 0x09, 0x0b, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x77};
  for (const unsigned plain : kNoModRm)
    if (second == plain) return true;
  return !memory(at);
}

}  // namespace vitro::hw
