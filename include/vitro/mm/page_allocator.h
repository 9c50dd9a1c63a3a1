// Frames by GFP flags and order: per-CPU lists, zones and watermarks, and what happens when there is nothing left.
#pragma once

#include <functional>
#include <optional>

#include "vitro/base/types.h"
#include "vitro/mm/buddy_allocator.h"
#include "vitro/mm/frame.h"
#include "vitro/mm/gfp.h"

namespace vitro::mm {

// Who asks for memory, where that matters once the watermarks are not met (current->flags in Linux).
struct AllocationContext {
  bool reclaiming = false;  // PF_MEMALLOC: frees memory, so it may use all of the reserves, and must not reclaim again
  bool oom_victim = false;  // was chosen by the OOM killer: may use half of the reserves, and is not retried for ever
};

// Asked to free memory when the watermarks are not met. Implemented by the reclaimer.
class ReclaimPort {
 public:
  virtual ~ReclaimPort() = default;
  // Below the low watermark: wake kswapd. May be called from anywhere; does not wait.
  virtual void wake_reclaimer(unsigned zone, Order order) = 0;
  // Tries to free at least one block of `order` for an allocation with `flags`. Returns how many frames were freed; 0: no progress. May wait.
  virtual Pages reclaim_directly(Gfp flags, Order order) = 0;
  // Nothing can be reclaimed: choose and kill. True where something was killed, so that it is worth trying again.
  virtual bool out_of_memory(Gfp flags, Order order) = 0;

  // The current task. Asked on the slow path only.
  virtual AllocationContext context() const { return {}; }
  // Whether anonymous memory can be written out now (free swap slots), so that it counts as reclaimable.
  virtual bool can_swap() const { return false; }
};

// How compaction went, worst first where several zones are asked (include/linux/compaction.h: enum compact_result).
enum class CompactResult : uint8_t {
  Skipped,         // not enough free frames to move others to, or fragmentation is not the reason
  Deferred,        // has failed lately
  NoSuitablePage,  // not yet
  Continue,
  Complete,        // the whole zone was looked at
  PartialSkipped,  // as far as the last run did not
  Contended,       // ran out of free frames on the way
  Success,         // there is a block now
};
enum class CompactPriority : uint8_t { Full, Light, Async };  // SYNC_FULL, SYNC_LIGHT, ASYNC: how hard it tries

// Asked for large blocks when there are free frames enough but none in one piece. Implemented by Compaction.
class CompactionPort {
 public:
  virtual ~CompactionPort() = default;
  // The zones up to `highest` (try_to_compact_pages). Does not wait.
  virtual CompactResult compact_directly(Gfp flags, Order order, uint32_t alloc_flags, unsigned highest, CompactPriority priority) = 0;
  // Whether it could be tried in some zone (compaction_zonelist_suitable).
  virtual bool suitable(Order order, uint32_t alloc_flags, unsigned highest) = 0;
  // A block of this order was allocated in `zone` after all (compaction_defer_reset).
  virtual void succeeded(unsigned zone, Order order) = 0;
};

class PageAllocator {
 public:
  virtual ~PageAllocator() = default;
  // A block of 2^order frames, refcount 1 on its first frame, state Allocated, order and zone in its first Frame, everything else in the
  // Frames cleared; Gfp::Zero clears the bytes; Gfp::Comp sets Head on the first and compound_head in the others. Nullopt when no memory is to be had
  // with these flags. The caller sets the state it uses the frames for with set_state().
  std::optional<Pfn> allocate(Gfp flags, Order order = Order{0}) {
    // Written so that the optional never lies in memory: compilers copy it from there as one wide word, which stalls on the narrow stores.
    const Pfn block = allocate_or_none(flags, order);
    return block == kNoFrame ? std::optional<Pfn>{} : std::optional<Pfn>{std::in_place, block.value()};
  }
  // Turns a block of 2^order frames into single frames, each with the first one's references; its state stays (split_page).
  virtual void split(Pfn first, Order order) = 0;
  // Gives back a block whose refcount is 0 or 1 and whose mapcount is 0 (checked).
  virtual void free(Pfn first, Order order = Order{0}) = 0;
  // Sets the state of every frame of a block and keeps the counts per state, and with them nr_kernel_stack.
  virtual void set_state(Pfn first, Order order, FrameState state) = 0;

  // References on an order-0 frame, or on the head of a block.
  virtual void get(Pfn f) = 0;                 // ++refcount
  virtual bool put(Pfn f) = 0;                 // --refcount; frees at 0 and returns true
  virtual void set_reclaim_port(ReclaimPort* port) = 0;
  virtual void set_compaction_port(CompactionPort* port) = 0;
  // Takes the free block that starts at `first` out of the buddy allocator, as single frames in state Allocated with a reference each. False
  // where the zone would fall below its minimum (mm/page_alloc.c: __isolate_free_page).
  virtual bool isolate_free_block(Pfn first, Order order) = 0;

  virtual Pages free_frames() const = 0;       // nr_free_pages: in the buddy allocator (per-CPU lists are not counted, as in Linux)
  virtual Pages managed_frames() const = 0;    // MemTotal
  virtual uint64_t frames_in_state(FrameState state) const = 0;

 protected:
  // allocate() with kNoFrame for nullopt: a returned optional would go through memory, on the hottest path there is.
  static constexpr Pfn kNoFrame{UINT64_MAX};
  virtual Pfn allocate_or_none(Gfp flags, Order order) = 0;
};

}  // namespace vitro::mm
