// Machine code to text and facts, through Capstone.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vitro/base/types.h"
#include "vitro/hw/cpu.h"
#include "vitro/hw/fault.h"

namespace vitro::hw {

struct Instruction {
  unsigned length = 0;
  std::string text;  // Intel syntax: "mov byte ptr [rax], 1"
};

// One access of an instruction to memory. Without the pages it crosses: [address, address + size).
struct MemoryAccess {
  VirtAddr address;
  Bytes size;
  Access access = Access::Read;
};

class Disassembler {
 public:
  Disassembler();
  ~Disassembler();
  // Nullopt where the bytes are no instruction. `code` should hold 15 bytes where they exist.
  std::optional<Instruction> decode(std::span<const std::byte> code, VirtAddr at) const;
  // How many instructions lie in `code`, stopping at the first that does not decode.
  unsigned count(std::span<const std::byte> code) const;
  // The exact address that the instruction accesses in `page` with `access`, given the registers before it; the page itself if it cannot be told.
  VirtAddr accessed_address(std::span<const std::byte> code, const UserRegisters& registers, VirtAddr page, Access access) const;
  // Every access to memory, in the order the instruction makes them: a read-modify-write is a read and then a write, a string instruction
  // is one iteration. Empty where the bytes are no instruction.
  std::vector<MemoryAccess> accesses(std::span<const std::byte> code, const UserRegisters& registers) const;
  // True for instructions that user mode may not execute (HLT, MOV CR, IN/OUT with IOPL 0, LGDT, INVLPG, WRMSR, CLI, ...).
  bool privileged(std::span<const std::byte> code) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace vitro::hw
