// Names of the numbers that system calls take.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace vitro::syscalls {

struct NamedValue {
  uint64_t value;
  const char* name;
};

extern const std::span<const NamedValue> kProtectionNames, kAtNames, kAccessNames, kWhenceNames, kHowNames, kFcntlNames, kClockNames, kLimitNames, kAdviceNames, kIoctlNames;

// "A|B|0x100": the names of the bits that are set; `none` where no bit is.
std::string flags_text(std::span<const NamedValue> names, uint64_t flags, const char* none);
// One value's name, or the value in hex.
std::string name_of(std::span<const NamedValue> names, uint64_t value);
std::string mmap_flags_text(uint64_t flags);
std::string futex_operation_text(uint64_t operation);

}  // namespace vitro::syscalls
