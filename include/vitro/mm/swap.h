// Swap: where anonymous memory and shared memory go when it is short (mm/swapfile.c, mm/swap_state.c, mm/page_io.c).
//
//   vm.swap().swap_on({.path = "/dev/vdb", .disk = &disk, .extents = {...}, .partition = true}, header, std::nullopt);
//
// A slot is one page of a swap area. Page-table entries of swapped pages name it; so do the slots of shared memory's page caches. A page that
// is being written or was just read is in the swap cache too, found by its slot.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vitro/base/result.h"
#include "vitro/base/types.h"
#include "vitro/hw/disk.h"

namespace vitro::mm {

class VirtualMemory;

// One slot: area and page in it (include/linux/swapops.h: swp_entry_t). `value` 0 is none: page 0 of an area holds its header.
struct SwapSlot {
  uint64_t value = 0;
  SwapSlot() = default;
  explicit SwapSlot(uint64_t raw) : value(raw) {}
  SwapSlot(unsigned area, uint64_t offset) : value(uint64_t{area} << 58 | offset) {}
  unsigned area() const { return static_cast<unsigned>(value >> 58); }
  uint64_t offset() const { return value & ((uint64_t{1} << 58) - 1); }
  explicit operator bool() const { return value != 0; }
  bool operator==(const SwapSlot&) const = default;
};

// Where pages [first, first + count) of an area lie.
struct SwapExtent {
  uint64_t first = 0, count = 0, sector = 0;
};

// What swapon(2) found: a block device or a file without holes.
struct SwapSource {
  std::string path;                  // as /proc/swaps shows it
  hw::Disk* disk = nullptr;
  std::vector<SwapExtent> extents;   // in order; they cover the whole area
  bool partition = false;            // a block device
  uint64_t identity = 0;             // tells whether two paths are the same file
  std::shared_ptr<void> keep;        // what must not go away while it is in use
};

struct SwapAreaState {
  std::string path;
  bool partition = false;
  Bytes size{0}, used{0};
  int priority = 0;
};

class SwapSpace {
 public:
  explicit SwapSpace(VirtualMemory& vm);
  ~SwapSpace();

  // swapon(2). `header`: the area's first page. `priority`: nullopt, the next lower negative one. Invalid: no signature of a kind that Linux 6.1
  // accepts, or too small; Busy: in use; NotPermitted: too many areas; NoMemory.
  Status swap_on(SwapSource source, std::span<const std::byte> header, std::optional<int> priority);
  // swapoff(2): brings everything back. Invalid: no such area; NoMemory: it does not fit; Interrupted: a signal. May wait.
  Status swap_off(uint64_t identity);
  bool uses(uint64_t identity) const;
  std::vector<SwapAreaState> areas() const;   // by priority, as /proc/swaps lists them

  Pages free_slots() const;   // nr_swap_pages
  Pages total() const;        // total_swap_pages
  Pages cached() const;       // nr_swapcached
  // Less than half is free: slots of pages that are in memory are given up (vm_swap_full).
  bool nearly_full() const { return free_slots().value() * 2 < total().value(); }

  unsigned page_cluster = 3;  // vm.page-cluster: 2^n pages are read at once
  // mkswap's signature for an area of `pages`, for the machine's own.
  static std::vector<std::byte> make_header(Pages pages);

  // Recounts who uses which slot. CHECKs.
  void verify() const;

  struct State;
  State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

}  // namespace vitro::mm
