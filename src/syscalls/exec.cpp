// execve and execveat: the argument and environment strings (fs/exec.c).
#include <algorithm>

#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "syscalls/runtime.h"

namespace vitro::syscalls {
namespace {

constexpr size_t kMaxString = 32 * kPageSize;  // MAX_ARG_STRLEN

// What all strings and their pointers may take: a quarter of the stack's limit, at most 6 MiB, at least 128 KiB (bprm_stack_limits).
uint64_t string_budget(Context& c) {
  const uint64_t stack = c.task.process->limits[kernel::kLimitStack].soft;
  return std::max<uint64_t>(std::min<uint64_t>(stack / 4, 6u << 20), 32 * kPageSize);
}

Result<std::vector<std::string>> strings(Context& c, uint64_t array, uint64_t& budget) {
  std::vector<std::string> out;
  if (array == 0) return out;
  for (;; array += 8) {
    const auto pointer = TRY(c.user.get<uint64_t>(VirtAddr{array}));
    if (pointer == 0) return out;
    auto s = c.user.string_in(VirtAddr{pointer}, std::min<uint64_t>(kMaxString - 1, budget));
    if (!s) return fail(s.error() == Errno::NameTooLong ? Errno::TooBig : s.error());
    const uint64_t cost = s->size() + 1 + 8;
    if (cost > budget) return fail(Errno::TooBig);
    budget -= cost;
    out.push_back(std::move(*s));
  }
}

Result<long> exec_at(Context& c, int directory_fd, size_t path_index, unsigned flags) {
  const std::string path = TRY(path_argument(c, path_index));
  if (path.empty() && !(flags & kAtEmptyPath)) return fail(Errno::NoEntry);
  const auto at = TRY(start_directory(c, directory_fd, path));
  uint64_t budget = string_budget(c);
  auto arguments = TRY(strings(c, c[path_index + 1], budget));
  auto environment = TRY(strings(c, c[path_index + 2], budget));
  // An empty list becomes one empty string (do_execveat_common).
  if (arguments.empty()) arguments.emplace_back();

  // Descriptors that exec closes take the process's record locks on their files along.
  std::vector<LockKey> closing;
  if (!c.runtime.record_locks.empty()) {
    kernel::FdTable& files = descriptors(c);
    for (int fd : files.open_numbers())
      if (files.close_on_exec_flag(fd).value_or(false)) closing.push_back(lock_key(**files.get(fd)));
  }
  const LockOwner owner = process_lock_owner(*c.task.process);
  TRY(c.kernel.exec(c.task, at, path, std::move(arguments), std::move(environment), flags));
  for (const LockKey& key : closing) c.runtime.record_locks.remove_owner_from(key, owner);
  return 0;
}

}  // namespace

Result<long> sys_execve(Context& c) { return exec_at(c, kAtCwd, 0, 0); }
Result<long> sys_execveat(Context& c) {
  const unsigned flags = unsigned_argument(c, 4);
  if (flags & ~(kAtNoFollow | kAtEmptyPath)) return fail(Errno::Invalid);
  return exec_at(c, int_argument(c, 0), 1, flags);
}

}  // namespace vitro::syscalls
