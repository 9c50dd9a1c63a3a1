// The MMU as the CPU uses it: count_access() once a memory access in `exact` mode, resolve() once a fill, translate() for the kernel.
#include <benchmark/benchmark.h>

#include "bench_tables.h"
#include "vitro/hw/mmu.h"

namespace vitro::hw {
namespace {

struct Machine {
  bench::MappedRam mapped;
  TimingModel timing;
  Tracer tracer;
  Mmu mmu;
  explicit Machine(uint64_t pages, const TlbConfig& config = {}) : mapped(pages), mmu(*mapped.ram, config, timing, tracer) {
    mmu.load_cr3(mapped.root, Pcid{1}, Mmu::KeepPcid::No);
  }
};

TlbConfig fully_associative() {
  TlbConfig config;
  config.l1d_4k = {64, 64, Replacement::Lru};
  return config;
}

// All pages go round, 7 pages apart: 16 pages hit the first level, 512 the second, 8192 walk.
void count_access(benchmark::State& state, const TlbConfig& config) {
  const uint64_t pages = static_cast<uint64_t>(state.range(0));
  Machine machine(pages, config);
  uint64_t i = 0;
  for (auto _ : state) {
    machine.mmu.count_access(bench::kBase + Pages{i}, Access::Read);
    i += 7;
    if (i >= pages) i -= pages;
  }
}
BENCHMARK_CAPTURE(count_access, skylake, TlbConfig{})->Name("count_access/skylake")->Arg(16)->Arg(48)->Arg(512)->Arg(8192);
BENCHMARK_CAPTURE(count_access, l1d_64x64, fully_associative())->Name("count_access/l1d_64x64")->Arg(16)->Arg(64)->Arg(512);

void resolve(benchmark::State& state) {
  Machine machine(512);
  uint64_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(machine.mmu.resolve(bench::kBase + Pages{i}, Access::Read, Privilege::User));
    i = (i + 7) % 512;
  }
}
BENCHMARK(resolve)->Name("mmu/resolve");

void translate(benchmark::State& state) {
  Machine machine(16);
  uint64_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(machine.mmu.translate(bench::kBase + Pages{i}, Access::Read, Privilege::User));
    i = (i + 7) % 16;
  }
}
BENCHMARK(translate)->Name("mmu/translate");

void invalidate_page(benchmark::State& state) {
  Machine machine(512);
  uint64_t i = 0;
  for (auto _ : state) {
    machine.mmu.count_access(bench::kBase + Pages{i}, Access::Read);
    machine.mmu.invalidate_page(bench::kBase + Pages{i}, Pcid{1}, FlushReason::LocalShootdown);
    i = (i + 7) % 512;
  }
}
BENCHMARK(invalidate_page)->Name("mmu/walk_and_invalidate_page");

void flush_pcid(benchmark::State& state) {
  Machine machine(512);
  for (auto _ : state) {
    for (uint64_t i = 0; i < 512; i += 8) machine.mmu.count_access(bench::kBase + Pages{i}, Access::Read);
    machine.mmu.flush_pcid(Pcid{1}, FlushReason::LocalMmShootdown);
  }
}
BENCHMARK(flush_pcid)->Name("mmu/64_walks_and_flush_pcid");

}  // namespace
}  // namespace vitro::hw
