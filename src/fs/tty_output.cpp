// What is shown: output processing and echoes (drivers/tty/n_tty.c: do_output_char, __process_echoes).
#include <cctype>

#include "vitro/fs/tty.h"

namespace vitro::fs {

// The bytes that the device gets for `bytes`; keeps track of the column.
std::string Tty::process_output(std::span<const uint8_t> bytes) {
  const bool post = settings_.output & kOPost, here = post && !device_->processes_output();
  std::string out;
  out.reserve(bytes.size());
  for (uint8_t c : bytes) {
    if (!post) {
      out += static_cast<char>(c);
      continue;
    }
    switch (c) {
      case '\n':
        if (settings_.output & (kOnlRet | kOnlCr)) column_ = 0;
        if (here && (settings_.output & kOnlCr)) out += '\r';
        out += '\n';
        break;
      case '\r':
        if ((settings_.output & kOnoCr) && column_ == 0 && here) break;
        if (settings_.output & kOcrNl) {
          if (settings_.output & kOnlRet) column_ = 0;
          out += here ? '\n' : '\r';
          break;
        }
        column_ = 0;
        out += '\r';
        break;
      case '\t': {
        const size_t spaces = kColumns - column_ % kColumns;
        column_ += spaces;
        if (here && (settings_.output & kTabDelay) == kTabDelay)
          out.append(spaces, ' ');
        else
          out += '\t';
        break;
      }
      case '\b':
        if (column_ > 0) --column_;
        out += '\b';
        break;
      default:
        if (c >= 0x20 && c != 0x7f) {
          if (here && (settings_.output & kOlcuc)) c = static_cast<uint8_t>(std::toupper(c));
          if (!(input(kIUtf8) && (c & 0xc0) == 0x80)) ++column_;
        }
        out += static_cast<char>(c);
    }
  }
  return out;
}

void Tty::echo(uint8_t c) {
  if (local(kEchoCtl) && (c < 0x20 || c == 0x7f) && c != '\t') {
    const char shown[] = {'^', static_cast<char>(c ^ 0100)};
    return echo_raw({shown, 2});
  }
  const char plain = static_cast<char>(c);
  echo_raw({&plain, 1});
}

void Tty::echo_raw(std::string_view text) {
  if (echo_.size() >= kBufferSize) return;  // nobody fetches the output: old echoes stay, new ones are lost
  echo_ += process_output({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  flush_echo();
}

void Tty::flush_echo() {
  const size_t n = std::min(echo_.size(), output_room());
  if (n == 0) return;
  device_->put({reinterpret_cast<const uint8_t*>(echo_.data()), n});
  echo_.erase(0, n);
}

void Tty::set_stopped(bool stopped) {
  if (stopped_ == stopped) return;
  stopped_ = stopped;
  if (stopped_) return;
  flush_echo();
  writers.wake_all();
}

}  // namespace vitro::fs
