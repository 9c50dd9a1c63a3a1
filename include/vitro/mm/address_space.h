// A process's memory (Linux's mm_struct): its VMAs, its page tables, and everything that changes them.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vitro/base/io.h"
#include "vitro/base/result.h"
#include "vitro/base/types.h"
#include "vitro/base/wait_queue.h"
#include "vitro/hw/fault.h"
#include "vitro/hw/mmu.h"
#include "vitro/mm/lru.h"
#include "vitro/mm/physical_memory.h"
#include "vitro/mm/ports.h"
#include "vitro/mm/vma.h"

namespace vitro::mm {

class Compaction;
class KernelStacks;
class Kmap;
class OomKiller;
class Reclaimer;
class SwapSpace;
class Vmalloc;
class Writeback;

// Whether user mode runs on page tables without the kernel (page-table isolation, arch/x86/mm/pti.c).
enum class Isolation : bool { Off, On };

// What all address spaces share. One per machine.
class VirtualMemory {
 public:
  VirtualMemory(PhysicalMemory& physical, hw::Mmu& mmu, const hw::TimingModel& timing, Tracer& tracer, Isolation isolation = Isolation::Off);
  ~VirtualMemory();

  PhysicalMemory& physical() { return physical_; }
  hw::Mmu& mmu() { return mmu_; }
  const hw::TimingModel& timing() const { return timing_; }
  void set_fault_observer(FaultObserver* o) { observer_ = o; }
  FaultObserver* fault_observer() const { return observer_; }
  void set_verify_level(Verify v) { verify_ = v; }
  Verify verify_level() const { return verify_; }
  Tracer& tracer() { return tracer_; }
  // How a task waits for storage or for another task; null (the default): nothing ever waits, which tests and the boot rely on.
  void set_blocking(Blocking* b) { blocking_ = b; }
  Blocking* blocking() const { return blocking_; }

  // The kernel's own page tables: what CR3 holds while no task's address space is loaded. Every address space shares its kernel half.
  PhysAddr kernel_page_table_root() const;
  // What the kernel maps beside the direct map, in every address space at once.
  Vmalloc& vmalloc();
  Kmap& kmap();
  KernelStacks& kernel_stacks();
  Compaction& compaction();
  bool isolated() const { return isolation_ == Isolation::On; }
  // Where the virtual time goes that memory management takes outside of faults (kmap, compaction); nowhere by default.
  void set_charge(std::function<void(Nanoseconds)> charge);
  void charge(Nanoseconds n) {
    if (charge_ && n.value() != 0) charge_(n);
  }

  Lru& lru();
  Reclaimer& reclaimer();
  // When dirty pages go to storage.
  Writeback& writeback();
  SwapSpace& swap();
  OomKiller& oom();
  // References on an order-0 frame that user memory or a page cache may own: whoever drops the last one takes it off the LRU and frees it.
  // Pair them; what is held while a task waits is counted, so that verify() can tell it from a leak.
  void get_page(Pfn f);
  void put_page(Pfn f);
  // nr_blockdev_pages (Buffers): frames cached for block devices.
  Pages block_device_pages() const;

  std::array<uint64_t, static_cast<size_t>(FaultKind::Count)> faults_by_kind{};
  uint64_t major_faults = 0;  // as tasks count them: pgmajfault has only those that found no page and read it
  // Committed_AS in pages (mm/util.c: vm_committed_as), and the rule of overcommit_memory 0, 1, 2 for `pages` more.
  // `total_vm`: of the space that asks; mode 2 keeps a thirty-second of it, at most 128 MiB, for the user to recover.
  bool may_commit(Pages pages, Pages total_vm = Pages{0});
  void commit(Pages pages);
  void uncommit(Pages pages);
  Pages committed() const { return committed_; }
  int overcommit_memory = 0;
  int overcommit_ratio = 50;
  Pages commit_limit() const;
  int max_map_count = 65530;
  uint64_t overcommit_kbytes = 0;         // vm.overcommit_kbytes; 0: the ratio decides
  Pages swap_total{0};                    // total_swap_pages, kept by the swap space
  uint64_t user_reserve_kbytes = 131072;  // vm.user_reserve_kbytes
  VirtAddr mmap_min_addr{65536};          // vm.mmap_min_addr
  uint64_t readahead_pages = 32;          // the disk's bdi->ra_pages (queue/read_ahead_kb): the window of files opened from now on

  // Checks every address space against frames, rmap, page caches and counters (DESIGN 6: the machine's law). CHECKs.
  void verify(Verify level) const;

