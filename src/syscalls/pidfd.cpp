// Processes as files (kernel/pid.c: pidfd_open; kernel/signal.c: pidfd_send_signal).
#include "syscalls/pidfd.h"

#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "syscalls/layouts.h"
#include "syscalls/signal_arguments.h"
#include "syscalls/user_io.h"

namespace vitro::syscalls {
namespace {

std::shared_ptr<kernel::PidReference> reference_to(kernel::Process& p) {
  if (!p.pid_reference) {
    p.pid_reference = std::make_shared<kernel::PidReference>();
    p.pid_reference->pid = p.pid;
    p.pid_reference->ended = p.zombie;
  }
  return p.pid_reference;
}

// The process that a pidfd stands for. BadFile, NoProcess where it has been waited for.
Result<kernel::Process*> process_of(Context& c, size_t i) {
  const auto file = std::dynamic_pointer_cast<PidFile>(TRY(file_argument(c, i)));
  if (!file) return fail(Errno::BadFile);
  if (file->reference().gone) return fail(Errno::NoProcess);
  kernel::Process* p = c.kernel.find_process(file->reference().pid);
  if (!p) return fail(Errno::NoProcess);
  return p;
}

}  // namespace

Result<std::shared_ptr<PidFile>> make_pidfd(Context& c, std::shared_ptr<kernel::PidReference> reference, unsigned flags) {
  auto file = std::make_shared<PidFile>(TRY(c.kernel.vfs().make_anonymous_inode()), fs::kOpenReadWrite | (flags & fs::kOpenNonBlock), std::move(reference));
  TRY(c.kernel.vfs().adopt(*file, "anon_inode:[pidfd]"));
  return file;
}

Result<long> sys_pidfd_open(Context& c) {
  const unsigned flags = unsigned_argument(c, 1);
  if ((flags & ~fs::kOpenNonBlock) || int_argument(c, 0) <= 0) return fail(Errno::Invalid);
  kernel::Task* t = c.kernel.find_task(Pid{int_argument(c, 0)});
  if (!t) return fail(Errno::NoProcess);
  if (t->tid != t->process->pid) return fail(Errno::Invalid);  // threads have none
  return install(c, TRY(make_pidfd(c, reference_to(*t->process), flags)), true);
}

Result<long> sys_pidfd_send_signal(Context& c) {
  if (unsigned_argument(c, 3) != 0) return fail(Errno::Invalid);
  const int signal = int_argument(c, 1);
  kernel::Process* p = TRY(process_of(c, 0));
  kernel::SignalInfo info;
  if (c[2] != 0) {
    if (TRY(c.user.get<UserSiginfo>(address_argument(c, 2))).signal != signal) return fail(Errno::Invalid);
    info = TRY(queued_info(c, 2, signal, p->pid));
  } else {
    info = own_info(c, signal, kernel::kSiUser);
  }
  if (!valid_signal(signal)) return fail(Errno::Invalid);
  if (!may_signal(c, *p, signal)) return fail(Errno::NotPermitted);
  if (signal == 0) return 0;
  return done(c.kernel.send_signal(*p, info));
}

// mm/madvise.c: advice that throws nothing away may be given to another process.
Result<long> sys_process_madvise(Context& c) {
  constexpr int kWillNeed = 3, kCold = 20, kPageOut = 21, kCollapse = 25;
  if (c[4] != 0) return fail(Errno::Invalid);
  const IovecArray ranges = TRY(IovecArray::read(c.user, address_argument(c, 1), c[2]));
  kernel::Process* p = TRY(process_of(c, 0));
  const int advice = int_argument(c, 3);
  if (advice != kWillNeed && advice != kCold && advice != kPageOut && advice != kCollapse) return fail(Errno::Invalid);
  if (!p->space) return fail(Errno::NoProcess);
  if (!privileged(c)) return fail(Errno::NotPermitted);  // CAP_SYS_NICE, and the right to look into it
  // Kept alive: the process may end while pages are written.
  const std::shared_ptr<mm::AddressSpace> space = p->space;
  uint64_t advised = 0;
  for (const UserIovec& range : ranges.segments()) {
    if (const Status s = advise(*space, range.base, range.length, advice); !s) return advised ? Result<long>{static_cast<long>(advised)} : fail(s.error());
    advised += range.length;
  }
  return static_cast<long>(advised);
}

Result<long> sys_pidfd_getfd(Context& c) {
  if (unsigned_argument(c, 2) != 0) return fail(Errno::Invalid);
  kernel::Process* p = TRY(process_of(c, 0));
  const fs::Credentials &mine = c.task.process->credentials, &theirs = p->credentials;
  if (!privileged(c) && (mine.uid != theirs.uid || mine.uid != theirs.euid || mine.uid != theirs.suid)) return fail(Errno::NotPermitted);
  if (!p->files) return fail(Errno::NoProcess);
  auto shared = TRY(p->files->share(int_argument(c, 1)));
  return TRY(descriptors(c).install(std::move(shared), true, descriptor_limit(c)));
}

}  // namespace vitro::syscalls
