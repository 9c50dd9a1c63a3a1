// A program on its way to being run (struct linux_binprm), and the table of formats that can be (struct linux_binfmt).
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernel/script_line.h"
#include "kernel/state.h"

namespace vitro::kernel {

struct ProgramStart {
  std::string path;         // what execve was given: comm and AT_EXECFN
  std::string interpreted;  // the file that is looked at now: `path`, then a script's interpreter, ...
  std::shared_ptr<fs::File> file;
  uint64_t file_size = 0;
  std::array<std::byte, kProgramHeadSize> head{};
  size_t head_size = 0;
  std::vector<std::string> arguments, environment;
  std::string why;  // of a failure, for a person

  std::span<const std::byte> head_bytes() const { return std::span{head}.first(head_size); }
};

enum class LoadOutcome : uint8_t {
  NotThisFormat,
  Again,  // the format put another file in place (an interpreter): start over with it
  Loaded,
};

struct BinaryFormat {
  const char* name;
  Result<LoadOutcome> (*load)(Kernel::State& s, Task& t, ProgramStart& program);
};
// In the order they are tried.
std::span<const BinaryFormat> binary_formats();

Result<LoadOutcome> load_script(Kernel::State& s, Task& t, ProgramStart& program);
Result<LoadOutcome> load_elf(Kernel::State& s, Task& t, ProgramStart& program);

// open_exec: resolves with the task's rights; a regular file with an execute bit. Reading rights are not needed. Access, NoEntry, ...
Result<std::shared_ptr<fs::File>> open_executable(Kernel::State& s, Task& t, const fs::DentryRef& at, const std::string& path,
                                                  unsigned flags, std::string& why);
// Reads exactly `to.size()` bytes, or fails (ExecFormat where the file is shorter).
Status read_exactly(Kernel::State& s, fs::File& file, uint64_t offset, std::span<std::byte> to);
// Puts `file` in place and reads its head.
Status set_file(Kernel::State& s, ProgramStart& program, std::shared_ptr<fs::File> file, std::string name);
// bprm_stack_limits and copy_strings: TooBig.
Status check_argument_size(const ProgramStart& program, uint64_t stack_limit);

// Where the strings and tables of a new program go; see program_stack.cpp.
struct StackPlan {
  uint64_t top = 0, strings = 0, arguments = 0, environment = 0, path = 0;
  uint64_t lowest_page = 0;  // first page that strings lie in
};
StackPlan plan_stack(const ProgramStart& program);
// Maps the stack in a space that is not in use yet, and writes the strings.
Status build_stack(const StackPlan& plan, const ProgramStart& program, mm::AddressSpace& space, bool executable);

struct AuxiliaryValues {
  uint64_t table_address, table_count, interpreter_base, entry, vdso;
};
// Writes argc, argv, envp and the auxiliary vector below the strings; the task's space is current. Returns the initial stack pointer.
Result<uint64_t> write_tables(Kernel::State& s, Task& t, const StackPlan& plan, const ProgramStart& program, const AuxiliaryValues& values);

// begin_new_exec: the point of no return. The task is alone in its process and in `space`; everything of the old program is gone.
Status switch_program(Kernel::State& s, Task& t, const ProgramStart& program, std::unique_ptr<mm::AddressSpace> space);

}  // namespace vitro::kernel
