// The first stack of a program, as Linux lays it out (fs/exec.c: copy_strings, setup_arg_pages; fs/binfmt_elf.c: create_elf_tables):
//
//   0x7ffffffff000  top
//                   8 zero bytes
//                   path given to execve (AT_EXECFN)
//                   environment strings, then below them argument strings
//                   (to a multiple of 16) "x86_64", 16 random bytes
//                   auxiliary vector, envp, argv, argc   <- rsp, a multiple of 16
#include <elf.h>

#include <cstring>

#include "kernel/program_start.h"
#include "kernel/signal_frame.h"

namespace vitro::kernel {
namespace {

constexpr uint64_t kStackExpand = 128 << 10;         // mapped below the strings at once
constexpr uint64_t kLongestString = 32 * kPageSize;  // MAX_ARG_STRLEN
constexpr uint64_t kArgMax = 128 << 10;
constexpr uint64_t kDefaultStack = 8u << 20;  // _STK_LIM
constexpr uint64_t kHwcap = 0x078bfbfd;       // CPUID.1:EDX of the emulated model
constexpr uint64_t kHwcap2FsGsBase = 2;
constexpr uint64_t kAtMinSigStackSize = 51;

uint64_t size_of(const std::vector<std::string>& strings) {
  uint64_t n = 0;
  for (const std::string& s : strings) n += s.size() + 1;
  return n;
}

}  // namespace

Status check_argument_size(const ProgramStart& program, uint64_t stack_limit) {
  uint64_t limit = std::max(std::min(kDefaultStack / 4 * 3, stack_limit / 4), kArgMax);
  const uint64_t pointers = (std::max<size_t>(program.arguments.size(), 1) + program.environment.size()) * 8;
  if (limit <= pointers) return fail(Errno::TooBig);
  for (const auto* list : {&program.arguments, &program.environment})
    for (const std::string& s : *list)
      if (s.size() >= kLongestString) return fail(Errno::TooBig);
  if (program.path.size() + 1 + size_of(program.environment) + size_of(program.arguments) > limit - pointers) return fail(Errno::TooBig);
  return {};
}

StackPlan plan_stack(const ProgramStart& program) {
  StackPlan plan;
  plan.top = mm::kUserEnd.value();
  plan.path = plan.top - 8 - (program.path.size() + 1);
  plan.environment = plan.path - size_of(program.environment);
  plan.arguments = plan.environment - size_of(program.arguments);
  plan.strings = plan.arguments;
  plan.lowest_page = plan.strings & ~kPageOffsetMask;
  return plan;
}

Status build_stack(const StackPlan& plan, const ProgramStart& program, mm::AddressSpace& space, bool executable) {
  uint64_t base = plan.lowest_page - kStackExpand;
  const uint64_t limit = space.limits.stack & ~kPageOffsetMask;
  if (plan.top - base > limit) base = std::min(plan.lowest_page, plan.top - std::min(limit, plan.top - base));
  mm::MmapRequest stack;
  stack.hint = VirtAddr{base};
  stack.length = Bytes{plan.top - base};
  stack.protection = mm::VmFlag::Read | mm::VmFlag::Write;
  if (executable) stack.protection = stack.protection | mm::VmFlag::Exec;
  stack.fixed = true;
  stack.grows_down = true;
  TRY(space.mmap(stack));
  std::string bytes;
  bytes.reserve(plan.top - plan.strings);
  for (const auto* list : {&program.arguments, &program.environment})
    for (const std::string& s : *list) bytes.append(s.c_str(), s.size() + 1);
  bytes.append(program.path.c_str(), program.path.size() + 1);
  if (space.write_remote(VirtAddr{plan.strings}, std::as_bytes(std::span{bytes})) != bytes.size()) return fail(Errno::NoMemory);
  space.layout.arg_start = VirtAddr{plan.arguments};
  space.layout.arg_end = space.layout.env_start = VirtAddr{plan.environment};
  space.layout.env_end = VirtAddr{plan.path};
  return {};
}

Result<uint64_t> write_tables(Kernel::State& s, Task& t, const StackPlan& plan, const ProgramStart& program,
                              const AuxiliaryValues& values) {
  static constexpr char kPlatform[] = "x86_64";
  mm::UserAccess user = t.user();
  uint64_t sp = plan.strings & ~15ull;
  const uint64_t platform = sp -= sizeof kPlatform;
  TRY(user.copy_out(VirtAddr{platform}, std::as_bytes(std::span{kPlatform})));
  const std::array<uint64_t, 2> random_bytes{s.rng.next(), s.rng.next()};
  const uint64_t random = sp -= sizeof random_bytes;
  TRY(user.put(VirtAddr{random}, random_bytes));

  const fs::Credentials& c = t.process->credentials;
  const std::vector<std::pair<uint64_t, uint64_t>> auxiliary{
      {AT_SYSINFO_EHDR, values.vdso},
      {kAtMinSigStackSize, kMinimumSignalStack},
      {AT_HWCAP, kHwcap},
      {AT_PAGESZ, kPageSize},
      {AT_CLKTCK, 100},
      {AT_PHDR, values.table_address},
      {AT_PHENT, sizeof(Elf64_Phdr)},
      {AT_PHNUM, values.table_count},
      {AT_BASE, values.interpreter_base},
      {AT_FLAGS, 0},
      {AT_ENTRY, values.entry},
      {AT_UID, c.uid},
      {AT_EUID, c.euid},
      {AT_GID, c.gid},
      {AT_EGID, c.egid},
      {AT_SECURE, 0},
      {AT_RANDOM, random},
      {AT_HWCAP2, kHwcap2FsGsBase},
      {AT_EXECFN, plan.path},
      {AT_PLATFORM, platform},
      {AT_NULL, 0},
  };
  std::vector<uint64_t> table;
  table.push_back(program.arguments.size());
  uint64_t at = plan.arguments;
  for (const std::string& a : program.arguments) table.push_back(at), at += a.size() + 1;
  table.push_back(0);
  for (const std::string& e : program.environment) table.push_back(at), at += e.size() + 1;
  table.push_back(0);
  for (const auto& [key, value] : auxiliary) table.push_back(key), table.push_back(value);

  // The vector goes right below the random bytes, the pointers below it; then all is moved down to a multiple of 16.
  sp = (sp - table.size() * 8) & ~15ull;
  TRY(user.copy_out(VirtAddr{sp}, std::as_bytes(std::span{table})));
  t.space()->saved_auxv = auxiliary;
  t.space()->layout.start_stack = VirtAddr{sp};
  return sp;
}

}  // namespace vitro::kernel
