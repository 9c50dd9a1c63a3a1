// Physical memory put together: RAM, descriptors, zones with their buddy allocators and per-CPU lists, slab caches, counters.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "vitro/base/result.h"
#include "vitro/base/trace.h"
#include "vitro/hw/ram.h"
#include "vitro/mm/frame.h"
#include "vitro/mm/kernel_object.h"
#include "vitro/mm/page_allocator.h"
#include "vitro/mm/vm_stat.h"
#include "vitro/mm/zone.h"

namespace vitro::mm {

struct PhysicalMemoryConfig {
  unsigned cpus = 1;
  Bytes extra_reserved{0};  // --reserved: what the kernel image and firmware take beyond the default
  Bytes highmem_start{0};   // --highmem: RAM from here on is in zone HighMem, outside the direct map; 0: all RAM is mapped
};

enum class Verify : uint8_t { Off, Cheap, Full };

// Addresses of the kernel half (Documentation/x86/x86_64/mm.rst, no KASLR).
inline constexpr VirtAddr kDirectMapBase{0xffff'8880'0000'0000};
inline constexpr VirtAddr kVmallocBase{0xffff'c900'0000'0000};
inline constexpr VirtAddr kPkmapBase{0xffff'ff80'0000'0000};  // kmap slots of a machine with high memory: a hole of mm.rst's map
inline constexpr VirtAddr kCpuEntryArea{0xffff'fe00'0000'0000};
inline constexpr VirtAddr kUserEnd{0x0000'7fff'ffff'f000};  // TASK_SIZE_MAX: first address that user space cannot map

constexpr VirtAddr direct_map(PhysAddr a) { return kDirectMapBase + Bytes{a.value()}; }           // phys_to_virt
constexpr PhysAddr direct_map_physical(VirtAddr a) { return PhysAddr{(a - kDirectMapBase).value()}; }  // virt_to_phys

// What boot took before the allocator started, as frame numbers [first, end). Everything below 1 MiB is reserved too.
struct BootLayout {
  struct Range {
    Pfn first, end;
  };
  Range kernel_image;  // text, data, bss
  Range boot_data;     // hash tables and the like, and PhysicalMemoryConfig::extra_reserved
  Range descriptors;   // mem_map: 64 bytes a frame. The host keeps them elsewhere; the guest pays for them
};

class SlabAllocator;

// Destruction: every SlabObject and every frame user must be gone before PhysicalMemory is. A SlabObject that outlives it would reach into a
// destroyed cache; verify() with nothing else alive shows what is left over, and the destructor itself looks at nothing.
class PhysicalMemory {
 public:
  // The error names what is wrong with a configuration: no CPUs, or too little memory left over by what is reserved.
  static Result<void, UserError> validate(Bytes ram, const PhysicalMemoryConfig& config);
  // The configuration is valid (CHECK). With RAM that nobody wrote to yet: frames never handed out are taken to be zero.
  static std::unique_ptr<PhysicalMemory> create(hw::Ram& ram, const PhysicalMemoryConfig& config, Tracer& tracer);
  virtual ~PhysicalMemory() = default;

  virtual hw::Ram& ram() = 0;
  virtual FrameTable& frames() = 0;
  virtual PageAllocator& allocator() = 0;
  virtual KernelCaches& caches() = 0;
  virtual VmStat& stat() = 0;
  virtual Tracer& tracer() = 0;
  // The shared zero page, mapped read-only where private memory is read before it is written.
  virtual Pfn zero_frame() const = 0;
  // How many frames are in each state; the sum is RAM.
  virtual std::array<uint64_t, static_cast<size_t>(FrameState::Count)> frames_by_state() const = 0;
  // MemAvailable (mm/page_alloc.c: si_mem_available), in frames.
  virtual Pages available() const = 0;
  // totalreserve_pages (mm/page_alloc.c: calculate_totalreserve_pages).
  virtual Pages total_reserve() const = 0;

  // The first frame that the direct map does not reach (max_low_pfn): the end of RAM, unless there is high memory.
  virtual Pfn high_start() const = 0;
  bool in_high_memory(Pfn f) const { return f >= high_start(); }
  virtual unsigned cpus() const = 0;
  virtual unsigned current_cpu() const = 0;

  // DMA, DMA32, Normal, in this order; the upper ones may be empty.
  virtual std::span<Zone> zones() = 0;
  virtual Watermarks& watermarks() = 0;
  virtual SlabAllocator& slabs() = 0;
  virtual const BootLayout& boot_layout() const = 0;
  // The true state of any frame, free blocks' inner frames included (see Frame).
  virtual FrameState state_of(Pfn f) const = 0;
  // Whose per-CPU lists and slabs are used from now on. The scheduler sets it.
  virtual void set_current_cpu(unsigned cpu) = 0;
  // Empties all per-CPU page lists (drain_all_pages); memory on them is free but in nobody's count of free frames.
  virtual void drain_per_cpu_lists() = 0;
  // Full: freed frames are filled with kFramePoison, and handing one out checks that nobody wrote to it.
  virtual void set_verify_level(Verify level) = 0;

  // kswapd has given up (kswapd_failures >= 16): /proc/zoneinfo says so.
  virtual void set_node_unreclaimable(bool on) = 0;

  // Text of the /proc files that physical memory alone describes, in Linux 6.1's format.
  virtual std::string buddyinfo() const = 0;
  virtual std::string zoneinfo() const = 0;
  virtual std::string pagetypeinfo() const = 0;
  virtual std::string slabinfo() const = 0;

  // Full: recounts every list, state and counter from scratch; CHECKs.
  virtual void verify(Verify level) const = 0;
};

}  // namespace vitro::mm
