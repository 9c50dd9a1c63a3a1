// A profile for programs and for people. Private to the layer.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "vitro/kernel/profile.h"

namespace vitro::report {

// 1234567 -> "1,234,567".
std::string grouped(uint64_t n);

// What misses cost, by the cost table.
struct MissCost {
  uint64_t second_level_hit = 0, walk_reference = 0;
  uint64_t cycles(const kernel::ProfileCounts& c) const {
    return (c.all_misses() - c.walks()) * second_level_hit + c.references * walk_reference;
  }
};

nlohmann::ordered_json profile_json(const kernel::ProfileReport& r, const MissCost& cost);
std::string profile_text(const kernel::ProfileReport& r, const MissCost& cost);

}  // namespace vitro::report
