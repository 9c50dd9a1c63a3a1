// Sizes on the command line: "256M", "4G", "64K", "4096".
#pragma once

#include <string>
#include <string_view>

#include "vitro/base/result.h"
#include "vitro/base/types.h"

namespace vitro::cli {

// Binary units K, M, G, T, with or without "iB" or "B", in either case. Errors: no number, unknown unit, more than 2^63 bytes. `option` is named in them.
Result<Bytes, UserError> parse_size(std::string_view option, std::string_view text);

}  // namespace vitro::cli
