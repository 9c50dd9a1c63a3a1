#include "kernel/kernel_log.h"

#include <fmt/format.h>

namespace vitro::kernel {

void KernelLog::append(Nanoseconds now, std::string_view text) {
  const uint64_t us = now.value() / 1000;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    lines_.push_back(fmt::format("[{:5}.{:06}] {}\n", us / 1'000'000, us % 1'000'000, text.substr(0, end)));
    size_ += lines_.back().size();
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  }
  while (size_ > kCapacity) {
    size_ -= lines_.front().size();
    lines_.pop_front();
  }
}

std::string KernelLog::text() const {
  std::string all;
  all.reserve(size_);
  for (const std::string& line : lines_) all += line;
  return all;
}

}  // namespace vitro::kernel
