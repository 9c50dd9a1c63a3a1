#include "vitro/kernel/fd_table.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "vitro/fs/notify.h"

namespace vitro::kernel {
namespace {

// fs/file.c: the table starts in files_struct with 64 entries (NR_OPEN_DEFAULT); a larger one is made of 1024-byte steps, doubled.
constexpr size_t kEmbedded = 64;
constexpr size_t kStep = 1024 / sizeof(void*);

size_t capacity_for(size_t number) {
  if (number < kEmbedded) return kEmbedded;
  return std::bit_ceil(number / kStep + 1) * kStep;
}

}  // namespace

Result<std::shared_ptr<FdTable>> FdTable::create(mm::KernelCaches& caches) {
  auto table = std::make_shared<FdTable>();
  table->caches_ = &caches;
  table->memory_ = TRY(caches.allocate(mm::KernelCache::FilesCache));
  return table;
}

FdTable::~FdTable() { close_all(); }

Result<std::shared_ptr<fs::File>> FdTable::get(int fd) const {
  if (fd < 0 || static_cast<size_t>(fd) >= slots_.size() || !slots_[static_cast<size_t>(fd)].descriptor) return fail(Errno::BadFile);
  return slots_[static_cast<size_t>(fd)].descriptor->file;
}

// The last descriptor of a description is closed here, wherever it was copied to by fork or dup.
FdTable::Descriptor::~Descriptor() {
  fs::notify(*file, file->writable() ? fs::kNotifyCloseWrite : fs::kNotifyCloseNoWrite);
  file->released();
}

// dup gives us the File alone; its other descriptor is one of ours.
std::shared_ptr<FdTable::Descriptor> FdTable::descriptor_of(std::shared_ptr<fs::File> file) const {
  if (file.use_count() > 1)
    for (const Slot& slot : slots_)
      if (slot.descriptor && slot.descriptor->file == file) return slot.descriptor;
  return std::make_shared<Descriptor>(std::move(file));
}

Status FdTable::reserve(size_t number) {
  if (number < slots_.size()) return {};
  const size_t wanted = capacity_for(number);
  if (wanted > capacity_) {
    // The array of pointers and its three bitmaps, in pieces where one is larger than kmalloc's caches (Linux then takes vmalloc).
    std::vector<mm::SlabObject> arrays;
    for (size_t left = wanted * sizeof(void*) + 3 * wanted / 8; left > 0;) {
      const size_t piece = std::min<size_t>(left, 8192);
      arrays.push_back(TRY(caches_->allocate_bytes(Bytes{piece}, mm::Gfp::KernelAccount)));
      left -= piece;
    }
    arrays_ = std::move(arrays);
    capacity_ = wanted;
  }
  slots_.resize(number + 1);
  return {};
}

Result<FdTable::Claim> FdTable::share(int fd) const {
  TRY(get(fd));
  return slots_[static_cast<size_t>(fd)].descriptor;
}

Result<size_t> FdTable::place(uint64_t limit, int from) {
  if (from < 0) return fail(Errno::Invalid);
  size_t fd = std::max(static_cast<size_t>(from), static_cast<size_t>(from) < first_free_ ? first_free_ : 0);
  while (fd < slots_.size() && slots_[fd].descriptor) ++fd;
  if (fd >= std::min<uint64_t>(limit, kMaximum)) return fail(Errno::TooManyFiles);
  TRY(reserve(fd));
  if (static_cast<size_t>(from) <= first_free_) first_free_ = fd + 1;
  return fd;
}

Result<int> FdTable::install(Claim claim, bool close_on_exec, uint64_t limit) {
  const size_t fd = TRY(place(limit, 0));
  slots_[fd] = {std::move(claim), close_on_exec};
  return static_cast<int>(fd);
}

Result<int> FdTable::install(std::shared_ptr<fs::File> file, bool close_on_exec, uint64_t limit, int from) {
  const size_t fd = TRY(place(limit, from));
  auto descriptor = descriptor_of(std::move(file));
  slots_[fd] = {std::move(descriptor), close_on_exec};
  return static_cast<int>(fd);
}

Status FdTable::install_at(int fd, std::shared_ptr<fs::File> file, bool close_on_exec, uint64_t limit) {
  if (fd < 0 || static_cast<uint64_t>(fd) >= std::min<uint64_t>(limit, kMaximum)) return fail(Errno::BadFile);
  TRY(reserve(static_cast<size_t>(fd)));
  auto descriptor = descriptor_of(std::move(file));
  Slot old = std::exchange(slots_[static_cast<size_t>(fd)], Slot{std::move(descriptor), close_on_exec});
  return {};  // `old` goes here, after the new one is in place: closing may wait
}

Status FdTable::close(int fd) {
  if (fd < 0 || static_cast<size_t>(fd) >= slots_.size() || !slots_[static_cast<size_t>(fd)].descriptor) return fail(Errno::BadFile);
  first_free_ = std::min(first_free_, static_cast<size_t>(fd));
  Slot closed = std::exchange(slots_[static_cast<size_t>(fd)], Slot{});
  return {};
}

void FdTable::close_all() {
  // In ascending order, each out of the table before it is closed.
  for (size_t i = 0; i < slots_.size(); ++i) Slot closed = std::exchange(slots_[i], Slot{});
  slots_.clear();
  first_free_ = 0;
}

void FdTable::close_on_exec() {
  for (size_t i = 0; i < slots_.size(); ++i)
    if (slots_[i].descriptor && slots_[i].close_on_exec) (void)close(static_cast<int>(i));
}

Result<bool> FdTable::close_on_exec_flag(int fd) const {
  TRY(get(fd));
  return slots_[static_cast<size_t>(fd)].close_on_exec;
}

Status FdTable::set_close_on_exec(int fd, bool on) {
  TRY(get(fd));
  slots_[static_cast<size_t>(fd)].close_on_exec = on;
  return {};
}

Result<std::shared_ptr<FdTable>> FdTable::copy(mm::KernelCaches& caches) const {
  std::shared_ptr<FdTable> table = TRY(create(caches));
  size_t used = slots_.size();
  while (used > 0 && !slots_[used - 1].descriptor) --used;
  if (used > 0) TRY(table->reserve(used - 1));
  std::copy_n(slots_.begin(), used, table->slots_.begin());
  table->first_free_ = std::min(first_free_, used);
  return table;
}

std::vector<int> FdTable::open_numbers() const {
  std::vector<int> numbers;
  for (size_t i = 0; i < slots_.size(); ++i)
    if (slots_[i].descriptor) numbers.push_back(static_cast<int>(i));
  return numbers;
}

}  // namespace vitro::kernel