  struct State;  // kernel page table, all address spaces, all page caches
  State& state() { return *state_; }

 private:
  PhysicalMemory& physical_;
  hw::Mmu& mmu_;
  const hw::TimingModel& timing_;
  Tracer& tracer_;
  const Isolation isolation_;
  std::function<void(Nanoseconds)> charge_;
  FaultObserver* observer_ = nullptr;
  Blocking* blocking_ = nullptr;
  Verify verify_ = Verify::Off;
  Pages committed_{0};
  std::unique_ptr<State> state_;
};

struct MmapRequest {
  VirtAddr hint{0};
  Bytes length{0};
  VmFlag protection = VmFlag::None;   // Read, Write, Exec
  bool shared = false;
  bool fixed = false, fixed_noreplace = false, grows_down = false, no_reserve = false, populate = false, locked = false;
  bool may_map_low = false;           // CAP_SYS_RAWIO: below vm.mmap_min_addr too
  bool never_writable = false;        // a shared mapping that no mprotect() makes writable (F_SEAL_FUTURE_WRITE)
  std::shared_ptr<MappedFile> file;   // null: anonymous (shared anonymous memory gets a shmem file of its own inside)
  Bytes offset{0};
};

enum class MayWait : bool { No, Yes };
// How a fault counts that gave up the lock to wait and was handled at a later try: as a major one, or, where the kernel asks for a page on its
// own account, as what that later try would be by itself (mm/memory.c: mm_account_fault, FAULT_FLAG_TRIED; mm/gup.c: populate_vma_page_range).
enum class AfterWait : bool { CountsMajor, CountsAfresh };
// Whether mlock reads the pages in or takes them as they come (MLOCK_ONFAULT).
enum class LockWhen : bool { Now, OnFault };

struct FaultOutcome {
  enum class Result : uint8_t { Resolved, WouldWait, SegvMapError, SegvAccessError, BusError, OutOfMemory };
  Result result = Result::Resolved;
  FaultKind kind = FaultKind::Bad;
  bool major = false;
};

// Resource limits that memory calls look at; ~0 = unlimited.
struct MemoryLimits {
  uint64_t stack = 8u << 20, data = ~0ull, address_space = ~0ull, locked = 8u << 20;
};

class AddressSpace {
 public:
  // An empty one: kernel half only. NoMemory.
  static Result<std::unique_ptr<AddressSpace>> create(VirtualMemory& vm);
  ~AddressSpace();  // unmaps everything
  AddressSpace(const AddressSpace&) = delete;

  // mlockall(2), munlockall(2): what is mapped now, and what will be.
  Status mlock_all(bool current, bool future, LockWhen when = LockWhen::Now);
  Status munlock_all();

  // Copies VMAs and tables, shares frames, write-protects private ones in both (mm/memory.c: copy_page_range, dup_mmap).
  Result<std::unique_ptr<AddressSpace>> fork();

  // Each follows the system call of its name, mm/mmap.c, mm/mremap.c, mm/mprotect.c, mm/madvise.c, mm/msync.c, mm/mincore.c, mm/mlock.c.
  Result<VirtAddr> mmap(const MmapRequest& request);
  Status munmap(VirtAddr start, Bytes length);
  // Maps the kernel's pages of each part, one part behind the other, where there is room for all. Returns the address of the first. NoMemory.
  Result<VirtAddr> map_special(std::span<const SpecialMapping* const> parts);
  Status mprotect(VirtAddr start, Bytes length, VmFlag protection);
  Result<VirtAddr> mremap(VirtAddr old_address, Bytes old_length, Bytes new_length, unsigned flags, VirtAddr new_address);
  Status madvise(VirtAddr start, Bytes length, int advice);
  Status msync(VirtAddr start, Bytes length, unsigned flags);
  Status mincore(VirtAddr start, Bytes length, std::vector<uint8_t>& out);
  Status mlock(VirtAddr start, Bytes length, LockWhen when = LockWhen::Now);
  Status munlock(VirtAddr start, Bytes length);
  // brk(2): returns the new break, or the old one where it cannot move.
  VirtAddr brk(VirtAddr requested);

  // Handles one page fault. WouldWait (MayWait::No only): nothing has changed, call again with Yes from a task's kernel stack.
  FaultOutcome handle_fault(VirtAddr address, hw::Access access, hw::Privilege privilege, MayWait may_wait, AfterWait after = AfterWait::CountsMajor);

  // Reads or writes memory of this space whether or not it is current, through the page tables and the fault handler but not the TLBs
  // (mm/memory.c: access_process_vm). Returns how many bytes were copied before the first bad address.
  size_t read_remote(VirtAddr from, std::span<std::byte> to);
  size_t write_remote(VirtAddr to, std::span<const std::byte> from);

