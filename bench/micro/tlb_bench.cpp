// One array: a hit and a miss with its eviction, by geometry and policy.
#include <benchmark/benchmark.h>

#include "vitro/hw/tlb_array.h"

namespace vitro::hw {
namespace {

TlbKey key_of(uint64_t page) { return TlbKey::of(VirtAddr{page << kPageShift}, PageSize::k4K, Pcid{1}); }

TlbGeometry geometry_of(const benchmark::State& state) {
  return {static_cast<unsigned>(state.range(0)), static_cast<unsigned>(state.range(1)), static_cast<Replacement>(state.range(2))};
}

// Pages that all fit, in an order with little locality.
void hit(benchmark::State& state) {
  TlbArray array(geometry_of(state), 1);
  const uint64_t pages = array.geometry().entries;
  for (uint64_t p = 0; p < pages; ++p) array.insert(key_of(p), {});
  uint64_t p = 0;
  for (auto _ : state) {
    const uint32_t slot = array.find(key_of(p));
    array.touch(slot);
    benchmark::DoNotOptimize(slot);
    p = (p + 37) % pages;
  }
  state.SetLabel(to_string(array.geometry()));
}

void miss(benchmark::State& state) {
  TlbArray array(geometry_of(state), 1);
  uint64_t p = 0;
  for (auto _ : state) {
    const TlbKey key = key_of(p++);
    if (array.find(key) == TlbArray::kNone) benchmark::DoNotOptimize(array.insert(key, {}));
  }
  state.SetLabel(to_string(array.geometry()));
}

void geometries(benchmark::internal::Benchmark* b) {
  for (int policy = 0; policy < 4; ++policy) b->Args({64, 4, policy});
  b->Args({64, 64, 0});
  b->Args({64, 1, 0});
  b->Args({1536, 12, 0});
  b->Args({1024, 1024, 0});
}
BENCHMARK(hit)->Name("tlb_array/hit")->Apply(geometries);
BENCHMARK(miss)->Name("tlb_array/miss")->Apply(geometries);

}  // namespace
}  // namespace vitro::hw
