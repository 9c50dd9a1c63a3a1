// The registry of slab caches and kmalloc (mm/slab_common.c).
#include "vitro/mm/slab_allocator.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <map>

#include "vitro/base/check.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::mm {
namespace {

constexpr uint64_t kKmallocSizes[] = {8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192};
constexpr std::string_view kKmallocNames[] = {"8", "16", "32", "64", "96", "128", "192", "256", "512", "1k", "2k", "4k", "8k"};
constexpr Bytes kKmallocMax = Bytes{8192};  // KMALLOC_MAX_CACHE_SIZE

Order order_for(Bytes size) {
  const uint64_t pages = size.pages_up().value();
  return Order{static_cast<uint8_t>(pages <= 1 ? 0 : std::bit_width(pages - 1))};
}

}  // namespace

SlabAllocator::SlabAllocator(hw::Ram& ram, FrameTable& frames, PageAllocator& pages, VmStat& stat, Tracer& tracer, unsigned cpus)
    : ram_(ram), frames_(frames), pages_(pages), stat_(stat), tracer_(tracer), cpus_(cpus) {
  // The caches of the caches' own descriptors come first, and describe themselves (kmem_cache_init).
  boot_cache_ = add({.name = "kmem_cache", .object_size = Bytes{256}, .flags = SlabFlag::HwCacheAlign});
  boot_node_ = add({.name = "kmem_cache_node", .object_size = Bytes{64}, .flags = SlabFlag::HwCacheAlign});
  for (SlabCache* cache : {boot_cache_, boot_node_}) {
    cache->descriptor_ = boot_cache_->allocate(Gfp::NoWait | Gfp::Zero).value_or(VirtAddr{0});
    cache->node_descriptor_ = boot_node_->allocate(Gfp::NoWait | Gfp::Zero).value_or(VirtAddr{0});
    CHECK(cache->descriptor_.value() && cache->node_descriptor_.value(), "no memory for the first slab caches");
  }
  constexpr std::string_view kPrefixes[] = {"kmalloc-", "kmalloc-cg-", "kmalloc-rcl-", "dma-kmalloc-"};
  constexpr SlabFlag kFlags[] = {SlabFlag::None, SlabFlag::Account, SlabFlag::ReclaimAccount, SlabFlag::CacheDma};
  for (size_t type = 0; type < static_cast<size_t>(KmallocType::Count); ++type)
    for (size_t i = 0; i < kSizes; ++i) {
      const Bytes size{kKmallocSizes[i]};
      kmalloc_[type][i] = add({.name = fmt::format("{}{}", kPrefixes[type], kKmallocNames[i]),
                               .object_size = size,
                               .align = std::has_single_bit(size.value()) ? size : Bytes{8},
                               .flags = kFlags[type]},
                              true);
      CHECK(kmalloc_[type][i], "no memory for the kmalloc caches");
    }
}

SlabAllocator::~SlabAllocator() {
  // The memory belongs to the machine that is going away: nothing is given back.
  while (SlabCache* cache = caches_.pop_front()) delete cache;
}

SlabCache* SlabAllocator::add(SlabCacheSpec spec, bool kmalloc) {
  auto cache = std::make_unique<SlabCache>(*this, std::move(spec));
  cache->kmalloc_ = kmalloc;
  if (boot_node_) {
    const auto descriptor = boot_cache_->allocate(Gfp::Kernel | Gfp::Zero);
    if (!descriptor) return nullptr;
    const auto node = boot_node_->allocate(Gfp::Kernel | Gfp::Zero);
    if (!node) {
      boot_cache_->free(*descriptor);
      return nullptr;
    }
    cache->descriptor_ = *descriptor;
    cache->node_descriptor_ = *node;
  }
  caches_.push_front(*cache);
  return cache.release();
}

Result<SlabCache*> SlabAllocator::create(SlabCacheSpec spec) {
  if (spec.object_size.value() == 0 || spec.object_size > kMaxOrder.pages().bytes() / 2) return fail(Errno::Invalid);
  if (spec.align.value() && (!std::has_single_bit(spec.align.value()) || spec.align.value() > kPageSize)) return fail(Errno::Invalid);
  const bool panic = has(spec.flags, SlabFlag::Panic);
  SlabCache* cache = add(std::move(spec));
  CHECK(cache || !panic, "no memory for a slab cache");
  if (!cache) return fail(Errno::NoMemory);
  return cache;
}

