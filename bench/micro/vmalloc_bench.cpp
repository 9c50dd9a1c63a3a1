// vmalloc through the kernel's page tables, and kmap of high memory.
#include <benchmark/benchmark.h>

#include "vitro/base/rng.h"
#include "vitro/mm/address_space.h"
#include "vitro/mm/kmap.h"
#include "vitro/mm/vmalloc.h"

namespace vitro::mm {
namespace {

struct KernelMemory {
  explicit KernelMemory(PhysicalMemoryConfig config = {})
      : ram(*hw::Ram::create(gib(1))), memory(PhysicalMemory::create(*ram, config, tracer)), mmu(*ram, {}, timing, tracer), vm(*memory, mmu, timing, tracer) {}
  Tracer tracer;
  hw::TimingModel timing;
  std::unique_ptr<hw::Ram> ram;
  std::unique_ptr<PhysicalMemory> memory;
  hw::Mmu mmu;
  VirtualMemory vm;
};

// An area of so many pages made and freed; the lazy purge included.
void BM_Vmalloc(benchmark::State& state) {
  KernelMemory m;
  const Bytes size = Pages{static_cast<uint64_t>(state.range(0))}.bytes();
  for (auto _ : state) m.vm.vmalloc().free(*m.vm.vmalloc().allocate(size));
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * 2);
}
BENCHMARK(BM_Vmalloc)->Arg(1)->Arg(16)->Arg(256);

// A thousand areas of up to 16 pages held; one freed and another made.
void BM_VmallocRandom(benchmark::State& state) {
  KernelMemory m;
  Rng rng(3);
  std::vector<VirtAddr> held;
  for (int i = 0; i < 1000; ++i) held.push_back(*m.vm.vmalloc().allocate(Pages{1 + rng.below(16)}.bytes()));
  for (auto _ : state) {
    VirtAddr& one = held[rng.below(held.size())];
    m.vm.vmalloc().free(one);
    one = *m.vm.vmalloc().allocate(Pages{1 + rng.below(16)}.bytes());
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * 2);
}
BENCHMARK(BM_VmallocRandom);

void BM_KmapAtomic(benchmark::State& state) {
  KernelMemory m({.highmem_start = mib(512)});
  const Pfn f = *m.memory->allocator().allocate(Gfp::HighUser);
  for (auto _ : state) benchmark::DoNotOptimize(m.vm.kmap().unmap_atomic(*m.vm.kmap().map_atomic(f)));
}
BENCHMARK(BM_KmapAtomic);

}  // namespace
}  // namespace vitro::mm
