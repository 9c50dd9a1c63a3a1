// What all address spaces share, for the files that implement the virtual side.
#pragma once

#include "mm/space/address_space_state.h"
#include "mm/kernel_memory/kernel_page_table.h"
#include "mm/cache/page_cache_state.h"
#include "vitro/base/intrusive_list.h"
#include "vitro/mm/address_space.h"
#include "vitro/mm/compaction.h"
#include "vitro/mm/kernel_stacks.h"
#include "vitro/mm/kmap.h"
#include "vitro/mm/lru.h"
#include "vitro/mm/oom.h"
#include "vitro/mm/reclaim.h"
#include "vitro/mm/swap.h"
#include "vitro/mm/vmalloc.h"
#include "vitro/mm/writeback.h"

namespace vitro::mm {

struct VirtualMemory::State {
  explicit State(VirtualMemory& vm)
      : kernel_table(vm.physical(), vm.isolated() ? Isolation::On : Isolation::Off), vmalloc(vm.physical(), kernel_table, vm.mmu(), vm.physical().cpus()),
        kernel_stacks(vm.physical(), vmalloc), kmap(vm.physical(), kernel_table, vm.mmu(), vm.timing()), lru(vm.physical().frames(), vm.physical().stat()),
        writeback(vm), reclaimer(vm), oom(vm), swap(vm), compaction(vm) {}
  KernelPageTable kernel_table;
  Vmalloc vmalloc;
  KernelStacks kernel_stacks;
  Kmap kmap;
  Lru lru;
  Writeback writeback;
  ShadowNodes shadow_nodes;
  Reclaimer reclaimer;
  OomKiller oom;
  SwapSpace swap;
  Compaction compaction;
  uint64_t next_space = 1;    // numbers of address spaces
  IntrusiveList<AddressSpace::State, &AddressSpace::State::all_link> spaces;
  IntrusiveList<PageCache::State, &PageCache::State::all_link> caches;
  IntrusiveList<PageCache::State, &PageCache::State::dirty_link> dirty_caches;  // that have dirty pages, in the order in which they became dirty
  uint64_t orphan_writeback = 0;  // pages being written whose file is gone
  uint64_t pins = 0;          // references taken by get_page()
  uint64_t block_pages = 0;   // frames in state BlockCache
  uint64_t next_id = 1;       // of areas and address spaces
  uint64_t next_inode = 1;    // of shared memory without a file system
};

// A reference for a scope.
class PagePin {
 public:
  PagePin(VirtualMemory& vm, Pfn f) : vm_(vm), frame_(f) { vm_.get_page(f); }
  ~PagePin() { vm_.put_page(frame_); }
  PagePin(const PagePin&) = delete;
  PagePin& operator=(const PagePin&) = delete;

 private:
  VirtualMemory& vm_;
  Pfn frame_;
};

// The counters and fields that go with mapping and unmapping a frame (mm/rmap.c: page_add_*_rmap, page_remove_rmap).
class Rmap {
 public:
  // A new private frame, mapped for the first time at `a` of `v`, whose anon_vma is set.
  static void add_new_anonymous(VirtualMemory& vm, Pfn frame, const Vma& v, VirtAddr a);
  // One more entry maps it.
  static void add(VirtualMemory& vm, Pfn frame);
  // One entry less. `v`: the area it was mapped in.
  static void remove(VirtualMemory& vm, Pfn frame, const Vma& v);
  // mlock: the frame is mapped in a locked area now, or may no longer be.
  static void mlock(VirtualMemory& vm, Pfn frame);
  static void munlock(VirtualMemory& vm, Pfn frame);
};

// Drops one reference of an owner (an entry, a page cache, the allocation itself): the last one takes the frame off the LRU and frees it.
void drop_reference(VirtualMemory& vm, Pfn frame);

}  // namespace vitro::mm
