// The buddy allocator and the page allocator over it.
#include <benchmark/benchmark.h>

#include <vector>

#include "vitro/base/rng.h"
#include "vitro/mm/buddy_allocator.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::mm {
namespace {

// Random orders 0..9 on 4 GiB, filled to so many per cent, merging always: each iteration frees one block and allocates another.
void BM_BuddyMixedOrders(benchmark::State& state) {
  const uint64_t frames = gib(4).pages_down().value();
  FrameTable table{Pages{frames}};
  BuddyAllocator buddy(table, 0, Pfn{0}, Pfn{frames});
  buddy.add_range(Pfn{0}, Pfn{frames});
  struct Block {
    Pfn first;
    Order order;
  };
  Rng rng(1);
  std::vector<Block> held;
  const uint64_t left = frames * static_cast<uint64_t>(100 - state.range(0)) / 100;
  while (buddy.free_frames().value() > left) {
    const Order order{static_cast<uint8_t>(rng.below(10))};
    held.push_back({*buddy.allocate(order, MigrateType::Movable), order});
  }
  constexpr size_t kPlan = 1 << 16;
  std::vector<std::pair<uint32_t, uint8_t>> plan;
  for (size_t i = 0; i < kPlan; ++i) plan.emplace_back(rng.below(held.size()), static_cast<uint8_t>(rng.below(10)));
  size_t i = 0;
  for (auto _ : state) {
    auto [at, order] = plan[i++ % kPlan];
    Block& b = held[at];
    buddy.free(b.first, b.order);
    // Where nothing that large is left, what was freed is taken again.
    const auto block = buddy.allocate(Order{order}, MigrateType::Movable);
    b = block ? Block{*block, Order{order}} : Block{*buddy.allocate(b.order, MigrateType::Movable), b.order};
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * 2);
}
BENCHMARK(BM_BuddyMixedOrders)->Arg(50)->Arg(80)->Arg(95);

// Splits one maximal block down to a frame and merges it again.
void BM_BuddySplitAndMerge(benchmark::State& state) {
  FrameTable table{Pages{4096}};
  BuddyAllocator buddy(table, 0, Pfn{0}, Pfn{4096});
  buddy.add_range(Pfn{0}, Pfn{4096});
  for (auto _ : state) buddy.free(*buddy.allocate(Order{0}, MigrateType::Movable), Order{0});
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * 2);
}
BENCHMARK(BM_BuddySplitAndMerge);

struct Machine {
  explicit Machine(Bytes size) : ram(*hw::Ram::create(size)), memory(PhysicalMemory::create(*ram, {}, tracer)) {}
  Tracer tracer;
  std::unique_ptr<hw::Ram> ram;
  std::unique_ptr<PhysicalMemory> memory;
};

void BM_PageAllocatorOrder0(benchmark::State& state) {
  Machine m(gib(4));
  PageAllocator& pages = m.memory->allocator();
  for (auto _ : state) pages.free(*pages.allocate(Gfp::HighUserMovable));
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * 2);
}
BENCHMARK(BM_PageAllocatorOrder0);

// A batch of frames taken, then given back: what a process that starts and ends does.
void BM_PageAllocatorBatch(benchmark::State& state) {
  Machine m(gib(4));
  PageAllocator& pages = m.memory->allocator();
  std::vector<Pfn> held(static_cast<size_t>(state.range(0)));
  for (auto _ : state) {
    for (Pfn& f : held) f = *pages.allocate(Gfp::HighUserMovable);
    for (Pfn f : held) pages.free(f);
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * 2 * state.range(0));
}
BENCHMARK(BM_PageAllocatorBatch)->Arg(16)->Arg(256)->Arg(65536);

void BM_StartOfAMachine(benchmark::State& state) {
  for (auto _ : state) Machine m(gib(static_cast<uint64_t>(state.range(0))));
}
BENCHMARK(BM_StartOfAMachine)->Arg(1)->Arg(64)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace vitro::mm
