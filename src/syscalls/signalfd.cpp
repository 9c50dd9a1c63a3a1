// Signals as a file (fs/signalfd.c). Reading takes signals of whoever reads, not of whoever made the file.
#include "syscalls/anonymous_file.h"
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"

namespace vitro::syscalls {
namespace {

// struct signalfd_siginfo
struct UserSignalfdInfo {
  uint32_t signal;
  int32_t error, code;
  uint32_t pid, uid;
  int32_t fd;
  uint32_t timer_id, band, overrun, trap;
  int32_t status, value_int;
  uint64_t value_pointer, user_time, system_time, address;
  uint16_t address_lsb, pad2;
  int32_t syscall;
  uint64_t call_address;
  uint32_t architecture;
  uint8_t pad[28];
};
static_assert(sizeof(UserSignalfdInfo) == 128);

// signalfd_copyinfo
UserSignalfdInfo describe(const kernel::SignalInfo& i) {
  UserSignalfdInfo u{};
  u.signal = static_cast<uint32_t>(i.signal);
  u.error = i.error, u.code = i.code;
  u.pid = static_cast<uint32_t>(i.sender.value()), u.uid = i.sender_uid;
  u.status = i.status, u.user_time = i.user_time, u.system_time = i.system_time;
  u.timer_id = static_cast<uint32_t>(i.timer_id), u.overrun = static_cast<uint32_t>(i.overrun);
  u.value_int = static_cast<int32_t>(i.value), u.value_pointer = i.value;
  u.address = i.address;
  return u;
}

class SignalFile final : public AnonymousFile {
 public:
  SignalFile(std::shared_ptr<fs::Inode> inode, unsigned flags, kernel::Kernel& kernel, kernel::SignalSet set)
      : AnonymousFile(std::move(inode), flags), kernel_(kernel), set_(set) {}

  Result<size_t> read(size_t count, ByteSink& sink, Blocking& blocking) override {
    const size_t most = count / sizeof(UserSignalfdInfo);
    if (most == 0) return fail(Errno::Invalid);
    size_t done = 0;
    for (size_t i = 0; i < most; ++i) {
      kernel::Task& t = kernel_.current_task();
      auto info = kernel_.take_signal(t, set_);
      while (!info && done == 0) {
        if (non_blocking()) return fail(Errno::Again);
        TRY(blocking.wait(t.process->signal_arrivals));
        info = kernel_.take_signal(t, set_);
      }
      if (!info) break;
      const UserSignalfdInfo u = describe(*info);
      const auto put = sink.put(std::as_bytes(std::span{&u, 1}));
      if (!put && done == 0) return fail(put.error());
      if (!put || *put < sizeof u) break;
      done += sizeof u;
    }
    return done;
  }
  unsigned poll(fs::PollTable* table) override {
    kernel::Task& t = kernel_.current_task();
    if (table) table->wait_on(t.process->signal_arrivals);
    return (t.pending.set | t.process->pending.set) & set_ ? fs::kPollIn : 0;
  }
  void set_signals(kernel::SignalSet set) { set_ = set; }

 private:
  kernel::Kernel& kernel_;
  kernel::SignalSet set_;
};

Result<long> make_signalfd(Context& c, unsigned flags) {
  constexpr kernel::SignalSet kNever = kernel::signal_bit(kernel::kSigKill) | kernel::signal_bit(kernel::kSigStop);
  if (flags & ~(fs::kOpenCloseOnExec | fs::kOpenNonBlock)) return fail(Errno::Invalid);
  if (c[2] != sizeof(kernel::SignalSet)) return fail(Errno::Invalid);
  const auto set = TRY(c.user.get<kernel::SignalSet>(address_argument(c, 1))) & ~kNever;
  if (int_argument(c, 0) != -1) {
    const auto file = std::dynamic_pointer_cast<SignalFile>(TRY(file_argument(c, 0)));
    if (!file) return fail(Errno::Invalid);
    file->set_signals(set);
    c.task.process->signal_arrivals.wake_all();
    return int_argument(c, 0);
  }
  auto file = std::make_shared<SignalFile>(TRY(c.kernel.vfs().make_anonymous_inode()), fs::kOpenReadWrite | (flags & fs::kOpenNonBlock), c.kernel, set);
  TRY(c.kernel.vfs().adopt(*file, "anon_inode:[signalfd]"));
  return install(c, std::move(file), flags & fs::kOpenCloseOnExec);
}

}  // namespace

Result<long> sys_signalfd(Context& c) { return make_signalfd(c, 0); }
Result<long> sys_signalfd4(Context& c) { return make_signalfd(c, unsigned_argument(c, 3)); }

}  // namespace vitro::syscalls
