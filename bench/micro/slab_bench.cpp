// Slab caches and kmalloc.
#include <benchmark/benchmark.h>

#include <vector>

#include "vitro/base/rng.h"
#include "vitro/mm/physical_memory.h"
#include "vitro/mm/slab_allocator.h"

namespace vitro::mm {
namespace {

struct Machine {
  Tracer tracer;
  std::unique_ptr<hw::Ram> ram = *hw::Ram::create(gib(1));
  std::unique_ptr<PhysicalMemory> memory = PhysicalMemory::create(*ram, {}, tracer);
};

void BM_SlabAllocateFree(benchmark::State& state) {
  Machine m;
  SlabCache& cache = *m.memory->slabs().find("vm_area_struct");
  for (auto _ : state) cache.free(*cache.allocate(Gfp::Kernel));
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * 2);
}
BENCHMARK(BM_SlabAllocateFree);

void BM_SlabRandom(benchmark::State& state) {
  Machine m;
  SlabCache& cache = *m.memory->slabs().find("dentry");
  Rng rng(1);
  std::vector<VirtAddr> held;
  for (int i = 0; i < 50000; ++i) held.push_back(*cache.allocate(Gfp::Kernel));
  for (auto _ : state) {
    VirtAddr& o = held[rng.below(held.size())];
    cache.free(o);
    o = *cache.allocate(Gfp::Kernel);
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * 2);
}
BENCHMARK(BM_SlabRandom);

void BM_Kmalloc(benchmark::State& state) {
  Machine m;
  SlabAllocator& slabs = m.memory->slabs();
  for (auto _ : state) slabs.kfree(*slabs.kmalloc(Bytes{static_cast<uint64_t>(state.range(0))}, Gfp::Kernel));
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * 2);
}
BENCHMARK(BM_Kmalloc)->Arg(100)->Arg(4096)->Arg(65536);

// Sizes of 8 bytes to 8 KiB, most of them small; 20,000 held, one freed and another taken.
void BM_KmallocMixed(benchmark::State& state) {
  Machine m;
  SlabAllocator& slabs = m.memory->slabs();
  Rng rng(4);
  const auto size = [&] { return Bytes{8 + rng.below(uint64_t{8} << rng.below(11))}; };
  std::vector<VirtAddr> held;
  for (int i = 0; i < 20000; ++i) held.push_back(*slabs.kmalloc(size(), Gfp::Kernel));
  for (auto _ : state) {
    VirtAddr& o = held[rng.below(held.size())];
    slabs.kfree(o);
    o = *slabs.kmalloc(size(), Gfp::Kernel);
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * 2);
}
BENCHMARK(BM_KmallocMixed);

}  // namespace
}  // namespace vitro::mm
