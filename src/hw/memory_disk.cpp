#include <algorithm>
#include <cstring>
#include <map>

#include "hw/queued_disk.h"

namespace vitro::hw {
namespace {

// Only chunks that were written cost host memory.
constexpr uint64_t kChunkSize = 64 * 1024;

class MemoryDisk final : public QueuedDisk {
 public:
  using QueuedDisk::QueuedDisk;

  Status peek(uint64_t sector, std::span<std::byte> into) const override {
    if (!inside(sector, into.size())) return fail(Errno::IoError);
    for_each_piece(sector * kSectorSize, into.size(), [&](uint64_t chunk, uint64_t offset, uint64_t at, uint64_t n) {
      const auto it = chunks_.find(chunk);
      if (it == chunks_.end())
        std::memset(into.data() + at, 0, n);
      else
        std::memcpy(into.data() + at, it->second.get() + offset, n);
    });
    return {};
  }
  Status poke(uint64_t sector, std::span<const std::byte> from) override {
    if (!inside(sector, from.size())) return fail(Errno::IoError);
    for_each_piece(sector * kSectorSize, from.size(), [&](uint64_t chunk, uint64_t offset, uint64_t at, uint64_t n) {
      std::unique_ptr<std::byte[]>& bytes = chunks_[chunk];
      if (!bytes) bytes = std::make_unique<std::byte[]>(kChunkSize);
      std::memcpy(bytes.get() + offset, from.data() + at, n);
    });
    return {};
  }
  void discard(uint64_t sector, uint64_t sectors) override {
    const uint64_t end_sector = size_ / kSectorSize;
    if (sector >= end_sector) return;
    sectors = std::min(sectors, end_sector - sector);
    const uint64_t first = sector * kSectorSize, last = first + sectors * kSectorSize;
    for (auto it = chunks_.lower_bound(first / kChunkSize); it != chunks_.end() && it->first * kChunkSize < last;) {
      const uint64_t begin = it->first * kChunkSize, end = begin + kChunkSize;
      if (first <= begin && end <= last) {
        it = chunks_.erase(it);
        continue;
      }
      const uint64_t from = std::max(first, begin), to = std::min(last, end);
      std::memset(it->second.get() + (from - begin), 0, to - from);
      ++it;
    }
  }

 private:
  template <class Visit>
  static void for_each_piece(uint64_t position, uint64_t size, Visit visit) {
    for (uint64_t at = 0; at < size;) {
      const uint64_t offset = (position + at) % kChunkSize;
      const uint64_t n = std::min(size - at, kChunkSize - offset);
      visit((position + at) / kChunkSize, offset, at, n);
      at += n;
    }
  }

  std::map<uint64_t, std::unique_ptr<std::byte[]>> chunks_;
};

}  // namespace

std::unique_ptr<Disk> make_memory_disk(std::string name, Bytes size, Clock& clock, const TimingModel& timing) {
  return std::make_unique<MemoryDisk>(std::move(name), size, clock, timing);
}

}  // namespace vitro::hw
