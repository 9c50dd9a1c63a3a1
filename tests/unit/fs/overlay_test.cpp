#include <sys/stat.h>
#include <unistd.h>

#include "unit/fs/fs_rig.h"
#include "vitro/base/rng.h"

namespace vitro::fs::test {
namespace {

using ::testing::ElementsAre;
using Overlay = FsRig;

TEST_F(Overlay, ShowsHostFilesAndOnlyWhatWasOffered) {
  host_file("b.txt", "bee"), host_file("a.txt", "ay"), host_file("sub/c.txt", "sea");
  mount_overlay();
  EXPECT_THAT(names("/host"), ElementsAre("a.txt", "b.txt", "sub"));
  EXPECT_EQ(read("/host/a.txt"), "ay");
  EXPECT_EQ(read("/host/sub/c.txt"), "sea");
  EXPECT_EQ(stat_error("/etc/passwd"), Errno::NoEntry);
  EXPECT_EQ(stat("/tmp").mode, kDirectory | 01777);
  EXPECT_EQ(stat("/root").mode, kDirectory | 0700);
  EXPECT_EQ(stat("/host/a.txt").size, 2u);
  EXPECT_EQ(stat("/host/a.txt").accessed.seconds, stat("/host/a.txt").modified.seconds);
}

TEST_F(Overlay, LinksOnTheHostCannotLeaveTheOffer) {
  host_file("in/f", "inside");
  std::filesystem::create_symlink("../../../../../../etc/passwd", host_ / "in/up");
  std::filesystem::create_symlink("/etc/passwd", host_ / "in/absolute");
  std::filesystem::create_symlink("/proc/self/root/etc/passwd", host_ / "in/magic");
  std::filesystem::create_symlink("loop", host_ / "in/loop");
  std::filesystem::create_symlink("f", host_ / "in/good");
  std::filesystem::create_directory_symlink("/etc", host_ / "in/etc");
  mount_overlay(OverlayConfig{{{(host_ / "in").string(), "/host"}}});
  EXPECT_EQ(stat_error("/host/up"), Errno::NoEntry);
  EXPECT_EQ(stat_error("/host/absolute"), Errno::NoEntry);
  EXPECT_EQ(stat_error("/host/magic"), Errno::NoEntry);
  EXPECT_EQ(stat_error("/host/etc/passwd"), Errno::NoEntry);
  EXPECT_EQ(stat_error("/host/loop"), Errno::SymlinkLoop);
  EXPECT_EQ(read("/host/good"), "inside");
  EXPECT_EQ(*vfs_->read_link(context_, nullptr, "/host/absolute"), "/etc/passwd");
  EXPECT_EQ(stat("/host/etc").mode & kTypeMask, kSymlink);
  write("/etc/passwd", "guest's own");  // what the guest writes there is its own file, not the host's
  EXPECT_EQ(read("/host/absolute"), "guest's own");
}

TEST_F(Overlay, ADirectoryThatTheHostTurnsIntoALinkIsNotFollowed) {
  host_file("sub/f", "x");
  mount_overlay();
  EXPECT_EQ(names("/host"), std::vector<std::string>{"sub"});
  auto directory = *vfs_->resolve(context_, nullptr, "/host/sub", Follow::Yes);
  std::filesystem::remove_all(host_ / "sub");
  std::filesystem::create_directory_symlink("/etc", host_ / "sub");
  EXPECT_EQ(error_of(vfs_->stat(context_, directory, "passwd", Follow::Yes)), Errno::SymlinkLoop);
}

TEST_F(Overlay, FilesClosedToOthersAreSeenButNotOpened) {
  host_file("shadow", "secret", 0640), host_file("none", "", 0), host_file("dir/f", "x");
  std::filesystem::permissions(host_ / "dir", std::filesystem::perms(0750));
  mount_overlay();
  EXPECT_EQ(stat("/host/shadow").mode, kRegular | 0640);
  EXPECT_EQ(open_error("/host/shadow"), Errno::Access);
  EXPECT_EQ(open_error("/host/none", kOpenWrite), Errno{});  // empty: there is nothing to hide
  EXPECT_EQ(open_error("/host/dir", kOpenDirectory), Errno::Access);
  EXPECT_EQ(stat_error("/host/dir/f"), Errno::Access);
  AttributeChange change;
  change.mode = 0777;
  ASSERT_TRUE(vfs_->change_attributes(context_, nullptr, "/host/shadow", change, Follow::Yes));
  EXPECT_EQ(open_error("/host/shadow"), Errno::Access);  // the guest's chmod does not open the host's file
  ASSERT_TRUE(rename("/host/shadow", "/tmp/x"));
  EXPECT_EQ(open_error("/tmp/x"), Errno::Access);
  ASSERT_TRUE(unlink("/tmp/x"));
}

TEST_F(Overlay, HostFifosAndDevicesAreNeverOpened) {
  ASSERT_EQ(::mkfifo((host_ / "fifo").c_str(), 0666), 0);
  mount_overlay();
  EXPECT_EQ(stat("/host/fifo").mode & kTypeMask, kFifo);
  EXPECT_EQ(open_error("/host/fifo"), Errno::Access);
  EXPECT_EQ(open_error("/host/fifo", kOpenWrite | kOpenNonBlock), Errno::Access);
}

TEST_F(Overlay, WritesStayInTheGuest) {
  host_file("f", std::string(10000, 'h'));
  mount_overlay();
  const uint64_t inode = stat("/host/f").inode;
  {
    auto f = *open("/host/f", kOpenReadWrite);
    f->position = 5000;
    ASSERT_EQ(*write(*f, "GUEST"), 5u);
  }
  std::string wanted(10000, 'h');
  wanted.replace(5000, 5, "GUEST");
  EXPECT_EQ(read("/host/f"), wanted);
  evict("/host/f");
  EXPECT_EQ(frames(mm::FrameState::FileCache), 0u);
  EXPECT_EQ(read("/host/f"), wanted);  // one page from the disk, the others from the host
  EXPECT_EQ(stat("/host/f").inode, inode);
  std::ifstream host(host_ / "f", std::ios::binary);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(host), {}), std::string(10000, 'h'));
  EXPECT_GT(disk_->counters().writes, 0u);
  EXPECT_GT(disk_->counters().reads, 0u);
}

