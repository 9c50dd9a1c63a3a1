// Where an x86-64 instruction ends and of what kind it is: enough to count the instructions of a block, and far cheaper than a disassembly.
//
//   ScannedInstruction i = scan_instruction(code);   // c3: length 1, kind Branch
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace vitro::hw {

enum class InstructionKind : uint8_t {
  Plain,
  Branch,     // may continue elsewhere: jumps, calls, returns, LOOP
  RepString,  // a string instruction with a REP prefix: one iteration is one instruction of virtual time
  PortIo,     // IN, OUT, INS, OUTS, with or without REP
  Interrupt,  // INT n
  ReadClock,  // RDTSC
  Invalid,    // no instruction that this scanner knows; length is what was looked at
};

struct ScannedInstruction {
  uint8_t length = 1;  // 1..15, never more than what was offered
  InstructionKind kind = InstructionKind::Invalid;
  // It reads a memory operand and writes it back (ADD [m], r; INC [m]; XADD ...). A processor translates such an operand once, for writing:
  // if that faults, the error code says write.
  bool modifies_memory = false;
};

// `code` must not be empty. An instruction that does not fit into `code` is Invalid.
ScannedInstruction scan_instruction(std::span<const std::byte> code);

// Whether the emulator says which instruction it is at when it reports the memory accesses of this one (where they are watched). It does for
// what it loads and stores by its ordinary way; not for x87, most of SSE, locked instructions and what it leaves to a function.
bool emulator_names_accesses(std::span<const std::byte> code);

}  // namespace vitro::hw
