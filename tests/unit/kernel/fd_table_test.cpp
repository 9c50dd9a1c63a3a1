#include "vitro/kernel/fd_table.h"

#include <gtest/gtest.h>

#include <map>

#include "vitro/base/rng.h"

namespace vitro::kernel {
namespace {

// Counts what is asked of it; gives empty objects.
class CountingCaches final : public mm::KernelCaches {
 public:
  Result<mm::SlabObject> allocate(mm::KernelCache, mm::Gfp) override {
    return limit-- > 0 ? Result<mm::SlabObject>(mm::SlabObject{}) : fail(Errno::NoMemory);
  }
  Result<mm::SlabObject> allocate_bytes(Bytes, mm::Gfp) override {
    return limit-- > 0 ? Result<mm::SlabObject>(mm::SlabObject{}) : fail(Errno::NoMemory);
  }
  int limit = 1 << 30;
};

class TestFile final : public fs::File {
 public:
  explicit TestFile(int* released) : File(nullptr, fs::kOpenReadWrite), released_(released) {}
  void released() override { ++*released_; }

 private:
  int* released_;
};

class FdTableTest : public testing::Test {
 protected:
  CountingCaches caches;
  std::shared_ptr<FdTable> table = *FdTable::create(caches);
  int released = 0;
  std::shared_ptr<fs::File> file() { return std::make_shared<TestFile>(&released); }
};

TEST_F(FdTableTest, InstallsAtTheLowestFreeNumber) {
  for (int i = 0; i < 5; ++i) EXPECT_EQ(table->install(file(), false, 1024), i);
  ASSERT_TRUE(table->close(1));
  ASSERT_TRUE(table->close(3));
  EXPECT_EQ(table->install(file(), false, 1024, 2), 3);
  EXPECT_EQ(table->install(file(), false, 1024), 1);
  EXPECT_EQ(table->install(file(), false, 1024), 5);
  EXPECT_EQ(table->install(file(), false, 1024, 100), 100);
  EXPECT_EQ(table->install(file(), false, 1024), 6);
}

TEST_F(FdTableTest, RespectsTheLimit) {
  EXPECT_EQ(table->install(file(), false, 2), 0);
  EXPECT_EQ(table->install(file(), false, 2), 1);
  EXPECT_EQ(table->install(file(), false, 2).error(), Errno::TooManyFiles);
  EXPECT_EQ(table->install_at(2, file(), false, 2).error(), Errno::BadFile);
  EXPECT_EQ(table->install_at(-1, file(), false, 2).error(), Errno::BadFile);
}

TEST_F(FdTableTest, ReleasesWhenTheLastDescriptorOfADescriptionCloses) {
  auto f = file();
  ASSERT_EQ(table->install(f, false, 1024), 0);
  ASSERT_EQ(table->install(*table->get(0), false, 1024), 1);  // dup
  auto child = *table->copy(caches);                          // fork
  ASSERT_TRUE(table->close(0));
  ASSERT_TRUE(table->close(1));
  EXPECT_EQ(released, 0);
  ASSERT_TRUE(child->close(0));
  EXPECT_EQ(released, 0);
  child.reset();
  EXPECT_EQ(released, 1);
  EXPECT_TRUE(f) << "a mapping may live on";
}

TEST_F(FdTableTest, ClosesOnExecOnlyWhatIsMarked) {
  ASSERT_EQ(table->install(file(), true, 1024), 0);
  ASSERT_EQ(table->install(file(), false, 1024), 1);
  ASSERT_EQ(table->install(file(), false, 1024), 2);
  ASSERT_TRUE(table->set_close_on_exec(2, true));
  table->close_on_exec();
  EXPECT_EQ(table->open_numbers(), std::vector<int>{1});
  EXPECT_EQ(released, 2);
}

TEST_F(FdTableTest, CapacityGrowsAsFdSizeDoes) {
  EXPECT_EQ(table->capacity(), 64u);
  ASSERT_TRUE(table->install(file(), false, 4096, 64));
  EXPECT_EQ(table->capacity(), 128u);
  ASSERT_TRUE(table->install(file(), false, 4096, 128));
  EXPECT_EQ(table->capacity(), 256u);
  ASSERT_TRUE(table->install(file(), false, 4096, 1000));
  EXPECT_EQ(table->capacity(), 1024u);
  EXPECT_EQ((*table->copy(caches))->capacity(), 1024u);
}

TEST_F(FdTableTest, NoMemoryLeavesItAsItWas) {
  caches.limit = 0;
  EXPECT_EQ(FdTable::create(caches).error(), Errno::NoMemory);
  EXPECT_EQ(table->install(file(), false, 4096, 500).error(), Errno::NoMemory);
  EXPECT_EQ(released, 0) << "it was never installed";
  EXPECT_EQ(table->install(file(), false, 4096), 0);
}

TEST_F(FdTableTest, BehavesLikeAMap) {
  constexpr uint64_t kSeed = 99;
  Rng rng(kSeed);
  std::map<int, fs::File*> model;
  for (int step = 0; step < 5000; ++step) {
    SCOPED_TRACE(testing::Message() << "seed " << kSeed << " step " << step);
    const int fd = static_cast<int>(rng.below(90));
    auto f = file();
    switch (rng.below(4)) {
      case 0: {
        int expected = fd;
        while (model.contains(expected)) ++expected;
        const auto got = table->install(f, false, 80, fd);
        if (expected >= 80) {
          ASSERT_EQ(got.error(), Errno::TooManyFiles);
        } else {
          ASSERT_EQ(got, expected);
          model[expected] = f.get();
        }
        break;
      }
      case 1:
        if (fd < 80) {
          ASSERT_TRUE(table->install_at(fd, f, false, 80));
          model[fd] = f.get();
        }
        break;
      case 2:
        ASSERT_EQ(table->close(fd).has_value(), model.erase(fd) == 1);
        break;
      default: {
        const auto got = table->get(fd);
        ASSERT_EQ(got ? got->get() : nullptr, model.contains(fd) ? model[fd] : nullptr);
      }
    }
    ASSERT_EQ(table->open_numbers().size(), model.size());
  }
}

}  // namespace
}  // namespace vitro::kernel
