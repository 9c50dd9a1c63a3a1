// Slab caches as SLUB keeps them (mm/slub.c): objects of one size, carved from blocks of frames, the free ones linked through themselves.
//
//   SlabCache& cache = slabs.create({.name = "inode_cache", .object_size = Bytes{632}, .constructor = init});
//   auto object = cache.allocate(Gfp::Kernel);          // an address in the direct map; the bytes lie in guest RAM
//   cache.free(*object);
//
// A slab is in one of five places:
//   CPU slab      the one a CPU allocates from; its free objects hang on the CPU's own list and count as in use
//   CPU partial   slabs with free objects that a CPU keeps for later
//   node partial  slabs with free objects that belong to nobody; empty ones stay up to min_partial
//   full          no free object: on no list
//   gone          empty and too many: back to the page allocator
// Debug caches (Poison, RedZone) have only node partial and full slabs, and check every object.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vitro/base/intrusive_list.h"
#include "vitro/base/result.h"
#include "vitro/base/types.h"
#include "vitro/mm/frame.h"
#include "vitro/mm/gfp.h"
#include "vitro/mm/kernel_object.h"

namespace vitro::mm {

class SlabAllocator;

// include/linux/slab.h: SLAB_*.
enum class SlabFlag : uint32_t {
  None = 0,
  RedZone = 0x400,             // bytes around each object show overruns
  Poison = 0x800,              // free objects are filled with a pattern
  HwCacheAlign = 0x2000,       // objects start on cache lines
  CacheDma = 0x4000,           // from the DMA zone
  Panic = 0x40000,             // create() must not fail
  ReclaimAccount = 0x20000,    // counted in SReclaimable: a shrinker can give them back
  TypesafeByRcu = 0x80000,     // a free object keeps its content: the free pointer lies behind it
  Account = 0x4000000,
};
constexpr SlabFlag operator|(SlabFlag a, SlabFlag b) { return static_cast<SlabFlag>(static_cast<uint32_t>(a) | static_cast<uint32_t>(b)); }
constexpr bool has(SlabFlag flags, SlabFlag bit) { return (static_cast<uint32_t>(flags) & static_cast<uint32_t>(bit)) != 0; }

struct SlabCacheSpec {
  std::string name;
  Bytes object_size{0};
  Bytes align{0};                                             // 0: as the flags say, at least 8
  SlabFlag flags = SlabFlag::None;
  std::function<void(std::span<std::byte>)> constructor = {};  // run for each object when its slab is made, not at every allocation
};

// What is wrong with an address given to try_free().
enum class SlabError : uint8_t { NotAnObject, ForeignCache, DoubleFree, Overwritten };
std::string_view slab_error_text(SlabError e);

class SlabCache;

// Bytes that only the allocator writes, found to have been written by somebody else.
struct SlabDamage {
  enum class Kind : uint8_t { LeftRedzone, RightRedzone, Poison, EndPoison, FreePointer };
  const SlabCache* cache = nullptr;
  VirtAddr object;
  Kind kind = Kind::LeftRedzone;
  VirtAddr first;          // of the bytes that differ
  Bytes length{0};         // up to the last one that differs
  std::byte found{0}, expected{0};  // at `first`; expected is 0 for a free pointer
};
// "Right Redzone overwritten", as SLUB says it (mm/slub.c: check_bytes_and_report, object_err).
std::string_view slab_damage_text(SlabDamage::Kind k);

class SlabCache {
 public:
  SlabCache(SlabAllocator& owner, SlabCacheSpec spec);
  SlabCache(const SlabCache&) = delete;
  SlabCache& operator=(const SlabCache&) = delete;

  // An object; Gfp::Zero clears it. Nullopt when there is no memory. May wait if the flags allow it.
  std::optional<VirtAddr> allocate(Gfp flags) {
    const VirtAddr object = allocate_or_null(flags);  // as PageAllocator::allocate()
    return object.value() == 0 ? std::optional<VirtAddr>{} : std::optional<VirtAddr>{std::in_place, object.value()};
  }
  // Gives back an object of this cache. The address is known to be right (CHECK).
  void free(VirtAddr object);
  // For SlabObject: frees an object of this cache, or memory that kmalloc took from the page allocator.
  void release(VirtAddr object);
  // The same for an address that somebody typed: finds out what is wrong with it.
  Result<void, SlabError> try_free(VirtAddr object);
  // What try_free() would say, without doing it.
  Result<void, SlabError> check(VirtAddr object) const;
  // What of the red zones of an object, and of the poison of a free one, was overwritten; the first of these that was (check_object). Debug caches
  // only. The address is an object's.
  std::optional<SlabDamage> find_damage(VirtAddr object, bool in_use) const;
  // Gives empty slabs back (kmem_cache_shrink). Returns how many frames that freed.
  Pages shrink();

