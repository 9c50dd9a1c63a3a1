#include "fs/proc_text.h"

#include <fmt/format.h>

#include <iterator>

namespace vitro::fs {

std::string escape(std::string_view text, std::string_view unsafe) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (unsafe.find(c) == std::string_view::npos)
      out += c;
    else
      fmt::format_to(std::back_inserter(out), "\\{:03o}", static_cast<unsigned char>(c));
  }
  return out;
}

std::string cpu_mask(unsigned cpus) {
  std::string out;
  for (unsigned group = (cpus + 31) / 32; group-- > 0;) {
    const unsigned bits = cpus - group * 32;
    const uint32_t word = bits >= 32 ? ~uint32_t{0} : (uint32_t{1} << bits) - 1;
    // The highest group is as wide as the number of CPUs needs, the others have eight digits.
    if (out.empty())
      fmt::format_to(std::back_inserter(out), "{:0{}x}", word, ((bits >= 32 ? 32 : bits) + 3) / 4);
    else
      fmt::format_to(std::back_inserter(out), ",{:08x}", word);
  }
  return out;
}

std::string cpu_list(unsigned cpus) { return cpus <= 1 ? std::string("0") : fmt::format("0-{}", cpus - 1); }

}  // namespace vitro::fs
