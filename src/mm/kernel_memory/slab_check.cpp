// What SlabCache knows about its own mistakes and other people's: debug patterns, checks of addresses, counts and recounts.
#include <algorithm>
#include <vector>

#include "vitro/base/check.h"
#include "vitro/mm/physical_memory.h"
#include "vitro/mm/slab.h"
#include "vitro/mm/slab_allocator.h"

namespace vitro::mm {
namespace {

constexpr VirtAddr kNoObject{0};
// include/linux/poison.h.
constexpr std::byte kRedInactive{0xbb}, kRedActive{0xcc}, kPoisonFree{0x6b}, kPoisonEnd{0xa5};

}  // namespace

unsigned SlabCache::free_length(VirtAddr first, uint32_t slab) const {
  unsigned n = 0;
  const unsigned most = frame(slab).slab_objects;
  for (VirtAddr o = first; o != kNoObject && is_object(o, slab) && n <= most; o = peek_next(o)) ++n;
  return n;
}

bool SlabCache::is_free(VirtAddr object, uint32_t slab) const {
  auto on_list = [&](VirtAddr first) {
    unsigned left = frame(slab).slab_objects;
    for (VirtAddr o = first; o != kNoObject && is_object(o, slab) && left-- > 0; o = peek_next(o))
      if (o == object) return true;
    return false;
  };
  if (on_list(VirtAddr{frame(slab).slab_freelist})) return true;
  return std::any_of(cpus_.begin(), cpus_.end(), [&](const CpuSlab& c) { return c.slab == slab && on_list(c.freelist); });
}

Result<void, SlabError> SlabCache::check(VirtAddr object) const {
  if (object < kDirectMapBase || !owner_.ram_.contains(direct_map_physical(object))) return fail(SlabError::NotAnObject);
  if (owner_.frames_[direct_map_physical(object).pfn()].state != FrameState::Slab) return fail(SlabError::NotAnObject);
  const uint32_t slab = slab_of(object);
  if (frame(slab).slab != this) return fail(SlabError::ForeignCache);
  if (!is_object(object, slab)) return fail(SlabError::NotAnObject);
  if (is_free(object, slab)) return fail(SlabError::DoubleFree);
  if (is_debug() && !debug_intact(object, true)) return fail(SlabError::Overwritten);
  return {};
}

Result<void, SlabError> SlabCache::try_free(VirtAddr object) {
  TRY(check(object));
  give(object, slab_of(object));
  return {};
}

// alloc_single_from_partial, alloc_single_from_new_slab: debug caches have no CPU slabs, and look at each object before it goes out.
VirtAddr SlabCache::debug_take(Gfp flags) {
  for (;;) {
    if (partial_head_ == Frame::kNone) {
      const uint32_t slab = new_slab(flags);
      if (slab == Frame::kNone) return kNoObject;
      add_partial(slab, At::Head);
    }
    const uint32_t slab = partial_head_;
    Frame& f = frame(slab);
    const VirtAddr object{f.slab_freelist};
    const uint64_t corrupted = corrupted_;
    f.slab_freelist = next_free(object, slab).value();
    ++f.slab_inuse;
    if (!debug_intact(object, false) || corrupted != corrupted_) {
      // Somebody wrote to a free object. The whole slab is set aside, as if all of it were in use.
      if (corrupted == corrupted_) {
        ++corrupted_;
        if (const auto damage = find_damage(object, false); damage && owner_.on_damage_) owner_.on_damage_(*damage);
      }
      f.slab_freelist = 0;
      f.slab_inuse = f.slab_objects;
      remove_partial(slab);
      continue;
    }
    if (f.slab_freelist == 0) remove_partial(slab);
    debug_fill(object, true);
    return object;
  }
}

// free_to_partial_list.
void SlabCache::debug_give(VirtAddr object, uint32_t slab) {
  Frame& f = frame(slab);
  const bool was_full = f.slab_freelist == 0;
  debug_fill(object, false);
  set_next_free(object, VirtAddr{f.slab_freelist});
  f.slab_freelist = object.value();
  --f.slab_inuse;
  const bool gone = f.slab_inuse == 0 && partial_count_ >= min_partial_;
  if (was_full && !gone) add_partial(slab, At::Tail);
  else if (!was_full && gone) remove_partial(slab);
  if (gone) discard(slab);
}

// init_object: patterns of a free or a used object. A fresh object's content is the allocator's to change only where it poisons.
void SlabCache::debug_fill(VirtAddr object, bool active) {
  const std::byte red = active ? kRedActive : kRedInactive;
  if (has(flags_, SlabFlag::RedZone)) {
    std::ranges::fill(bytes(object - left_pad_, left_pad_), red);
    std::ranges::fill(bytes(object + object_size_, inuse_ - object_size_), red);
  }
  if (has(flags_, SlabFlag::Poison) && !constructor_ && !has(flags_, SlabFlag::TypesafeByRcu) && !active) {
    const auto all = bytes(object, object_size_);
    std::ranges::fill(all, kPoisonFree);
    all.back() = kPoisonEnd;
  }
}

std::optional<SlabDamage> SlabCache::find_damage(VirtAddr object, bool active) const {
  const auto look = [&](VirtAddr from, Bytes n, std::byte expected, SlabDamage::Kind kind) -> std::optional<SlabDamage> {
    const std::span<const std::byte> all = bytes(from, n);
    const auto differs = [expected](std::byte b) { return b != expected; };
    const auto first = std::find_if(all.begin(), all.end(), differs);
    if (first == all.end()) return std::nullopt;
    const auto last = std::find_if(all.rbegin(), all.rend(), differs).base();
    return SlabDamage{this, object, kind, from + Bytes{static_cast<uint64_t>(first - all.begin())}, Bytes{static_cast<uint64_t>(last - first)}, *first, expected};
  };
  std::optional<SlabDamage> found;
  if (has(flags_, SlabFlag::RedZone)) {
    const std::byte red = active ? kRedActive : kRedInactive;
    found = look(object - left_pad_, left_pad_, red, SlabDamage::Kind::LeftRedzone);
    if (!found) found = look(object + object_size_, inuse_ - object_size_, red, SlabDamage::Kind::RightRedzone);
  }
  if (!found && has(flags_, SlabFlag::Poison) && !constructor_ && !has(flags_, SlabFlag::TypesafeByRcu) && !active) {
    const Bytes body = object_size_ - Bytes{1};
    found = look(object, body, kPoisonFree, SlabDamage::Kind::Poison);
    if (!found) found = look(object + body, Bytes{1}, kPoisonEnd, SlabDamage::Kind::EndPoison);
  }
  return found;
}

void SlabCache::give_up_list(VirtAddr object) {
  ++corrupted_;
  if (!owner_.on_damage_) return;
  const VirtAddr link = object + free_offset_;
  owner_.on_damage_({this, object, SlabDamage::Kind::FreePointer, link, Bytes{8}, bytes(link, Bytes{1})[0], std::byte{0}});
}

SlabCache::Counts SlabCache::counts() const {
  Counts c;
  uint64_t free = 0;
  for (uint32_t slab = partial_head_; slab != Frame::kNone; slab = frame(slab).next) {
    free += frame(slab).slab_objects - frame(slab).slab_inuse;
    c.empty_slabs += frame(slab).slab_inuse == 0;
  }
  for (const CpuSlab& cpu : cpus_) {
    c.cpu_slabs += cpu.slab != Frame::kNone;
    for (uint32_t slab = cpu.partial; slab != Frame::kNone; slab = frame(slab).next) ++c.cpu_slabs;
  }
  c.objects = total_objects_;
  c.active_objects = total_objects_ - free;
  c.slabs = slabs_;
  c.allocated = allocated_;
  c.partial_slabs = partial_count_;
  c.full_slabs = slabs_ - partial_count_ - c.cpu_slabs;
  return c;
}

uint64_t SlabCache::verify_slab(Pfn first) const {
  const auto slab = static_cast<uint32_t>(first.value());
  const Frame& f = frame(slab);
  CHECK(f.state == FrameState::Slab && f.slab == this && !f.is_tail(), "{}: pfn {} is not one of its slabs", name_, slab);
  CHECK(f.slab_objects == objects_ || f.slab_objects == min_objects_, "{}: slab {} has {} objects", name_, slab, f.slab_objects);
  const unsigned free = free_length(VirtAddr{f.slab_freelist}, slab);
  if (corrupted_ == 0)
    CHECK(free + f.slab_inuse == f.slab_objects, "{}: slab {}: {} in use and {} free of {}", name_, slab, f.slab_inuse, free, f.slab_objects);
  uint64_t out = f.slab_inuse;
  for (const CpuSlab& cpu : cpus_) {
    if (cpu.slab != slab) continue;
    CHECK(f.slab_frozen, "{}: CPU slab {} is not frozen", name_, slab);
    const unsigned own = free_length(cpu.freelist, slab);
    CHECK(own <= out, "{}: slab {}: the CPU's list is longer than what is in use", name_, slab);
    out -= own;
  }
  if (is_debug() && corrupted_ == 0)
    for (VirtAddr o{f.slab_freelist}; o != kNoObject; o = peek_next(o))
      CHECK(debug_intact(o, false), "{}: free object {:#x} was written to", name_, o.value());
  return out;
}

void SlabCache::verify() const {
  uint32_t previous = Frame::kNone;
  uint64_t n = 0;
  for (uint32_t slab = partial_head_; slab != Frame::kNone; slab = frame(slab).next) {
    const Frame& f = frame(slab);
    CHECK(++n <= partial_count_, "{}: more partial slabs than {}", name_, partial_count_);
    CHECK(f.previous == previous && !f.slab_frozen && f.slab_freelist != 0, "{}: slab {} on the partial list", name_, slab);
    verify_slab(Pfn{slab});
    previous = slab;
  }
  CHECK(n == partial_count_ && partial_tail_ == previous, "{}: {} partial slabs counted, {} found", name_, partial_count_, n);
  for (const CpuSlab& cpu : cpus_) {
    CHECK(cpu.slab != Frame::kNone || cpu.freelist == kNoObject, "{}: free objects of no slab", name_);
    if (cpu.slab != Frame::kNone) verify_slab(Pfn{cpu.slab});
    for (uint32_t slab = cpu.partial; slab != Frame::kNone; slab = frame(slab).next) {
      CHECK(frame(slab).slab_frozen && frame(slab).slab_freelist != 0, "{}: slab {} on a CPU's partial list", name_, slab);
      verify_slab(Pfn{slab});
    }
  }
  CHECK(allocated_ <= total_objects_, "{}: {} objects out of {}", name_, allocated_, total_objects_);
}

}  // namespace vitro::mm
