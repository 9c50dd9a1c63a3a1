// vmalloc: memory that is contiguous in the kernel's addresses but not in RAM, mapped page by page through the kernel's page tables (mm/vmalloc.c).
//
//   auto buffer = vm.vmalloc().allocate(kib(64));   // 16 frames from anywhere, and a guard page behind them
//   auto frame = vm.vmalloc().frame_of(*buffer + kib(4));
//   vm.vmalloc().free(*buffer);                     // unmapped now, its addresses come back with the next purge
//
// Areas take the lowest hole that is large enough. A freed area keeps its addresses until enough has come together for one flush of the TLBs
// (lazy_max_pages): until then the range is nobody's, and `/proc/vmallocinfo` calls it unpurged.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "vitro/base/result.h"
#include "vitro/base/types.h"
#include "vitro/hw/mmu.h"
#include "vitro/mm/frame.h"
#include "vitro/mm/gfp.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::mm {

class KernelPageTable;

inline constexpr Bytes kVmallocSize{uint64_t{32} << 40};  // VMALLOC_SIZE_TB of 4-level paging

struct VmallocRequest {
  Gfp flags = Gfp::Kernel;                  // Zero clears; without Dma or Dma32 the frames come from high memory first
  Bytes align{kPageSize};                   // of the first address; a power of two, at least a page
  FrameState state = FrameState::Vmalloc;   // what the frames count as
  std::string_view caller = "vmalloc";      // a function's name, kept by reference: a literal
};

enum class VmallocError : uint8_t { NotAnArea, WrongKind };  // no area starts there; vfree of a vmap, or vunmap of a vmalloc
const char* vmalloc_error_text(VmallocError e);

class Vmalloc {
 public:
  // One area in use or waiting to be purged. `size` includes the guard page behind.
  struct Area {
    VirtAddr start;
    Bytes size;
    Pages pages;                 // frames mapped
    enum class Kind : uint8_t { Vmalloc, Vmap, Unpurged } kind;
    std::string_view caller;
  };

  Vmalloc(PhysicalMemory& physical, KernelPageTable& tables, hw::Mmu& mmu, unsigned cpus);
  ~Vmalloc();  // areas that are left are freed
  Vmalloc(const Vmalloc&) = delete;
  Vmalloc& operator=(const Vmalloc&) = delete;

  // vmalloc, vzalloc (Gfp::Zero). NoMemory: none to be had, nothing asked for, or more than RAM (__vmalloc_node_range).
  Result<VirtAddr> allocate(Bytes size, const VmallocRequest& request = {});
  // vfree. The address is one that allocate() returned (CHECK).
  void free(VirtAddr start);
  // For addresses that somebody typed.
  Result<void, VmallocError> try_free(VirtAddr start);

  // vmap: the frames, in this order, in one area; the caller keeps owning them and keeps them while they are mapped. NoMemory, Invalid (no frames).
  Result<VirtAddr> map(std::span<const Pfn> frames, std::string_view caller = "vmap");
  // vunmap. CHECKs that map() returned the address.
  void unmap(VirtAddr start);
  Result<void, VmallocError> try_unmap(VirtAddr start);

  // The area in use that `a` lies in, its guard page included (find_vm_area).
  std::optional<Area> find(VirtAddr a) const;
  // vmalloc_to_pfn, from the page tables; nullopt where nothing is mapped.
  std::optional<Pfn> frame_of(VirtAddr a) const;
  // Says anew what the frames of an area count as (kernel stacks in use and kept for later).
  void set_state(VirtAddr start, FrameState state);

  // Frees the addresses of everything freed so far, with one flush of the TLBs (__purge_vmap_area_lazy). Returns how many pages of addresses came back.
  Pages purge();

  Pages allocated() const { return allocated_; }   // nr_vmalloc_pages: VmallocUsed
  Pages lazy() const { return lazy_; }             // vmap_lazy_nr
  Pages lazy_max() const;                          // lazy_max_pages
  uint64_t purges() const { return purges_; }
  // The largest hole. Linux 6.1 prints 0 as VmallocChunk.
  Bytes largest_hole() const;
  // All areas in use and unpurged, by address.
  std::vector<Area> areas() const;

  // /proc/vmallocinfo (s_show): true addresses, as with no_hash_pointers, and callers without offsets, as there is no kernel code to point into.
  std::string vmallocinfo() const;
  // Holes, areas and page tables agree; CHECKs.
  void verify() const;

 private:
  struct Node;
  class Tree;
  struct Index;

  Result<Node*> reserve(Bytes size, Bytes align, std::string_view caller);
  Node* allocate_hole(Bytes size, Bytes align);
  void release(Node* node, Pages mapped);
  void give_back(Node* node);
  bool fill(Node& node, const VmallocRequest& request);
  void unmap_pages(const Node& node, Pages n);

  PhysicalMemory& physical_;
  KernelPageTable& tables_;
  hw::Mmu& mmu_;
  unsigned cpus_;
  Pages allocated_{0}, lazy_{0};
  uint64_t purges_ = 0;
  std::unique_ptr<Index> index_;
};

}  // namespace vitro::mm
