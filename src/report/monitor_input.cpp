#include "report/monitor_input.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace vitro::report {

MonitorInput::Outcome MonitorInput::read_line(std::string& line) {
  line.clear();
  std::fflush(stdout);
  fmt::print(stderr, "(vitro) ");
  std::fflush(stderr);
  const bool typed = ::isatty(STDIN_FILENO);
  for (;;) {
    char c = 0;
    const ssize_t n = ::read(STDIN_FILENO, &c, 1);
    if (n == 1 && c != '\n') {
      line += c;
      continue;
    }
    if (n < 0 && errno == EAGAIN) {
      pollfd p{STDIN_FILENO, POLLIN, 0};
      if (::poll(&p, 1, -1) >= 0 || errno != EINTR) continue;
    }
    if (n < 0 && errno == EINTR) {
      fmt::print(stderr, "\n");
      return Outcome::Interrupted;
    }
    const bool end = n != 1 && line.empty();
    if (!typed || end) fmt::print(stderr, "{}\n", line);
    return end ? Outcome::End : Outcome::Line;
  }
}

}  // namespace vitro::report
