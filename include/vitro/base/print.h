// What vitro itself prints, as opposed to the guest: on stdout and stderr.
//
//   print(stderr, "vitro: {}\n", line);
//
// A stream that nobody reads any more, or a full disk, is no reason to stop: fmt::print would throw, and exceptions must not cross Unicorn's frames
// or a fibre's end. What could not be written shows in ferror(), which main looks at for stdout.
#pragma once

#include <fmt/format.h>

#include <cstdio>

namespace vitro {

template <class... T>
void print(std::FILE* stream, fmt::format_string<T...> format, T&&... arguments) {
  fmt::memory_buffer text;
  fmt::format_to(fmt::appender(text), format, std::forward<T>(arguments)...);
  (void)std::fwrite(text.data(), 1, text.size(), stream);
}

}  // namespace vitro
