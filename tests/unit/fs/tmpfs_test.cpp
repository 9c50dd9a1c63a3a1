#include "unit/fs/fs_rig.h"

namespace vitro::fs::test {
namespace {

class Tmpfs : public FsRig {
 protected:
  Tmpfs() {
    mount_overlay();
    EXPECT_TRUE(vfs_->mount("/tmp", make_tmpfs(*vfs_, kib(64)), "tmpfs"));
  }
};

TEST_F(Tmpfs, KeepsContentsInSharedMemory) {
  const uint64_t before = frames(mm::FrameState::Shmem);
  write("/tmp/f", std::string(10000, 't'));
  EXPECT_EQ(frames(mm::FrameState::Shmem), before + 3);
  EXPECT_EQ(read("/tmp/f"), std::string(10000, 't'));
  EXPECT_EQ(stat("/tmp/f").blocks, 24u);
  ASSERT_TRUE(unlink("/tmp/f"));
  EXPECT_EQ(frames(mm::FrameState::Shmem), before);
}

TEST_F(Tmpfs, StopsAtItsLimit) {
  auto f = *open("/tmp/f", kOpenWrite | kOpenCreate);
  EXPECT_EQ(*write(*f, std::string(100000, 'x')), 65536u);
  EXPECT_EQ(error_of(write(*f, "y")), Errno::NoSpace);
  const auto s = *vfs_->statistics(context_, nullptr, "/tmp");
  EXPECT_EQ(s.type, 0x01021994u);
  EXPECT_EQ(s.blocks, 16u);
  EXPECT_EQ(s.blocks_free, 0u);
  ASSERT_TRUE(f->truncate(4096));
  EXPECT_EQ(vfs_->statistics(context_, nullptr, "/tmp")->blocks_free, 15u);
}

TEST_F(Tmpfs, DirectoriesCountTheirSubdirectories) {
  ASSERT_TRUE(mkdir("/tmp/a")); ASSERT_TRUE(mkdir("/tmp/a/b"));
  EXPECT_EQ(stat("/tmp/a").links, 3u);
  ASSERT_TRUE(rmdir("/tmp/a/b"));
  EXPECT_EQ(stat("/tmp/a").links, 2u);
}

TEST_F(Tmpfs, AllocationTakesPages) {
  auto f = *open("/tmp/f", kOpenReadWrite | kOpenCreate);
  const uint64_t before = frames(mm::FrameState::Shmem);
  ASSERT_TRUE(f->allocate(0, 0, 20000));
  EXPECT_EQ(frames(mm::FrameState::Shmem), before + 5);
  EXPECT_EQ(stat("/tmp/f").size, 20000u);
  EXPECT_EQ(error_of(f->allocate(0, 0, 1 << 20)), Errno::NoSpace);
  EXPECT_EQ(error_of(f->allocate(0, 0, uint64_t{1} << 50)), Errno::NoSpace);
}

TEST_F(Tmpfs, MemfdHasNoNameButAPath) {
  auto f = *vfs_->make_memfd("buffer", 0);
  ASSERT_EQ(*write(*f, "hello"), 5u);
  f->position = 0;
  EXPECT_EQ(read(*f), "hello");
  EXPECT_EQ(f->mapped_path(), "/memfd:buffer (deleted)");
  EXPECT_TRUE(f->map(true).has_value());
  EXPECT_EQ(error_of(vfs_->make_memfd(std::string(250, 'n'), 0)), Errno::Invalid);
  EXPECT_EQ(error_of(vfs_->make_memfd("x", 0x100)), Errno::Invalid);
}

TEST_F(Tmpfs, EventfdCounts) {
  auto f = *vfs_->make_eventfd(0, kOpenNonBlock);
  uint64_t value = 0;
  const auto get = [&]() {
    BufferSink sink(std::as_writable_bytes(std::span{&value, 1}));
    return error_of(f->read(8, sink, task_));
  };
  const auto put = [&](uint64_t n) {
    BufferSource source(std::as_bytes(std::span{&n, 1}));
    return error_of(f->write(8, source, task_));
  };
  EXPECT_EQ(get(), Errno::Again);
  EXPECT_EQ(put(3), Errno{}); EXPECT_EQ(put(4), Errno{});
  EXPECT_EQ(f->poll(nullptr) & kPollIn, kPollIn);
  EXPECT_EQ(get(), Errno{});
  EXPECT_EQ(value, 7u);
  EXPECT_EQ(put(UINT64_MAX), Errno::Invalid);
  EXPECT_EQ(put(UINT64_MAX - 1), Errno{});
  EXPECT_EQ(put(1), Errno::Again);
  f = *vfs_->make_eventfd(2, kOpenNonBlock | 1);
  EXPECT_EQ(get(), Errno{}); EXPECT_EQ(value, 1u);
  EXPECT_EQ(get(), Errno{}); EXPECT_EQ(get(), Errno::Again);
}

TEST_F(Tmpfs, DevicesDoWhatTheirNamesSay) {
  ASSERT_TRUE(vfs_->mount("/dev", make_devfs(*vfs_, 42), "udev"));
  EXPECT_EQ(read("/dev/null"), "");
  EXPECT_EQ(read(**open("/dev/zero"), 10), std::string(10, '\0'));
  auto full = *open("/dev/full", kOpenWrite);
  EXPECT_EQ(error_of(write(*full, "x")), Errno::NoSpace);
  EXPECT_EQ(*write(**open("/dev/null", kOpenWrite), "gone"), 4u);
  const std::string one = read(**open("/dev/urandom"), 16), two = read(**open("/dev/random"), 16);
  EXPECT_NE(one, two);
  ASSERT_TRUE(vfs_->make_node(context_, nullptr, "/mynull", kCharDevice | 0666, make_device(1, 3)));
  EXPECT_EQ(read("/mynull"), "");
  ASSERT_TRUE(vfs_->make_node(context_, nullptr, "/odd", kCharDevice | 0666, make_device(240, 1)));
  EXPECT_EQ(open_error("/odd"), Errno::NoDeviceOrAddress);
  EXPECT_EQ(open_error("/dev/tty"), Errno::NoDeviceOrAddress);
  EXPECT_EQ(*vfs_->read_link(context_, nullptr, "/dev/stdin"), "/proc/self/fd/0");
  set_kernel_log(*vfs_, {[] { return std::string("[    0.000012] Linux version\n[    1.500000] second\n"); }, nullptr});
  auto log = *open("/dev/kmsg", kOpenRead | kOpenNonBlock);
  EXPECT_EQ(read(*log), "6,0,12,-;Linux version\n");
  EXPECT_EQ(read(*log), "6,1,1500000,-;second\n");
}

}  // namespace
}  // namespace vitro::fs::test