TEST_F(Overlay, TruncationHidesTheLowerContents) {
  host_file("f", std::string(10000, 'h'));
  mount_overlay();
  AttributeChange change;
  change.size = 100;
  ASSERT_TRUE(vfs_->change_attributes(context_, nullptr, "/host/f", change, Follow::Yes));
  change.size = 9000;
  ASSERT_TRUE(vfs_->change_attributes(context_, nullptr, "/host/f", change, Follow::Yes));
  EXPECT_EQ(read("/host/f"), std::string(100, 'h') + std::string(8900, '\0'));
  evict("/host/f");
  EXPECT_EQ(read("/host/f"), std::string(100, 'h') + std::string(8900, '\0'));
}

TEST_F(Overlay, TheTailOfAShortenedBlockIsClearedOnDisk) {
  mount_overlay();
  write("/f", std::string(4096, 'x'));
  evict("/f");
  AttributeChange change;
  change.size = 10;
  ASSERT_TRUE(vfs_->change_attributes(context_, nullptr, "/f", change, Follow::Yes));
  evict("/f");
  change.size = 4096;
  ASSERT_TRUE(vfs_->change_attributes(context_, nullptr, "/f", change, Follow::Yes));
  EXPECT_EQ(read("/f"), std::string(10, 'x') + std::string(4086, '\0'));
}

