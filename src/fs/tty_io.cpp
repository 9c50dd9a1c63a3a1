// read(2), write(2) and poll(2) on a terminal, with job control (drivers/tty/n_tty.c: n_tty_read, n_tty_write, n_tty_poll; tty_jobctrl.c).
#include <algorithm>

#include "fs/vfs_state.h"
#include "vitro/fs/tty.h"
#include "vitro/hw/clock.h"

namespace vitro::fs {
namespace {
constexpr int kSigTtin = 21, kSigTtou = 22;
constexpr Nanoseconds kTenth{100'000'000};  // VTIME's unit
constexpr size_t kChunk = 2048;             // of one write, between which others may write
}  // namespace

// job_control() of n_tty_read: a background group may not read.
Status Tty::may_read() {
  JobControl* jobs = vfs_.state().jobs;
  if (!jobs || foreground_ == Pid{0}) return {};
  const auto caller = jobs->caller();
  if (!caller || caller->terminal.get() != this || caller->group == foreground_) return {};
  if (!jobs->caller_heeds(kSigTtin) || jobs->orphaned(caller->group)) return fail(Errno::IoError);
  jobs->signal_group(caller->group, kSigTtin);
  return fail(Errno::RestartSys);
}

// __tty_check_change: a background group may not change things, nor write where TOSTOP says so.
Status Tty::may_change(int signal) {
  JobControl* jobs = vfs_.state().jobs;
  if (!jobs || foreground_ == Pid{0}) return {};
  const auto caller = jobs->caller();
  if (!caller || caller->terminal.get() != this || caller->group == foreground_ || !jobs->caller_heeds(signal)) return {};
  if (jobs->orphaned(caller->group)) return fail(Errno::IoError);
  jobs->signal_group(caller->group, signal);
  return fail(Errno::RestartSys);
}

bool Tty::input_available(bool polled) const {
  if (local(kICanon)) return lines_ > 0;
  const size_t wanted = polled && settings_.cc[kVTime] == 0 && settings_.cc[kVMin] > 0 ? settings_.cc[kVMin] : 1;
  return ready_.size() >= wanted;
}

// canon_copy_from_read_buf: at most one line.
Result<size_t> Tty::read_line(size_t count, ByteSink& sink) {
  std::string text;
  bool ended = false;
  size_t cells = 0;
  for (const Cell& c : ready_) {
    if (text.size() == count && !c.end_of_file) break;
    ++cells;
    ended = c.ends_line;
    if (!c.end_of_file) text += static_cast<char>(c.c);
    if (ended) break;
  }
  size_t put = 0;
  if (!text.empty()) put = TRY(sink.put(std::as_bytes(std::span(text))));
  if (put < text.size()) ended = false, cells = put;
  ready_.erase(ready_.begin(), ready_.begin() + static_cast<long>(cells));
  lines_ -= ended;
  device_->input_taken();
  return put;
}

Result<size_t> Tty::read_raw(size_t count, ByteSink& sink, Blocking& blocking, bool non_blocking, unsigned opened) {
  size_t done = 0;
  std::optional<Nanoseconds> deadline;
  while (true) {
    const size_t minimum = settings_.cc[kVMin];
    const Nanoseconds time = kTenth * settings_.cc[kVTime];
    const size_t n = std::min(count - done, ready_.size());
    if (n > 0) {
      std::string text;
      for (size_t i = 0; i < n; ++i) text += static_cast<char>(ready_[i].c);
      const auto put = sink.put(std::as_bytes(std::span(text)));
      if (!put) return done > 0 ? Result<size_t>{done} : fail(put.error());
      ready_.erase(ready_.begin(), ready_.begin() + static_cast<long>(*put));
      lines_ = static_cast<size_t>(std::count_if(ready_.begin(), ready_.end(), [](const Cell& c) { return c.ends_line; }));
      done += *put;
      device_->input_taken();
      if (*put < n) return done;
      deadline.reset();  // the interval runs between characters
    }
    if (done == count || done >= std::max<size_t>(minimum, 1) || opened != hang_ups_ || local(kICanon)) return done;
    if (minimum == 0 && time == Nanoseconds{0}) return done;
    if (non_blocking) return done > 0 ? Result<size_t>{done} : fail(Errno::Again);
    const bool timed = time > Nanoseconds{0} && (minimum == 0 || done > 0);
    if (timed && !deadline) deadline = (vfs_.services().uptime ? vfs_.services().uptime->now() : Nanoseconds{0}) + time;
    const Status waited = blocking.wait(readers, Interruptible::Yes, timed ? deadline : std::nullopt);
    if (!waited && waited.error() == Errno::TimedOut) return done;
    if (!waited) return done > 0 ? Result<size_t>{done} : fail(waited.error());
    TRY(may_read());
  }
}

Result<size_t> Tty::read(size_t count, ByteSink& sink, Blocking& blocking, bool non_blocking, unsigned opened) {
  if (opened != hang_ups_) return size_t{0};
  TRY(may_read());
  device_->input_wanted();
  while (true) {
    if (!local(kICanon)) return read_raw(count, sink, blocking, non_blocking, opened);
    if (lines_ > 0) return read_line(count, sink);
    if (non_blocking) return fail(Errno::Again);
    TRY(blocking.wait(readers));
    if (opened != hang_ups_) return size_t{0};
    TRY(may_read());
  }
}

Result<size_t> Tty::write(size_t count, ByteSource& source, Blocking& blocking, bool non_blocking, unsigned opened) {
  if (opened != hang_ups_) return fail(Errno::IoError);
  if (local(kToStop)) TRY(may_change(kSigTtou));
  count = std::min(count, kMaxTransfer);
  size_t done = 0;
  std::array<uint8_t, kChunk> chunk;
  while (done < count) {
    flush_echo();
    // A tab may become eight characters.
    const size_t room = output_room(), most = std::min({count - done, kChunk, room == SIZE_MAX ? kChunk : room / kColumns});
    if (most == 0) {
      if (non_blocking) return done > 0 ? Result<size_t>{done} : fail(Errno::Again);
      const Status waited = blocking.wait(writers);
      if (opened != hang_ups_) return fail(Errno::IoError);
      if (!waited) return done > 0 ? Result<size_t>{done} : fail(waited.error());
      continue;
    }
    const auto taken = source.take(std::as_writable_bytes(std::span(chunk).first(most)));
    if (!taken) return done > 0 ? Result<size_t>{done} : fail(taken.error());
    const std::string out = process_output(std::span(chunk).first(*taken));
    device_->put({reinterpret_cast<const uint8_t*>(out.data()), out.size()});
    done += *taken;
    if (*taken < most) break;
  }
  return done;
}

unsigned Tty::poll(PollTable* table, unsigned opened) {
  if (table) table->wait_on(readers), table->wait_on(writers);
  if (opened != hang_ups_) return kPollIn | kPollOut | kPollErr | kPollHup | kPollRdNorm | kPollWrNorm;
  device_->input_wanted();
  unsigned events = 0;
  if (input_available(true)) events |= kPollIn | kPollRdNorm;
  if (output_room() >= kColumns) events |= kPollOut | kPollWrNorm;
  return events;
}

}  // namespace vitro::fs
