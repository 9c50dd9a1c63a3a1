#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <utility>

#include "vitro/base/check.h"
#include "vitro/base/rng.h"
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
  using Disk::submit_read, Disk::submit_write;
  void submit_read(uint64_t sector, Into into, Done done) override {
    const size_t size = total(into);
    submit({.sector = sector, .into = std::move(into), .size = size, .done = std::move(done)});
  }
  void submit_write(uint64_t sector, From from, Done done) override {
    const size_t size = total(from);
    submit({.kind = Request::Write, .sector = sector, .from = std::move(from), .size = size, .done = std::move(done)});
  }
  void submit_flush(Done done) override { submit({.kind = Request::Flush, .done = std::move(done)}); }
  void set_faults(const DiskFaults& faults) override {
    faults_ = faults;
    fault_rng_ = Rng(faults.seed ^ 0x6661756c74);
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
    enum Kind : uint8_t { Read, Write, Flush } kind = Read;
    uint64_t sector = 0;
    Into into;
    From from;
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

  static size_t total(const auto& pieces) {
    size_t n = 0;
    for (const auto& piece : pieces) n += piece.size();
    return n;
  }
  bool injected(Request::Kind kind) {
    const double rate = kind == Request::Read ? faults_.read : kind == Request::Write ? faults_.write : 0;
    return rate > 0 && static_cast<double>(fault_rng_.next() >> 11) * 0x1p-53 < rate;
  }
  Status transfer(const Request& r) {
    if (r.kind == Request::Flush) return {};
    if (!inside(r.sector, r.size) || injected(r.kind)) return fail(Errno::IoError);
    uint64_t sector = r.sector;
    for (const auto& piece : r.into) {
      TRY(peek(sector, piece));
      sector += piece.size() / kSectorSize;
    }
    for (const auto& piece : r.from) {
      TRY(poke(sector, piece));
      sector += piece.size() / kSectorSize;
    }
    return {};
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
    const Status status = transfer(r);
    if (r.kind == Request::Flush) {
      ++counters_.flushes;
      counters_.flush_time += now - r.submitted;
    } else if (status) {
      const bool write = r.kind == Request::Write;
      (write ? counters_.writes : counters_.reads) += 1;
      (write ? counters_.sectors_written : counters_.sectors_read) += r.size / kSectorSize;
      (write ? counters_.write_time : counters_.read_time) += now - r.submitted;
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
  DiskFaults faults_;
  Rng fault_rng_{0};
};

}  // namespace

std::unique_ptr<Disk> make_memory_disk(std::string name, Bytes size, Clock& clock, const TimingModel& timing) {
  return std::make_unique<MemoryDisk>(std::move(name), size, clock, timing);
}

}  // namespace vitro::hw
