// Making and destroying address spaces, and looking at them.
#include "vitro/mm/address_space.h"

#include "mm/space/address_space_state.h"
#include "mm/space/anon_vma.h"
#include "mm/space/virtual_memory_state.h"
#include "vitro/base/check.h"

namespace vitro::mm {

AddressSpace::AddressSpace(std::unique_ptr<State> state) : state_(std::move(state)) {
  state_->self = this;
  state_->number = state_->vm.state().next_space++;
  // arch/x86/mm/mmap.c: mmap_base without randomisation: the gap for an 8 MiB stack is 128 MiB. exec sets the real one.
  layout.mmap_base = kUserEnd - mib(128);
  state_->id = state_->vm.state().next_id++;
  state_->vm.state().spaces.push_back(*state_);
}

Result<std::unique_ptr<AddressSpace>> AddressSpace::create(VirtualMemory& vm) {
  SlabObject memory = TRY(vm.physical().caches().allocate(KernelCache::MmStruct, Gfp::KernelAccount));
  auto state = std::make_unique<State>(vm, std::move(memory));
  TRY(state->tables.create_root(vm.kernel_page_table_root()));
  return std::unique_ptr<AddressSpace>(new AddressSpace(std::move(state)));
}

AddressSpace::~AddressSpace() {
  State& s = *state_;
  CHECK(!s.locked, "an address space is destroyed while it is locked");
  if (s.vmas.first()) {
    const VirtAddr start = s.vmas.first()->start, end = s.vmas.last()->end;
    CHECK(s.unmap(start, end).has_value(), "unmapping all of an address space failed");
  }
  CHECK(s.usage.rss_anon + s.usage.rss_file + s.usage.rss_shmem + s.usage.total_vm + s.usage.locked_vm + s.usage.swapents == 0,
        "left: rss {} {} {}, total {}, locked {}, swapped {}", s.usage.rss_anon, s.usage.rss_file, s.usage.rss_shmem, s.usage.total_vm, s.usage.locked_vm, s.usage.swapents);
  s.vm.mmu().flush_pcid(s.pcid, hw::FlushReason::LocalMmShootdown);
  s.vm.state().spaces.remove(s);
}

const Vma* AddressSpace::find(VirtAddr a) const { return state_->vmas.find(a); }

void AddressSpace::for_each_vma(const std::function<void(const Vma&)>& visit) const {
  for (const Vma* v = state_->vmas.first(); v;) {
    const Vma* next = v->tree.next;
    visit(*v);
    v = next;
  }
}

size_t AddressSpace::vma_count() const { return state_->vmas.size(); }
uint64_t AddressSpace::id() const { return state_->id; }
hw::Pcid AddressSpace::pcid() const { return state_->pcid; }
void AddressSpace::set_pcid(hw::Pcid p) { state_->pcid = p; }
PhysAddr AddressSpace::page_table_root() const { return state_->tables.root(); }
PhysAddr AddressSpace::user_page_table_root() const { return state_->tables.user_root(); }
VirtualMemory& AddressSpace::vm() { return state_->vm; }
const VirtualMemory& AddressSpace::vm() const { return state_->vm; }

const AddressSpace::Usage& AddressSpace::usage() const {
  state_->note_hiwater();
  state_->usage.page_tables = state_->tables.tables();
  return state_->usage;
}

void AddressSpace::reset_hiwater() {
  state_->usage.hiwater_rss = 0;
  state_->note_hiwater();
}

}  // namespace vitro::mm