TEST_F(Overlay, AHostFileThatShrinksReadsAsZeros) {
  host_file("f", std::string(8192, 'h'));
  mount_overlay();
  EXPECT_EQ(stat("/host/f").size, 8192u);
  ASSERT_EQ(::truncate((host_ / "f").c_str(), 10), 0);
  EXPECT_EQ(read("/host/f"), std::string(10, 'h') + std::string(8182, '\0'));
}

TEST_F(Overlay, DeletionsAndNewDirectoriesHideTheLowerOnes) {
  host_file("d/a", "a"), host_file("d/b", "b"), host_file("f", "f");
  mount_overlay();
  EXPECT_EQ(error_of(rmdir("/host/d")), Errno::NotEmpty);
  EXPECT_EQ(error_of(unlink("/host/d")), Errno::IsDirectory);
  EXPECT_EQ(error_of(rmdir("/host/f")), Errno::NotDirectory);
  ASSERT_TRUE(unlink("/host/d/a")); ASSERT_TRUE(unlink("/host/d/b"));
  EXPECT_TRUE(names("/host/d").empty());
  ASSERT_TRUE(rmdir("/host/d"));
  EXPECT_EQ(stat_error("/host/d"), Errno::NoEntry);
  ASSERT_TRUE(mkdir("/host/d"));
  EXPECT_TRUE(names("/host/d").empty());  // the lower contents do not come back
  EXPECT_EQ(stat_error("/host/d/a"), Errno::NoEntry);
  ASSERT_TRUE(unlink("/host/f"));
  EXPECT_THAT(names("/host"), ElementsAre("d"));
  EXPECT_TRUE(std::filesystem::exists(host_ / "d/a"));
}

TEST_F(Overlay, ALowerDirectoryMovesWithItsContents) {
  host_file("d/sub/a", "a"), host_file("d/b", "b");
  mount_overlay();
  auto deep = *open("/host/d/sub/a");
  ASSERT_TRUE(rename("/host/d", "/tmp/moved"));
  EXPECT_EQ(read("/tmp/moved/sub/a"), "a");
  EXPECT_EQ(deep->mapped_path(), "/tmp/moved/sub/a");
  EXPECT_EQ(stat_error("/host/d"), Errno::NoEntry);
  EXPECT_EQ(vfs_->path_of(*vfs_->resolve(context_, nullptr, "/tmp/moved/sub/..", Follow::Yes), nullptr), "/tmp/moved");
  write("/tmp/moved/sub/a", "changed");
  EXPECT_EQ(read("/tmp/moved/sub/a"), "changed");
  EXPECT_EQ(error_of(rename("/tmp/moved", "/tmp/moved/sub/x")), Errno::Invalid);
  EXPECT_EQ(error_of(rename("/tmp/moved/sub/a", "/tmp/moved")), Errno::NotEmpty);
}

TEST_F(Overlay, RenameReplacesExchangesAndRefuses) {
  mount_overlay();
  write("/a", "A"), write("/b", "B");
  EXPECT_EQ(error_of(rename("/a", "/b", 1)), Errno::Exists);
  ASSERT_TRUE(rename("/a", "/b", 2));
  EXPECT_EQ(read("/a"), "B"); EXPECT_EQ(read("/b"), "A");
  auto replaced = *open("/b");
  ASSERT_TRUE(rename("/a", "/b"));
  EXPECT_EQ(read("/b"), "B");
  EXPECT_EQ(read(*replaced), "A");
  EXPECT_EQ(replaced->inode().attributes().links, 0u);
  EXPECT_EQ(replaced->mapped_path(), "/b (deleted)");
  EXPECT_EQ(stat_error("/a"), Errno::NoEntry);
  ASSERT_TRUE(mkdir("/d")); ASSERT_TRUE(mkdir("/e"));
  EXPECT_EQ(error_of(rename("/b", "/d")), Errno::IsDirectory);
  EXPECT_EQ(error_of(rename("/d", "/b")), Errno::NotDirectory);
  write("/e/f", "x");
  EXPECT_EQ(error_of(rename("/d", "/e")), Errno::NotEmpty);
  ASSERT_TRUE(rename("/e", "/d"));
  EXPECT_EQ(read("/d/f"), "x");
  EXPECT_EQ(error_of(rename("/none", "/x")), Errno::NoEntry);
  EXPECT_EQ(error_of(rename("/d/.", "/x")), Errno::Busy);
}

