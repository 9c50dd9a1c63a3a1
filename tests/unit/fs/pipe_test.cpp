#include "fs/pipe.h"

#include <deque>

#include "unit/fs/fs_rig.h"
#include "vitro/base/rng.h"

namespace vitro::fs::test {
namespace {

class PipeTest : public FsRig {
 protected:
  PipeTest() {
    mount_overlay();
    auto ends = *vfs_->make_pipe(kOpenNonBlock);
    reader = std::move(ends.first), writer = std::move(ends.second);
  }
  Errno read_error(File& f) {
    std::byte b;
    BufferSink sink({&b, 1});
    return error_of(f.read(1, sink, task_));
  }
  std::shared_ptr<File> reader, writer;
};

TEST_F(PipeTest, CarriesBytesInOrder) {
  EXPECT_EQ(read_error(*reader), Errno::Again);
  ASSERT_EQ(*write(*writer, "hello "), 6u);
  ASSERT_EQ(*write(*writer, "world"), 5u);
  EXPECT_EQ(read(*reader, 8), "hello wo");
  EXPECT_EQ(read(*reader), "rld");
  EXPECT_TRUE(reader->mapped_path().starts_with("pipe:["));
  EXPECT_EQ(error_of(reader->seek(0, 0)), Errno::IllegalSeek);
}

TEST_F(PipeTest, HoldsSixteenFramesOfMemory) {
  const uint64_t before = frames(mm::FrameState::Pipe);
  EXPECT_EQ(*write(*writer, std::string(100000, 'x')), 65536u);
  EXPECT_EQ(frames(mm::FrameState::Pipe), before + 16);
  EXPECT_EQ(error_of(write(*writer, "y")), Errno::Again);
  EXPECT_EQ(writer->poll(nullptr) & kPollOut, 0u);
  EXPECT_EQ(read(*reader).size(), 65536u);
  EXPECT_EQ(frames(mm::FrameState::Pipe), before);
  EXPECT_EQ(*reader->pipe_size(), 65536u);
  EXPECT_EQ(*writer->set_pipe_size(5000, false), 8192u);
  EXPECT_EQ(*write(*writer, std::string(100000, 'x')), 8192u);
  EXPECT_EQ(error_of(writer->set_pipe_size(1, false)), Errno::Busy);
  EXPECT_EQ(error_of(writer->set_pipe_size(2 << 20, false)), Errno::NotPermitted);
  EXPECT_EQ(*writer->set_pipe_size(2 << 20, true), 2u << 20);
}

TEST_F(PipeTest, WritesUpToAPageAreNeverSplit) {
  ASSERT_EQ(*write(*writer, std::string(15 * 4096 + 100, 'x')), 15u * 4096 + 100);
  EXPECT_EQ(error_of(write(*writer, std::string(4096, 'y'))), Errno::Again);  // 3996 bytes are left, but not whole
  EXPECT_EQ(*write(*writer, std::string(3996, 'y')), 3996u);
}

TEST_F(PipeTest, TellsOfEndAndBrokenEnds) {
  ASSERT_TRUE(write(*writer, "last"));
  writer.reset();
  EXPECT_EQ(reader->poll(nullptr) & (kPollIn | kPollHup), kPollIn | kPollHup);
  EXPECT_EQ(read(*reader), "last");
  EXPECT_EQ(read(*reader), "");
  auto ends = *vfs_->make_pipe(0);
  ends.first->released();
  EXPECT_EQ(error_of(write(*ends.second, "x")), Errno::BrokenPipe);
  EXPECT_EQ(ends.second->poll(nullptr) & kPollErr, kPollErr);
}

TEST_F(PipeTest, AWaitingReaderIsWokenByAWriterAndByTheEnd) {
  auto ends = *vfs_->make_pipe(0);
  task_.while_waiting = [&] { ASSERT_TRUE(write(*ends.second, "late")); };
  EXPECT_EQ(read(*ends.first), "late");
  task_.while_waiting = [&] { ends.second.reset(); };
  EXPECT_EQ(read(*ends.first), "");
}

TEST_F(PipeTest, AWaitingWriterGoesOnWhenThereIsRoom) {
  auto ends = *vfs_->make_pipe(0);
  std::string got;
  task_.while_waiting = [&] { got = read(*ends.first); };
  EXPECT_EQ(*write(*ends.second, std::string(70000, 'w')), 70000u);
  EXPECT_EQ(got.size(), 65536u);
  EXPECT_EQ(read(*ends.first).size(), 70000u - 65536u);
  task_.while_waiting = [&] { ends.first.reset(); };
  EXPECT_EQ(*write(*ends.second, std::string(70000, 'w')), 65536u);
  EXPECT_EQ(error_of(write(*ends.second, "x")), Errno::BrokenPipe);
}

TEST_F(PipeTest, PacketsAreReadOneAtATime) {
  auto ends = *vfs_->make_pipe(kOpenDirect);
  ASSERT_TRUE(write(*ends.second, "one")); ASSERT_TRUE(write(*ends.second, "two"));
  EXPECT_EQ(read(*ends.first), "one");
  EXPECT_EQ(read(*ends.first, 2), "tw");
}

TEST_F(PipeTest, FifosWaitForTheOtherEnd) {
  ASSERT_TRUE(vfs_->make_node(context_, nullptr, "/fifo", kFifo | 0644, 0));
  EXPECT_EQ(open_error("/fifo", kOpenWrite | kOpenNonBlock), Errno::NoDeviceOrAddress);
  EXPECT_EQ(open_error("/fifo", kOpenRead), Errno::RestartSys);  // nobody came
  std::shared_ptr<File> other;
  task_.while_waiting = [&] { other = *open("/fifo", kOpenWrite); };
  auto f = *open("/fifo", kOpenRead);
  ASSERT_TRUE(write(*other, "through"));
  EXPECT_EQ(read(*f), "through");
  other.reset();
  EXPECT_EQ(read(*f), "");
  auto both = *open("/fifo", kOpenReadWrite);
  EXPECT_TRUE(write(*both, "x"));
}

TEST_F(PipeTest, AgreesWithAQueueUnderRandomOperations) {
  constexpr uint64_t kSeed = 11;
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  Rng rng(kSeed);
  std::string model;
  for (int step = 0; step < 3000; ++step) {
    if (rng.below(2)) {
      std::string text(rng.below(rng.below(8) ? 300 : 20000) + 1, '\0');
      for (char& c : text) c = static_cast<char>(rng.next());
      const auto n = write(*writer, text);
      if (n) model += text.substr(0, *n);
      else ASSERT_EQ(n.error(), Errno::Again);
    } else if (model.empty()) {
      ASSERT_EQ(read_error(*reader), Errno::Again);
    } else {
      const size_t count = rng.below(rng.below(8) ? 400 : 20000) + 1;
      const std::string got = read(*reader, count);
      ASSERT_EQ(got, model.substr(0, std::min(count, model.size()))) << "step " << step;
      model.erase(0, got.size());
    }
  }
}

}  // namespace
}  // namespace vitro::fs::test
