// A disk's queue, latency and counters, over contents that a subclass keeps.
#pragma once

#include <deque>
#include <optional>
#include <utility>

#include "vitro/base/rng.h"
#include "vitro/hw/disk.h"

namespace vitro::hw {

class QueuedDisk : public Disk {
 public:
  QueuedDisk(std::string name, Bytes size, Clock& clock, const TimingModel& timing)
      : name_(std::move(name)), size_(size.value() / kSectorSize * kSectorSize), clock_(clock), timing_(timing) {}
  ~QueuedDisk() override {
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
  const DiskCounters& counters() const override { return counters_; }
  void set_tracer(Tracer& tracer, uint64_t device) override { tracer_ = &tracer, device_ = device; }

 protected:
  // Whole sectors that lie on the disk.
  bool inside(uint64_t sector, size_t size) const {
    return size % kSectorSize == 0 && sector <= size_ / kSectorSize && size <= size_ - sector * kSectorSize;
  }

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

  static constexpr const char* kRwbs[] = {"R", "W", "F"};

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
    if (tracer_) TRACE(*tracer_, Event::BlockIssue, device_, kRwbs[r.kind], r.size, r.sector, r.size / kSectorSize, tracer_->comm());
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
    if (tracer_) TRACE(*tracer_, Event::BlockComplete, device_, kRwbs[r.kind], r.sector, r.size / kSectorSize, status ? 0 : -static_cast<int64_t>(status.error()));
    if (!queue_.empty()) start_next();
    r.done(status);
  }

  const std::string name_;

 protected:
  const uint64_t size_;

 private:
  Clock& clock_;
  const TimingModel& timing_;
  std::deque<Request> queue_;  // the first is being served
  std::optional<Clock::EventId> running_;
  Nanoseconds started_{0};
  DiskCounters counters_;
  DiskFaults faults_;
  Rng fault_rng_{0};
  Tracer* tracer_ = nullptr;
  uint64_t device_ = 0;
};

}  // namespace vitro::hw
