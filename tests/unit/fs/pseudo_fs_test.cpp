#include "vitro/fs/pseudo_fs.h"

#include "unit/fs/fs_rig.h"

namespace vitro::fs::test {
namespace {

using ::testing::ElementsAre;

class PseudoFs : public FsRig {
 protected:
  PseudoFs() {
    mount_overlay();
    tree = std::make_shared<PseudoDirectory>();
  }
  void mount() { ASSERT_TRUE(vfs_->mount("/proc", make_pseudo_fs(*vfs_, "proc", 0x9fa0, tree), "proc")); }
  std::shared_ptr<PseudoDirectory> tree;
};

TEST_F(PseudoFs, RendersAtOffsetZeroAndKeepsTheTextBetween) {
  int renders = 0;
  tree->file("count", [&]() -> Result<std::string> { return std::to_string(++renders) + "-text\n"; });
  mount();
  auto f = *open("/proc/count");
  EXPECT_EQ(read(*f, 3), "1-t");
  EXPECT_EQ(read(*f, 10), "ext\n");
  EXPECT_EQ(read(*f), "");
  ASSERT_TRUE(f->seek(0, 0));
  EXPECT_EQ(read(*f), "2-text\n");
  EXPECT_EQ(stat("/proc/count").size, 0u);
  EXPECT_EQ(stat("/proc/count").mode, kRegular | 0444);
}

TEST_F(PseudoFs, CollectsOneWrite) {
  std::string got;
  tree->directory("sys/vm").file("value", [&]() -> Result<std::string> { return got; }, [&](std::string_view t) -> Status {
    if (t == "bad\n") return fail(Errno::Invalid);
    got = t;
    return {};
  });
  tree->file("fixed", [] { return Result<std::string>("x"); });
  mount();
  write("/proc/sys/vm/value", "12\n", kOpenWrite | kOpenCreate | kOpenTruncate);
  EXPECT_EQ(read("/proc/sys/vm/value"), "12\n");
  auto f = *open("/proc/sys/vm/value", kOpenWrite);
  EXPECT_EQ(error_of(write(*f, "bad\n")), Errno::Invalid);
  EXPECT_EQ(error_of(write(**open("/proc/fixed", kOpenWrite), "x")), Errno::IoError);
  EXPECT_EQ(error_of(mkdir("/proc/new")), Errno::NotPermitted);
  EXPECT_EQ(open_error("/proc/new", kOpenCreate | kOpenWrite), Errno::Access);
  EXPECT_EQ(error_of(unlink("/proc/fixed")), Errno::NotPermitted);
  become(1000);
  EXPECT_EQ(open_error("/proc/sys/vm/value", kOpenWrite), Errno::Access);
}

TEST_F(PseudoFs, DynamicNamesAreLookedUpEachTime) {
  bool alive = true;
  tree->file("fixed", [] { return Result<std::string>("f"); });
  tree->list_dynamic = [&] { return alive ? std::vector<std::string>{"7"} : std::vector<std::string>{}; };
  tree->find_dynamic = [&](std::string_view name) -> std::optional<PseudoEntry> {
    if (!alive || name != "7") return std::nullopt;
    PseudoEntry e;
    e.directory = std::make_shared<PseudoDirectory>();
    e.directory->uid = 1000;
    e.directory->file("comm", [] { return Result<std::string>("sh\n"); });
    return e;
  };
  mount();
  EXPECT_THAT(names("/proc"), ElementsAre("fixed", "7"));
  EXPECT_EQ(read("/proc/7/comm"), "sh\n");
  EXPECT_EQ(stat("/proc/7").uid, 1000u);
  EXPECT_EQ(stat("/proc/7").inode, stat("/proc/7").inode);
  auto held = *vfs_->resolve(context_, nullptr, "/proc/7", Follow::Yes);
  EXPECT_EQ(vfs_->path_of(held, nullptr), "/proc/7");
  alive = false;
  EXPECT_EQ(stat_error("/proc/7/comm"), Errno::NoEntry);
  EXPECT_THAT(names("/proc"), ElementsAre("fixed"));
}

TEST_F(PseudoFs, MagicLinksLeadToObjects) {
  write("/tmp/f", "contents");
  auto file = *open("/tmp/f");
  auto ends = *vfs_->make_pipe(kOpenNonBlock);
  PseudoEntry to_file, to_pipe;
  to_file.magic = [&] { return file; };
  to_file.link = [] { return Result<std::string>("/tmp/f (deleted)"); };
  to_pipe.magic = [&] { return ends.first; };
  to_pipe.link = [&] { return Result<std::string>(ends.first->mapped_path()); };
  tree->add("3", to_file).add("4", to_pipe);
  mount();
  ASSERT_TRUE(unlink("/tmp/f"));
  EXPECT_EQ(read("/proc/3"), "contents");  // the name is gone, the object is not
  EXPECT_EQ(*vfs_->read_link(context_, nullptr, "/proc/3"), "/tmp/f (deleted)");
  ASSERT_TRUE(write(*ends.second, "piped"));
  EXPECT_EQ(read(**open("/proc/4", kOpenRead | kOpenNonBlock)), "piped");
}

TEST_F(PseudoFs, BinaryFilesAreReadAnywhere) {
  tree->binary("map", [](uint64_t offset, std::span<std::byte> out) -> Result<size_t> {
    if (offset >= 1000) return size_t{0};
    const size_t n = std::min<size_t>(out.size(), 1000 - offset);
    for (size_t i = 0; i < n; ++i) out[i] = static_cast<std::byte>(offset + i);
    return n;
  });
  mount();
  auto f = *open("/proc/map");
  f->position = 998;
  EXPECT_EQ(read(*f), std::string("\xe6\xe7"));
  EXPECT_EQ(read(*f), "");
}

}  // namespace
}  // namespace vitro::fs::test
