// The machine under a lab: RAM, MMU and memory manager, as they are after boot, and no CPU, kernel or files. One process, for user memory, is
// made when the script first asks for it.
#pragma once

#include <memory>

#include "vitro/base/trace.h"
#include "vitro/hw/mmu.h"
#include "vitro/hw/ram.h"
#include "vitro/hw/timing_model.h"
#include "vitro/lab/lab.h"
#include "vitro/mm/address_space.h"
#include "vitro/mm/physical_memory.h"
#include "vitro/mm/slab_allocator.h"

namespace vitro::lab {

class LabMachine {
 public:
  static Result<std::unique_ptr<LabMachine>, UserError> create(const LabConfig& config);

  hw::Ram& ram() { return *ram_; }
  mm::PhysicalMemory& physical() { return *physical_; }
  mm::PageAllocator& pages() { return physical_->allocator(); }
  mm::SlabAllocator& slabs() { return physical_->slabs(); }
  mm::VirtualMemory& vm() { return *vm_; }
  unsigned cpus() const { return cpus_; }
  // Null where there is no memory for one.
  mm::AddressSpace* process();
  // Walks the kernel's tables without changing them.
  hw::WalkResult walk_kernel(VirtAddr a);
  void verify();
  // Frames and lists of the page allocator only, which no script can corrupt: slab caches are what scripts write into.
  void verify_zones();

 private:
  unsigned cpus_ = 1;
  // In order of construction: whatever a member uses stands above it.
  Tracer tracer_;
  hw::TimingModel timing_;
  std::unique_ptr<hw::Ram> ram_;
  std::unique_ptr<hw::Mmu> mmu_;
  std::unique_ptr<mm::PhysicalMemory> physical_;
  std::unique_ptr<mm::VirtualMemory> vm_;
  std::unique_ptr<mm::AddressSpace> process_;
};

}  // namespace vitro::lab
