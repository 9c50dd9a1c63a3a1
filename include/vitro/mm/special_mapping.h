// Pages of the kernel that programs see at an address of their own, under a name instead of a file's (mm/mmap.c: struct vm_special_mapping,
// _install_special_mapping).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "vitro/base/types.h"
#include "vitro/mm/vma.h"

namespace vitro::mm {

struct SpecialMapping {
  std::string name;  // as /proc/PID/maps shows it: "[vdso]"
  VmFlag flags = VmFlag::None;
  // One for each page, which the maker keeps a reference to: in state Kernel with index = its place here, or the zero frame, which is mapped
  // without being counted (VM_PFNMAP). Nullopt: SIGBUS.
  std::vector<std::optional<Pfn>> frames;
};

}  // namespace vitro::mm
