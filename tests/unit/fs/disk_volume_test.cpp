// The file system on the disk: what is there after a remount and after a crash, and that it is whole.
#include <map>
#include <set>

#include "fs/disk_verify.h"
#include "unit/fs/fs_rig.h"
#include "vitro/base/rng.h"
#include "vitro/hw/disk.h"

namespace vitro::fs::test {
namespace {

// A disk that remembers every write that has completed, and where flushes were.
class RecordingDisk final : public hw::Disk {
 public:
  struct Write {
    uint64_t sector;
    std::vector<std::byte> bytes;
    bool flush = false;
  };
  explicit RecordingDisk(std::unique_ptr<hw::Disk> below) : below_(std::move(below)) {}
  const std::string& name() const override { return below_->name(); }
  Bytes size() const override { return below_->size(); }
  using Disk::submit_read, Disk::submit_write;
  void submit_read(uint64_t sector, Into into, Done done) override { below_->submit_read(sector, std::move(into), std::move(done)); }
  void submit_write(uint64_t sector, From from, Done done) override {
    below_->submit_write(sector, from, [this, sector, from, done = std::move(done)](Status s) {
      std::vector<std::byte> all;
      for (const auto& piece : from) all.insert(all.end(), piece.begin(), piece.end());
      if (recording && s) log.push_back({sector, std::move(all)});
      done(s);
    });
  }
  void submit_flush(Done done) override {
    below_->submit_flush([this, done = std::move(done)](Status s) {
      if (recording) log.push_back({0, {}, true});
      done(s);
    });
  }
  void set_faults(const hw::DiskFaults& faults) override { below_->set_faults(faults); }
  Status peek(uint64_t sector, std::span<std::byte> into) const override { return below_->peek(sector, into); }
  Status poke(uint64_t sector, std::span<const std::byte> from) override { return below_->poke(sector, from); }
  // What is discarded may still read as it was: the hardest case for whoever relies on it.
  void discard(uint64_t, uint64_t) override {}
  const hw::DiskCounters& counters() const override { return below_->counters(); }
  void set_tracer(Tracer&, uint64_t) override {}

  bool recording = false;
  std::vector<Write> log;

