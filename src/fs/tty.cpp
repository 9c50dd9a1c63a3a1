// A terminal's life: settings, window, sessions, hanging up.
#include "vitro/fs/tty.h"

#include "fs/vfs_state.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::fs {
namespace {
constexpr int kSigHup = 1, kSigCont = 18, kSigWinch = 28;
constexpr Bytes kTtyStruct{552};
constexpr uint32_t kB38400 = 017, kCs8 = 060, kCRead = 0200, kHupCl = 02000;
}  // namespace

Termios Termios::standard() {
  Termios t;
  t.input = kIcrNl | kIxOn;
  t.output = kOPost | kOnlCr;
  t.control = kB38400 | kCs8 | kCRead | kHupCl;
  t.local = kISig | kICanon | kEcho | kEchoE | kEchoK | kEchoCtl | kEchoKe | kIExten;
  t.cc = {3, 034, 0177, 025, 4, 0, 1, 0, 021, 023, 032, 0, 022, 017, 027, 026, 0, 0, 0};
  t.input_speed = t.output_speed = 38400;
  return t;
}

Tty::Tty(Vfs& vfs, std::shared_ptr<TtyDevice> device, uint64_t device_number) : vfs_(vfs), device_(std::move(device)), device_number_(device_number) {
  if (mm::VirtualMemory* vm = vfs.services().vm)
    if (auto memory = vm->physical().caches().allocate_bytes(kTtyStruct, mm::Gfp::KernelAccount)) memory_ = std::move(*memory);
}

void Tty::set_settings(const Termios& t) {
  const uint32_t changed = settings_.local ^ t.local;
  settings_ = t;
  if (changed & kICanon) {  // n_tty_set_termios
    if (local(kICanon)) {
      if (!ready_.empty() && !ready_.back().ends_line) ready_.back().ends_line = true, ++lines_;
    } else {
      std::erase_if(ready_, [](const Cell& c) { return c.end_of_file; });
      for (Cell& c : ready_) c.ends_line = false;
      lines_ = 0;
      for (const char c : editing_) ready_.push_back({static_cast<uint8_t>(c)});
      editing_.clear();
      literal_ = erasing_ = false;
    }
  }
  if (!input(kIxOn) && stopped_) set_stopped(false);
  device_->settings_changed(settings_);
  readers.wake_all();
}

void Tty::set_window(const WindowSize& w) {
  if (w == window_) return;
  window_ = w;
  signal_foreground(kSigWinch);
}

void Tty::flush_input() {
  ready_.clear();
  editing_.clear();
  lines_ = 0;
  literal_ = erasing_ = false;
  device_->input_taken();
}

void Tty::signal_foreground(int signal) {
  if (JobControl* jobs = vfs_.state().jobs; jobs && foreground_ != Pid{0}) jobs->signal_group(foreground_, signal);
}

// __tty_hangup
void Tty::hang_up() {
  ++hang_ups_;
  flush_input();
  echo_.clear();
  stopped_ = false;
  if (JobControl* jobs = vfs_.state().jobs; jobs && session_ != Pid{0}) {
    const Pid session = std::exchange(session_, Pid{0});
    foreground_ = Pid{0};
    jobs->drop_terminal(session);
    jobs->signal_process(session, kSigHup);
    jobs->signal_process(session, kSigCont);
  }
  settings_ = Termios::standard();
  readers.wake_all();
  writers.wake_all();
}

// disassociate_ctty, for a terminal that is not hung up with its session (a pseudo-terminal).
void Tty::leave_session(bool ending) {
  JobControl* jobs = vfs_.state().jobs;
  if (!jobs || session_ == Pid{0}) return;
  if (foreground_ != Pid{0}) {
    jobs->signal_group(foreground_, kSigHup);
    if (!ending) jobs->signal_group(foreground_, kSigCont);
  }
  const Pid session = std::exchange(session_, Pid{0});
  foreground_ = Pid{0};
  jobs->drop_terminal(session);
}

void Tty::opened_by_caller(bool no_controlling_terminal) {
  JobControl* jobs = vfs_.state().jobs;
  if (!jobs || no_controlling_terminal || session_ != Pid{0}) return;
  const auto caller = jobs->caller();
  if (!caller || caller->session != caller->process || caller->terminal) return;
  session_ = caller->session;
  foreground_ = caller->group;
  jobs->set_terminal(shared_from_this());
}

}  // namespace vitro::fs