TEST_F(Overlay, HardLinksShareOneFile) {
  host_file("one", "first");
  std::filesystem::create_hard_link(host_ / "one", host_ / "two");
  mount_overlay();
  EXPECT_EQ(stat("/host/one").inode, stat("/host/two").inode);
  write("/host/one", "through one");
  EXPECT_EQ(read("/host/two"), "through one");
  ASSERT_TRUE(link("/host/one", "/tmp/three"));
  EXPECT_EQ(stat("/tmp/three").links, 3u);
  ASSERT_TRUE(unlink("/host/one")); ASSERT_TRUE(unlink("/host/two"));
  EXPECT_EQ(read("/tmp/three"), "through one");
  EXPECT_EQ(stat("/tmp/three").links, 1u);
  EXPECT_TRUE(rename("/tmp/three", "/tmp/three"));
  EXPECT_EQ(error_of(link("/tmp", "/tmp/x")), Errno::NotPermitted);
}

TEST_F(Overlay, DeletedFilesLiveUntilClosedAndGiveTheirSpaceBack) {
  mount_overlay();
  const uint64_t free = store_->free_blocks(), cached = frames(mm::FrameState::FileCache);
  auto f = *open("/f", kOpenReadWrite | kOpenCreate);
  ASSERT_TRUE(write(*f, std::string(100000, 'd')));
  EXPECT_EQ(store_->free_blocks(), free - 26);  // set aside before anything is written: 25 of data, and a map block for what lies beyond the twelfth
  EXPECT_EQ(frames(mm::FrameState::FileCache), cached + 25);
  ASSERT_TRUE(f->sync());
  EXPECT_EQ(store_->free_blocks(), free - 26);
  ASSERT_TRUE(unlink("/f"));
  EXPECT_EQ(f->mapped_path(), "/f (deleted)");
  f->position = 99999;
  EXPECT_EQ(read(*f), "d");
  f.reset();
  EXPECT_EQ(store_->free_blocks(), free);
  EXPECT_EQ(frames(mm::FrameState::FileCache), cached);
}

TEST_F(Overlay, AFullDiskRefusesTheWriteItself) {
  mount_overlay();
  auto f = *open("/big", kOpenWrite | kOpenCreate);
  const uint64_t free = store_->free_blocks();
  size_t written = 0;
  Errno error{};
  for (int i = 0; i < 100 && error == Errno{}; ++i) {
    const auto n = write(*f, std::string(100 * 1024, 'x'));
    if (n) written += *n;
    else error = n.error();
  }
  EXPECT_EQ(error, Errno::NoSpace);
  EXPECT_EQ(written, (free - 1) * 4096);  // all but the block of the file's map
  EXPECT_EQ(store_->free_blocks(), 0u);
  EXPECT_EQ(stat("/big").size, written);
  ASSERT_TRUE(f->sync());  // what was accepted can be stored
  ASSERT_TRUE(f->truncate(0));
  EXPECT_EQ(store_->free_blocks(), free);
}

