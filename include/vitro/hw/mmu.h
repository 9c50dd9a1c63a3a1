// The memory management unit: TLBs in front of the page walker, and the counts of everything that happens there.
//
// Invariant: neither the simulated TLBs nor the CPU's soft TLB ever holds a translation that the page tables no longer hold. Whoever
// changes a present entry calls invalidate_page() or flush_pcid(), which drop both in one call; nothing else touches the soft TLB.
//
// What is counted, the same in every mode: an access that completes counts once, where it is answered: a hit in the first level, or a miss
// there and then a hit or a miss in the second, where a miss walks. So walks = l2.misses and l1d.misses + l1i.misses = l2.accesses. An
// access that faults counts only in faulting_walks; its retry is the access that completes. (Before it is retried the kernel changes the
// tables, so nothing that the failed walk might have cached would live on.)
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "vitro/base/result.h"
#include "vitro/base/trace.h"
#include "vitro/base/types.h"
#include "vitro/hw/fault.h"
#include "vitro/hw/page_walker.h"
#include "vitro/hw/pte.h"
#include "vitro/hw/ram.h"
#include "vitro/hw/timing_model.h"
#include "vitro/hw/tlb.h"

namespace vitro::hw {

class LargePageFills;
class UnboundedTlb;

// The emulator's cache of what the MMU said, for the current address space. Implemented by the CPU.
class SoftTlb {
 public:
  virtual ~SoftTlb() = default;
  // The translation of the page is gone.
  virtual void evict(VirtAddr page) = 0;
  // The next data access of the page must come to the Mmu, though its translation stays.
  virtual void evict_data(VirtAddr page) { evict(page); }
  virtual void flush() = 0;
};

// A leaf translation: where one page is, and what may be done with it.
struct Translation {
  PhysAddr address;  // of the byte asked for
  PageSize size = PageSize::k4K;
  Pte leaf;          // the leaf entry, after Accessed and Dirty were set
  bool writable = false, executable = false, user = false;  // all levels together
};

// Why a TLB was flushed: Linux's reasons of the tlb_flush tracepoint (include/linux/mm_types.h: enum tlb_flush_reason).
enum class FlushReason : uint8_t { TaskSwitch, RemoteShootdown, LocalShootdown, LocalMmShootdown, RemoteSendIpi, Count };
const char* flush_reason_name(FlushReason r);  // "task_switch", "remote_shootdown", ...

// One miss of a first-level TLB, told when it has been answered and counted.
struct TlbMiss {
  VirtAddr address;
  Access access = Access::Read;
  Privilege privilege = Privilege::User;  // Supervisor: the kernel's own access to user memory
  PageSize size = PageSize::k4K;          // of the page as the tables have it
  bool walked = false;                    // false: the second level answered
  bool first_use = false;                 // walked, and a TLB of any size would have: see MmuCounters::cold_walks
  bool to_set_dirty = false;              // walked though the page was cached, to set Dirty in its entry
  unsigned references = 0;                // page-table entries read
};

// Told of every miss, by whoever wants to know more than the counters tell. Costs nothing where nobody listens, and hits never come here.
class MmuObserver {
 public:
  virtual ~MmuObserver() = default;
  virtual void tlb_missed(const TlbMiss& miss) = 0;
};

struct MmuCounters {
  struct Level {
    uint64_t accesses = 0, hits = 0, misses = 0;
    std::array<uint64_t, 3> misses_by_size{};    // by PageSize of the page as the tables have it
    std::array<uint64_t, 3> misses_by_access{};  // by Access
  };
  Level l1d, l1i, l2;  // l2 also counts a second level of its own for instructions, where the core has one
  uint64_t walks = 0;             // completed page walks after a miss in the last level
  uint64_t walk_references = 0;   // page-table entries read by them
  uint64_t walk_cycles = 0;       // by the cost table
  uint64_t faulting_walks = 0, faulting_walk_references = 0;  // walks that ended in a fault; always whole, from the top
  std::array<uint64_t, static_cast<size_t>(FlushReason::Count)> flushes{};

  uint64_t isolation_switches = 0;  // CR3 written at an entry or an exit of the kernel

  uint64_t cold_walks = 0;     // of walks: those that a TLB of any size would have needed (first use since the page was invalidated)
  uint64_t dirty_walks = 0;    // of walks: first write to a page that was cached clean, to set Dirty in its entry
  uint64_t l2_hit_cycles = 0;  // by the cost table
  // False in `trap`: hits of l1d are then answered unseen; l1d.accesses and l1d.hits hold only the kernel's and are no figure to print.
  bool l1d_hits_known = true;
};

class Mmu {
 public:
  Mmu(Ram& ram, const TlbConfig& config, const TimingModel& timing, Tracer& tracer);
  ~Mmu();

  void set_soft_tlb(SoftTlb* soft) { soft_ = soft; }
  void set_observer(MmuObserver* observer) { observer_ = observer; }

