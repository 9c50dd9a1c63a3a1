// Readiness through an epoll instance.
#include "syscalls/epoll_file.h"

#include <gtest/gtest.h>

#include <array>

#include "unit/syscalls/fake_files.h"

namespace vitro::syscalls {
namespace {

struct EpollFileTest : testing::Test {
  std::shared_ptr<EpollFile> make() { return std::make_shared<EpollFile>(std::make_shared<FakeInode>(), fs::kOpenReadWrite); }
  size_t collect(EpollFile& e) { return e.collect(events); }
  std::shared_ptr<EpollFile> epoll = make();
  std::shared_ptr<FakeFile> file = std::make_shared<FakeFile>();
  std::array<UserEpollEvent, 8> events{};
};

TEST_F(EpollFileTest, ReportsWhatIsReadyAtTheTimeOfAdding) {
  file->events = fs::kPollIn;
  ASSERT_TRUE(epoll->add(3, file, {fs::kPollIn, 42}, {}));
  ASSERT_EQ(collect(*epoll), 1u);
  EXPECT_EQ(events[0].events, fs::kPollIn);
  EXPECT_EQ(uint64_t{events[0].data}, 42u);
}

TEST_F(EpollFileTest, LevelTriggeredRepeatsUntilItIsOver) {
  ASSERT_TRUE(epoll->add(3, file, {fs::kPollIn, 0}, {}));
  EXPECT_EQ(collect(*epoll), 0u);
  file->raise(fs::kPollIn);
  EXPECT_EQ(collect(*epoll), 1u);
  EXPECT_EQ(collect(*epoll), 1u);
  file->events = 0;
  EXPECT_EQ(collect(*epoll), 0u);
  file->raise(fs::kPollIn);
  EXPECT_EQ(collect(*epoll), 1u);
}

TEST_F(EpollFileTest, EdgeTriggeredReportsEachWakeUpOnce) {
  ASSERT_TRUE(epoll->add(3, file, {fs::kPollIn | kEpollEdge, 0}, {}));
  file->raise(fs::kPollIn);
  EXPECT_EQ(collect(*epoll), 1u);
  EXPECT_EQ(collect(*epoll), 0u);
  file->raise(fs::kPollIn);
  EXPECT_EQ(collect(*epoll), 1u);
}

TEST_F(EpollFileTest, OneShotSleepsUntilItIsModified) {
  ASSERT_TRUE(epoll->add(3, file, {fs::kPollIn | kEpollOneShot, 0}, {}));
  file->raise(fs::kPollIn);
  EXPECT_EQ(collect(*epoll), 1u);
  file->raise(fs::kPollIn);
  EXPECT_EQ(collect(*epoll), 0u);
  ASSERT_TRUE(epoll->modify(3, file, {fs::kPollIn | kEpollOneShot, 0}));
  EXPECT_EQ(collect(*epoll), 1u);
}

TEST_F(EpollFileTest, HangUpIsReportedUnasked) {
  ASSERT_TRUE(epoll->add(3, file, {0, 0}, {}));
  file->raise(fs::kPollHup);
  ASSERT_EQ(collect(*epoll), 1u);
  EXPECT_EQ(events[0].events, fs::kPollHup);
}

TEST_F(EpollFileTest, ManyReadyFilesTakeTurns) {
  std::vector<std::shared_ptr<FakeFile>> files;
  for (int i = 0; i < 12; ++i) {
    files.push_back(std::make_shared<FakeFile>());
    files.back()->events = fs::kPollIn;
    ASSERT_TRUE(epoll->add(i, files.back(), {fs::kPollIn, static_cast<uint64_t>(i)}, {}));
  }
  ASSERT_EQ(collect(*epoll), 8u);
  EXPECT_EQ(uint64_t{events[0].data}, 0u);
  ASSERT_EQ(collect(*epoll), 8u);
  EXPECT_EQ(uint64_t{events[0].data}, 8u) << "those not seen yet come first";
}

TEST_F(EpollFileTest, RefusesWhatLinuxRefuses) {
  EXPECT_EQ(epoll->add(3, std::make_shared<FakeFile>(fs::kRegular | 0600), {1, 0}, {}).error(), Errno::NotPermitted);
  ASSERT_TRUE(epoll->add(3, file, {1, 0}, {}));
  EXPECT_EQ(epoll->add(3, file, {1, 0}, {}).error(), Errno::Exists);
  EXPECT_TRUE(epoll->add(4, file, {1, 0}, {})) << "the same file by another number";
  EXPECT_EQ(epoll->remove(5, file).error(), Errno::NoEntry);
  EXPECT_TRUE(epoll->remove(3, file));
  EXPECT_EQ(epoll->modify(3, file, {1, 0}).error(), Errno::NoEntry);
  EXPECT_EQ(epoll->add(6, epoll, {1, 0}, {}).error(), Errno::Invalid);
}

TEST_F(EpollFileTest, InstancesNestButNotInCircles) {
  const auto outer = make();
  ASSERT_TRUE(epoll->add(3, file, {fs::kPollIn, 0}, {}));
  ASSERT_TRUE(outer->add(4, epoll, {fs::kPollIn, 7}, {}));
  EXPECT_EQ(epoll->add(5, outer, {fs::kPollIn, 0}, {}).error(), Errno::SymlinkLoop);
  EXPECT_EQ(collect(*outer), 0u);
  file->raise(fs::kPollIn);
  ASSERT_EQ(collect(*outer), 1u);
  EXPECT_EQ(uint64_t{events[0].data}, 7u);
}

TEST_F(EpollFileTest, ClosedFilesDropOut) {
  ASSERT_TRUE(epoll->add(3, file, {fs::kPollIn, 0}, {}));
  file->raise(fs::kPollIn);
  file.reset();
  EXPECT_EQ(collect(*epoll), 0u);
  file = std::make_shared<FakeFile>();
  EXPECT_TRUE(epoll->add(3, file, {fs::kPollIn, 0}, {}));
  EXPECT_EQ(epoll->interests(), 1u);
}

TEST_F(EpollFileTest, OutlivesAndIsOutlivedByItsFiles) {
  ASSERT_TRUE(epoll->add(3, file, {fs::kPollIn, 0}, {}));
  epoll.reset();
  file->raise(fs::kPollIn);
  EXPECT_TRUE(file->queue.empty());
}

}  // namespace
}  // namespace vitro::syscalls
