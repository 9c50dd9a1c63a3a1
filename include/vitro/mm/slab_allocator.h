// All slab caches of the machine, and kmalloc on top of them.
//
//   auto a = slabs.kmalloc(Bytes{100}, Gfp::Kernel);   // an object of kmalloc-128
//   slabs.kfree(*a);                                   // finds the cache through the frame
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "vitro/base/intrusive_list.h"
#include "vitro/base/result.h"
#include "vitro/base/trace.h"
#include "vitro/hw/ram.h"
#include "vitro/mm/page_allocator.h"
#include "vitro/mm/slab.h"
#include "vitro/mm/vm_stat.h"

namespace vitro::mm {

class SlabAllocator {
 public:
  SlabAllocator(hw::Ram& ram, FrameTable& frames, PageAllocator& pages, VmStat& stat, Tracer& tracer, unsigned cpus);
  ~SlabAllocator();
  SlabAllocator(const SlabAllocator&) = delete;
  SlabAllocator& operator=(const SlabAllocator&) = delete;

  // kmem_cache_create. Errors: Invalid (no size, larger than a slab can hold, alignment not a power of two), NoMemory.
  Result<SlabCache*> create(SlabCacheSpec spec);
  // kmem_cache_destroy. Errors: Busy while objects are out.
  Status destroy(SlabCache& cache);
  // By name; null when there is none.
  SlabCache* find(std::string_view name);

  // Up to 8 KiB from the kmalloc caches, more straight from the page allocator (at most 4 MiB). Nullopt when there is no memory.
  std::optional<VirtAddr> kmalloc(Bytes size, Gfp flags) {
    const VirtAddr object = kmalloc_or_null(size, flags);  // as PageAllocator::allocate()
    return object.value() == 0 ? std::optional<VirtAddr>{} : std::optional<VirtAddr>{std::in_place, object.value()};
  }
  std::optional<VirtAddr> kzalloc(Bytes size, Gfp flags) { return kmalloc(size, flags | Gfp::Zero); }
  void kfree(VirtAddr object);
  // For addresses that somebody typed.
  Result<void, SlabError> try_kfree(VirtAddr object);
  // Usable bytes behind an address from kmalloc (ksize).
  Bytes usable_size(VirtAddr object) const;
  // The cache that serves a size; null for sizes beyond 8 KiB and for 0.
  SlabCache* kmalloc_cache(Bytes size, Gfp flags);
  // The cache that an address belongs to; null where it is not a slab object's.
  SlabCache* cache_of(VirtAddr object) const;

  void set_cpu(unsigned cpu) { cpu_ = cpu; }
  // Told of damage that an allocation comes upon; the object or list concerned is then taken out of use.
  void set_damage_observer(std::function<void(const SlabDamage&)> observer) { on_damage_ = std::move(observer); }
  // Under Verify::Full every free checks for double frees.
  void set_checking(bool on) { checking_ = on; }
  // Gives all empty slabs back; returns the frames freed.
  Pages shrink_all();

  // /proc/slabinfo.
  std::string slabinfo() const;
  template <class F>
  void for_each(F&& f) const {
    for (SlabCache& c : caches_) f(static_cast<const SlabCache&>(c));
  }
  // Every cache, every slab found among the frames, nr_slab_*. CHECKs.
  void verify() const;

 private:
  friend class SlabCache;
  enum class KmallocType : uint8_t { Normal, Cgroup, Reclaimable, Dma, Count };  // in the order in which they are made
  static constexpr unsigned kSizes = 13;

  SlabCache* add(SlabCacheSpec spec, bool kmalloc = false);
  VirtAddr kmalloc_or_null(Bytes size, Gfp flags);
  VirtAddr kmalloc_large(Bytes size, Gfp flags);

  hw::Ram& ram_;
  FrameTable& frames_;
  PageAllocator& pages_;
  VmStat& stat_;
  Tracer& tracer_;
  unsigned cpus_, cpu_ = 0;
  uint64_t large_frames_ = 0;  // behind kmalloc of more than 8 KiB
  bool checking_ = false;
  std::function<void(const SlabDamage&)> on_damage_;
  IntrusiveList<SlabCache, &SlabCache::registry_link> caches_;  // newest first
  std::array<std::array<SlabCache*, kSizes>, static_cast<size_t>(KmallocType::Count)> kmalloc_{};
  SlabCache* boot_cache_ = nullptr;  // kmem_cache
  SlabCache* boot_node_ = nullptr;   // kmem_cache_node
};

}  // namespace vitro::mm
