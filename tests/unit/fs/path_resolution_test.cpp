#include "unit/fs/fs_rig.h"

namespace vitro::fs::test {
namespace {

struct PathResolution : FsRig {
  PathResolution() : FsRig(mib(64)) {}  // a disk has an inode for 16 KiB
};

TEST_F(PathResolution, FindsNamesDotsAndSlashes) {
  mount_overlay();
  ASSERT_TRUE(mkdir("/a")); ASSERT_TRUE(mkdir("/a/b"));
  write("/a/b/f", "text");
  EXPECT_EQ(read("/a/b/f"), "text");
  EXPECT_EQ(read("//a/./b/../b//f"), "text");
  EXPECT_EQ(read("/../../a/b/f"), "text");
  EXPECT_EQ(stat_error("/a/b/f/"), Errno::NotDirectory);
  EXPECT_EQ(stat_error("/a/b/f/g"), Errno::NotDirectory);
  EXPECT_EQ(stat_error("/a/x/f"), Errno::NoEntry);
  EXPECT_EQ(stat_error(""), Errno::NoEntry);
  EXPECT_EQ(stat("/a/b/").inode, stat("/a/b").inode);
}

TEST_F(PathResolution, RefusesWhatIsTooLong) {
  mount_overlay();
  EXPECT_EQ(stat_error("/" + std::string(255, 'n')), Errno::NoEntry);
  EXPECT_EQ(stat_error("/" + std::string(256, 'n')), Errno::NameTooLong);
  EXPECT_EQ(error_of(mkdir("/" + std::string(256, 'n'))), Errno::NameTooLong);
  std::string dots = "/";
  while (dots.size() + 2 < kPathMax) dots += "./";
  EXPECT_EQ(stat_error(dots), Errno{});
  EXPECT_EQ(stat_error(dots + "/././"), Errno::NameTooLong);
}

TEST_F(PathResolution, FollowsLinksUpToForty) {
  mount_overlay();
  write("/file", "end");
  ASSERT_TRUE(symlink("/file", "/l0"));
  for (int i = 1; i <= 40; ++i) ASSERT_TRUE(symlink("l" + std::to_string(i - 1), "/l" + std::to_string(i)));
  EXPECT_EQ(read("/l39"), "end");
  EXPECT_EQ(stat_error("/l40"), Errno::SymlinkLoop);
  ASSERT_TRUE(symlink("self", "/self"));
  EXPECT_EQ(stat_error("/self"), Errno::SymlinkLoop);
  EXPECT_EQ(stat_error("/self/x"), Errno::SymlinkLoop);
  EXPECT_EQ(open_error("/self", kOpenCreate | kOpenWrite), Errno::SymlinkLoop);
  EXPECT_EQ(stat("/self").mode & kTypeMask, kSymlink);
  EXPECT_EQ(open_error("/l0", kOpenNoFollow), Errno::SymlinkLoop);
  EXPECT_EQ(error_of(vfs_->read_link(context_, nullptr, "/file")), Errno::Invalid);
}

TEST_F(PathResolution, CreatesThroughADanglingLink) {
  mount_overlay();
  ASSERT_TRUE(symlink("target", "/tmp/link"));
  EXPECT_EQ(open_error("/tmp/link", kOpenCreate | kOpenExclusive | kOpenWrite), Errno::Exists);
  write("/tmp/link", "made");
  EXPECT_EQ(read("/tmp/target"), "made");
}

TEST_F(PathResolution, RootCannotBeLeft) {
  mount_overlay();
  ASSERT_TRUE(mkdir("/jail")); ASSERT_TRUE(mkdir("/jail/sub"));
  write("/secret", "s"), write("/jail/inside", "i");
  ASSERT_TRUE(symlink("/secret", "/jail/absolute")); ASSERT_TRUE(symlink("../../secret", "/jail/relative"));
  PathContext jailed = context_;
  jailed.root = jailed.cwd = *vfs_->resolve(context_, nullptr, "/jail", Follow::Yes);
  EXPECT_EQ(error_of(vfs_->stat(jailed, nullptr, "/absolute", Follow::Yes)), Errno::NoEntry);
  EXPECT_EQ(error_of(vfs_->stat(jailed, nullptr, "relative", Follow::Yes)), Errno::NoEntry);
  EXPECT_EQ(error_of(vfs_->stat(jailed, nullptr, "../../../secret", Follow::Yes)), Errno::NoEntry);
  EXPECT_EQ(error_of(vfs_->stat(jailed, nullptr, "/../inside", Follow::Yes)), Errno{});
  const DentryRef sub = *vfs_->resolve(context_, nullptr, "/jail/sub", Follow::Yes);
  EXPECT_EQ(vfs_->path_of(sub, jailed.root), "/sub");
  EXPECT_EQ(vfs_->path_of(vfs_->root(), jailed.root), "(unreachable)/");
}

TEST_F(PathResolution, ChecksRightsOnEveryDirectory) {
  mount_overlay();
  ASSERT_TRUE(mkdir("/closed", 0700)); ASSERT_TRUE(mkdir("/closed/open", 0777));
  write("/closed/open/f", "x");
  write("/tmp/mine", "x");
  become(1000);
  EXPECT_EQ(stat_error("/closed/open/f"), Errno::Access);
  EXPECT_EQ(stat_error("/closed"), Errno{});
  EXPECT_EQ(open_error("/tmp/mine", kOpenWrite), Errno::Access);
  EXPECT_EQ(error_of(unlink("/tmp/mine")), Errno::NotPermitted);  // sticky
  EXPECT_EQ(error_of(mkdir("/new")), Errno::Access);
  write("/tmp/own", "x");
  EXPECT_TRUE(unlink("/tmp/own"));
  EXPECT_EQ(error_of(vfs_->access(context_, nullptr, "/tmp/mine", kMayWrite, true, Follow::Yes)), Errno::Access);
  EXPECT_EQ(error_of(vfs_->access(context_, nullptr, "/tmp/mine", kMayRead, true, Follow::Yes)), Errno{});
}

TEST_F(PathResolution, ChangesOfAttributesNeedTheOwner) {
  mount_overlay();
  write("/tmp/f", "x");
  AttributeChange mode, owner, times;
  mode.mode = 04777, owner.uid = 1000, owner.gid = 1000, times.modified = Time{5, 0};
  ASSERT_TRUE(vfs_->change_attributes(context_, nullptr, "/tmp/f", mode, Follow::Yes));
  become(1000);
  EXPECT_EQ(error_of(vfs_->change_attributes(context_, nullptr, "/tmp/f", mode, Follow::Yes)), Errno::NotPermitted);
  EXPECT_EQ(error_of(vfs_->change_attributes(context_, nullptr, "/tmp/f", owner, Follow::Yes)), Errno::NotPermitted);
  EXPECT_EQ(error_of(vfs_->change_attributes(context_, nullptr, "/tmp/f", times, Follow::Yes)), Errno::NotPermitted);
  times.times_are_now = true;  // anybody who may write
  EXPECT_TRUE(vfs_->change_attributes(context_, nullptr, "/tmp/f", times, Follow::Yes));
  become(0);
  ASSERT_TRUE(vfs_->change_attributes(context_, nullptr, "/tmp/f", owner, Follow::Yes));
  EXPECT_EQ(stat("/tmp/f").mode & 07777, 0777u);  // chown took the set-uid bit
  EXPECT_EQ(stat("/tmp/f").uid, 1000u);
}

TEST_F(PathResolution, MountsAreCrossedBothWays) {
  mount_overlay();
  ASSERT_TRUE(vfs_->mount("/tmp", make_tmpfs(*vfs_, mib(1)), "tmpfs"));
  write("/tmp/f", "on tmpfs");
  EXPECT_NE(stat("/tmp").device, stat("/").device);
  EXPECT_EQ(stat("/tmp/..").inode, stat("/").inode);
  EXPECT_EQ(vfs_->path_of(*vfs_->resolve(context_, nullptr, "/tmp/f", Follow::Yes), nullptr), "/tmp/f");
  EXPECT_EQ(error_of(rmdir("/tmp")), Errno::Busy);
  EXPECT_EQ(error_of(rename("/tmp/f", "/f")), Errno::CrossDevice);
  EXPECT_EQ(error_of(link("/tmp/f", "/f")), Errno::CrossDevice);
  const auto mounts = vfs_->mounts();
  ASSERT_EQ(mounts.size(), 2u);
  EXPECT_EQ(mounts[1].target, "/tmp");
  EXPECT_EQ(mounts[1].type, "tmpfs");
}

TEST_F(PathResolution, DentriesAreCachedChargedAndShrunk) {
  mount_overlay();
  ASSERT_TRUE(mkdir("/d"));
  const auto before = vfs_->dentry_counts();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(stat_error("/d/none" + std::to_string(i)), Errno::NoEntry);
  const auto after = vfs_->dentry_counts();
  EXPECT_EQ(after.cached, before.cached + 100);
  EXPECT_EQ(after.negative, before.negative + 100);
  write("/d/none5", "now it is");
  EXPECT_EQ(vfs_->dentry_counts().negative, after.negative - 1);
  auto open_file = *open("/d/none5");
  EXPECT_GE(vfs_->shrink_dentries(1000), 99u);
  EXPECT_EQ(read("/d/none5"), "now it is");
  EXPECT_EQ(open_file->mapped_path(), "/d/none5");
  EXPECT_EQ(vfs_->dentry_counts().negative, 0u);
}

TEST_F(PathResolution, DirectoriesDeeperThanAnyStackComeAndGo) {
  mount_overlay();
  DentryRef here = *vfs_->resolve(context_, nullptr, "/tmp", Follow::Yes);
  std::vector<DentryRef> chain{here};
  constexpr int kDepth = 3000;
  for (int i = 0; i < kDepth; ++i) {
    ASSERT_TRUE(vfs_->make_directory(context_, here, "d", 0755)) << i;
    here = *vfs_->resolve(context_, here, "d", Follow::Yes);
    chain.push_back(here);
  }
  for (int i = kDepth; i > 0; --i) ASSERT_TRUE(vfs_->remove_directory(context_, chain[static_cast<size_t>(i - 1)], "d")) << i;
  chain.clear();
  EXPECT_EQ(error_of(vfs_->make_directory(context_, here, "x", 0755)), Errno::NoEntry);  // the directory is gone
  here.reset();
  EXPECT_TRUE(names("/tmp").empty());
}

TEST_F(PathResolution, OpenFollowsItsFlags) {
  mount_overlay();
  write("/f", "text");
  EXPECT_EQ(open_error("/f", kOpenDirectory), Errno::NotDirectory);
  EXPECT_EQ(open_error("/tmp", kOpenWrite), Errno::IsDirectory);
  EXPECT_EQ(open_error("/tmp", kOpenWrite | kOpenCreate), Errno::IsDirectory);
  EXPECT_EQ(open_error("/f", kOpenCreate | kOpenExclusive), Errno::Exists);
  EXPECT_EQ(open_error("/new/", kOpenCreate | kOpenWrite), Errno::IsDirectory);
  EXPECT_EQ(open_error("/f", 3), Errno::Invalid);
  auto place = *open("/f", kOpenPath);
  EXPECT_FALSE(place->readable());
  std::byte b;
  BufferSink sink({&b, 1});
  EXPECT_EQ(error_of(place->read(1, sink, task_)), Errno::BadFile);
  auto unnamed = *open("/tmp", kOpenTmpFile | kOpenReadWrite, 0600);
  ASSERT_TRUE(write(*unnamed, "hidden"));
  EXPECT_TRUE(names("/tmp").empty());
  EXPECT_TRUE(unnamed->mapped_path().ends_with(" (deleted)"));
  EXPECT_EQ(stat("/f").mode & 07777, 0644u);
  context_.umask = 077;
  write("/masked", "");
  EXPECT_EQ(stat("/masked").mode & 07777, 0600u);
  auto running = *open("/f");
  running->inode().write_denials = 1;
  EXPECT_EQ(open_error("/f", kOpenWrite), Errno::TextBusy);
}

}  // namespace
}  // namespace vitro::fs::test
