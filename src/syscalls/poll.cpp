// poll and ppoll (fs/select.c).
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "syscalls/poll_set.h"
#include "syscalls/runtime.h"

namespace vitro::syscalls {
namespace {

// The array, read in pieces so that a bad address is found before much is allocated; its length is bounded by RLIMIT_NOFILE.
Result<std::vector<UserPollFd>> read_fds(Context& c) {
  constexpr size_t kPiece = 512;
  const uint64_t count = unsigned_argument(c, 1);
  if (count > descriptor_limit(c)) return fail(Errno::Invalid);
  std::vector<UserPollFd> fds;
  while (fds.size() < count) {
    const size_t before = fds.size(), n = std::min<uint64_t>(kPiece, count - before);
    fds.resize(before + n);
    TRY(c.user.copy_in(VirtAddr{c[0] + before * sizeof(UserPollFd)}, std::as_writable_bytes(std::span{fds}.subspan(before, n))));
  }
  return fds;
}

Result<long> poll_until(Context& c, std::optional<Nanoseconds> deadline) {
  auto fds = TRY(read_fds(c));
  kernel::FdTable& files = descriptors(c);
  const long ready = TRY(wait_until_ready(c, deadline, [&](fs::PollTable* table) -> Result<long> {
    long n = 0;
    for (UserPollFd& p : fds) {
      p.revents = 0;
      if (p.fd < 0) continue;
      const auto file = files.get(p.fd);
      const unsigned wanted = static_cast<uint16_t>(p.events) | fs::kPollErr | fs::kPollHup;
      if (!file || ((*file)->flags() & fs::kOpenPath)) p.revents = fs::kPollInvalid;
      else p.revents = static_cast<int16_t>((*file)->poll(n == 0 ? table : nullptr) & wanted);
      if (p.revents != 0) ++n;
    }
    return n;
  }));
  for (size_t i = 0; i < fds.size(); ++i)
    TRY(c.user.put(VirtAddr{c[0] + i * sizeof(UserPollFd) + offsetof(UserPollFd, revents)}, fds[i].revents));
  return ready;
}

Result<long> poll_again(Context& c, Nanoseconds deadline) {
  const auto n = poll_until(c, deadline < kForever ? std::optional{deadline} : std::nullopt);
  if (!n && n.error() == Errno::RestartSys) return restart_later(c, poll_again, deadline);
  return n;
}

}  // namespace

Result<long> sys_poll(Context& c) {
  const int timeout = int_argument(c, 2);
  return poll_again(c, timeout < 0 ? kForever : add_saturating(c.kernel.now(), milliseconds(static_cast<uint64_t>(timeout))));
}

Result<long> sys_ppoll(Context& c) {
  std::optional<Nanoseconds> deadline;
  if (c[2] != 0) deadline = add_saturating(c.kernel.now(), TRY(duration_of(TRY(c.user.get<UserTimespec>(address_argument(c, 2))))));
  TRY(begin_temporary_mask(c, c[3], c[4]));
  auto n = poll_until(c, deadline);
  const bool interrupted = !n && n.error() == Errno::RestartSys;
  end_temporary_mask(c, interrupted);
  if (interrupted) n = fail(Errno::RestartNoHand);
  if (deadline) {
    // What is left of the time goes back; where that fails, a restart would wait too long (poll_select_finish).
    const Nanoseconds now = c.kernel.now();
    const UserTimespec left = timespec_of(*deadline > now ? *deadline - now : Nanoseconds{0});
    if (!c.user.put(address_argument(c, 2), left) && interrupted) n = fail(Errno::Interrupted);
  }
  return n;
}

}  // namespace vitro::syscalls
