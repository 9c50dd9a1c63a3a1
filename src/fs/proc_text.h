// Small pieces of text that several /proc and /sys files share.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "vitro/base/device_number.h"
#include "vitro/base/types.h"

namespace vitro::fs {

// Replaces each character of `unsafe` by its octal escape: "a b" -> "a\040b" (fs/seq_file.c: mangle_path).
std::string escape(std::string_view text, std::string_view unsafe);

// Virtual time in USER_HZ (100 a second), as /proc counts processor time.
constexpr uint64_t clock_ticks(Nanoseconds t) { return t.value() / 10'000'000; }

// A bitmap of CPUs 0..n-1 in groups of 32 bits, as "%*pb" prints it: "1", "f", "ffffffff,ffffffff"; and as a list: "0", "0-3".
std::string cpu_mask(unsigned cpus);
std::string cpu_list(unsigned cpus);

}  // namespace vitro::fs
