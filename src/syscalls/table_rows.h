// The table in two parts, ascending by number; table.cpp puts them together.
#pragma once

#include "vitro/syscalls/table.h"

namespace vitro::syscalls {

extern const Entry kClassicEntries[];
extern const size_t kClassicCount;
extern const Entry kModernEntries[];
extern const size_t kModernCount;

}  // namespace vitro::syscalls
