// Device numbers as the kernel's interfaces carry them (include/linux/kdev_t.h: new_encode_dev, and glibc's 64-bit form).
#pragma once

#include <cstdint>

namespace vitro {

constexpr uint64_t device_major(uint64_t device) { return ((device >> 8) & 0xfff) | ((device >> 32) & ~uint64_t{0xfff}); }
constexpr uint64_t device_minor(uint64_t device) { return (device & 0xff) | ((device >> 12) & ~uint64_t{0xff}); }

}  // namespace vitro