  const Vma* find(VirtAddr a) const;                        // the VMA that contains a
  void for_each_vma(const std::function<void(const Vma&)>& visit) const;  // in address order
  size_t vma_count() const;

  // Order of creation in the machine; never used again.
  uint64_t id() const;
  hw::Pcid pcid() const;
  void set_pcid(hw::Pcid p);
  PhysAddr page_table_root() const;
  PhysAddr user_page_table_root() const;  // another one with page-table isolation only

  // Layout, set by exec (for /proc/PID/stat and brk).
  struct Layout {
    VirtAddr start_code, end_code, start_data, end_data, start_brk, brk, start_stack, arg_start, arg_end, env_start, env_end, mmap_base;
  };
  Layout layout{};
  MemoryLimits limits;
  std::shared_ptr<MappedFile> executable;
  std::vector<std::pair<uint64_t, uint64_t>> saved_auxv;

  // Sizes in pages, kept as they change and checked by verify().
  struct Usage {
    uint64_t total_vm = 0, data_vm = 0, exec_vm = 0, stack_vm = 0, locked_vm = 0;
    uint64_t rss_anon = 0, rss_file = 0, rss_shmem = 0, swapents = 0;
    uint64_t hiwater_rss = 0, hiwater_vm = 0;
  uint64_t page_tables = 0;  // frames of PUD, PMD and PTE tables (VmPTE counts bytes of them; the PGD is not counted, as in Linux)
  };
  const Usage& usage() const;
  void reset_hiwater();

  // smaps of one VMA, walked from the tables. Kilobytes as fs/proc/task_mmu.c computes them (pss_shifted has 12 fraction bits, in bytes).
  struct SmapsEntry {
    uint64_t rss = 0, pss_shifted = 0, pss_dirty_shifted = 0, shared_clean = 0, shared_dirty = 0, private_clean = 0, private_dirty = 0, referenced = 0, anonymous = 0,
             lazy_free = 0, anon_huge = 0, shmem_pmd = 0, file_pmd = 0, shared_hugetlb = 0, private_hugetlb = 0, swap = 0, swap_pss_shifted = 0, locked_shifted = 0;  // bytes
  };
  SmapsEntry smaps(const Vma& vma) const;
  // What /proc/PID/numa_maps says of one VMA, in pages (fs/proc/task_mmu.c: gather_stats). The zero page and the kernel's own are not counted.
  struct NumaMapEntry {
    uint64_t pages = 0, anonymous = 0, dirty = 0, active = 0, writeback = 0, swap_cache = 0, most_mapped = 0;
  };
  NumaMapEntry numa_map(const Vma& vma) const;
  // One word of /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst).
  uint64_t pagemap_entry(Vpn page) const;
  // /proc/PID/clear_refs: forgets that pages were used, all, of areas without a file, or of those with one; or that they were written to, which
  // pagemap tells (Documentation/admin-guide/mm/soft-dirty.rst).
  enum class References : uint8_t { All, Anonymous, Mapped };
  void clear_references(References which);
  void clear_soft_dirty();

  VirtualMemory& vm();
  const VirtualMemory& vm() const;
  struct State;
  State& state() { return *state_; }
  const State& state() const { return *state_; }

 private:
  explicit AddressSpace(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// The kernel's access to the current task's memory, through the MMU with the task's rights and the same fault handler (arch/x86/lib/usercopy).
// May wait where a page must be read in, so only from a task's kernel stack.
class UserAccess final : public UserCopy {
 public:
  explicit UserAccess(AddressSpace& space) : space_(space) {}
  Status copy_in(VirtAddr from, std::span<std::byte> to) override;
  Status copy_out(VirtAddr to, std::span<const std::byte> from) override;
  // Copies as much as can be; returns how many bytes (0 when the first is bad).
  size_t copy_in_partial(VirtAddr from, std::span<std::byte> to);
  size_t copy_out_partial(VirtAddr to, std::span<const std::byte> from);
  Status clear(VirtAddr to, size_t n);
  // A zero-terminated string of at most `limit` bytes without the zero. NameTooLong beyond it, Fault.
  Result<std::string> string_in(VirtAddr from, size_t limit);
  // Atomically (no task runs between) compares and exchanges a 32-bit word, for futexes. Returns the old value.
  Result<uint32_t> compare_exchange(VirtAddr at, uint32_t expected, uint32_t desired);

 private:
  AddressSpace& space_;
};

}  // namespace vitro::mm
