// What all address spaces share: the kernel's tables, the LRU, page references.
#include <algorithm>

#include "mm/space/virtual_memory_state.h"
#include "vitro/base/check.h"
#include "vitro/mm/page_cache.h"

namespace vitro::mm {

const char* fault_kind_name(FaultKind k) {
  static constexpr const char* kNames[] = {"anon", "zero", "file", "cow", "swap", "stack", "bad", "spurious"};
  static_assert(std::size(kNames) == static_cast<size_t>(FaultKind::Count));
  return kNames[static_cast<size_t>(k)];
}

VirtualMemory::VirtualMemory(PhysicalMemory& physical, hw::Mmu& mmu, const hw::TimingModel& timing, Tracer& tracer, Isolation isolation)
    : physical_(physical), mmu_(mmu), timing_(timing), tracer_(tracer), isolation_(isolation), state_(std::make_unique<State>(*this)) {
  mmu.set_isolated(isolated());
  physical.allocator().set_compaction_port(&state_->compaction);
  mmu.set_lazily_flushed(kVmallocBase, kVmallocBase + kVmallocSize);
  // mm/mmap.c: init_user_reserve. 3 % of what is free at boot, at most 128 MiB.
  user_reserve_kbytes = std::min(physical.allocator().free_frames().value() * (kPageSize / 1024) / 32, user_reserve_kbytes);
}

VirtualMemory::~VirtualMemory() {
  physical_.allocator().set_compaction_port(nullptr);
  CHECK(state_->spaces.empty(), "{} address spaces are left", state_->spaces.size());
  CHECK(state_->caches.empty(), "{} page caches are left", state_->caches.size());
}

PhysAddr VirtualMemory::kernel_page_table_root() const { return state_->kernel_table.root(); }

Vmalloc& VirtualMemory::vmalloc() { return state_->vmalloc; }

Kmap& VirtualMemory::kmap() { return state_->kmap; }

KernelStacks& VirtualMemory::kernel_stacks() { return state_->kernel_stacks; }

Compaction& VirtualMemory::compaction() { return state_->compaction; }

void VirtualMemory::set_charge(std::function<void(Nanoseconds)> charge) {
  charge_ = charge;
  state_->kmap.set_charge(std::move(charge));
}

Lru& VirtualMemory::lru() { return state_->lru; }
Reclaimer& VirtualMemory::reclaimer() { return state_->reclaimer; }
Writeback& VirtualMemory::writeback() { return state_->writeback; }
Status MappedFile::sync_mapped(Bytes from, Bytes to) { return page_cache().write_back(from, to); }
SwapSpace& VirtualMemory::swap() { return state_->swap; }
OomKiller& VirtualMemory::oom() { return state_->oom; }

Pages VirtualMemory::block_device_pages() const { return Pages{state_->block_pages}; }

void VirtualMemory::get_page(Pfn f) {
  physical_.allocator().get(f);
  ++state_->pins;
}

void VirtualMemory::put_page(Pfn f) {
  --state_->pins;
  drop_reference(*this, f);
}

void drop_reference(VirtualMemory& vm, Pfn pfn) {
  Frame& f = vm.physical().frames()[pfn];
  if (f.refcount == 1) {
    if (f.has(FrameFlag::Lru)) vm.lru().remove(pfn);
    f.flags = 0;
    f.owner = nullptr;
    f.index = 0;
  }
  vm.physical().allocator().put(pfn);
}

}  // namespace vitro::mm
