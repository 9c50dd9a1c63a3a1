// A virtual memory area: one run of pages with the same rights and the same source (include/linux/mm_types.h: vm_area_struct).
//
//   for (const Vma* v = space.find(a); v; v = v->tree.next) ...   // neighbours in address order
#pragma once

#include <cstdint>
#include <memory>

#include "vitro/base/balanced_tree.h"
#include "vitro/base/interval_tree.h"
#include "vitro/base/intrusive_list.h"
#include "vitro/base/types.h"
#include "vitro/mm/kernel_object.h"
#include "vitro/mm/ports.h"

namespace vitro::mm {

class AddressSpace;
class AnonVma;
struct SpecialMapping;
struct Vma;

// Linux's VM_* bits, same values (include/linux/mm.h).
enum class VmFlag : uint64_t {
  None = 0, Read = 0x1, Write = 0x2, Exec = 0x4, Shared = 0x8, MayRead = 0x10, MayWrite = 0x20, MayExec = 0x40, MayShare = 0x80,
  GrowsDown = 0x100, PfnMap = 0x400, Io = 0x4000, DontExpand = 0x40000, Locked = 0x2000, SeqRead = 0x8000, RandRead = 0x10000, DontCopy = 0x20000, LockOnFault = 0x80000, Account = 0x100000,
  NoReserve = 0x200000, HugeTlb = 0x400000, WipeOnFork = 0x2000000, DontDump = 0x4000000, SoftDirty = 0x8000000, HugePage = 0x20000000,
  NoHugePage = 0x40000000, Mergeable = 0x80000000,
};
constexpr VmFlag operator|(VmFlag a, VmFlag b) { return static_cast<VmFlag>(static_cast<uint64_t>(a) | static_cast<uint64_t>(b)); }
constexpr VmFlag operator&(VmFlag a, VmFlag b) { return static_cast<VmFlag>(static_cast<uint64_t>(a) & static_cast<uint64_t>(b)); }
constexpr VmFlag operator~(VmFlag a) { return static_cast<VmFlag>(~static_cast<uint64_t>(a)); }
inline constexpr VmFlag kLockFlags = VmFlag::Locked | VmFlag::LockOnFault;  // VM_LOCKED_MASK
constexpr bool has(VmFlag flags, VmFlag bits) { return (flags & bits) == bits; }
constexpr bool has_any(VmFlag flags, VmFlag bits) { return (flags & bits) != VmFlag::None; }

// Says that private pages of `vma` may belong to `anon_vma` (mm/rmap.c): one link of a many-to-many relation. After a fork the child's
// area is linked to its parent's anon_vmas too, so that a frame shared across generations finds all who map it.
struct AnonVmaChain {
  Vma* vma = nullptr;
  AnonVma* anon_vma = nullptr;
  ListLink same_vma;
  IntervalLink<AnonVmaChain> in_anon_vma;  // by the pages of `vma`
  SlabObject memory;
};

struct Vma {
  uint64_t id = 0;                     // order of creation in the machine; where two areas merge, the older one's stays
  VirtAddr start, end;                 // [start, end), page-aligned
  VmFlag flags = VmFlag::None;
  std::shared_ptr<MappedFile> file;    // null: anonymous, or special
  const SpecialMapping* special = nullptr;  // pages of the kernel; outlives every address space
  PageIndex page_offset;               // of `start`, in the file; for anonymous memory start's own page number (so that neighbours merge)
  AnonVma* anon_vma = nullptr;         // set at the first private page
  AddressSpace* space = nullptr;
  SlabObject memory;                   // its vm_area_struct
  IntervalLink<Vma> in_mappings;       // PageCache's mappings, by pages
  IntrusiveList<AnonVmaChain, &AnonVmaChain::same_vma> anon_chain;

  Bytes length() const { return end - start; }
  Pages pages() const { return length().pages_down(); }
  PageIndex last_page() const { return page_offset + (pages() - Pages{1}); }
  bool contains(VirtAddr a) const { return a >= start && a < end; }
  bool anonymous() const { return !file && !special; }  // vma_is_anonymous
  bool shared() const { return has(flags, VmFlag::Shared); }
  PageIndex index_of(VirtAddr a) const { return page_offset + (a.vpn() - start.vpn()); }
  bool accessible() const { return has_any(flags, VmFlag::Read | VmFlag::Write | VmFlag::Exec); }
  // Private memory whose pages are copied when written (mm/internal.h: is_cow_mapping).
  bool copy_on_write() const { return (flags & (VmFlag::Shared | VmFlag::MayWrite)) == VmFlag::MayWrite; }

  // VmaTree's: threaded in address order; `max_gap` is the largest hole below any area of the subtree.
  struct TreeLinks {
    TreeLink<Vma> link;
    Vma* previous = nullptr;
    Vma* next = nullptr;
    uint64_t max_gap = 0;
  } tree;
};

// How the reverse map finds areas: by the pages that they map (mm/interval_tree.c).
struct ChainPages {
  static IntervalLink<AnonVmaChain>& link(AnonVmaChain& c) { return c.in_anon_vma; }
  static uint64_t first(const AnonVmaChain& c) { return c.vma->page_offset.value(); }
  static uint64_t last(const AnonVmaChain& c) { return c.vma->last_page().value(); }
};
struct MappedPages {
  static IntervalLink<Vma>& link(Vma& v) { return v.in_mappings; }
  static uint64_t first(const Vma& v) { return v.page_offset.value(); }
  static uint64_t last(const Vma& v) { return v.last_page().value(); }
};

}  // namespace vitro::mm