  // MOV to CR3 (SDM 4.10.4.1): with `keep` (bit 63) translations of this PCID stay; without, its non-global ones go. Always empties the
  // soft TLB, which knows no PCIDs. Reason TaskSwitch is counted when the simulated TLB was flushed. On a core without PCIDs every
  // non-global translation goes, whatever `keep` says.
  enum class KeepPcid : bool { No, Yes };
  void load_cr3(PhysAddr root, Pcid pcid, KeepPcid keep);
  // Page-table isolation: an address space has two roots and two PCIDs, the second with kUserPcidBit for user mode. Whatever invalidates one
  // invalidates both. To be set before the first access.
  static constexpr uint16_t kUserPcidBit = 0x800;  // X86_CR3_PTI_PCID_USER_BIT
  void set_isolated(bool on) { isolated_ = on; }
  bool isolated() const { return isolated_; }
  // The same address space's other root. Nothing is flushed on a core with PCIDs; elsewhere all that is not global goes. Counted apart from
  // load_cr3(), and the soft TLB, which answers user mode only, keeps what it may.
  void switch_isolation(PhysAddr root, Pcid pcid);
  // Two switches that an exception makes that is handled without leaving the CPU's loop.
  void count_isolation_switches(uint64_t n) { counters_.isolation_switches += n; }
  PhysAddr root() const { return root_; }
  Pcid pcid() const { return pcid_; }

  // One access of the simulated machine: TLB levels, then a walk; Accessed and Dirty are set; everything is counted. Used for the
  // kernel's accesses to user memory and for tests.
  Result<Translation, Fault> translate(VirtAddr address, Access access, Privilege privilege);
  // What the page tables say, for filling the soft TLB: sets Accessed and Dirty, touches no TLB. A fault is counted (faulting_walks).
  Result<Translation, Fault> resolve(VirtAddr address, Access access, Privilege privilege);
  // Counts an access of user mode that the soft TLB has answered (`exact` mode), or a fetch of a block: TLB levels, then a walk on a miss.
  // The page must be translatable, which the invariant above guarantees. Call it once for each page that an access touches.
  void count_access(VirtAddr address, Access access) {
    const uint64_t vpn = address.value() >> kPageShift;
    RecentPages& recent = access == Access::Fetch ? recent_code_ : recent_data_;
    const uint64_t known = recent.pages[vpn & recent.mask];
    if (known == (vpn << 1 | 1) || (known == vpn << 1 && access != Access::Write)) [[likely]] {
      MmuCounters::Level& level = access == Access::Fetch ? counters_.l1i : counters_.l1d;
      ++level.accesses;
      ++level.hits;
      return;
    }
    count_unfiltered(address, access);
  }
  // A fetch that finds `expected` here is a hit in the first level which changes nothing, and may be counted later by count_fetch_hits().
  const uint64_t* fetch_filter(VirtAddr address, uint64_t& expected) const {
    const uint64_t vpn = address.value() >> kPageShift;
    expected = vpn << 1;
    return &recent_code_.pages[vpn & recent_code_.mask];
  }
  void count_fetch_hits(uint64_t n) {
    counters_.l1i.accesses += n;
    counters_.l1i.hits += n;
  }
  // What the page tables say, without any effect. For inspection.
  WalkResult inspect(VirtAddr address) const;

  // --- `trap` mode: the soft TLB holds no data translation that the simulated l1d does not hold.
  // On: whatever l1d evicts is evicted from the soft TLB too; l1d's hits are then unknown. Flushes the soft TLB.
  void set_soft_follows_l1d(bool on);
  bool soft_follows_l1d() const { return soft_follows_l1d_; }
  // --- `exact` mode, where the CPU counts accesses by itself: the soft TLB holds no data translation but those whose hits change nothing.
  // On: as above, and of a set whose policy looks at hits the soft TLB keeps only the page that was used last. One more use of that page is
  // a hit that leaves the set as it is, under LRU and tree-PLRU. count_fill() then counts misses only.
  void set_soft_holds_most_recent(bool on);
  // So many accesses of user mode were made since the last call; those that missed are known.
  void count_data_accesses(uint64_t n) {
    counters_.l1d.accesses += n;
    counters_.l1d.hits += n - std::exchange(uncounted_misses_, 0);
  }
  // What the soft TLB may answer by itself from now on, for the 4 KiB page that was asked for.
  struct FillRights {
    bool readable = false, writable = false;
  };
  // Called in the fill hook between a successful resolve() and the fill, instead of count_access(). A data access that misses l1d is
  // counted there and in the further levels and enters l1d; one that hits (the soft TLB lost the page by itself) counts nothing. A fetch
  // counts nothing, fetches being counted by the block; it may be given no more data rights than returned. A page may be filled
  // writable only where `writable`: a first write must come here, as a walk sets Dirty.
  FillRights count_fill(VirtAddr address, Access access);
  // The same for a data access that the simulated TLBs can answer: what they hold, the tables hold, so nobody has to walk. Between the two the
  // caller may still decide not to make the access; find_cached() has no effect.
  std::optional<TlbHierarchy::Cached> find_cached(VirtAddr address, Access access) const {
    return modelled_ ? tlbs_->find_small(address, needed_rights(access, Privilege::User), tag_) : std::nullopt;
  }
  FillRights count_cached(VirtAddr address, Access access, const TlbHierarchy::Cached& cached);

