#include "lab/machine.h"

#include "vitro/hw/page_walker.h"

namespace vitro::lab {

Result<std::unique_ptr<LabMachine>, UserError> LabMachine::create(const LabConfig& config) {
  auto machine = std::make_unique<LabMachine>();
  mm::PhysicalMemoryConfig physical;
  physical.cpus = config.cpus;
  machine->cpus_ = config.cpus;
  machine->ram_ = TRY(hw::Ram::create(config.ram));
  TRY(mm::PhysicalMemory::validate(config.ram, physical));
  machine->mmu_ = std::make_unique<hw::Mmu>(*machine->ram_, hw::TlbConfig{}, machine->timing_, machine->tracer_);
  machine->physical_ = mm::PhysicalMemory::create(*machine->ram_, physical, machine->tracer_);
  machine->vm_ = std::make_unique<mm::VirtualMemory>(*machine->physical_, *machine->mmu_, machine->timing_, machine->tracer_);
  return machine;
}

mm::AddressSpace* LabMachine::process() {
  if (!process_) {
    auto space = mm::AddressSpace::create(*vm_);
    if (!space) return nullptr;
    process_ = std::move(*space);
    process_->set_pcid(hw::Pcid{1});
  }
  return process_.get();
}

hw::WalkResult LabMachine::walk_kernel(VirtAddr a) {
  return hw::walk(*ram_, vm_->kernel_page_table_root(), a, hw::Access::Read, hw::Privilege::Supervisor, hw::SetAccessedDirty::No);
}

void LabMachine::verify_zones() {
  for (const mm::Zone& z : physical_->zones()) z.verify();
}

void LabMachine::verify() {
  physical_->verify(mm::Verify::Full);
  vm_->verify(mm::Verify::Full);
}

}  // namespace vitro::lab
