// "64x4:lru" and what may be wrong with it.
#include <fmt/format.h>

#include <bit>
#include <charconv>

#include "vitro/hw/tlb_config.h"

namespace vitro::hw {
namespace {

constexpr std::string_view kHint = "write ENTRIESxWAYS[:lru|plru|fifo|random], e.g. 64x4:lru";

auto refuse(std::string_view text, std::string_view why) {
  return fail(UserError{fmt::format("TLB geometry '{}' {}", text, why), std::string(kHint)});
}

// A whole text of decimal digits. Numbers that are too large for an array but are numbers come back as such, so that the error can say so.
bool parse_number(std::string_view text, uint64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size();
}

}  // namespace

std::string_view replacement_name(Replacement r) {
  switch (r) {
    case Replacement::Lru:
      return "lru";
    case Replacement::TreePlru:
      return "plru";
    case Replacement::Fifo:
      return "fifo";
    case Replacement::Random:
      return "random";
  }
  return "?";
}

Result<TlbGeometry, UserError> parse_tlb_geometry(std::string_view text) {
  const std::string_view shape = text.substr(0, text.find(':'));
  const size_t cross = shape.find('x');
  uint64_t entries = 0, ways = 0;
  if (cross == std::string_view::npos || !parse_number(shape.substr(0, cross), entries) || !parse_number(shape.substr(cross + 1), ways))
    return refuse(text, "is not of the form ENTRIESxWAYS");
  if (entries == 0) return refuse(text, "has 0 entries");
  if (ways == 0) return refuse(text, "has 0 ways");
  if (entries > kMaximumTlbEntries) return refuse(text, fmt::format("has more than {} entries", kMaximumTlbEntries));
  if (ways > entries) return refuse(text, "has more ways than entries");
  if (entries % ways != 0) return refuse(text, fmt::format("has {} entries, which {} ways do not divide", entries, ways));
  if (!std::has_single_bit(entries / ways)) return refuse(text, fmt::format("has {} sets, which is no power of two", entries / ways));

  TlbGeometry geometry{static_cast<unsigned>(entries), static_cast<unsigned>(ways), Replacement::Lru};
  if (shape.size() == text.size()) return geometry;
  const std::string_view policy = text.substr(shape.size() + 1);
  for (Replacement r : {Replacement::Lru, Replacement::TreePlru, Replacement::Fifo, Replacement::Random})
    if (policy == replacement_name(r)) {
      geometry.policy = r;
      return geometry;
    }
  return refuse(text, fmt::format("has an unknown replacement policy '{}'", policy));
}

std::string to_string(const TlbGeometry& geometry) {
  if (geometry.entries == 0) return "none";
  return fmt::format("{}x{}:{}", geometry.entries, geometry.ways, replacement_name(geometry.policy));
}

}  // namespace vitro::hw
