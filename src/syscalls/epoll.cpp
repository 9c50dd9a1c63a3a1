// The epoll calls.
#include "syscalls/arguments.h"
#include "syscalls/epoll_file.h"
#include "syscalls/handlers.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::syscalls {
namespace {

Result<long> create(Context& c, unsigned flags) {
  auto file = std::make_shared<EpollFile>(TRY(c.kernel.vfs().make_anonymous_inode()), fs::kOpenReadWrite);
  TRY(c.kernel.vfs().adopt(*file, "anon_inode:[eventpoll]"));
  return install(c, std::move(file), flags & fs::kOpenCloseOnExec);
}

Result<std::shared_ptr<EpollFile>> instance_argument(Context& c, size_t i) {
  auto file = std::dynamic_pointer_cast<EpollFile>(TRY(file_argument(c, i)));
  if (!file) return fail(Errno::Invalid);
  return file;
}

// `deadline` absent: for ever. A signal ends the wait with EINTR, whatever SA_RESTART says (fs/eventpoll.c).
Result<long> wait_for_events(Context& c, std::optional<Nanoseconds> deadline) {
  const int most = int_argument(c, 2);
  if (most <= 0 || most > static_cast<int>(INT32_MAX / sizeof(UserEpollEvent))) return fail(Errno::Invalid);
  if (!in_user_range(c[1], static_cast<uint64_t>(most) * sizeof(UserEpollEvent))) return fail(Errno::Fault);
  const auto file = TRY(instance_argument(c, 0));
  std::array<UserEpollEvent, 64> events{};
  for (;;) {
    const size_t n = file->collect(std::span{events}.first(std::min<size_t>(events.size(), static_cast<size_t>(most))));
    if (n > 0) {
      TRY(c.user.copy_out(address_argument(c, 1), std::as_bytes(std::span{events}.first(n))));
      return static_cast<long>(n);
    }
    if (deadline && c.kernel.now() >= *deadline) return 0;
    WaitQueue* queue = &file->waiters();
    const Status s = c.kernel.wait_any({&queue, 1}, deadline);
    if (!s && s.error() != Errno::TimedOut) return fail(Errno::Interrupted);
  }
}

std::optional<Nanoseconds> millisecond_deadline(Context& c, int timeout) {
  if (timeout < 0) return std::nullopt;
  return add_saturating(c.kernel.now(), milliseconds(static_cast<uint64_t>(timeout)));
}

Result<long> wait_with_mask(Context& c, std::optional<Nanoseconds> deadline) {
  TRY(begin_temporary_mask(c, c[4], c[5]));
  auto n = wait_for_events(c, deadline);
  end_temporary_mask(c, !n && n.error() == Errno::Interrupted);
  return n;
}

}  // namespace

Result<long> sys_epoll_create(Context& c) {
  if (int_argument(c, 0) <= 0) return fail(Errno::Invalid);
  return create(c, 0);
}

Result<long> sys_epoll_create1(Context& c) {
  if (unsigned_argument(c, 0) & ~fs::kOpenCloseOnExec) return fail(Errno::Invalid);
  return create(c, unsigned_argument(c, 0));
}

Result<long> sys_epoll_ctl(Context& c) {
  constexpr int kAdd = 1, kDelete = 2, kModify = 3;
  const int operation = int_argument(c, 1), fd = int_argument(c, 2);
  UserEpollEvent event{};
  if (operation != kDelete) event = TRY(c.user.get<UserEpollEvent>(address_argument(c, 3)));
  auto opened = TRY(file_argument(c, 0));
  auto target = TRY(file_argument(c, 2));
  const auto instance = std::dynamic_pointer_cast<EpollFile>(opened);
  if (!instance || instance == target) return fail(Errno::Invalid);
  switch (operation) {
    case kAdd: return done(instance->add(fd, target, event, TRY(c.kernel.vm().physical().caches().allocate(mm::KernelCache::EpollItem, mm::Gfp::KernelAccount))));
    case kModify: return done(instance->modify(fd, target, event));
    case kDelete: return done(instance->remove(fd, target));
    default: return fail(Errno::Invalid);
  }
}

Result<long> sys_epoll_wait(Context& c) { return wait_for_events(c, millisecond_deadline(c, int_argument(c, 3))); }
Result<long> sys_epoll_pwait(Context& c) { return wait_with_mask(c, millisecond_deadline(c, int_argument(c, 3))); }
Result<long> sys_epoll_pwait2(Context& c) {
  std::optional<Nanoseconds> deadline;
  if (c[3] != 0) deadline = add_saturating(c.kernel.now(), TRY(duration_of(TRY(c.user.get<UserTimespec>(address_argument(c, 3))))));
  return wait_with_mask(c, deadline);
}

}  // namespace vitro::syscalls
