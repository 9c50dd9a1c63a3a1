// What the memory manager needs from the layers above it.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "vitro/base/result.h"
#include "vitro/base/types.h"
#include "vitro/hw/fault.h"

namespace vitro::mm {

class PageCache;
class AddressSpace;
struct ReadaheadWindow;

// Below a PageCache: where a file's pages come from and go to. Implemented by file systems.
class FileBacking {
 public:
  using Done = std::function<void(Status)>;
  using Into = std::span<const std::span<std::byte>>;
  using From = std::span<const std::span<const std::byte>>;

  virtual ~FileBacking() = default;
  // Begins to fill `pages` (whole pages, consecutive, from `first`) from storage; bytes beyond the end of the file are zero. `done` runs exactly
  // once when they are filled or could not be: from the clock's event queue, or before this returns where nothing takes time. What the spans refer
  // to must live until then, the list of spans only until this returns. May wait (for metadata, for room in the disk's queue).
  virtual void read_pages(PageIndex first, Into pages, Done done) = 0;
  // Begins to write, likewise; only bytes below the file's size matter. NoSpace, IoError.
  virtual void write_pages(PageIndex first, From pages, Done done) = 0;
  // A page is about to be written through a mapping: takes the storage it needs. NoSpace: the writer gets SIGBUS. Never waits (page_mkwrite).
  virtual Status reserve_page_of(PageIndex index) { return {}; }
  // The file's size now.
  virtual Bytes size() const = 0;
  // Keeps the file, and with it its PageCache, for as long as the result lives. Null: it cannot go away while its pages are being written.
  virtual std::shared_ptr<void> hold() { return nullptr; }
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
  // msync(MS_SYNC): writes what is dirty in [from, to) and what is needed to find it again, and waits. The error of an earlier write, once.
  virtual Status sync_mapped(Bytes from, Bytes to);
  // How its reader has read so far; faults count as reading. The file's own where nobody has opened it.
  virtual ReadaheadWindow& readahead_window();
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
