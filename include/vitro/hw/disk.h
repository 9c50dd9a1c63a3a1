// A block device: sectors of 512 bytes, a queue and a latency model. Contents are host memory (sparse: only written blocks cost) or a file.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "vitro/base/result.h"
#include "vitro/base/trace.h"
#include "vitro/base/types.h"
#include "vitro/hw/clock.h"
#include "vitro/hw/timing_model.h"

namespace vitro::hw {

struct DiskCounters {  // as /proc/diskstats has them
  uint64_t reads = 0, sectors_read = 0, writes = 0, sectors_written = 0;
  Nanoseconds read_time{0}, write_time{0}, busy_time{0};
  uint64_t in_flight = 0;
  uint64_t flushes = 0;
  Nanoseconds flush_time{0};
};

// Requests that fail, for tests of what happens then: each request that is served fails with this chance, by a generator of its own.
struct DiskFaults {
  double read = 0, write = 0;  // 0 to 1
  uint64_t seed = 1;
};

class Disk {
 public:
  static constexpr uint64_t kSectorSize = 512;
  using Done = std::function<void(Status)>;

  virtual ~Disk() = default;
  virtual const std::string& name() const = 0;  // "vda"
  virtual Bytes size() const = 0;
  // Queues a request; `done` runs from the clock's event queue when it is complete. Data is transferred at completion, piece after piece (a
  // scatter-gather list); the pieces, whole sectors, must live until then. Errors reach `done`: IoError for a range beyond the end or an injected failure.
  using Into = std::vector<std::span<std::byte>>;
  using From = std::vector<std::span<const std::byte>>;
  virtual void submit_read(uint64_t sector, Into into, Done done) = 0;
  virtual void submit_write(uint64_t sector, From from, Done done) = 0;
  void submit_read(uint64_t sector, std::span<std::byte> into, Done done) { submit_read(sector, Into{into}, std::move(done)); }
  void submit_write(uint64_t sector, std::span<const std::byte> from, Done done) { submit_write(sector, From{from}, std::move(done)); }
  // Everything written and completed before this is submitted is safe from power loss once `done` runs (the volatile write cache's flush).
  virtual void submit_flush(Done done) = 0;
  // From now on. Transfers by peek() and poke() never fail this way.
  virtual void set_faults(const DiskFaults& faults) = 0;
  // Untimed access for set-up and inspection. IoError beyond the end.
  virtual Status peek(uint64_t sector, std::span<std::byte> into) const = 0;
  virtual Status poke(uint64_t sector, std::span<const std::byte> from) = 0;
  // Forgets the contents of whole sectors: they read as zero and cost no host memory.
  virtual void discard(uint64_t sector, uint64_t sectors) = 0;
  virtual const DiskCounters& counters() const = 0;
  // Block events from now on, under this device number.
  virtual void set_tracer(Tracer& tracer, uint64_t device) = 0;
};

// A disk whose contents are the host's file `path`, made (sparse) where it does not exist or is empty; locked until the disk is destroyed. `size`:
// what the file must be long; none: what it is, or 16 GiB. Errors: it cannot be opened or locked, or has another size.
Result<std::unique_ptr<Disk>, UserError> open_disk_image(const std::string& path, std::string name, std::optional<Bytes> size, Clock& clock, const TimingModel& timing);
std::unique_ptr<Disk> make_memory_disk(std::string name, Bytes size, Clock& clock, const TimingModel& timing);

}  // namespace vitro::hw
