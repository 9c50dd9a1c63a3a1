// Collects a profile: told of every TLB miss and every page fault, it finds out who caused it.
//
// Pages, areas and instructions are filed as they come, by numbers; names and disassembly are made when a report is asked for. What may be
// gone by then (an area, a file's symbols, the bytes of an instruction) is kept at first sight.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernel/state.h"
#include "vitro/hw/mmu.h"
#include "vitro/kernel/profile.h"
#include "vitro/mm/ports.h"

namespace vitro::kernel {

class Profiler final : public hw::MmuObserver {
 public:
  explicit Profiler(Kernel::State& state) : state_(state) {}

  void tlb_missed(const hw::TlbMiss& miss) override;
  // After the fault was handled. Bad ones are no page faults in Linux's counts and not in these.
  void fault_handled(const mm::FaultReport& report);

  ProfileReport report(size_t top) const;

 private:
  struct TaskEntry {
    Pid tid;
    std::string comm;
    ProfileCounts counts;
  };
  struct AreaEntry {
    Pid pid;
    std::string comm, name;
    VirtAddr start, end;
    mm::VmFlag flags{};
    ProfileCounts counts;
  };
  struct PageKey {
    uint64_t space, page;  // page: its address, with the size in the low bits
    bool operator==(const PageKey&) const = default;
  };
  struct InstructionKey {
    uint64_t object, offset;  // object: an index of objects_, or kAnonymous and the space
    bool operator==(const InstructionKey&) const = default;
  };
  struct KeyHash {
    size_t operator()(const PageKey& k) const { return mix(k.page ^ k.space * 0x9e37'79b9'7f4a'7c15); }
    size_t operator()(const InstructionKey& k) const { return mix(k.offset ^ k.object * 0x9e37'79b9'7f4a'7c15); }
    static size_t mix(uint64_t x) { return (x ^ x >> 32) * 0xff51'afd7'ed55'8ccd >> 7; }
  };
  struct PageEntry {
    uint32_t area = 0;
    ProfileCounts counts;
  };
  struct InstructionEntry {
    VirtAddr address;                  // where it was seen first
    std::array<std::byte, 15> code{};
    uint8_t code_size = 0;
    ProfileCounts counts;
  };
  struct Object {
    std::string name;                  // the last part of its path
    const FileSymbols* symbols;
  };
  // Where one miss or fault is filed.
  struct Place {
    TaskEntry* task;
    AreaEntry* area;
    PageEntry* page;                // null: beyond kMaximumPages
    InstructionEntry* instruction;  // null: instructions are not known
  };
  static constexpr uint64_t kAnonymous = uint64_t{1} << 63, kKernelCode = UINT64_MAX;
  static constexpr size_t kMaximumPages = 1 << 23;

  Place place(VirtAddr address, hw::Access access, hw::Privilege privilege, hw::PageSize size, bool in_cpu, mm::AddressSpace* space);
  void file(const Place& p, const ProfileCounts& c);
  TaskEntry& task_entry();
  AreaEntry& area_entry(mm::AddressSpace* space, const mm::Vma* v);
  PageEntry* page_entry(uint64_t space, VirtAddr page, hw::PageSize size);
  InstructionEntry& instruction_entry(mm::AddressSpace* space, VirtAddr ip);
  uint64_t object_of(mm::AddressSpace& space, const mm::Vma& v);
  std::string location(const InstructionKey& key, const InstructionEntry& e, std::string* object, std::string* symbol) const;

  Kernel::State& state_;
  ProfileCounts total_, beyond_;
  std::map<uint64_t, TaskEntry> tasks_;  // by Task::scheduling.order; 0: no task
  uint64_t last_task_ = 0;
  TaskEntry* last_task_entry_ = nullptr;
  std::map<uint64_t, uint32_t> area_numbers_;  // by Vma::id; 0: no area
  std::vector<AreaEntry> areas_;
  std::unordered_map<PageKey, PageEntry, KeyHash> pages_;
  std::unordered_map<InstructionKey, InstructionEntry, KeyHash> instructions_;
  std::vector<Object> objects_;
  std::map<std::array<uint64_t, 2>, uint64_t> object_numbers_;  // by device and inode
};

}  // namespace vitro::kernel
