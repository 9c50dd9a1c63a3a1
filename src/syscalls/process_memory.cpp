// Another process's memory (mm/process_vm_access.c).
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "syscalls/user_io.h"

namespace vitro::syscalls {
namespace {

Result<long> transfer(Context& c, bool writes) {
  if (c[5] != 0) return fail(Errno::Invalid);
  const IovecArray local = TRY(IovecArray::read(c.user, address_argument(c, 1), c[2]));
  const IovecArray remote = TRY(IovecArray::read(c.user, address_argument(c, 3), c[4]));
  kernel::Task* task = c.kernel.find_task(Pid{int_argument(c, 0)});
  if (!task || !task->process->space) return fail(Errno::NoProcess);
  const fs::Credentials &me = c.task.process->credentials, &other = task->process->credentials;
  if (task->process != c.task.process && me.euid != 0 && (me.uid != other.uid || me.uid != other.euid || me.uid != other.suid)) return fail(Errno::NotPermitted);
  // Kept alive: the process may end while we wait for a page.
  const std::shared_ptr<mm::AddressSpace> space = task->process->space;
  UserSegments near{c.user, local.segments()};
  std::array<std::byte, 4096> page{};
  uint64_t moved = 0, budget = local.total();
  for (const UserIovec& s : remote.segments()) {
    for (uint64_t at = 0; at < s.length && budget > 0;) {
      const size_t n = std::min<uint64_t>({page.size(), s.length - at, budget});
      const std::span<std::byte> piece = std::span{page}.first(n);
      size_t copied = 0;
      if (writes) {
        const auto taken = near.take(piece);
        if (!taken) return moved ? Result<long>{static_cast<long>(moved)} : fail(taken.error());
        copied = space->write_remote(VirtAddr{s.base + at}, piece.first(*taken));
      } else {
        const size_t got = space->read_remote(VirtAddr{s.base + at}, piece);
        if (got != 0) {
          const auto put = near.put(piece.first(got));
          if (!put) return moved ? Result<long>{static_cast<long>(moved)} : fail(put.error());
          copied = *put;
        }
      }
      moved += copied;
      budget -= copied;
      at += copied;
      if (copied < n) {
        charge_copy(c, moved);
        return moved ? Result<long>{static_cast<long>(moved)} : fail(Errno::Fault);
      }
    }
  }
  charge_copy(c, moved);
  return static_cast<long>(moved);
}

}  // namespace

Result<long> sys_process_vm_readv(Context& c) { return transfer(c, false); }
Result<long> sys_process_vm_writev(Context& c) { return transfer(c, true); }

}  // namespace vitro::syscalls
