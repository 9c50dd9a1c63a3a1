// What an access is, and how the hardware refuses it.
#pragma once

#include <cstdint>

#include "vitro/base/types.h"

namespace vitro::hw {

enum class Access : uint8_t { Read, Write, Fetch };
enum class Privilege : uint8_t { Supervisor, User };

// Page-fault error code (SDM volume 3, 4.7, figure 4-12).
struct FaultCode {
  static constexpr uint32_t kProtection = 1, kWrite = 2, kUser = 4, kReserved = 8, kFetch = 16;
};

// #PF, or #GP for a non-canonical address.
struct Fault {
  VirtAddr address;              // CR2
  uint32_t error_code = 0;       // FaultCode bits
  bool general_protection = false;
};

}  // namespace vitro::hw
