#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <utility>

#include "vitro/base/check.h"
#include "vitro/hw/disk.h"

namespace vitro::hw {
namespace {

// Only chunks that were written cost host memory.
constexpr uint64_t kChunkSize = 64 * 1024;

class MemoryDisk final : public Disk {
 public:
  MemoryDisk(std::string name, Bytes size, Clock& clock, const TimingModel& timing)
      : name_(std::move(name)), size_(size.value() / kSectorSize * kSectorSize), clock_(clock), timing_(timing) {}
  ~MemoryDisk() override {
    if (running_) clock_.cancel(*running_);
  }

  const std::string& name() const override { return name_; }
  Bytes size() const override { return Bytes{size_}; }
  void submit_read(uint64_t sector, std::span<std::byte> into, Done done) override {
    submit({.sector = sector, .into = into, .size = into.size(), .done = std::move(done)});
  }
  void submit_write(uint64_t sector, std::span<const std::byte> from, Done done) override {
    submit({.write = true, .sector = sector, .from = from, .size = from.size(), .done = std::move(done)});
  }
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
  const DiskCounters& counters() const override { return counters_; }

 private:
  struct Request {
    bool write = false;
    uint64_t sector = 0;
    std::span<std::byte> into;
    std::span<const std::byte> from;
    size_t size = 0;
    Done done;
    Nanoseconds submitted{0};
  };

  // Whole sectors that lie on the disk.
  bool inside(uint64_t sector, size_t size) const {
    return size % kSectorSize == 0 && sector <= size_ / kSectorSize && size <= size_ - sector * kSectorSize;
  }
  template <class Visit>
  static void for_each_piece(uint64_t position, uint64_t size, Visit visit) {
    for (uint64_t at = 0; at < size;) {
      const uint64_t offset = (position + at) % kChunkSize;
      const uint64_t n = std::min(size - at, kChunkSize - offset);
      visit((position + at) / kChunkSize, offset, at, n);
      at += n;
    }
  }

  void submit(Request r) {
    r.submitted = clock_.now();
    ++counters_.in_flight;
    queue_.push_back(std::move(r));
    if (!running_) start_next();
  }
  // One request at a time, first come, first served.
  void start_next() {
    const Request& r = queue_.front();
    const Nanoseconds cost = timing_.disk_request + timing_.disk_per_sector * (r.size / kSectorSize);
    started_ = clock_.now();
    running_ = clock_.schedule(started_ + cost, [this] { complete(); });
  }
  void complete() {
    const Request r = std::move(queue_.front());
    queue_.pop_front();
    running_.reset();
    const Nanoseconds now = clock_.now();
    counters_.busy_time += now - started_;
    --counters_.in_flight;
    const Status status = r.write ? poke(r.sector, r.from) : peek(r.sector, r.into);
    if (status) {
      (r.write ? counters_.writes : counters_.reads) += 1;
      (r.write ? counters_.sectors_written : counters_.sectors_read) += r.size / kSectorSize;
      (r.write ? counters_.write_time : counters_.read_time) += now - r.submitted;
    }
    if (!queue_.empty()) start_next();
    r.done(status);
  }

  const std::string name_;
  const uint64_t size_;
  Clock& clock_;
  const TimingModel& timing_;
  std::map<uint64_t, std::unique_ptr<std::byte[]>> chunks_;
  std::deque<Request> queue_;  // the first is being served
  std::optional<Clock::EventId> running_;
  Nanoseconds started_{0};
  DiskCounters counters_;
};

}  // namespace

std::unique_ptr<Disk> make_memory_disk(std::string name, Bytes size, Clock& clock, const TimingModel& timing) {
  return std::make_unique<MemoryDisk>(std::move(name), size, clock, timing);
}

}  // namespace vitro::hw
