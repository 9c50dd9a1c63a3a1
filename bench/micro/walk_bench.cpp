// The page walk alone: from the top, and from where a paging-structure cache lets it start.
#include <benchmark/benchmark.h>

#include "bench_tables.h"
#include "vitro/hw/page_walker.h"

namespace vitro::hw {
namespace {

void walk_from_top(benchmark::State& state) {
  const uint64_t pages = static_cast<uint64_t>(state.range(0));
  bench::MappedRam mapped(pages);
  uint64_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(walk(*mapped.ram, mapped.root, bench::kBase + Pages{i}, Access::Read, Privilege::User, SetAccessedDirty::Yes));
    i = (i + 7919) % pages;
  }
}
BENCHMARK(walk_from_top)->Name("walk/4_references")->Arg(512)->Arg(65536);

void walk_last_level(benchmark::State& state) {
  bench::MappedRam mapped(512);
  const PhysAddr table =
      walk(*mapped.ram, mapped.root, bench::kBase, Access::Read, Privilege::User, SetAccessedDirty::No).steps[3].entry_address;
  uint64_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(walk(*mapped.ram, table, bench::kBase + Pages{i}, Access::Read, Privilege::User, SetAccessedDirty::Yes, 1));
    i = (i + 7) % 512;
  }
}
BENCHMARK(walk_last_level)->Name("walk/1_reference");

}  // namespace
}  // namespace vitro::hw
