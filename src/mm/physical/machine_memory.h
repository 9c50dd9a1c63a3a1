// The one PhysicalMemory: builds the parts in order and recounts them.
#pragma once

#include <memory>
#include <vector>

#include "mm/kernel_memory/kernel_caches.h"
#include "mm/physical/zoned_page_allocator.h"
#include "vitro/mm/physical_memory.h"
#include "vitro/mm/slab_allocator.h"

namespace vitro::mm {

class MachineMemory final : public PhysicalMemory {
 public:
  MachineMemory(hw::Ram& ram, const PhysicalMemoryConfig& config, Tracer& tracer);

  hw::Ram& ram() override { return ram_; }
  FrameTable& frames() override { return frames_; }
  PageAllocator& allocator() override { return pages_; }
  KernelCaches& caches() override { return caches_; }
  VmStat& stat() override { return stat_; }
  Tracer& tracer() override { return tracer_; }
  Pfn zero_frame() const override { return zero_frame_; }
  std::array<uint64_t, static_cast<size_t>(FrameState::Count)> frames_by_state() const override;
  Pages available() const override;
  Pages total_reserve() const override { return watermarks_.total_reserve(); }
  Pfn high_start() const override { return high_start_; }
  unsigned cpus() const override { return cpus_; }
  unsigned current_cpu() const override { return cpu_; }
  std::span<Zone> zones() override { return zones_; }
  Watermarks& watermarks() override { return watermarks_; }
  SlabAllocator& slabs() override { return slabs_; }
  const BootLayout& boot_layout() const override { return layout_; }
  FrameState state_of(Pfn f) const override;
  void set_current_cpu(unsigned cpu) override;
  void drain_per_cpu_lists() override { pages_.drain(); }
  void set_verify_level(Verify level) override;
  void set_node_unreclaimable(bool on) override { unreclaimable_ = on; }
  std::string buddyinfo() const override;
  std::string zoneinfo() const override;
  std::string pagetypeinfo() const override;
  std::string slabinfo() const override { return slabs_.slabinfo(); }
  void verify(Verify level) const override;

 private:
  std::vector<Zone> make_zones(unsigned cpus);
  void reserve_dma_pools();
  void append_zone(std::string& out, const Zone* zone, unsigned index) const;
  void verify_frames() const;

  hw::Ram& ram_;
  Tracer& tracer_;
  unsigned cpus_, cpu_ = 0;
  Pfn high_start_;
  bool unreclaimable_ = false;
  VmStat stat_;
  FrameTable frames_;
  BootLayout layout_;
  std::vector<Zone> zones_;
  Watermarks watermarks_;
  ZonedPageAllocator pages_;
  SlabAllocator slabs_;
  BootCaches caches_;
  Pfn zero_frame_{0};
};

}  // namespace vitro::mm
