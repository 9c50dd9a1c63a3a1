// The reverse map: who maps one page, among so many areas that one mapping was split into, or so many processes that share it.
#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "empty_file.h"
#include "vitro/base/trace.h"
#include "vitro/hw/mmu.h"
#include "vitro/hw/page_walker.h"
#include "vitro/hw/ram.h"
#include "vitro/mm/address_space.h"
#include "vitro/mm/page_cache.h"
#include "vitro/mm/physical_memory.h"
#include "vitro/mm/rmap.h"

namespace vitro::mm {
namespace {

// One area a page, in one address space.
class Split {
 public:
  Split(uint64_t areas, bool of_a_file)
      : ram_(*hw::Ram::create(mib(512))), physical_(PhysicalMemory::create(*ram_, {}, tracer_)), mmu_(*ram_, hw::TlbConfig{}, timing_, tracer_), vm_(*physical_, mmu_, timing_, tracer_, Isolation::Off) {
    mmu_.set_tlb_modelled(false);
    const Bytes size = Pages{areas}.bytes();
    space_ = std::move(*AddressSpace::create(vm_));
    space_->set_pcid(hw::Pcid{1});
    MmapRequest r{.length = size, .protection = VmFlag::Read | VmFlag::Write};
    if (of_a_file) {
      r.file = std::make_shared<EmptyFile>(vm_, size);
      r.shared = true;
    }
    const VirtAddr at = *space_->mmap(r);
    for (uint64_t i = 0; i < areas; ++i) space_->handle_fault(at + Pages{i}, of_a_file ? hw::Access::Read : hw::Access::Write, hw::Privilege::User, MayWait::Yes);
    for (uint64_t i = 1; i < areas; i += 2) (void)space_->mprotect(at + Pages{i}, Pages{1}.bytes(), VmFlag::Read);
    for (uint64_t i = 0; i < areas; ++i)
      frames_.push_back(hw::walk(*ram_, space_->page_table_root(), at + Pages{i}, hw::Access::Read, hw::Privilege::User, hw::SetAccessedDirty::No).leaf.pfn());
  }

  // So many more processes with the same pages, where they are private.
  void fork(uint64_t times) {
    for (uint64_t i = 0; i < times; ++i) children_.push_back(std::move(*space_->fork()));
  }
  void measure(benchmark::State& state) {
    size_t i = 0;
    uint64_t found = 0;
    for (auto _ : state) {
      rmap_for_each(vm_, frames_[i], [&found](AddressSpace&, VirtAddr) { ++found; });
      i = (i + 7919) % frames_.size();
    }
    if (found != static_cast<uint64_t>(state.iterations()) * (1 + children_.size())) state.SkipWithError("a page was not found where it is mapped");
  }

 private:
  Tracer tracer_;
  hw::TimingModel timing_;
  std::unique_ptr<hw::Ram> ram_;
  std::unique_ptr<PhysicalMemory> physical_;
  hw::Mmu mmu_;
  VirtualMemory vm_;
  std::unique_ptr<AddressSpace> space_;
  std::vector<std::unique_ptr<AddressSpace>> children_;
  std::vector<Pfn> frames_;
};

void BM_RmapAnonymous(benchmark::State& state) { Split(static_cast<uint64_t>(state.range(0)), false).measure(state); }
BENCHMARK(BM_RmapAnonymous)->Arg(1)->Arg(1000)->Arg(20000);
void BM_RmapFile(benchmark::State& state) { Split(static_cast<uint64_t>(state.range(0)), true).measure(state); }
BENCHMARK(BM_RmapFile)->Arg(1)->Arg(1000)->Arg(20000);
// All areas cover the page: there is nothing to leave out.
void BM_RmapForks(benchmark::State& state) {
  Split pages(1, false);
  pages.fork(static_cast<uint64_t>(state.range(0)));
  pages.measure(state);
}
BENCHMARK(BM_RmapForks)->Arg(1)->Arg(500);

}  // namespace
}  // namespace vitro::mm
