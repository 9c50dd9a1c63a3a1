// A person's command lines, from the host's standard input.
#pragma once

#include <optional>
#include <string>

namespace vitro::report {

class MonitorInput {
 public:
  enum class Outcome : uint8_t { Line, Interrupted, End };
  // Asks with a prompt on standard error. Reads no byte beyond the line's end: what follows may be for the guest. Lines that are not typed at a
  // terminal are repeated behind the prompt, so that the output can be read alone. Interrupted: a signal came (Ctrl-C).
  Outcome read_line(std::string& line);
};

}  // namespace vitro::report
