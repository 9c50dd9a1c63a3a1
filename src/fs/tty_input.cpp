// What is typed: signals, flow control, line editing (drivers/tty/n_tty.c: n_tty_receive_buf_common and below).
#include <algorithm>
#include <cctype>

#include "fs/vfs_state.h"
#include "vitro/fs/tty.h"

namespace vitro::fs {
namespace {

constexpr int kSigInt = 2, kSigQuit = 3, kSigTstp = 20;

bool is_control(uint8_t c) { return c < 0x20 || c == 0x7f; }
bool is_continuation(uint8_t c) { return (c & 0xc0) == 0x80; }
bool is_word(uint8_t c) { return std::isalnum(c) || c == '_' || c >= 0x80; }

}  // namespace

size_t Tty::receive_room() const {
  const size_t used = ready_.size() + editing_.size();
  if (used < kBufferSize - 1) return kBufferSize - 1 - used;
  // A line that is too long is cut, not waited for: the character that ends it must get in.
  return local(kICanon) && lines_ == 0 ? 1 : 0;
}

void Tty::receive(std::span<const uint8_t> bytes) {
  for (const uint8_t c : bytes) receive_one(c);
  flush_echo();
}

void Tty::add_ready(Cell cell) {
  ready_.push_back(cell);
  lines_ += cell.ends_line;
}

void Tty::receive_one(uint8_t c) {
  if (literal_) {
    literal_ = false;
    if (local(kICanon)) {
      if (editing_.size() + ready_.size() < kBufferSize - 1) {
        if (editing_.empty()) line_column_ = column_;
        if (local(kEcho)) echo(c);
        editing_ += static_cast<char>(c);
      }
    } else {
      if (local(kEcho)) echo(c);
      add_ready({c});
      readers.wake_all();
    }
    return;
  }
  if (input(kIStrip)) c &= 0x7f;
  if (input(kIuclc) && local(kIExten)) c = static_cast<uint8_t>(std::tolower(c));
  if (input(kIxOn)) {
    if (is(c, kVStart)) return set_stopped(false);
    if (is(c, kVStop)) return set_stopped(true);
  }
  if (local(kISig) && receive_signal(c)) return;
  if (stopped_ && input(kIxOn) && input(kIxAny)) set_stopped(false);
  if (c == '\r') {
    if (input(kIgnCr)) return;
    if (input(kIcrNl)) c = '\n';
  } else if (c == '\n' && input(kInlCr)) {
    c = '\r';
  }
  if (local(kICanon)) return receive_canonical(c);
  if (ready_.size() >= kBufferSize - 1) {
    if (input(kIMaxBel)) echo_raw("\a");
    return;
  }
  if (local(kEcho)) {
    if (c == '\n')
      echo_raw("\n");
    else
      echo(c);
  }
  add_ready({c});
  readers.wake_all();
}

// n_tty_receive_signal_char, isig
bool Tty::receive_signal(uint8_t c) {
  const int signal = is(c, kVIntr) ? kSigInt : is(c, kVQuit) ? kSigQuit : is(c, kVSusp) ? kSigTstp : 0;
  if (!signal) return false;
  JobControl* jobs = vfs_.state().jobs;
  if (jobs && foreground_ != Pid{0}) {
    const bool nobody = signal == kSigTstp && jobs->orphaned(foreground_);
    jobs->signal_group(foreground_, signal);
    if (nobody) device_->suspend();
  }
  if (!local(kNoFlsh)) {
    echo_.clear();
    device_->flush_output();
    flush_input();
  }
  if (input(kIxOn)) set_stopped(false);
  if (local(kEcho)) echo(c);
  readers.wake_all();
  return true;
}

void Tty::finish_line(Cell last) {
  for (const char c : editing_) add_ready({static_cast<uint8_t>(c)});
  editing_.clear();
  add_ready(last);
  readers.wake_all();
}

// n_tty_receive_char_canon
void Tty::receive_canonical(uint8_t c) {
  const bool extended = local(kIExten);
  if (is(c, kVErase) || is(c, kVKill) || (is(c, kVWerase) && extended)) return erase(c);
  if (erasing_) echo_raw("/"), erasing_ = false;
  if (is(c, kVLnext) && extended) {
    literal_ = true;
    if (local(kEcho) && local(kEchoCtl)) echo_raw("^\b");
    return;
  }
  if (is(c, kVReprint) && local(kEcho) && extended) {
    echo(c);
    echo_raw("\n");
    for (const char typed : editing_) echo(static_cast<uint8_t>(typed));
    return;
  }
  if (c == '\n') {
    if (local(kEcho) || local(kEchoNl)) echo_raw("\n");
    return finish_line({c, true});
  }
  if (is(c, kVEof)) return finish_line({0, true, true});
  if (is(c, kVEol) || (is(c, kVEol2) && extended)) {
    if (local(kEcho)) echo(c);
    return finish_line({c, true});
  }
  if (editing_.size() + ready_.size() >= kBufferSize - 1) {
    if (input(kIMaxBel)) echo_raw("\a");
    return;
  }
  if (editing_.empty()) line_column_ = column_;
  if (local(kEcho)) echo(c);
  editing_ += static_cast<char>(c);
}

// eraser()
void Tty::erase(uint8_t c) {
  if (editing_.empty()) return;
  const bool word = is(c, kVWerase), kill = is(c, kVKill) && !is(c, kVErase);
  if (kill) {
    if (!local(kEcho)) return editing_.clear();
    if (!local(kEchoK) || !local(kEchoKe) || !local(kEchoE)) {
      editing_.clear();
      if (erasing_) echo_raw("/"), erasing_ = false;
      echo(c);
      if (local(kEchoK)) echo_raw("\n");
      return;
    }
  }
  bool seen_word = false;
  while (!editing_.empty()) {
    size_t at = editing_.size() - 1;
    if (input(kIUtf8))
      while (at > 0 && is_continuation(static_cast<uint8_t>(editing_[at]))) --at;
    const auto gone = static_cast<uint8_t>(editing_[at]);
    if (word) {
      if (is_word(gone))
        seen_word = true;
      else if (seen_word)
        break;
    }
    const std::string removed = editing_.substr(at);
    editing_.resize(at);
    if (local(kEcho)) {
      if (local(kEchoPrt)) {
        if (!erasing_) echo_raw("\\"), erasing_ = true;
        for (const char r : removed) echo(static_cast<uint8_t>(r));
      } else if (!word && !kill && !local(kEchoE)) {
        echo(c);
      } else if (gone == '\t') {
        // Back to where the character before it ends.
        size_t column = line_column_;
        for (const char e : editing_) {
          const auto u = static_cast<uint8_t>(e);
          if (u == '\t')
            column = (column / kColumns + 1) * kColumns;
          else if (is_control(u))
            column += local(kEchoCtl) ? 2 : 0;
          else if (!(input(kIUtf8) && is_continuation(u)))
            ++column;
        }
        const size_t after = (column / kColumns + 1) * kColumns;
        echo_raw(std::string(after - column, '\b'));
      } else {
        if (is_control(gone) && local(kEchoCtl)) echo_raw("\b \b");
        if (!is_control(gone) || local(kEchoCtl)) echo_raw("\b \b");
      }
    }
    if (!word && !kill) break;
  }
  if (editing_.empty() && erasing_) echo_raw("/"), erasing_ = false;
}

}  // namespace vitro::fs
