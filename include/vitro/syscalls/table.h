// The system call table: number, name, handler, how its arguments print. One place; docs/syscalls.md is generated from it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vitro/base/result.h"
#include "vitro/kernel/kernel.h"

namespace vitro::syscalls {

struct Runtime;  // the layer's own state (locks, timers, ...), private

// One call in progress.
struct Context {
  kernel::Kernel& kernel;
  kernel::Task& task;
  std::array<uint64_t, 6> arguments;
  mm::UserAccess user;
  Runtime& runtime;
  uint64_t operator[](size_t i) const { return arguments[i]; }
};
using Handler = Result<long> (*)(Context&);

// How far a call follows Linux. Partial says in `note` what is missing.
enum class Support : uint8_t { Full, Partial, Missing };

struct Entry {
  uint16_t number;
  const char* name;
  Handler handler;          // null: ENOSYS
  const char* signature;    // one letter an argument for --strace: d int, u unsigned, x hex, p pointer, s string, f fd, o open flags, m mode, ...
  Support support;
  const char* note;
};
std::span<const Entry> entries();            // ascending by number, every x86-64 call of Linux 6.1
const Entry* find(uint64_t number);

struct TableOptions {
  bool strace = false;      // a line a call on stderr, in strace's form
};
std::unique_ptr<kernel::SyscallTable> make_table(const TableOptions& options);

// docs/syscalls.md
std::string markdown();
// The limits that the calls enforce, for /proc/sys.
std::vector<fs::Tunable> settings();

}  // namespace vitro::syscalls
