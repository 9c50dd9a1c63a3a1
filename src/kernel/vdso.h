// The shared object that every program is given by the kernel, and the data page before it (arch/x86/entry/vdso/vma.c).
#pragma once

#include "vitro/base/result.h"
#include "vitro/mm/address_space.h"
#include "vitro/mm/special_mapping.h"

namespace vitro::kernel {

class Vdso {
 public:
  // Puts the image into two frames of the kernel's.
  explicit Vdso(mm::VirtualMemory& vm);
  ~Vdso();
  Vdso(const Vdso&) = delete;

  // Maps [vvar] and [vdso], top-down. Returns where the image begins (AT_SYSINFO_EHDR). NoMemory.
  Result<VirtAddr> map(mm::AddressSpace& space) const;

 private:
  mm::VirtualMemory& vm_;
  mm::SpecialMapping data_, image_;
};

}  // namespace vitro::kernel
