// Reclaim: pages freed a second, from a full page cache and from anonymous memory that goes to swap.
#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "empty_file.h"
#include "vitro/base/trace.h"
#include "vitro/hw/clock.h"
#include "vitro/hw/disk.h"
#include "vitro/hw/mmu.h"
#include "vitro/hw/ram.h"
#include "vitro/mm/address_space.h"
#include "vitro/mm/page_cache.h"
#include "vitro/mm/physical_memory.h"
#include "vitro/mm/reclaim.h"
#include "vitro/mm/swap.h"

namespace vitro::mm {
namespace {

// A machine with one task, which waits for nothing.
class Machine final : public ReclaimTasks {
 public:
  explicit Machine(Bytes ram) : clock_(1000), ram_(*hw::Ram::create(ram)), physical_(PhysicalMemory::create(*ram_, {}, tracer_)), mmu_(*ram_, hw::TlbConfig{}, timing_, tracer_) {
    mmu_.set_tlb_modelled(false);
    vm = std::make_unique<VirtualMemory>(*physical_, mmu_, timing_, tracer_, Isolation::Off);
    vm->reclaimer().attach(this);
  }
  ~Machine() override { vm->reclaimer().attach(nullptr); }
  TaskReclaim* current_reclaim() override { return &task_; }
  bool current_is_dying() const override { return false; }
  void checkpoint(Nanoseconds work, bool) override { time_ += work; }
  Nanoseconds now() const override { return time_; }
  void swap_on(Bytes size) {
    disk_ = hw::make_memory_disk("vdb", size, clock_, timing_);
    const Pages pages = size.pages_down();
    (void)vm->swap().swap_on({.path = "/dev/vdb", .disk = disk_.get(), .extents = {{0, pages.value(), 0}}, .partition = true, .identity = 1}, SwapSpace::make_header(pages), std::nullopt);
  }
  // Pages freed by one direct reclaim.
  uint64_t reclaim() { return vm->reclaimer().reclaim_directly(Gfp::HighUserMovable, Order{0}).value(); }

 private:
  Tracer tracer_;
  hw::TimingModel timing_;
  hw::Clock clock_;
  TaskReclaim task_;
  Nanoseconds time_{1};
  std::unique_ptr<hw::Ram> ram_;
  std::unique_ptr<PhysicalMemory> physical_;
  hw::Mmu mmu_;
  std::unique_ptr<hw::Disk> disk_;

 public:
  std::unique_ptr<VirtualMemory> vm;
};

void BM_ReclaimCleanCache(benchmark::State& state) {
  Machine m(gib(1));
  EmptyFile file(*m.vm, mib(512));
  const Pages pages = file.size().pages_down();
  uint64_t freed = 0, left = 0;
  for (auto _ : state) {
    if (left < 64) {
      state.PauseTiming();
      ReadaheadWindow window;
      for (Pages at{0}; at < pages; at += Pages{32}) file.page_cache().read_ahead(PageIndex{0} + at, Pages{32}, window);
      left = pages.value();
      state.ResumeTiming();
    }
    const uint64_t n = m.reclaim();
    freed += n;
    left -= std::min(left, n);
  }
  state.SetItemsProcessed(static_cast<int64_t>(freed));
}
BENCHMARK(BM_ReclaimCleanCache);

void BM_ReclaimToSwap(benchmark::State& state) {
  Machine m(gib(1));
  m.swap_on(gib(1));
  auto space = std::move(*AddressSpace::create(*m.vm));
  space->set_pcid(hw::Pcid{1});
  uint64_t freed = 0, left = 0;
  const Bytes size = mib(256);
  VirtAddr at{0};
  for (auto _ : state) {
    if (left < 64) {
      state.PauseTiming();
      if (at.value() != 0) (void)space->munmap(at, size);
      at = *space->mmap({.length = size, .protection = VmFlag::Read | VmFlag::Write});
      for (Pages i{0}; i < size.pages_down(); ++i) space->handle_fault(at + i, hw::Access::Write, hw::Privilege::User, MayWait::Yes);
      left = size.pages_down().value();
      state.ResumeTiming();
    }
    const uint64_t n = m.reclaim();
    freed += n;
    left -= std::min(left, n);
  }
  state.SetItemsProcessed(static_cast<int64_t>(freed));
  space.reset();
}
BENCHMARK(BM_ReclaimToSwap);

}  // namespace
}  // namespace vitro::mm
