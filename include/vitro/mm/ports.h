// What the memory manager needs from the layers above it.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "vitro/base/result.h"
#include "vitro/base/types.h"
#include "vitro/hw/fault.h"

namespace vitro::mm {

class PageCache;
class AddressSpace;

// Below a PageCache: where a file's pages come from and go to. Implemented by file systems.
class FileBacking {
 public:
  virtual ~FileBacking() = default;
  // Fills `page` (whole pages, consecutive, from `first`) from storage; bytes beyond the end of the file are zero. May wait.
  virtual Status read_pages(PageIndex first, std::span<const std::span<std::byte>> pages) = 0;
  // Writes one page to storage; only bytes below the file's size matter. May wait. NoSpace, IoError.
  virtual Status write_page(PageIndex index, std::span<const std::byte> page) = 0;
  // The file's size now.
  virtual Bytes size() const = 0;
};

// An open file, as a mapping sees it. Implemented by fs::File; a Vma keeps it alive.
class MappedFile {
 public:
  virtual ~MappedFile() = default;
  virtual PageCache& page_cache() = 0;
  // For /proc/PID/maps: device, inode, path (" (deleted)" included where it is).
  virtual uint64_t device_number() const = 0;
  virtual uint64_t inode_number() const = 0;
  virtual std::string mapped_path() const = 0;
  virtual bool opened_for_write() const = 0;
  virtual bool opened_for_read() const = 0;
};

// One page fault that was handled, whoever caused it.
enum class FaultKind : uint8_t { Anon, Zero, File, Cow, Swap, Stack, Bad, Spurious, Count };
const char* fault_kind_name(FaultKind k);  // "anon", "zero", "file", "cow", "swap", "stack", "bad", "spurious"

struct FaultReport {
  VirtAddr address;
  uint32_t error_code = 0;
  hw::Access access = hw::Access::Read;
  hw::Privilege privilege = hw::Privilege::User;  // Supervisor: the kernel touched user memory
  FaultKind kind = FaultKind::Bad;
  bool major = false;        // waited for storage
  Pfn pfn;                   // the frame mapped, where one was
  Nanoseconds cost{0};       // by the cost table
  AddressSpace* space = nullptr;
};

// Told of every fault after it was handled: charges time and the task's counters, writes the trace. Implemented by the kernel.
class FaultObserver {
 public:
  virtual ~FaultObserver() = default;
  virtual void fault_handled(const FaultReport& report) = 0;
};

}  // namespace vitro::mm
