// File descriptors of a process (files_struct): number -> open file description.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "vitro/base/result.h"
#include "vitro/fs/file.h"
#include "vitro/mm/kernel_object.h"

namespace vitro::kernel {

class FdTable {
 public:
  static Result<std::shared_ptr<FdTable>> create(mm::KernelCaches& caches);
  ~FdTable();
  // BadFile where it is not open.
  Result<std::shared_ptr<fs::File>> get(int fd) const;
  // A claim on an open description, as a descriptor is one: the description counts as open until the last claim goes (descriptors in flight).
  struct Descriptor {
    explicit Descriptor(std::shared_ptr<fs::File> f) : file(std::move(f)) {}
    ~Descriptor();
    std::shared_ptr<fs::File> file;
  };
  using Claim = std::shared_ptr<Descriptor>;
  Result<Claim> share(int fd) const;
  Result<int> install(Claim claim, bool close_on_exec, uint64_t limit);
  // The lowest free number >= `from` and < limit. TooManyFiles.
  Result<int> install(std::shared_ptr<fs::File> file, bool close_on_exec, uint64_t limit, int from = 0);
  // dup2: whatever was there is closed first.
  Status install_at(int fd, std::shared_ptr<fs::File> file, bool close_on_exec, uint64_t limit);
  Status close(int fd);
  void close_all();
  void close_on_exec();
  Result<bool> close_on_exec_flag(int fd) const;
  Status set_close_on_exec(int fd, bool on);
  // A copy with the same descriptions, for fork. NoMemory, TooManyFiles.
  Result<std::shared_ptr<FdTable>> copy(mm::KernelCaches& caches) const;
  std::vector<int> open_numbers() const;  // ascending
  size_t capacity() const { return capacity_; }   // FDSize

 private:
  static constexpr size_t kMaximum = 1 << 20;   // fs.nr_open
  struct Slot {
    std::shared_ptr<Descriptor> descriptor;     // null: free
    bool close_on_exec = false;
  };
  Result<size_t> place(uint64_t limit, int from);   // the lowest free number, which is then taken
  Status reserve(size_t number);                // makes room for slot `number`
  std::shared_ptr<Descriptor> descriptor_of(std::shared_ptr<fs::File> file) const;

  mm::KernelCaches* caches_ = nullptr;
  std::vector<Slot> slots_;
  size_t first_free_ = 0;                       // no free slot below it
  size_t capacity_ = 64;
  mm::SlabObject memory_;                       // its files_struct
  std::vector<mm::SlabObject> arrays_;          // its fdtable beyond the 64 embedded entries
};

}  // namespace vitro::kernel
