// What a page-table entry says whose Present bit is clear: the rest of its 64 bits is the kernel's own (arch/x86/include/asm/pgtable_64.h).
//
//   if (!pte.present()) text += describe_absent_entry(pte);   // "PROT_NONE: keeps frame 0xe983"
#pragma once

#include <string>

#include "vitro/hw/pte.h"

namespace vitro::mm {

// Empty for an entry that is 0: it says nothing.
std::string describe_absent_entry(hw::Pte entry);

}  // namespace vitro::mm
