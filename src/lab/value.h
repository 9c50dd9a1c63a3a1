// What an expression has for a value, and a variable for content.
#pragma once

#include <cstdint>
#include <string>

#include "vitro/base/types.h"

namespace vitro::lab {

struct Value {
  enum class Kind : uint8_t { Null, Number, Text, Address, Pages, Cache, Memory };
  Kind kind = Kind::Null;
  int64_t number = 0;
  std::string text;
  VirtAddr address{0};      // Address, Memory
  Pfn frame{0};             // Pages: the first one
  uint32_t allocation = 0;  // Address, Pages, Memory: its number in the ledger, kept when it is freed; 0: a made-up address. Cache: its number in Session

  static Value of_number(int64_t n) { Value v; v.kind = Kind::Number, v.number = n; return v; }
  static Value of_text(std::string_view t) { Value v; v.kind = Kind::Text, v.text = t; return v; }
  static Value of_address(VirtAddr a, uint32_t allocation) { Value v; v.kind = Kind::Address, v.address = a, v.allocation = allocation; return v; }
  bool is_null() const { return kind == Kind::Null; }
};

}  // namespace vitro::lab