Status SlabAllocator::destroy(SlabCache& cache) {
  if (cache.allocated_ != 0) return fail(Errno::Busy);
  cache.shrink();
  // Objects lost to a corrupted free list keep their slab.
  if (cache.slabs_ != 0) return fail(Errno::Busy);
  caches_.remove(cache);
  boot_node_->free(cache.node_descriptor_);
  boot_cache_->free(cache.descriptor_);
  delete &cache;
  return {};
}

SlabCache* SlabAllocator::find(std::string_view name) {
  for (SlabCache& cache : caches_)
    if (cache.name() == name) return &cache;
  return nullptr;
}

SlabCache* SlabAllocator::kmalloc_cache(Bytes size, Gfp flags) {
  if (size.value() == 0 || size > kKmallocMax) return nullptr;
  KmallocType type = KmallocType::Normal;
  if (has_any(flags, Gfp::Dma)) type = KmallocType::Dma;
  else if (has_any(flags, Gfp::Reclaimable)) type = KmallocType::Reclaimable;
  else if (has_any(flags, Gfp::Account)) type = KmallocType::Cgroup;
  const auto* at = std::lower_bound(std::begin(kKmallocSizes), std::end(kKmallocSizes), size.value());
  return kmalloc_[static_cast<size_t>(type)][static_cast<size_t>(at - std::begin(kKmallocSizes))];
}

VirtAddr SlabAllocator::kmalloc_or_null(Bytes size, Gfp flags) {
  SlabCache* cache = kmalloc_cache(size, flags);
  if (!cache) return kmalloc_large(size, flags);
  const VirtAddr object = cache->take(flags);
  if (object.value()) cache->finish_allocation(object, flags);
  TRACE(tracer_, Event::Kmalloc, object.value(), cache->name(), size.value(), cache->size().value(), gfp_text(flags));
  return object;
}

VirtAddr SlabAllocator::kmalloc_large(Bytes size, Gfp flags) {
  if (size.value() == 0 || size > kMaxOrder.pages().bytes()) return VirtAddr{0};
  const Order order = order_for(size);
  const std::optional<Pfn> block = pages_.allocate(flags | Gfp::Comp, order);
  const VirtAddr object = block ? direct_map(block->address()) : VirtAddr{0};
  TRACE(tracer_, Event::Kmalloc, object.value(), "kmalloc-large", size.value(), order.pages().bytes().value(), gfp_text(flags));
  if (!block) return object;
  pages_.set_state(*block, order, FrameState::Kernel);
  frames_[*block].owner = this;
  stat_.add(VmItem::nr_slab_unreclaimable, static_cast<int64_t>(order.pages().value()));
  large_frames_ += order.pages().value();
  return object;
}

Result<void, SlabError> SlabAllocator::try_kfree(VirtAddr object) {
  if (object < kDirectMapBase || !ram_.contains(direct_map_physical(object))) return fail(SlabError::NotAnObject);
  if (SlabCache* cache = cache_of(object)) {
    if (!cache->kmalloc_) return fail(SlabError::ForeignCache);
    return cache->try_free(object);
  }
  const Pfn first = direct_map_physical(object).pfn();
  Frame& f = frames_[first];
  if (f.state != FrameState::Kernel || f.owner != this || !object.page_aligned() || f.is_tail()) return fail(SlabError::NotAnObject);
  const Order order{f.order};
  TRACE(tracer_, Event::Kfree, object.value());
  stat_.add(VmItem::nr_slab_unreclaimable, -static_cast<int64_t>(order.pages().value()));
  large_frames_ -= order.pages().value();
  pages_.free(first, order);
  return {};
}

void SlabAllocator::kfree(VirtAddr object) {
  if (object >= kDirectMapBase && ram_.contains(direct_map_physical(object))) {
    if (SlabCache* cache = cache_of(object)) return cache->free(object);
  }
  const auto freed = try_kfree(object);
  CHECK(freed, "kfree of {:#x}: {}", object.value(), slab_error_text(freed.error()));
}