  // --- invalidation. All of these drop from the soft TLB too, where it can hold what goes. A page is the whole translation around the
  // address, whatever its size. Freeing a page table needs one too, even where none of its entries was ever used: the paging-structure
  // caches may still lead to it (SDM 4.10.4.2).
  // INVLPG / INVPCID type 0: one page of one address space.
  void invalidate_page(VirtAddr page, Pcid pcid, FlushReason reason) { invalidate_pages(page, Pages{1}, pcid, reason); }
  // The same for `n` 4 KiB pages, counted and traced as one flush.
  void invalidate_pages(VirtAddr first, Pages n, Pcid pcid, FlushReason reason);
  // INVPCID type 1: all non-global translations of one address space.
  void flush_pcid(Pcid pcid, FlushReason reason);
  // INVPCID type 2: everything, global ones too.
  void flush_all(FlushReason reason);

  // Whether the TLBs are modelled at all (`exact`, `trap`), or only page tables (`fast`): then l1d, l1i, l2 and walks stay 0. To be set
  // before the first access.
  void set_tlb_modelled(bool on) { modelled_ = on; }
  bool tlb_modelled() const { return modelled_; }

  const MmuCounters& counters() const { return counters_; }
  const TlbHierarchy& tlbs() const { return *tlbs_; }
  // The kernel unmaps pages of [first, end) without a flush until it gives their addresses to something else (vmalloc): a TLB may hold what the
  // tables no longer do there, as on real machines.
  void set_lazily_flushed(VirtAddr first, VirtAddr end) { lazy_first_ = first, lazy_end_ = end; }
  // Every cached translation of the current address space, and every global one, agrees with the tables, and the counters with each
  // other: CHECKs.
  void verify() const;

 private:
  // The walk of resolve() and translate(), with faults counted.
  WalkResult walk_tables(VirtAddr address, Access access, Privilege privilege);
  // From a miss in the first level on; its `accesses` are counted already.
  // `known`: what a walk from the top has just said, where there was one.
  void miss_first(VirtAddr address, Access access, Privilege privilege, const WalkResult* known = nullptr);
  void hit_second(VirtAddr address, Access access, Privilege privilege, PageSize size, TlbData data);
  void fill_first(VirtAddr address, Access access, PageSize size, TlbData data);
  void count_unfiltered(VirtAddr address, Access access);
  void forget_recent();
  void note_most_recent(VirtAddr address);
  void flush_soft();
  void count_flush(FlushReason reason, int64_t pages);
  // The PCID as the TLBs tag it: always 0 on a core without PCIDs.
  bool same_space(Pcid a, Pcid b) const { return ((a.value() ^ b.value()) & ~(isolated_ ? kUserPcidBit : 0)) == 0; }
  // The other PCID of an isolated address space; nothing where it has only one.
  std::optional<Pcid> twin_of(Pcid tag) const {
    if (!isolated_ || !tlbs_has_pcids()) return std::nullopt;
    return Pcid{static_cast<uint16_t>(tag.value() ^ kUserPcidBit)};
  }
  bool tlbs_has_pcids() const { return tlbs_->config().pcid; }
  Pcid tag_of(Pcid pcid) const { return tlbs_->config().pcid ? pcid : Pcid{0}; }

  Ram& ram_;
  const TimingModel& timing_;
  Tracer& tracer_;
  std::unique_ptr<TlbHierarchy> tlbs_;
  std::unique_ptr<UnboundedTlb> unbounded_;
  std::unique_ptr<LargePageFills> large_fills_;
  SoftTlb* soft_ = nullptr;
  MmuObserver* observer_ = nullptr;
  PhysAddr root_{0};
  Pcid pcid_{0};
  VirtAddr lazy_first_{0}, lazy_end_{0};
  Pcid tag_{0};  // tag_of(pcid_)
  WalkResult resolved_;  // what resolve() found last, and for which access
  Access resolved_access_ = Access::Read;
  // The page that each set of a first-level array for 4 KiB pages was used for last: page << 1, plus 1 where it may be written. One more use
  // is a hit and changes nothing under any policy. Several sets may share a slot; a set never has two. (For fetches under FIFO or random
  // replacement: pages that the array holds, of which one slot remembers one.)
  struct RecentPages {
    static constexpr uint64_t kSlots = 64, kNone = UINT64_MAX - 1;
    std::array<uint64_t, kSlots> pages;
    uint64_t mask = 0;
  };
  RecentPages recent_data_, recent_code_;
  bool any_recent_ = true;
  bool modelled_ = true;
  bool soft_follows_l1d_ = false, soft_holds_most_recent_ = false;
  uint64_t uncounted_misses_ = 0;
  // The page used last of each set of the first level whose policy looks at hits; the soft TLB may hold it.
  struct MostRecent {
    VirtAddr page;
    PageSize size = PageSize::k4K;
    Pcid pcid;
    bool valid = false;
  };
  std::vector<MostRecent> most_recent_;
  bool isolated_ = false;
  MmuCounters counters_;
};

}  // namespace vitro::hw
