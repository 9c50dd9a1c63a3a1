#include "vitro/hw/disk.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <vector>

#include "vitro/base/rng.h"

namespace vitro::hw {
namespace {

struct MemoryDiskTest : testing::Test {
  TimingModel timing;
  Clock clock{400};
  std::unique_ptr<Disk> disk = make_memory_disk("vda", mib(4), clock, timing);
  std::vector<std::byte> sectors(size_t n, int value) {
    return std::vector<std::byte>(n * Disk::kSectorSize, static_cast<std::byte>(value));
  }
  void run_all() {
    while (clock.next_event()) {
      clock.idle_until(*clock.next_event());
      clock.run_due_events();
    }
  }
};

TEST_F(MemoryDiskTest, DataMovesAtCompletionAndNotBefore) {
  auto out = sectors(2, 0xab), in = sectors(2, 0);
  bool written = false;
  disk->submit_write(7, out, [&](Status s) { written = s.has_value(); });
  EXPECT_EQ(disk->counters().in_flight, 1u);
  ASSERT_TRUE(disk->peek(7, in).has_value());
  EXPECT_EQ(in, sectors(2, 0));
  run_all();
  EXPECT_TRUE(written);
  ASSERT_TRUE(disk->peek(7, in).has_value());
  EXPECT_EQ(in, out);
  EXPECT_EQ(clock.now(), timing.disk_request + timing.disk_per_sector * 2);
}

TEST_F(MemoryDiskTest, RequestsAreServedOneAtATimeInOrder) {
  auto a = sectors(1, 1), b = sectors(8, 2);
  std::vector<std::pair<int, Nanoseconds>> done;
  disk->submit_write(0, a, [&](Status) { done.emplace_back(1, clock.now()); });
  disk->submit_read(0, b, [&](Status) { done.emplace_back(2, clock.now()); });
  run_all();
  const Nanoseconds first = timing.disk_request + timing.disk_per_sector, second = first + timing.disk_request + timing.disk_per_sector * 8;
  ASSERT_EQ(done.size(), 2u);
  EXPECT_EQ(done[0], std::pair(1, first));
  EXPECT_EQ(done[1], std::pair(2, second));
  EXPECT_EQ(b[0], std::byte{1});
  const DiskCounters& c = disk->counters();
  EXPECT_EQ(c.reads, 1u);
  EXPECT_EQ(c.sectors_read, 8u);
  EXPECT_EQ(c.writes, 1u);
  EXPECT_EQ(c.write_time, first);
  EXPECT_EQ(c.read_time, second);
  EXPECT_EQ(c.busy_time, second);
  EXPECT_EQ(c.in_flight, 0u);
}

TEST_F(MemoryDiskTest, RangesBeyondTheEndFailWithIoError) {
  auto two = sectors(2, 0);
  const uint64_t last = mib(4).value() / Disk::kSectorSize - 1;
  EXPECT_EQ(disk->peek(last, two).error(), Errno::IoError);
  EXPECT_EQ(disk->poke(UINT64_MAX, two).error(), Errno::IoError);
  Status result;
  disk->submit_read(last, two, [&](Status s) { result = s; });
  run_all();
  EXPECT_EQ(result.error(), Errno::IoError);
  EXPECT_EQ(disk->counters().reads, 0u);
  auto odd = std::vector<std::byte>(100);
  EXPECT_FALSE(disk->peek(0, odd).has_value());
}

TEST_F(MemoryDiskTest, ACallbackMaySubmitTheNextRequest) {
  auto buffer = sectors(1, 3);
  int done = 0;
  disk->submit_write(0, buffer, [&](Status) {
    ++done;
    disk->submit_read(0, buffer, [&](Status) { ++done; });
  });
  run_all();
  EXPECT_EQ(done, 2);
}

TEST_F(MemoryDiskTest, DestroyingADiskCancelsWhatItHadScheduled) {
  auto buffer = sectors(1, 3);
  disk->submit_write(0, buffer, [](Status) { FAIL(); });
  disk.reset();
  run_all();
}

TEST_F(MemoryDiskTest, AgreesWithAFlatArrayUnderRandomOperations) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    auto d = make_memory_disk("vdb", mib(1), clock, timing);
    std::vector<std::byte> model(mib(1).value());
    for (int i = 0; i < 400; ++i) {
      const uint64_t sector = rng.below(2048), n = 1 + rng.below(std::min<uint64_t>(2048 - sector, 300));
      std::byte* at = model.data() + sector * Disk::kSectorSize;
      const size_t size = n * Disk::kSectorSize;
      switch (rng.below(3)) {
        case 0: {
          const auto data = sectors(n, static_cast<int>(rng.below(256)));
          ASSERT_TRUE(d->poke(sector, data).has_value());
          std::memcpy(at, data.data(), size);
          break;
        }
        case 1:
          d->discard(sector, n);
          std::memset(at, 0, size);
          break;
        case 2: {
          auto data = sectors(n, 0xee);
          ASSERT_TRUE(d->peek(sector, data).has_value());
          ASSERT_EQ(std::memcmp(data.data(), at, size), 0);
          break;
        }
      }
    }
  }
}

}  // namespace
}  // namespace vitro::hw
