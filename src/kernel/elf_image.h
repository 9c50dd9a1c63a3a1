// What execve needs to know of an ELF file, checked field by field: bytes in, a description or a complaint out. No file, no memory, no
// kernel.
//
//   auto where = elf_table(header_bytes, file_size);            // which bytes hold the program headers
//   auto image = parse_elf(header_bytes, table_bytes, file_size);
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vitro/base/result.h"

namespace vitro::kernel {

// Why a file cannot be run: what execve returns, and one line for a person.
struct ElfProblem {
  Errno error = Errno::ExecFormat;
  std::string what;
};

inline constexpr size_t kElfHeaderSize = 64, kElfProgramHeaderSize = 56;
// fs/binfmt_elf.c: load_elf_phdrs: the table must fit a page.
inline constexpr size_t kElfMaxProgramHeaders = 4096 / kElfProgramHeaderSize;

struct ElfSegment {
  uint64_t offset = 0, file_size = 0;     // in the file
  uint64_t address = 0, memory_size = 0;  // before relocation; the bytes beyond file_size are zero
  bool read = false, write = false, execute = false;
  uint64_t end() const { return address + memory_size; }
  uint64_t file_end() const { return address + file_size; }
};

struct ElfImage {
  bool position_independent = false;  // ET_DYN
  uint64_t entry = 0;
  uint64_t table_offset = 0;
  unsigned table_count = 0;
  std::vector<ElfSegment> segments;  // ascending, never overlapping, at least one
  struct Range {
    uint64_t offset, size;
  };
  std::optional<Range> interpreter;  // PT_INTERP's path, with its zero
  bool executable_stack = false;
  uint64_t alignment = 4096;  // largest p_align that counts

  uint64_t low() const;   // page of the first segment
  uint64_t high() const;  // end of the last one, rounded up
  // Where the program headers are in memory (AT_PHDR), before relocation; 0 where no segment holds them.
  uint64_t table_address() const;
};

struct ElfTable {
  uint64_t offset, size;
};
// `header`: the file's first bytes, as many as there are up to 64.
Result<ElfTable, ElfProblem> elf_table(std::span<const std::byte> header, uint64_t file_size);
// `table`: the bytes that elf_table() named.
Result<ElfImage, ElfProblem> parse_elf(std::span<const std::byte> header, std::span<const std::byte> table, uint64_t file_size);

}  // namespace vitro::kernel