 private:
  std::unique_ptr<hw::Disk> below_;
};

class DiskVolumeTest : public FsRig {
 protected:
  DiskVolumeTest() : FsRig(mib(8)) {
    auto recording = std::make_unique<RecordingDisk>(std::move(disk_));
    recorder_ = recording.get();
    store_ = nullptr;
    disk_ = std::move(recording);
    store_ = make_block_store(*disk_, task_);
    mount_overlay();
    context_.root = context_.cwd = vfs_->root();
  }
  // The machine ends and another one starts with the same disk.
  void restart() {
    context_.root = context_.cwd = {};
    vfs_.reset();
    store_.reset();
    store_ = make_block_store(*disk_, task_);
    vfs_ = std::make_unique<Vfs>(Vfs::Services{vm_.get(), hw::Clock::read, &clock_});
    mount_overlay();
    context_.root = context_.cwd = vfs_->root();
  }
  void remount() {
    ASSERT_TRUE(vfs_->sync_all());
    ASSERT_TRUE(store_->close());
    const auto sound = store_->check();
    ASSERT_TRUE(sound.has_value()) << sound.error();
    restart();
  }
  std::vector<std::byte> contents() {
    std::vector<std::byte> all(disk_->size().value());
    EXPECT_TRUE(disk_->peek(0, all));
    return all;
  }
  RecordingDisk* recorder_ = nullptr;
};

TEST_F(DiskVolumeTest, AnEmptyDiskGetsAFileSystemThatIsWhole) {
  ASSERT_TRUE(store_->close());
  const auto sound = store_->check();
  EXPECT_TRUE(sound.has_value()) << sound.error();
  EXPECT_LT(store_->total_blocks(), mib(8).value() / kPageSize);
}

TEST_F(DiskVolumeTest, EverythingIsThereAfterARemount) {
  host_file("lower", "from the host");
  host_file("gone", "deleted by the guest");
  write("/file", "contents");
  write("/big", std::string(3 << 20, 'x'));
  ASSERT_TRUE(mkdir("/dir"));
  ASSERT_TRUE(mkdir("/dir/sub", 0700));
  write("/dir/sub/deep", "deep");
  ASSERT_TRUE(symlink("/dir/sub/deep", "/link"));
  ASSERT_TRUE(link("/file", "/dir/hard"));
  ASSERT_TRUE(unlink("/host/gone"));
  write("/host/lower", "FROM", kOpenWrite);
  ASSERT_TRUE(rename("/dir/sub/deep", "/dir/moved"));
  const Attributes before = stat("/big");
  remount();
  EXPECT_EQ(read("/file"), "contents");
  EXPECT_EQ(read("/dir/hard"), "contents");
  EXPECT_EQ(stat("/file").links, 2u);
  EXPECT_EQ(read("/dir/moved"), "deep");
  EXPECT_EQ(stat("/dir/sub").mode & 07777, 0700u);
  EXPECT_EQ(stat_error("/dir/sub/deep"), Errno::NoEntry);
  EXPECT_EQ(stat_error("/host/gone"), Errno::NoEntry);
  EXPECT_EQ(read("/host/lower"), "FROM the host");
  EXPECT_EQ(read("/big"), std::string(3 << 20, 'x'));
  EXPECT_EQ(stat("/big").blocks, before.blocks);
  EXPECT_EQ(stat("/big").modified.seconds, before.modified.seconds);
  EXPECT_EQ(names("/dir"), (std::vector<std::string>{"hard", "moved", "sub"}));
  remount();
  EXPECT_EQ(read("/dir/moved"), "deep");
}

TEST_F(DiskVolumeTest, HolesAndSparseFilesStay) {
  auto f = open("/sparse", kOpenReadWrite | kOpenCreate);
  ASSERT_TRUE(f);
  for (const uint64_t at : {uint64_t{0}, uint64_t{50} << 12, uint64_t{5000} << 12, uint64_t{3} << 32}) {
    const std::string text = "at " + std::to_string(at);
    BufferSource source(std::as_bytes(std::span(text)));
    ASSERT_TRUE((*f)->write_at(at, text.size(), source, task_));
  }
  f = fail(Errno::NoEntry);
  remount();
  f = open("/sparse");
  ASSERT_TRUE(f);
  for (const uint64_t at : {uint64_t{0}, uint64_t{50} << 12, uint64_t{5000} << 12, uint64_t{3} << 32}) {
    (*f)->position = at;
    const std::string text = "at " + std::to_string(at);
    EXPECT_EQ(read(**f, text.size()), text);
  }
  EXPECT_LT(stat("/sparse").blocks, 100u);
}

TEST_F(DiskVolumeTest, SpaceComesBack) {
  ASSERT_TRUE(vfs_->sync_all());
  const uint64_t free = store_->free_blocks();
  for (int round = 0; round < 3; ++round) {
    write("/big", std::string(5 << 20, 'y'));
    ASSERT_TRUE(vfs_->sync_all());
    ASSERT_TRUE(unlink("/big"));
    ASSERT_TRUE(vfs_->sync_all());
    EXPECT_NEAR(static_cast<double>(store_->free_blocks()), static_cast<double>(free), 3);
  }
}

TEST_F(DiskVolumeTest, AFullDiskIsEnospcAndEverythingWrittenIsStored) {
  auto f = open("/full", kOpenReadWrite | kOpenCreate);
  ASSERT_TRUE(f);
  uint64_t written = 0;
  const std::string piece(1 << 16, 'z');
  for (;;) {
    const auto n = write(**f, piece);
    if (!n) {
      EXPECT_EQ(n.error(), Errno::NoSpace);
      break;
    }
    written += *n;
    ASSERT_LT(written, uint64_t{8} << 20);
  }
  EXPECT_GT(written, uint64_t{7} << 20);
  EXPECT_TRUE((*f)->sync());
  f = fail(Errno::NoEntry);
  remount();
  EXPECT_EQ(stat("/full").size, written);
  ASSERT_TRUE(unlink("/full"));
  write("/again", "there is room");
}

TEST_F(DiskVolumeTest, InodesRunOut) {
  const FileSystemStatistics s = vfs_->statistics(context_, nullptr, "/").value();
  uint64_t made = 0;
  Errno error{};
  for (; made <= s.files && error == Errno{}; ++made) error = error_of(open("/n" + std::to_string(made), kOpenWrite | kOpenCreate));
  EXPECT_EQ(error, Errno::NoSpace);
  EXPECT_GT(made, s.files_free - 2);
  remount();
  ASSERT_TRUE(unlink("/n1"));
  EXPECT_TRUE(open("/again", kOpenWrite | kOpenCreate));
}

TEST_F(DiskVolumeTest, AFileWithoutANameIsFreedByTheNextMount) {
  const uint64_t before = store_->free_blocks();
  auto f = open("/orphan", kOpenReadWrite | kOpenCreate);
  ASSERT_TRUE(f);
  ASSERT_TRUE(write(**f, std::string(1 << 20, 'o')));
  ASSERT_TRUE((*f)->sync());
  ASSERT_TRUE(unlink("/orphan"));
  ASSERT_TRUE(vfs_->sync_all());
  const auto image = contents();
  f = fail(Errno::NoEntry);
  ASSERT_TRUE(vfs_->sync_all());
  ASSERT_TRUE(store_->close());
  ASSERT_TRUE(disk_->poke(0, image));
  restart();
  EXPECT_NEAR(static_cast<double>(store_->free_blocks()), static_cast<double>(before), 2);
  remount();
}

TEST_F(DiskVolumeTest, AFailedWriteIsToldByFsyncOnce) {
  auto f = open("/file", kOpenReadWrite | kOpenCreate);
  ASSERT_TRUE(f);
  ASSERT_TRUE((*f)->sync());
  ASSERT_TRUE(write(**f, std::string(9000, 'e')));
  disk_->set_faults({.write = 1});
  mm::PageCache* pages = (*f)->inode().page_cache();
  EXPECT_FALSE(pages->write_back());
  disk_->set_faults({});
  const Status told = (*f)->sync();
  ASSERT_FALSE(told);
  EXPECT_EQ(told.error(), Errno::IoError);
  EXPECT_TRUE((*f)->sync());
}

TEST_F(DiskVolumeTest, DamageIsFound) {
  write("/file", "contents");
  ASSERT_TRUE(vfs_->sync_all());
  ASSERT_TRUE(store_->close());
  const auto image = contents();
  Rng rng(7);
  unsigned found = 0;
  for (int i = 0; i < 40; ++i) {
    // A bit of the metadata flips. Whatever it is, looking at the disk must not hurt.
    const uint64_t at = rng.below(uint64_t{4096} * 80);
    std::vector<std::byte> sector(image.begin() + static_cast<long>(at / 512 * 512), image.begin() + static_cast<long>(at / 512 * 512 + 512));
    sector[at % 512] ^= std::byte{1};
    ASSERT_TRUE(disk_->poke(at / 512, sector));
    found += !store_->check().has_value();
    ASSERT_TRUE(disk_->poke(0, image));
  }
  EXPECT_TRUE(store_->check().has_value());
  EXPECT_GT(found, 0u);
}

// Random operations against a model; then the machine stops at a random moment, with what the disk had in its cache written in part and out of order.
// What was fsynced before is there, and the disk is whole.
class DiskCrash : public DiskVolumeTest, public ::testing::WithParamInterface<int> {};

TEST_P(DiskCrash, WhatWasSyncedSurvives) {
  const uint64_t seed = static_cast<uint64_t>(GetParam());
  SCOPED_TRACE("seed " + std::to_string(seed));
  Rng rng(seed);
  ASSERT_TRUE(vfs_->sync_all());
  const auto start = contents();
  recorder_->recording = true;

  std::map<std::string, std::string> model;    // as the guest sees it
  struct Synced {
    size_t log_size;                           // of the disk when fsync had returned
    std::string name, text;
  };
  std::vector<Synced> synced;
  std::map<std::string, size_t> touched_after; // name -> log size at its last change
  for (int step = 0; step < 120; ++step) {
    const std::string name = "/f" + std::to_string(rng.below(12));
    switch (rng.below(8)) {
      case 0:
      case 1:
      case 2: {
        const std::string text(1 + rng.below(60000), static_cast<char>('a' + rng.below(26)));
        write(name, text);
        model[name] = text;
        touched_after[name] = recorder_->log.size();
        break;
      }
      case 3:
        if (model.contains(name)) {
          ASSERT_TRUE(unlink(name));
          model.erase(name);
          touched_after[name] = recorder_->log.size();
        }
        break;
      case 4: {
        const std::string to = "/f" + std::to_string(rng.below(12));
        if (model.contains(name) && to != name) {
          ASSERT_TRUE(rename(name, to));
          model[to] = model[name];
          model.erase(name);
          touched_after[name] = touched_after[to] = recorder_->log.size();
        }
        break;
      }
      case 5:
      case 6:
        if (model.contains(name)) {
          auto f = open(name, kOpenReadWrite);
          ASSERT_TRUE(f);
          ASSERT_TRUE((*f)->sync());
          synced.push_back({recorder_->log.size(), name, model[name]});
        }
        break;
      case 7:
        if (rng.below(4) == 0) {
          ASSERT_TRUE(vfs_->sync_all());
          for (const auto& [n, text] : model) synced.push_back({recorder_->log.size(), n, text});
        } else if (model.contains(name)) {
          auto f = open(name, kOpenReadWrite);
          const uint64_t size = rng.below(70000);
          ASSERT_TRUE((*f)->truncate(size));
          model[name].resize(size, '\0');
          touched_after[name] = recorder_->log.size();
        }
        break;
    }
  }
  for (const auto& [name, text] : model) EXPECT_EQ(read(name), text) << name;
  recorder_->recording = false;
  const auto log = recorder_->log;

  for (int crash = 0; crash < 6; ++crash) {
    // Everything up to the last flush before the crash; of what came after, some, in any order.
    const size_t at = rng.below(log.size() + 1);
    size_t flushed = 0;
    for (size_t i = 0; i < at; ++i)
      if (log[i].flush) flushed = i + 1;
    std::vector<size_t> applied;
    for (size_t i = 0; i < flushed; ++i) applied.push_back(i);
    std::vector<size_t> volatile_writes;
    for (size_t i = flushed; i < at; ++i)
      if (rng.below(2)) volatile_writes.push_back(i);
    for (size_t i = volatile_writes.size(); i > 1; --i) std::swap(volatile_writes[i - 1], volatile_writes[rng.below(i)]);
    applied.insert(applied.end(), volatile_writes.begin(), volatile_writes.end());

    ASSERT_TRUE(vfs_->sync_all());
    ASSERT_TRUE(store_->close());
    ASSERT_TRUE(disk_->poke(0, start));
    for (const size_t i : applied)
      if (!log[i].flush) {
        ASSERT_TRUE(disk_->poke(log[i].sector, log[i].bytes));
      }
    restart();
    ASSERT_FALSE(HasFatalFailure());
    // Of each name the last fsync before the crash counts, if nothing has changed the file since.
    std::map<std::string, const Synced*> last;
    for (const Synced& s : synced)
      if (s.log_size <= flushed) last[s.name] = &s;
    for (const auto& [name, s] : last) {
      if (touched_after.contains(name) && touched_after.at(name) >= s->log_size) continue;
      EXPECT_EQ(read(name), s->text) << name << ", crash at " << at << " of " << log.size();
    }
    ASSERT_TRUE(vfs_->sync_all());
    ASSERT_TRUE(store_->close());
    const auto sound = store_->check();
    ASSERT_TRUE(sound.has_value()) << sound.error() << ", crash at " << at << " of " << log.size();
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, DiskCrash, ::testing::Range(1, 6));

}  // namespace
}  // namespace vitro::fs::test