  const std::string& name() const { return name_; }
  Bytes object_size() const { return object_size_; }  // as asked for
  Bytes size() const { return size_; }                // with padding and metadata: /proc/slabinfo's objsize
  Order order() const { return order_; }
  unsigned objects_per_slab() const { return objects_; }
  Pages pages_per_slab() const { return order_.pages(); }
  unsigned min_partial() const { return min_partial_; }
  unsigned cpu_partial_slabs() const { return cpu_partial_slabs_; }
  Bytes free_pointer_offset() const { return free_offset_; }
  Bytes red_zone_left() const { return left_pad_; }    // in front of each object; 0 without red zones
  Bytes red_zone_right() const { return has(flags_, SlabFlag::RedZone) ? inuse_ - object_size_ : Bytes{0}; }  // behind it
  SlabFlag flags() const { return flags_; }
  bool is_kmalloc() const { return kmalloc_; }
  bool is_debug() const { return has(flags_, SlabFlag::RedZone | SlabFlag::Poison); }

  // As /proc/slabinfo counts (get_slabinfo): an object on a CPU's list is active.
  struct Counts {
    uint64_t active_objects = 0, objects = 0, slabs = 0;
    uint64_t allocated = 0;                                                     // objects that somebody has: exact
    uint64_t full_slabs = 0, partial_slabs = 0, empty_slabs = 0, cpu_slabs = 0;  // empty: of the partial ones
  };
  Counts counts() const;
  uint64_t allocated() const { return allocated_; }
  SlabAllocator& allocator() const { return owner_; }

  // Recounts the slabs it can reach (partial and CPU ones): free lists, in-use counts, patterns; CHECKs. `slabs` full ones are reached by
  // SlabAllocator::verify() through the frames.
  void verify() const;
  // One slab by its first frame. CHECKs; returns how many of its objects somebody has.
  uint64_t verify_slab(Pfn slab) const;

  ListLink registry_link;

 private:
  friend class SlabAllocator;
  struct CpuSlab {
    VirtAddr freelist{0};                    // first free object of `slab`; 0: none
    uint32_t slab = Frame::kNone;            // slabs are named by their first frame
    uint32_t partial = Frame::kNone;         // linked through Frame::next
  };
  enum class At : bool { Head, Tail };

  VirtAddr allocate_or_null(Gfp flags);
  // An object without count, trace or clearing; 0 when there is no memory.
  VirtAddr take(Gfp flags);
  VirtAddr take_slow(Gfp flags);
  bool acquire_from_node(CpuSlab& cpu);
  bool load(CpuSlab& cpu);
  void finish_allocation(VirtAddr object, Gfp flags);
  uint32_t new_slab(Gfp flags);
  void discard(uint32_t slab);
  void deactivate(uint32_t slab, VirtAddr freelist);
  void unfreeze(uint32_t first);
  void put_cpu_partial(CpuSlab& cpu, uint32_t slab, bool drain);
  void give(VirtAddr object, uint32_t slab);
  void give_slow(VirtAddr object, uint32_t slab);
  void flush(CpuSlab& cpu);
  void flush_all();
  void add_partial(uint32_t slab, At at);
  void remove_partial(uint32_t slab);
  // The free object after this one. One that points out of its slab was overwritten: the rest of the list is given up.
  VirtAddr next_free(VirtAddr object, uint32_t slab);
  void set_next_free(VirtAddr object, VirtAddr next);
  void give_up_list(VirtAddr object);
  bool is_object(VirtAddr address, uint32_t slab) const;
  bool is_free(VirtAddr object, uint32_t slab) const;
  // Length of a free list of `slab`, at most the objects of a slab.
  unsigned free_length(VirtAddr first, uint32_t slab) const;
  VirtAddr peek_next(VirtAddr object) const;
  // What debug caches do instead.
  VirtAddr debug_take(Gfp flags);
  void debug_give(VirtAddr object, uint32_t slab);
  void debug_fill(VirtAddr object, bool active);
  bool debug_intact(VirtAddr object, bool active) const { return !find_damage(object, active); }

  void layout(Bytes align);
  VirtAddr slab_address(uint32_t slab) const;
  uint32_t slab_of(VirtAddr object) const;
  std::span<std::byte> bytes(VirtAddr at, Bytes n) const;
  Frame& frame(uint32_t slab) const;
  uint32_t bytes_of(uint32_t slab) const;

  SlabAllocator& owner_;
  std::string name_;
  Bytes object_size_, size_{0}, inuse_{0}, free_offset_{0}, left_pad_{0};
  SlabFlag flags_;
  bool kmalloc_ = false;
  Gfp allocation_flags_ = Gfp::None;
  Order order_{0}, min_order_{0};
  unsigned objects_ = 0, min_objects_ = 0, min_partial_ = 5, cpu_partial_slabs_ = 0;
  std::function<void(std::span<std::byte>)> constructor_;
  std::vector<CpuSlab> cpus_;
  uint32_t partial_head_ = Frame::kNone, partial_tail_ = Frame::kNone;
  uint64_t partial_count_ = 0;
  uint64_t slabs_ = 0, total_objects_ = 0, allocated_ = 0;
  uint64_t corrupted_ = 0;                        // free lists given up
  VirtAddr descriptor_{0}, node_descriptor_{0};  // its own struct kmem_cache and kmem_cache_node, in guest RAM
};

// calculate_order of mm/slub.c: the order of a slab of objects of `size` on a machine with `cpus`.
Order slab_order(Bytes size, unsigned cpus);

}  // namespace vitro::mm