TEST_F(Overlay, SparseFilesReadZerosAndOffsetsAreBounded) {
  mount_overlay();
  auto f = *open("/sparse", kOpenReadWrite | kOpenCreate);
  const uint64_t free = store_->free_blocks();
  ASSERT_TRUE(f->truncate(uint64_t{1} << 40));
  EXPECT_EQ(store_->free_blocks(), free);
  std::string text(5, 'x');
  BufferSink sink(std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(*f->read_at((uint64_t{1} << 40) - 5, 100, sink, task_), 5u);
  EXPECT_EQ(text, std::string(5, '\0'));
  EXPECT_EQ(error_of(f->truncate(INT64_MAX)), Errno::FileTooBig);
  EXPECT_EQ(error_of(f->truncate(UINT64_MAX)), Errno::FileTooBig);
  BufferSource source(std::as_bytes(std::span(text)));
  EXPECT_EQ(error_of(f->write_at(INT64_MAX, 5, source, task_)), Errno::FileTooBig);
  EXPECT_EQ(error_of(f->write_at(UINT64_MAX, 5, source, task_)), Errno::Invalid);
  EXPECT_EQ(error_of(f->seek(INT64_MAX, 2)), Errno::Invalid);
  EXPECT_EQ(error_of(f->seek(-1, 0)), Errno::Invalid);
  EXPECT_EQ(*f->seek(0, 4), uint64_t{1} << 40);
  EXPECT_EQ(error_of(f->allocate(0, 0, uint64_t{1} << 40)), Errno::NoSpace);
  EXPECT_EQ(error_of(f->allocate(0, INT64_MAX, INT64_MAX)), Errno::FileTooBig);
}

TEST_F(Overlay, PunchedHolesReadAsZeros) {
  host_file("f", std::string(20000, 'h'));
  mount_overlay();
  for (const char* path : {"/host/f", "/own"}) {
    if (std::string(path) == "/own") write(path, std::string(20000, 'h'));
    auto f = *open(path, kOpenReadWrite);
    ASSERT_TRUE(f->allocate(3, 1000, 10000)) << path;
    std::string wanted(20000, 'h');
    std::fill_n(wanted.begin() + 1000, 10000, '\0');
    EXPECT_EQ(read(path), wanted) << path;
    evict(path);
    EXPECT_EQ(read(path), wanted) << path;
  }
}

TEST_F(Overlay, ListingsSurviveDeletionWhileTheyAreRead) {
  mount_overlay();
  ASSERT_TRUE(mkdir("/d"));
  for (int i = 0; i < 50; ++i) write("/d/f" + std::to_string(i), "");
  auto f = *open("/d", kOpenDirectory);
  std::set<std::string> seen;
  while (true) {
    std::vector<std::string> part;
    ASSERT_TRUE(f->list([&](const DirectoryEntry& e) {
      if (part.size() == 7) return false;
      part.emplace_back(e.name);
      return true;
    }));
    if (part.empty()) break;
    for (const std::string& name : part) {
      EXPECT_TRUE(seen.insert(name).second) << name;
      if (name[0] == '.') continue;
      EXPECT_EQ(error_of(unlink("/d/" + name)), Errno{}) << name;
    }
  }
  EXPECT_EQ(seen.size(), 52u);
  EXPECT_TRUE(rmdir("/d"));
  EXPECT_EQ(error_of(f->list([](const DirectoryEntry&) { return true; })), Errno::NoEntry);
}

TEST_F(Overlay, OffersThatAreLinksShowAsLinksWhereTheirTargetIsOffered) {
  host_file("usr/bin/tool", "#!");
  std::filesystem::create_directory_symlink("usr/bin", host_ / "bin");
  std::filesystem::create_directory_symlink("usr/bin", host_ / "alone");
  OverlayConfig config;
  config.offers = {{(host_ / "bin").string(), "/bin"}, {(host_ / "usr").string(), "/usr"}, {(host_ / "alone").string(), "/opt/deep/alone"}};
  mount_overlay(config);
  EXPECT_EQ(stat("/bin").mode & kTypeMask, kSymlink);
  EXPECT_EQ(read("/bin/tool"), "#!");
  EXPECT_EQ(stat("/opt/deep/alone").mode & kTypeMask, kDirectory);
  EXPECT_EQ(read("/opt/deep/alone/tool"), "#!");
  OverlayConfig missing;
  missing.offers = {{(host_ / "none").string(), "/x"}};
  EXPECT_FALSE(make_overlay(*vfs_, missing, *store_).has_value());
}

TEST_F(Overlay, AppendersThatWaitDoNotOverwriteEachOther) {
  mount_overlay();
  write("/log", std::string(100, '0'));
  evict("/log");
  auto one = *open("/log", kOpenWrite | kOpenAppend), two = *open("/log", kOpenWrite | kOpenAppend);
  ASSERT_TRUE(write(*one, "one"));
  ASSERT_TRUE(write(*two, "two"));
  EXPECT_EQ(read("/log"), std::string(100, '0') + "onetwo");
}

TEST_F(Overlay, UnusedInodesCanBeShrunkAndComeBack) {
  mount_overlay();
  write("/a", "kept"), write("/b", "");
  ASSERT_TRUE(vfs_->sync_all());
  evict("/a");
  vfs_->shrink_dentries(1000);
  const auto before = vfs_->inode_counts();
  EXPECT_GT(before.unused, 0u);
  EXPECT_GT(vfs_->shrink_inodes(1000), 0u);
  EXPECT_EQ(vfs_->inode_counts().unused, vfs_->inode_counts().cached - 1);  // the root's is in use by its dentry
  EXPECT_EQ(read("/a"), "kept");
}

// Random operations against a model that is a map from path to contents.
TEST_F(Overlay, AgreesWithAModelUnderRandomOperations) {
  for (int i = 0; i < 6; ++i) host_file("f" + std::to_string(i), std::string(static_cast<size_t>(i) * 2500, static_cast<char>('a' + i)));
  mount_overlay();
  std::map<std::string, std::string> model;
  for (int i = 0; i < 6; ++i) model["/host/f" + std::to_string(i)] = std::string(static_cast<size_t>(i) * 2500, static_cast<char>('a' + i));
  constexpr uint64_t kSeed = 7;
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  Rng rng(kSeed);
  const auto any = [&] { return "/host/f" + std::to_string(rng.below(10)); };
  for (int step = 0; step < 600; ++step) {
    SCOPED_TRACE("step " + std::to_string(step));
    const std::string path = any();
    const bool there = model.contains(path);
    switch (rng.below(7)) {
      case 0: {
        const std::string to = any();
        const bool moved = rename(path, to).has_value();
        ASSERT_EQ(moved, there);
        if (moved && path != to) model[to] = model[path], model.erase(path);
        break;
      }
      case 1:
        ASSERT_EQ(unlink(path).has_value(), there);
        model.erase(path);
        break;
      case 2: {
        if (!there) break;
        AttributeChange change;
        change.size = rng.below(20000);
        ASSERT_TRUE(vfs_->change_attributes(context_, nullptr, path, change, Follow::Yes));
        model[path].resize(*change.size);
        break;
      }
      case 3:
      case 4: {
        auto f = *open(path, kOpenReadWrite | kOpenCreate);
        f->position = rng.below(15000);
        const std::string text(rng.below(9000) + 1, static_cast<char>('A' + rng.below(26)));
        std::string& m = model[path];
        if (m.size() < f->position + text.size()) m.resize(f->position + text.size());
        m.replace(f->position, text.size(), text);
        ASSERT_EQ(*write(*f, text), text.size());
        break;
      }
      case 5:
        if (there) evict(path);
        break;
      case 6:
        if (there) ASSERT_EQ(read(path), model[path]);
        else ASSERT_EQ(stat_error(path), Errno::NoEntry);
        break;
    }
  }
  std::vector<std::string> wanted;
  for (const auto& [path, text] : model) {
    wanted.push_back(path.substr(6));
    EXPECT_EQ(read(path), text) << path;
  }
  EXPECT_EQ(names("/host"), wanted);
}

}  // namespace
}  // namespace vitro::fs::test
