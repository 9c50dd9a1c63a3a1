// The kernel's log (dmesg): lines with their virtual time, the oldest dropped when it is full (CONFIG_LOG_BUF_SHIFT=17).
#pragma once

#include <deque>
#include <string>

#include "vitro/base/types.h"

namespace vitro::kernel {

class KernelLog {
 public:
  static constexpr size_t kCapacity = 128 << 10;  // characters
  // `text` may hold several lines.
  void append(Nanoseconds now, std::string_view text);
  std::string text() const;

 private:
  std::deque<std::string> lines_;
  size_t size_ = 0;
};

}  // namespace vitro::kernel
