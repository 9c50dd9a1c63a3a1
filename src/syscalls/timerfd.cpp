// Timers as files (fs/timerfd.c).
#include "syscalls/anonymous_file.h"
#include "syscalls/arguments.h"
#include "syscalls/clocks.h"
#include "syscalls/handlers.h"

namespace vitro::syscalls {
namespace {

class TimerFile final : public AnonymousFile {
 public:
  TimerFile(std::shared_ptr<fs::Inode> inode, unsigned flags, int clock_id, hw::Clock& clock)
      : AnonymousFile(std::move(inode), flags), clock_id_(clock_id), clock_(clock) {}
  ~TimerFile() override { disarm(); }

  Result<size_t> read(size_t count, ByteSink& sink, Blocking& blocking) override {
    if (count < sizeof(uint64_t)) return fail(Errno::Invalid);
    while (expirations_ == 0) {
      if (non_blocking()) return fail(Errno::Again);
      TRY(blocking.wait(readers_));
    }
    const uint64_t n = expirations_;
    expirations_ = 0;
    return sink.put(std::as_bytes(std::span{&n, 1}));
  }
  unsigned poll(fs::PollTable* table) override {
    if (table) table->wait_on(readers_);
    return expirations_ ? fs::kPollIn : 0;
  }

  void arm(std::optional<Nanoseconds> expires, Nanoseconds interval) {
    disarm();
    interval_ = interval;
    expirations_ = 0;
    schedule(expires);
  }
  UserItimerspec state(Nanoseconds now) const {
    UserItimerspec out{};
    out.interval = timespec_of(interval_);
    if (expires_) out.value = timespec_of(*expires_ > now ? *expires_ - now : Nanoseconds{1});
    return out;
  }
  int clock_id() const { return clock_id_; }

 private:
  void schedule(std::optional<Nanoseconds> expires) {
    expires_ = expires;
    if (expires) event_ = clock_.schedule(*expires, [this] { expire(); });
  }
  void disarm() {
    if (expires_) clock_.cancel(event_);
    expires_.reset();
  }
  void expire() {
    const Nanoseconds due = *expires_;
    expires_.reset();
    uint64_t periods = 1;
    if (interval_.value() != 0) {
      if (clock_.now() > due) periods += (clock_.now() - due) / interval_;
      schedule(add_saturating(due, interval_ * periods));
    }
    expirations_ += periods;
    readers_.wake_all();
  }

  int clock_id_;
  hw::Clock& clock_;
  Nanoseconds interval_{0};
  std::optional<Nanoseconds> expires_;
  hw::Clock::EventId event_ = 0;
  uint64_t expirations_ = 0;
  WaitQueue readers_;
};

Result<std::shared_ptr<TimerFile>> timer_file(Context& c) {
  auto file = std::dynamic_pointer_cast<TimerFile>(TRY(file_argument(c, 0)));
  if (!file) return fail(Errno::Invalid);
  return file;
}

}  // namespace

Result<long> sys_timerfd_create(Context& c) {
  const int clock = int_argument(c, 0);
  const unsigned flags = unsigned_argument(c, 1);
  if (flags & ~(fs::kOpenCloseOnExec | fs::kOpenNonBlock)) return fail(Errno::Invalid);
  if (clock != kClockMonotonic && clock != kClockRealtime && clock != kClockRealtimeAlarm && clock != kClockBoottime && clock != kClockBoottimeAlarm) return fail(Errno::Invalid);
  auto file = std::make_shared<TimerFile>(TRY(c.kernel.vfs().make_anonymous_inode()), fs::kOpenReadWrite | (flags & fs::kOpenNonBlock), clock, c.kernel.clock());
  TRY(c.kernel.vfs().adopt(*file, "anon_inode:[timerfd]"));
  return install(c, std::move(file), flags & fs::kOpenCloseOnExec);
}

Result<long> sys_timerfd_settime(Context& c) {
  constexpr unsigned kAbsolute = 1, kCancelOnSet = 2;  // the clock is never set, so nothing ever cancels
  const auto u = TRY(c.user.get<UserItimerspec>(address_argument(c, 2)));
  if (unsigned_argument(c, 1) & ~(kAbsolute | kCancelOnSet)) return fail(Errno::Invalid);
  const Nanoseconds interval = TRY(duration_of(u.interval)), value = TRY(duration_of(u.value));
  const auto file = TRY(timer_file(c));
  const UserItimerspec old = file->state(c.kernel.now());
  std::optional<Nanoseconds> expires;
  if (value.value() != 0) expires = TRY(clock_deadline(c, file->clock_id(), value, unsigned_argument(c, 1) & kAbsolute));
  file->arm(expires, interval);
  if (c[3] != 0) TRY(c.user.put(address_argument(c, 3), old));
  return 0;
}

Result<long> sys_timerfd_gettime(Context& c) {
  const auto file = TRY(timer_file(c));
  return done(c.user.put(address_argument(c, 1), file->state(c.kernel.now())));
}

}  // namespace vitro::syscalls
