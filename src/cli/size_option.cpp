#include "size_option.h"

#include <fmt/format.h>

#include <charconv>

namespace vitro::cli {

Result<Bytes, UserError> parse_size(std::string_view option, std::string_view text) {
  const auto refuse = [&](std::string_view why) {
    return fail(UserError{fmt::format("{} '{}' {}", option, text, why), "write a number with a unit, such as 256M or 4G"});
  };
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc::result_out_of_range) return refuse("is too large");
  if (error != std::errc{} || end == text.data()) return refuse("is no size");
  std::string_view unit{end, static_cast<size_t>(text.data() + text.size() - end)};
  unsigned shift = 0;
  if (!unit.empty()) {
    switch (unit[0] | 0x20) {
      case 'b': shift = 0; break;
      case 'k': shift = 10; break;
      case 'm': shift = 20; break;
      case 'g': shift = 30; break;
      case 't': shift = 40; break;
      default: return refuse("has an unknown unit");
    }
    const std::string_view rest = unit.substr(1);
    if (!rest.empty() && (shift == 0 || (rest != "B" && rest != "b" && rest != "iB"))) return refuse("has an unknown unit");
  }
  if (number > (uint64_t{1} << 63) >> shift) return refuse("is too large");
  return Bytes{number << shift};
}

}  // namespace vitro::cli
