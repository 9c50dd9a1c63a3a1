// The slab caches of the kernel's own objects, made at boot.
#pragma once

#include <array>

#include "vitro/mm/kernel_object.h"
#include "vitro/mm/slab_allocator.h"

namespace vitro::mm {

class BootCaches final : public KernelCaches {
 public:
  explicit BootCaches(SlabAllocator& slabs);
  Result<SlabObject> allocate(KernelCache which, Gfp flags) override;
  Result<SlabObject> allocate_bytes(Bytes size, Gfp flags) override;

 private:
  SlabAllocator& slabs_;
  std::array<SlabCache*, static_cast<size_t>(KernelCache::Count)> caches_{};
};

}  // namespace vitro::mm
