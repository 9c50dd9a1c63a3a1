// docs/syscalls.md, from the table.
#include <fmt/format.h>

#include <array>
#include <string>

#include "vitro/syscalls/table.h"

namespace vitro::syscalls {

std::string markdown() {
  constexpr std::array<const char*, 3> kWords = {"full", "partial", "missing"};
  std::array<size_t, 3> counts{};
  for (const Entry& e : entries()) ++counts[static_cast<size_t>(e.support)];
  std::string out = fmt::format(
      "# System calls\n\n"
      "<!-- Generated from src/syscalls/table_*.cpp; do not edit. -->\n\n"
      "Every x86-64 system call of Linux 6.1, {} in all: {} are complete, {} follow Linux in part (the note says what is missing), {} are missing: they answer\n"
      "ENOSYS, and the first use of each in a run is logged with its arguments.\n\n"
      "| number | name | support | note |\n|---:|---|---|---|\n",
      entries().size(), counts[0], counts[1], counts[2]);
  for (const Entry& e : entries()) out += fmt::format("| {} | {} | {} | {} |\n", e.number, e.name, kWords[static_cast<size_t>(e.support)], e.note);
  return out;
}

}  // namespace vitro::syscalls
