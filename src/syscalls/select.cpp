// select and pselect6 (fs/select.c).
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "syscalls/poll_set.h"

namespace vitro::syscalls {
namespace {

constexpr unsigned kInSet = fs::kPollIn | fs::kPollRdNorm | 0x80 | fs::kPollHup | fs::kPollErr;
constexpr unsigned kOutSet = fs::kPollOut | fs::kPollWrNorm | 0x200 | fs::kPollErr;
constexpr unsigned kExceptionSet = fs::kPollPri;
constexpr std::array<unsigned, 3> kEvents = {kInSet, kOutSet, kExceptionSet};

using Words = std::vector<uint64_t>;
bool test(const Words& w, size_t i) { return !w.empty() && (w[i / 64] >> (i % 64) & 1); }

// The three sets are arguments 1 to 3. Numbers beyond the table's size cannot be open and are not looked at.
Result<long> select_until(Context& c, std::optional<Nanoseconds> deadline) {
  int n = int_argument(c, 0);
  if (n < 0) return fail(Errno::Invalid);
  kernel::FdTable& files = descriptors(c);
  n = static_cast<int>(std::min<uint64_t>(static_cast<uint64_t>(n), files.capacity()));
  const size_t words = (static_cast<size_t>(n) + 63) / 64;
  std::array<Words, 3> wanted, found;
  for (size_t s = 0; s < 3; ++s) {
    if (c[s + 1] == 0) continue;
    wanted[s].resize(words);
    if (words) TRY(c.user.copy_in(address_argument(c, s + 1), std::as_writable_bytes(std::span{wanted[s]})));
  }
  const long ready = TRY(wait_until_ready(c, deadline, [&](fs::PollTable* table) -> Result<long> {
    long count = 0;
    for (auto& f : found) f.assign(words, 0);
    for (size_t fd = 0; fd < static_cast<size_t>(n); ++fd) {
      if (!test(wanted[0], fd) && !test(wanted[1], fd) && !test(wanted[2], fd)) continue;
      const auto file = files.get(static_cast<int>(fd));
      if (!file || ((*file)->flags() & fs::kOpenPath)) return fail(Errno::BadFile);
      const unsigned events = (*file)->poll(count == 0 ? table : nullptr);
      for (size_t s = 0; s < 3; ++s)
        if (test(wanted[s], fd) && (events & kEvents[s])) found[s][fd / 64] |= uint64_t{1} << (fd % 64), ++count;
    }
    return count;
  }));
  for (size_t s = 0; s < 3; ++s)
    if (c[s + 1] != 0 && words) TRY(c.user.copy_out(address_argument(c, s + 1), std::as_bytes(std::span{found[s]})));
  return ready;
}

// Writes what is left of the time; see poll_select_finish.
template <class Time>
Result<long> finish(Context& c, Result<long> n, std::optional<Nanoseconds> deadline, Time (*convert)(Nanoseconds)) {
  const bool interrupted = !n && n.error() == Errno::RestartSys;
  if (interrupted) n = fail(Errno::RestartNoHand);
  if (deadline) {
    const Nanoseconds now = c.kernel.now();
    if (!c.user.put(address_argument(c, 4), convert(*deadline > now ? *deadline - now : Nanoseconds{0})) && interrupted) n = fail(Errno::Interrupted);
  }
  return n;
}

}  // namespace

Result<long> sys_select(Context& c) {
  std::optional<Nanoseconds> deadline;
  if (c[4] != 0) {
    auto t = TRY(c.user.get<UserTimeval>(address_argument(c, 4)));
    // select takes more than a second's worth of microseconds (kern_select).
    if (t.microseconds >= 1'000'000 && t.seconds >= 0 && t.seconds < INT64_MAX - t.microseconds / 1'000'000) t.seconds += t.microseconds / 1'000'000, t.microseconds %= 1'000'000;
    deadline = add_saturating(c.kernel.now(), TRY(duration_of(t)));
  }
  return finish(c, select_until(c, deadline), deadline, timeval_of);
}

Result<long> sys_pselect6(Context& c) {
  struct MaskArgument {
    uint64_t address, size;
  };
  std::optional<Nanoseconds> deadline;
  if (c[4] != 0) deadline = add_saturating(c.kernel.now(), TRY(duration_of(TRY(c.user.get<UserTimespec>(address_argument(c, 4))))));
  if (c[5] != 0) {
    const auto mask = TRY(c.user.get<MaskArgument>(address_argument(c, 5)));
    TRY(begin_temporary_mask(c, mask.address, mask.size));
  }
  auto n = select_until(c, deadline);
  end_temporary_mask(c, !n && n.error() == Errno::RestartSys);
  return finish(c, std::move(n), deadline, timespec_of);
}

}  // namespace vitro::syscalls
