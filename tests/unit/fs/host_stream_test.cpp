#include "vitro/fs/host_stream.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "fs/host_tree.h"
#include "unit/fs/fs_rig.h"

namespace vitro::fs::test {
namespace {

class PolledInput final : public HostInput {
 public:
  bool ready(int fd) override {
    pollfd p{fd, POLLIN, 0};
    return ::poll(&p, 1, 0) > 0;
  }
  WaitQueue& queue(int) override { return queue_; }

 private:
  WaitQueue queue_;
};

class HostStream : public FsRig {
 protected:
  HostStream() { mount_overlay(); }
  PolledInput input_;
};

TEST_F(HostStream, CarriesAPipeBothWays) {
  int in[2], out[2];
  ASSERT_EQ(::pipe(in), 0);
  ASSERT_EQ(::pipe(out), 0);
  auto from = make_host_stream(*vfs_, in[0], kOpenRead | kOpenNonBlock, input_), to = make_host_stream(*vfs_, out[1], kOpenWrite, input_);
  EXPECT_EQ(from->inode().attributes().mode & kTypeMask, kFifo);
  EXPECT_EQ(from->poll(nullptr) & kPollIn, 0u);
  std::byte b;
  BufferSink sink({&b, 1});
  EXPECT_EQ(error_of(from->read(1, sink, task_)), Errno::Again);
  ASSERT_EQ(::write(in[1], "typed", 5), 5);
  EXPECT_EQ(from->poll(nullptr) & kPollIn, kPollIn);
  EXPECT_EQ(read(*from), "typed");
  ASSERT_EQ(*write(*to, "shown"), 5u);
  char got[8] = {};
  ASSERT_EQ(::read(out[0], got, sizeof got), 5);
  EXPECT_STREQ(got, "shown");
  ::close(out[0]);
  EXPECT_EQ(error_of(write(*to, "x")), Errno::BrokenPipe);
  ::close(in[1]);
  EXPECT_EQ(read(*from), "");
  ::close(in[0]);
  ::close(out[1]);
}

TEST_F(HostStream, ARegularFileCanBeSought) {
  host_file("f", "0123456789");
  const int fd = ::open((host_ / "f").c_str(), O_RDONLY | O_CLOEXEC);
  auto f = make_host_stream(*vfs_, fd, kOpenRead, input_);
  EXPECT_EQ(f->inode().attributes().mode & kTypeMask, kRegular);
  EXPECT_EQ(f->inode().attributes().size, 10u);
  EXPECT_EQ(read(*f, 3), "012");
  EXPECT_EQ(*f->seek(-2, 1), 1u);
  EXPECT_EQ(read(*f, 2), "12");
  EXPECT_EQ(*f->seek(0, 2), 10u);
  EXPECT_EQ(read(*f), "");
  EXPECT_EQ(error_of(f->map(true)), Errno::NoDevice);
  ::close(fd);
}

TEST_F(HostStream, AFullHostDeviceIsNoSpace) {
  const int fd = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  if (fd < 0) GTEST_SKIP() << "the host has no /dev/full";
  auto f = make_host_stream(*vfs_, fd, kOpenWrite, input_);
  EXPECT_EQ(error_of(write(*f, "x")), Errno::NoSpace);
  ::close(fd);
}

using HostTreeTest = FsRig;

TEST_F(HostTreeTest, GivesLinksAsLinksAndSortsListings) {
  host_file("z", ""), host_file("a", "text"), host_file("m/n", "");
  std::filesystem::create_symlink("../../escape", host_ / "link");
  HostDescriptors descriptors;
  auto tree = std::move(*HostTree::open(host_.string(), descriptors));
  std::vector<std::string> all;
  const auto listed = tree->list("");
  for (const HostEntry& e : *listed) all.push_back(e.name);
  EXPECT_EQ(all, (std::vector<std::string>{"a", "link", "m", "z"}));
  EXPECT_EQ(*tree->read_link("link"), "../../escape");
  EXPECT_EQ(tree->stat("link")->mode & kTypeMask, kSymlink);
  EXPECT_EQ(error_of(tree->stat("link/x")), Errno::SymlinkLoop);
  EXPECT_EQ(error_of(tree->stat("../x")), Errno::SymlinkLoop);
  EXPECT_EQ(error_of(tree->stat("m/none")), Errno::NoEntry);
  EXPECT_EQ(error_of(tree->list("a")), Errno::NotDirectory);
}

TEST_F(HostTreeTest, ReadsOnlyTheFileThatWasDescribed) {
  host_file("f", "first");
  HostDescriptors descriptors;
  auto tree = std::move(*HostTree::open(host_.string(), descriptors));
  const HostAttributes identity = *tree->stat("f");
  std::array<std::byte, 16> buffer{};
  EXPECT_EQ(*tree->read("f", identity, 1, buffer), 4u);
  HostAttributes other = identity;
  ++other.inode;
  EXPECT_EQ(error_of(tree->read("f", other, 0, buffer)), Errno::Stale);
}

TEST_F(HostTreeTest, KeepsFewDescriptorsOpen) {
  HostDescriptors descriptors;
  for (int i = 0; i < 200; ++i) host_file("f" + std::to_string(i), "x");
  auto tree = std::move(*HostTree::open(host_.string(), descriptors));
  std::byte b;
  for (int i = 0; i < 200; ++i) {
    const std::string name = "f" + std::to_string(i);
    ASSERT_EQ(*tree->read(name, *tree->stat(name), 0, {&b, 1}), 1u);
  }
  size_t open = 0;
  for ([[maybe_unused]] const auto& e : std::filesystem::directory_iterator("/proc/self/fd")) ++open;
  EXPECT_LT(open, HostDescriptors::kMost + 32);
}

}  // namespace
}  // namespace vitro::fs::test
