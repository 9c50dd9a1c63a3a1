// Slab caches: layout, allocation and freeing, and the lists of slabs (mm/slub.c).
#include "vitro/mm/slab.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "vitro/base/check.h"
#include "vitro/mm/physical_memory.h"
#include "vitro/mm/slab_allocator.h"

namespace vitro::mm {
namespace {

constexpr unsigned kMaxSlabOrder = 3;  // slub_max_order: PAGE_ALLOC_COSTLY_ORDER
constexpr uint64_t kCacheLine = 64;
constexpr VirtAddr kNoObject{0};
// What of the caller's flags reaches the page allocator (GFP_RECLAIM_MASK | GFP_CONSTRAINT_MASK).
constexpr Gfp kPassedOn = Gfp::Reclaim | Gfp::High | Gfp::Io | Gfp::Fs | Gfp::NoWarn | Gfp::RetryMayFail | Gfp::NoFail | Gfp::NoRetry |
                          Gfp::MemAlloc | Gfp::NoMemAlloc | Gfp::Atomic_ | Gfp::HardWall | Gfp::ThisNode;

uint64_t align_up(uint64_t n, uint64_t a) { return (n + a - 1) & ~(a - 1); }
unsigned fls(uint64_t n) { return static_cast<unsigned>(std::bit_width(n)); }
unsigned order_for(uint64_t bytes) { return bytes <= kPageSize ? 0 : fls((bytes - 1) >> kPageShift); }

// calc_slab_order: the smallest order with at least `objects` and at most 1/fraction of it unused; above `most` when there is none.
unsigned fitting_order(uint64_t size, unsigned objects, unsigned most, unsigned fraction) {
  unsigned order = order_for(objects * size);
  for (; order <= most; ++order) {
    const uint64_t slab = kPageSize << order;
    if (slab % size <= slab / fraction) break;
  }
  return order;
}

}  // namespace

std::string_view slab_error_text(SlabError e) {
  switch (e) {
    case SlabError::NotAnObject: return "not the address of a slab object";
    case SlabError::ForeignCache: return "belongs to another cache";
    case SlabError::DoubleFree: return "is free already";
    case SlabError::Overwritten: return "the bytes around it were overwritten";
  }
  return "";
}

std::string_view slab_damage_text(SlabDamage::Kind k) {
  switch (k) {
    case SlabDamage::Kind::LeftRedzone: return "Left Redzone overwritten";
    case SlabDamage::Kind::RightRedzone: return "Right Redzone overwritten";
    case SlabDamage::Kind::Poison: return "Poison overwritten";
    case SlabDamage::Kind::EndPoison: return "End Poison overwritten";
    case SlabDamage::Kind::FreePointer: return "Freepointer corrupt";
  }
  return "";
}

Order slab_order(Bytes object, unsigned cpus) {
  const uint64_t size = object.value();
  uint64_t objects = 4 * (fls(cpus) + 1);
  objects = std::min<uint64_t>(objects, (kPageSize << kMaxSlabOrder) / size);
  for (; objects > 1; --objects)
    for (unsigned fraction = 16; fraction >= 4; fraction /= 2) {
      const unsigned order = fitting_order(size, static_cast<unsigned>(objects), kMaxSlabOrder, fraction);
      if (order <= kMaxSlabOrder) return Order{static_cast<uint8_t>(order)};
    }
  return Order{static_cast<uint8_t>(fitting_order(size, 1, kMaxOrder.value(), 1))};
}

SlabCache::SlabCache(SlabAllocator& owner, SlabCacheSpec spec)
    : owner_(owner), name_(std::move(spec.name)), object_size_(spec.object_size), flags_(spec.flags), constructor_(std::move(spec.constructor)),
      cpus_(owner.cpus_) {
  layout(spec.align);
}

// calculate_sizes, calculate_alignment, set_cpu_partial.
void SlabCache::layout(Bytes wanted_align) {
  const uint64_t object = object_size_.value();
  uint64_t align = wanted_align.value();
  if (has(flags_, SlabFlag::HwCacheAlign)) {
    uint64_t line = kCacheLine;
    while (object <= line / 2) line /= 2;
    align = std::max(align, line);
  }
  align = align_up(std::max<uint64_t>(align, 8), 8);
  const bool red_zone = has(flags_, SlabFlag::RedZone), poison = has(flags_, SlabFlag::Poison);
  uint64_t size = align_up(object, 8);
  if (red_zone && size == object) size += 8;
  inuse_ = Bytes{size};
  if (poison || has(flags_, SlabFlag::TypesafeByRcu) || constructor_ || (red_zone && object < 8)) {
    free_offset_ = Bytes{size};  // behind the object: its bytes must survive
    size += 8;
  } else {
    free_offset_ = Bytes{(object / 2) & ~uint64_t{7}};  // in the middle, away from its neighbours
  }
  if (red_zone) {
    size += 8;
    left_pad_ = Bytes{align_up(8, align)};
    size += left_pad_.value();
  }
  size = align_up(size, align);
  size_ = Bytes{size};
  order_ = slab_order(size_, static_cast<unsigned>(cpus_.size()));
  min_order_ = Order{static_cast<uint8_t>(order_for(size))};
  objects_ = static_cast<unsigned>(order_.pages().bytes().value() / size);
  min_objects_ = static_cast<unsigned>(min_order_.pages().bytes().value() / size);
  min_partial_ = std::clamp<unsigned>((fls(size) - 1) / 2, 5, 10);
  const unsigned keep = is_debug() ? 0 : size >= kPageSize ? 6 : size >= 1024 ? 24 : size >= 256 ? 52 : 120;
  cpu_partial_slabs_ = objects_ ? (keep * 2 + objects_ - 1) / objects_ : 0;
  if (order_.value() > 0) allocation_flags_ = allocation_flags_ | Gfp::Comp;
  if (has(flags_, SlabFlag::CacheDma)) allocation_flags_ = allocation_flags_ | Gfp::Dma;
  if (has(flags_, SlabFlag::ReclaimAccount)) allocation_flags_ = allocation_flags_ | Gfp::Reclaimable;
}

Frame& SlabCache::frame(uint32_t slab) const { return owner_.frames_[Pfn{slab}]; }
VirtAddr SlabCache::slab_address(uint32_t slab) const { return direct_map(Pfn{slab}.address()); }
uint32_t SlabCache::slab_of(VirtAddr object) const {
  return static_cast<uint32_t>(owner_.frames_.head_of(direct_map_physical(object).pfn()).value());
}
std::span<std::byte> SlabCache::bytes(VirtAddr at, Bytes n) const { return owner_.ram_.write(direct_map_physical(at), n); }
uint32_t SlabCache::bytes_of(uint32_t slab) const { return static_cast<uint32_t>(kPageSize << frame(slab).order); }

VirtAddr SlabCache::peek_next(VirtAddr object) const {
  return VirtAddr{owner_.ram_.at<uint64_t>(direct_map_physical(object + free_offset_))};
}

VirtAddr SlabCache::next_free(VirtAddr object, uint32_t slab) {
  const VirtAddr next = peek_next(object);
  if (next == kNoObject) return next;
  // The difference wraps for addresses below the slab, so one comparison does for both ends.
  if ((next - slab_address(slab)).value() > bytes_of(slab) - (size_ - left_pad_).value() || (next.value() & 7) != 0) [[unlikely]] {
    give_up_list(object);
    return kNoObject;
  }
  return next;
}

void SlabCache::set_next_free(VirtAddr object, VirtAddr next) {
  owner_.ram_.at<uint64_t>(direct_map_physical(object + free_offset_)) = next.value();
}

bool SlabCache::is_object(VirtAddr address, uint32_t slab) const {
  const uint64_t offset = (address - slab_address(slab)).value() - left_pad_.value();
  return offset < bytes_of(slab) && offset % size_.value() == 0 && offset / size_.value() < frame(slab).slab_objects;
}

VirtAddr SlabCache::allocate_or_null(Gfp flags) {
  const VirtAddr object = take(flags);
  if (object != kNoObject) finish_allocation(object, flags);
  TRACE(owner_.tracer_, Event::KmemCacheAlloc, object.value(), name_, object_size_.value(), size_.value(), gfp_text(flags));
  return object;
}

void SlabCache::finish_allocation(VirtAddr object, Gfp flags) {
  ++allocated_;
  if (has_any(flags, Gfp::Zero)) std::ranges::fill(bytes(object, object_size_), std::byte{0});
}

VirtAddr SlabCache::take(Gfp flags) {
  CpuSlab& cpu = cpus_[owner_.cpu_];
  const VirtAddr object = cpu.freelist;
  if (object == kNoObject) [[unlikely]] return is_debug() ? debug_take(flags) : take_slow(flags);
  cpu.freelist = next_free(object, cpu.slab);
  return object;
}

// Makes the CPU slab's remaining free objects (those freed by others while it was the CPU's) the CPU's own. False: it has none left.
bool SlabCache::load(CpuSlab& cpu) {
  if (cpu.freelist != kNoObject) return true;
  Frame& f = frame(cpu.slab);
  cpu.freelist = VirtAddr{f.slab_freelist};
  f.slab_freelist = 0;
  f.slab_inuse = f.slab_objects;
  f.slab_frozen = cpu.freelist != kNoObject;
  return cpu.freelist != kNoObject;
}

// ___slab_alloc.
VirtAddr SlabCache::take_slow(Gfp flags) {
  CpuSlab* cpu = &cpus_[owner_.cpu_];
  for (;;) {
    if (cpu->slab != Frame::kNone) {
      if (load(*cpu)) break;
      cpu->slab = Frame::kNone;  // full: on no list from here on
    }
    if (cpu->partial != Frame::kNone) {
      cpu->slab = cpu->partial;
      cpu->partial = frame(cpu->slab).next;
      continue;
    }
    if (acquire_from_node(*cpu)) break;
    const uint32_t slab = new_slab(flags);
    if (slab == Frame::kNone) return kNoObject;
    // Making a slab may have waited: another task, or another CPU, has this cache's slab by now.
    cpu = &cpus_[owner_.cpu_];
    if (cpu->slab != Frame::kNone) flush(*cpu);
    cpu->slab = slab;
    load(*cpu);
    break;
  }
  const VirtAddr object = cpu->freelist;
  cpu->freelist = next_free(object, cpu->slab);
  return object;
}

// get_partial_node: one slab to allocate from, and some more for the CPU's partial list.
bool SlabCache::acquire_from_node(CpuSlab& cpu) {
  unsigned extra = 0;
  bool found = false;
  while (partial_head_ != Frame::kNone) {
    const uint32_t slab = partial_head_;
    remove_partial(slab);
    frame(slab).slab_frozen = 1;
    if (!found) {
      cpu.slab = slab;
      found = load(cpu);
    } else {
      put_cpu_partial(cpu, slab, false);
      ++extra;
    }
    if (extra > cpu_partial_slabs_ / 2) break;
  }
  return found;
}

// allocate_slab: of the best order, or of the smallest possible one when memory is short or fragmented.
uint32_t SlabCache::new_slab(Gfp flags) {
  flags = (flags & kPassedOn) | allocation_flags_;
  Gfp first_try = without(flags | Gfp::NoWarn | Gfp::NoRetry, Gfp::NoFail);
  if (has(first_try, Gfp::DirectReclaim) && order_ > min_order_) first_try = without(first_try | Gfp::NoMemAlloc, Gfp::Reclaim);
  Order order = order_;
  unsigned objects = objects_;
  std::optional<Pfn> block = owner_.pages_.allocate(first_try, order);
  if (!block) {
    order = min_order_, objects = min_objects_;
    block = owner_.pages_.allocate(flags, order);
    if (!block) return Frame::kNone;
  }
  const auto slab = static_cast<uint32_t>(block->value());
  owner_.pages_.set_state(*block, order, FrameState::Slab);
  for (uint64_t i = 0; i < order.pages().value(); ++i) frame(slab + static_cast<uint32_t>(i)).slab = this;
  Frame& head = frame(slab);
  head.slab_objects = static_cast<uint16_t>(objects);
  const VirtAddr start = slab_address(slab) + left_pad_;
  for (unsigned i = 0; i < objects; ++i) {
    const VirtAddr object = start + Bytes{i * size_.value()};
    if (is_debug()) debug_fill(object, false);
    if (constructor_) constructor_(bytes(object, object_size_));
    set_next_free(object, i + 1 < objects ? object + size_ : kNoObject);
  }
  head.slab_freelist = start.value();
  ++slabs_;
  total_objects_ += objects;
  owner_.stat_.add(has(flags_, SlabFlag::ReclaimAccount) ? VmItem::nr_slab_reclaimable : VmItem::nr_slab_unreclaimable,
                   static_cast<int64_t>(order.pages().value()));
  return slab;
}

void SlabCache::discard(uint32_t slab) {
  const Frame& f = frame(slab);
  const Order order{f.order};
  --slabs_;
  total_objects_ -= f.slab_objects;
  owner_.stat_.add(has(flags_, SlabFlag::ReclaimAccount) ? VmItem::nr_slab_reclaimable : VmItem::nr_slab_unreclaimable,
                   -static_cast<int64_t>(order.pages().value()));
  owner_.pages_.free(Pfn{slab}, order);
}

void SlabCache::add_partial(uint32_t slab, At at) {
  Frame& f = frame(slab);
  if (at == At::Tail) {
    f.previous = partial_tail_, f.next = Frame::kNone;
    (partial_tail_ == Frame::kNone ? partial_head_ : frame(partial_tail_).next) = slab;
    partial_tail_ = slab;
  } else {
    f.previous = Frame::kNone, f.next = partial_head_;
    (partial_head_ == Frame::kNone ? partial_tail_ : frame(partial_head_).previous) = slab;
    partial_head_ = slab;
  }
  ++partial_count_;
}

void SlabCache::remove_partial(uint32_t slab) {
  Frame& f = frame(slab);
  (f.previous == Frame::kNone ? partial_head_ : frame(f.previous).next) = f.next;
  (f.next == Frame::kNone ? partial_tail_ : frame(f.next).previous) = f.previous;
  f.next = f.previous = Frame::kNone;
  --partial_count_;
}

// deactivate_slab: a CPU's slab becomes the node's; what is left on the CPU's list goes back to the slab's.
void SlabCache::deactivate(uint32_t slab, VirtAddr freelist) {
  Frame& f = frame(slab);
  const At at = f.slab_freelist ? At::Tail : At::Head;
  VirtAddr last = kNoObject;
  unsigned returned = 0;
  for (VirtAddr o = freelist; o != kNoObject && returned < f.slab_inuse; o = next_free(o, slab)) last = o, ++returned;
  if (last != kNoObject) {
    set_next_free(last, VirtAddr{f.slab_freelist});
    f.slab_freelist = freelist.value();
    f.slab_inuse = static_cast<uint16_t>(f.slab_inuse - returned);
  }
  f.slab_frozen = 0;
  if (f.slab_inuse == 0 && partial_count_ >= min_partial_) discard(slab);
  else if (f.slab_freelist) add_partial(slab, at);
}

// __unfreeze_partials.
void SlabCache::unfreeze(uint32_t slab) {
  while (slab != Frame::kNone) {
    Frame& f = frame(slab);
    const uint32_t next = f.next;
    f.slab_frozen = 0;
    if (f.slab_inuse == 0 && partial_count_ >= min_partial_) discard(slab);
    else add_partial(slab, At::Tail);
    slab = next;
  }
}

void SlabCache::put_cpu_partial(CpuSlab& cpu, uint32_t slab, bool drain) {
  uint32_t old = cpu.partial, too_many = Frame::kNone;
  if (old != Frame::kNone && drain && frame(old).slab_slabs >= cpu_partial_slabs_) too_many = old, old = Frame::kNone;
  Frame& f = frame(slab);
  f.slab_slabs = static_cast<uint16_t>((old == Frame::kNone ? 0 : frame(old).slab_slabs) + 1);
  f.next = old;
  f.previous = Frame::kNone;
  cpu.partial = slab;
  unfreeze(too_many);
}

void SlabCache::free(VirtAddr object) {
  const PhysAddr at = direct_map_physical(object);
  CHECK(owner_.ram_.contains(at), "{}: freeing {:#x}, which is not in the direct map", name_, object.value());
  const uint32_t slab = slab_of(object);
  const Frame& f = frame(slab);
  CHECK(f.state == FrameState::Slab && f.slab == this && is_object(object, slab), "{}: freeing {:#x}, which is not one of its objects", name_,
        object.value());
  if (owner_.checking_) [[unlikely]] {
    CHECK(!is_free(object, slab), "{}: {:#x} freed twice", name_, object.value());
    CHECK(!is_debug() || debug_intact(object, true), "{}: the bytes around {:#x} were overwritten", name_, object.value());
  }
  give(object, slab);
}

void SlabCache::release(VirtAddr object) {
  const Frame& f = owner_.frames_[direct_map_physical(object).pfn()];
  if (f.state == FrameState::Slab) free(object);
  else owner_.kfree(object);
}

void SlabCache::give(VirtAddr object, uint32_t slab) {
  if (kmalloc_) TRACE(owner_.tracer_, Event::Kfree, object.value());
  else TRACE(owner_.tracer_, Event::KmemCacheFree, object.value(), name_);
  --allocated_;
  CpuSlab& cpu = cpus_[owner_.cpu_];
  if (slab == cpu.slab) [[likely]] {
    set_next_free(object, cpu.freelist);
    cpu.freelist = object;
  } else if (is_debug()) {
    debug_give(object, slab);
  } else {
    give_slow(object, slab);
  }
}

// __slab_free: an object of a slab that is not this CPU's.
void SlabCache::give_slow(VirtAddr object, uint32_t slab) {
  Frame& f = frame(slab);
  const bool was_full = f.slab_freelist == 0;
  set_next_free(object, VirtAddr{f.slab_freelist});
  f.slab_freelist = object.value();
  --f.slab_inuse;
  if (f.slab_frozen) return;  // a CPU has it, and will see
  if (was_full) {
    f.slab_frozen = 1;
    put_cpu_partial(cpus_[owner_.cpu_], slab, true);
  } else if (f.slab_inuse == 0 && partial_count_ >= min_partial_) {
    remove_partial(slab);
    discard(slab);
  }
}

void SlabCache::flush(CpuSlab& cpu) {
  const uint32_t slab = cpu.slab;
  const VirtAddr freelist = cpu.freelist;
  cpu.slab = Frame::kNone;
  cpu.freelist = kNoObject;
  if (slab != Frame::kNone) deactivate(slab, freelist);
}

void SlabCache::flush_all() {
  for (CpuSlab& cpu : cpus_) {
    flush(cpu);
    const uint32_t partial = cpu.partial;
    cpu.partial = Frame::kNone;
    unfreeze(partial);
  }
}

Pages SlabCache::shrink() {
  flush_all();
  uint64_t freed = 0;
  for (uint32_t slab = partial_head_; slab != Frame::kNone;) {
    const Frame& f = frame(slab);
    const uint32_t next = f.next;
    if (f.slab_inuse == 0) {
      freed += Order{f.order}.pages().value();
      remove_partial(slab);
      discard(slab);
    }
    slab = next;
  }
  return Pages{freed};
}

}  // namespace vitro::mm