Bytes SlabAllocator::usable_size(VirtAddr object) const {
  if (const SlabCache* cache = cache_of(object)) return cache->object_size();
  return Order{frames_[direct_map_physical(object).pfn()].order}.pages().bytes();
}

SlabCache* SlabAllocator::cache_of(VirtAddr object) const {
  if (object < kDirectMapBase || !ram_.contains(direct_map_physical(object))) return nullptr;
  const Frame& f = frames_[direct_map_physical(object).pfn()];
  return f.state == FrameState::Slab ? f.slab : nullptr;
}

Pages SlabAllocator::shrink_all() {
  Pages freed{0};
  for (SlabCache& cache : caches_) freed += cache.shrink();
  return freed;
}

std::string SlabAllocator::slabinfo() const {
  std::string text =
      "slabinfo - version: 2.1\n"
      "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : "
      "slabdata <active_slabs> <num_slabs> <sharedavail>\n";
  for (const SlabCache& cache : caches_) {
    const SlabCache::Counts c = cache.counts();
    fmt::format_to(std::back_inserter(text), "{:<17} {:6} {:6} {:6} {:4} {:4} : tunables {:4} {:4} {:4} : slabdata {:6} {:6} {:6}\n", cache.name(),
                   c.active_objects, c.objects, cache.size().value(), cache.objects_per_slab(), cache.pages_per_slab().value(), 0, 0, 0, c.slabs,
                   c.slabs, 0);
  }
  return text;
}

void SlabAllocator::verify() const {
  struct Found {
    uint64_t slabs = 0, objects = 0, out = 0, frames = 0;
  };
  std::map<const SlabCache*, Found> found;
  uint64_t large = 0;
  for (Pfn f{0}; f.value() < frames_.size().value(); ++f) {
    const Frame& frame = frames_[f];
    if (frame.state == FrameState::Kernel && frame.owner == this) large += Order{frame.order}.pages().value();
    if (frame.state != FrameState::Slab) continue;
    CHECK(frame.slab, "slab pfn {} has no cache", f.value());
    Found& of = found[frame.slab];
    ++of.frames;
    if (frame.is_tail()) {
      CHECK(frames_[Pfn{frame.compound_head}].slab == frame.slab, "slab pfn {}: not the cache of its first frame", f.value());
      continue;
    }
    ++of.slabs;
    of.objects += frame.slab_objects;
    of.out += frame.slab->verify_slab(f);
  }
  uint64_t reclaimable = 0, unreclaimable = large;
  size_t used = 0;
  for (const SlabCache& cache : caches_) {
    cache.verify();
    const auto it = found.find(&cache);
    const Found of = it == found.end() ? Found{} : it->second;
    used += it != found.end();
    CHECK(of.slabs == cache.slabs_ && of.objects == cache.total_objects_, "{}: {} slabs and {} objects counted, {} and {} found", cache.name(),
          cache.slabs_, cache.total_objects_, of.slabs, of.objects);
    CHECK(cache.corrupted_ ? of.out >= cache.allocated_ : of.out == cache.allocated_, "{}: {} objects out, {} found", cache.name(),
          cache.allocated_, of.out);
    (has(cache.flags(), SlabFlag::ReclaimAccount) ? reclaimable : unreclaimable) += of.frames;
  }
  CHECK(used == found.size(), "slab frames of {} caches that do not exist", found.size() - used);
  CHECK(large == large_frames_, "large kmalloc: {} frames counted, {} found", large_frames_, large);
  CHECK(stat_.get(VmItem::nr_slab_reclaimable) == static_cast<int64_t>(reclaimable), "nr_slab_reclaimable {} but {} frames",
        stat_.get(VmItem::nr_slab_reclaimable), reclaimable);
  CHECK(stat_.get(VmItem::nr_slab_unreclaimable) == static_cast<int64_t>(unreclaimable), "nr_slab_unreclaimable {} but {} frames",
        stat_.get(VmItem::nr_slab_unreclaimable), unreclaimable);
}

}  // namespace vitro::mm
