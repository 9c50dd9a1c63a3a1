// The page cache: reading, writing, dirty pages, truncation, and what other tasks may do while one waits.
#include "vitro/mm/page_cache.h"

#include "unit/mm/virtual_memory_rig.h"
#include "vitro/base/rng.h"
#include "vitro/mm/shmem.h"

namespace vitro::mm::test {
namespace {

class PageCacheTest : public VirtualMemoryRig {
 protected:
  std::vector<std::byte> read(PageCache& c, uint64_t offset, size_t n) {
    std::vector<std::byte> out(n);
    BufferSink sink(out);
    const auto got = c.read(Bytes{offset}, n, sink);
    EXPECT_TRUE(got.has_value());
    out.resize(got.value_or(0));
    return out;
  }
  size_t write(PageCache& c, uint64_t offset, std::string_view text) {
    BufferSource source(std::as_bytes(std::span{text.data(), text.size()}));
    return c.write(Bytes{offset}, text.size(), source).value_or(0);
  }
  static bool matches(const std::vector<std::byte>& got, uint64_t offset) {
    for (size_t i = 0; i < got.size(); ++i)
      if (static_cast<uint8_t>(got[i]) != FakeFile::pattern(offset + i)) return false;
    return true;
  }
};

TEST_F(PageCacheTest, ReadsTheFileOnceAndStopsAtItsEnd) {
  FakeFile& f = make_file(Bytes{10 * kPageSize + 123});
  EXPECT_TRUE(matches(read(f.page_cache(), 5000, 3000), 5000));
  const unsigned reads = f.reads;
  EXPECT_TRUE(matches(read(f.page_cache(), 5000, 3000), 5000));
  EXPECT_EQ(f.reads, reads);
  EXPECT_EQ(read(f.page_cache(), 10 * kPageSize + 100, 500).size(), 23u);
  EXPECT_EQ(read(f.page_cache(), 11 * kPageSize, 500).size(), 0u);
  EXPECT_EQ(stat(VmItem::nr_file_pages), static_cast<int64_t>(f.page_cache().cached_pages().value()));
  verify();
}

TEST_F(PageCacheTest, ASequentialReaderGetsLargerAndLargerWindows) {
  FakeFile& f = make_file(mib(1));
  for (uint64_t page = 0; page < 256; ++page) EXPECT_TRUE(matches(read(f.page_cache(), page * kPageSize, kPageSize), page * kPageSize));
  EXPECT_EQ(f.pages_read, 256u);
  EXPECT_LE(f.reads, 12u);  // 4, 8, 16, then 32 at a time
  EXPECT_GE(f.reads, 8u);
}

TEST_F(PageCacheTest, ARandomReaderDoesNotReadAhead) {
  FakeFile& f = make_file(mib(1));
  for (const uint64_t page : {200, 40, 90, 150, 17}) read(f.page_cache(), page * kPageSize, 100);
  EXPECT_EQ(f.pages_read, 5u);
}

TEST_F(PageCacheTest, WritesStayInMemoryUntilWrittenBack) {
  FakeFile& f = make_file(kib(32));
  EXPECT_EQ(write(f.page_cache(), 4090, "hello, page cache"), 17u);
  EXPECT_EQ(f.page_cache().dirty_pages().value(), 2u);
  EXPECT_EQ(stat(VmItem::nr_dirty), 2);
  EXPECT_EQ(f.writes, 0u);
  EXPECT_EQ(static_cast<uint8_t>(f.bytes[4090]), FakeFile::pattern(4090));
  verify();
  ASSERT_TRUE(f.page_cache().write_back());
  EXPECT_EQ(f.writes, 2u);
  EXPECT_EQ(std::memcmp(&f.bytes[4090], "hello, page cache", 17), 0);
  EXPECT_EQ(static_cast<uint8_t>(f.bytes[4089]), FakeFile::pattern(4089));
  EXPECT_EQ(stat(VmItem::nr_dirty), 0);
  EXPECT_EQ(stat(VmItem::nr_written), 2);
  verify();
}

TEST_F(PageCacheTest, AWholePageIsWrittenWithoutReadingIt) {
  FakeFile& f = make_file(kib(32));
  EXPECT_EQ(write(f.page_cache(), 0, std::string(2 * kPageSize, 'x')), 2 * kPageSize);
  EXPECT_EQ(f.reads, 0u);
  EXPECT_EQ(write(f.page_cache(), kib(32).value(), "beyond the end"), 14u);
  EXPECT_EQ(f.reads, 0u);
  EXPECT_EQ(write(f.page_cache(), kib(16).value() + 1, "inside"), 6u);
  EXPECT_EQ(f.reads, 1u);
  verify();
}

TEST_F(PageCacheTest, ASourceThatEndsEarlyGivesAShortWrite) {
  FakeFile& f = make_file(kib(32));
  const std::string text(100, 'y');
  BufferSource source(std::as_bytes(std::span{text.data(), text.size()}));
  EXPECT_EQ(f.page_cache().write(Bytes{0}, 2 * kPageSize, source).value(), 100u);
  const auto got = read(f.page_cache(), 0, 200);
  EXPECT_EQ(got[99], std::byte{'y'});
  EXPECT_EQ(static_cast<uint8_t>(got[100]), FakeFile::pattern(100));
  BufferSource empty({});
  EXPECT_EQ(error_of(f.page_cache().write(Bytes{0}, 10, empty)), Errno::Fault);
  verify();
}

TEST_F(PageCacheTest, ErrorsOfTheStorageReachTheCaller) {
  FakeFile& f = make_file(kib(32));
  f.fail_reads = true;
  std::byte b;
  BufferSink sink({&b, 1});
  EXPECT_EQ(error_of(f.page_cache().read(Bytes{0}, 1, sink)), Errno::IoError);
  EXPECT_EQ(f.page_cache().cached_pages().value(), 0u);
  f.fail_reads = false;
  EXPECT_EQ(read(f.page_cache(), 0, 1).size(), 1u);
  write(f.page_cache(), 0, "x");
  write(f.page_cache(), 8192, "x");
  f.fail_writes = true;
  EXPECT_EQ(error_of(f.page_cache().write_back()), Errno::NoSpace);
  EXPECT_EQ(f.writes, 2u);  // after trying all
  verify();
}

TEST_F(PageCacheTest, TruncationUnmapsAndZeroesTheTail) {
  FakeFile& f = make_file(kib(32));
  auto s = make_space();
  load(*s);
  const VirtAddr shared = must(s->mmap(file_mapping(kib(32), true)));
  const VirtAddr private_copy = must(s->mmap(file_mapping(kib(32), false)));
  for (uint64_t i = 0; i < 8; ++i) touch(*s, shared + Pages{i}), touch(*s, private_copy + Pages{i});
  f.bytes.resize(kPageSize + 50);
  f.page_cache().truncate(Bytes{kPageSize + 50});
  EXPECT_EQ(f.page_cache().cached_pages().value(), 2u);
  EXPECT_EQ(look(*s, shared + kib(8)).result, FaultOutcome::Result::BusError);
  EXPECT_EQ(look(*s, private_copy + kib(8)).result, FaultOutcome::Result::BusError);
  EXPECT_EQ(peek(*s, shared + kib(4) + Bytes{49}), FakeFile::pattern(kPageSize + 49));
  EXPECT_EQ(peek(*s, shared + kib(4) + Bytes{50}), 0);
  verify();
  f.page_cache().drop_range(PageIndex{0}, Pages{~0ull});
  EXPECT_EQ(f.page_cache().cached_pages().value(), 0u);
  EXPECT_EQ(s->usage().rss_file, 0u);
  EXPECT_EQ(s->usage().rss_anon, 2u);  // private copies survive a hole
  verify();
}

TEST_F(PageCacheTest, ASecondReadActivatesThePage) {
  FakeFile& f = make_file(kib(8));
  read(f.page_cache(), 0, 10);
  EXPECT_EQ(stat(VmItem::nr_active_file), 0);
  read(f.page_cache(), 4096, 10);
  read(f.page_cache(), 0, 10);
  EXPECT_EQ(stat(VmItem::nr_active_file), 1);
  EXPECT_EQ(stat(VmItem::pgactivate), 1);
  verify();
}

TEST_F(PageCacheTest, SharedMemoryHasNoStorageAndCountsAsPromised) {
  auto file = make_shmem_file(*vm_, "/memfd:x (deleted)", kib(64));
  PageCache& c = file->page_cache();
  EXPECT_EQ(read(c, 0, 100), std::vector<std::byte>(100));
  EXPECT_EQ(c.cached_pages().value(), 0u);  // a hole is read without being filled
  EXPECT_EQ(write(c, 8192, "text"), 4u);
  EXPECT_EQ(c.cached_pages().value(), 1u);
  EXPECT_EQ(vm_->committed().value(), 1u);
  EXPECT_EQ(stat(VmItem::nr_shmem), 1);
  EXPECT_EQ(stat(VmItem::nr_inactive_anon) + stat(VmItem::nr_active_anon), 1);
  EXPECT_EQ(c.dirty_pages().value(), 0u);
  verify();
  c.truncate(Bytes{0});
  EXPECT_EQ(vm_->committed().value(), 0u);
}

TEST_F(PageCacheTest, AMappingThatGoesWhileItsPageIsReadIsNotMapped) {
  FakeFile& f = make_file(kib(32));
  auto s = make_space();
  load(*s);
  const VirtAddr a = must(s->mmap(file_mapping(kib(32), false)));
  f.while_reading = [&] { ASSERT_TRUE(s->munmap(a, kib(32))); };
  EXPECT_EQ(look(*s, a).result, FaultOutcome::Result::SegvMapError);
  verify();
  EXPECT_GT(f.page_cache().cached_pages().value(), 0u);
}

TEST_F(PageCacheTest, AFileCutWhileItsPageIsReadGivesABusError) {
  FakeFile& f = make_file(kib(32));
  auto s = make_space();
  load(*s);
  const VirtAddr a = must(s->mmap(file_mapping(kib(32), false)));
  f.while_reading = [&] {
    f.bytes.clear();
    f.page_cache().truncate(Bytes{0});
    vm_->verify(Verify::Full);
  };
  EXPECT_EQ(look(*s, a).result, FaultOutcome::Result::BusError);
  EXPECT_EQ(f.page_cache().cached_pages().value(), 0u);
  verify();
}

TEST_F(PageCacheTest, TheLastByteReadTellsWhetherAReaderIsSequential) {
  FakeFile& f = make_file(mib(1));
  read(f.page_cache(), 49 * kPageSize, kPageSize);
  EXPECT_FALSE(f.page_cache().find(PageIndex{50}));
  // All of page 49 was read, so that page 51 is one page away from where the reader is (ondemand_readahead: prev_pos).
  read(f.page_cache(), 51 * kPageSize, kPageSize);
  EXPECT_TRUE(f.page_cache().find(PageIndex{54}));
  read(f.page_cache(), 100 * kPageSize, 100);
  read(f.page_cache(), 102 * kPageSize, 100);
  EXPECT_FALSE(f.page_cache().find(PageIndex{103}));
}

TEST_F(PageCacheTest, AnotherTaskSeesAPageThatIsBeingReadAsNotThereYet) {
  FakeFile& f = make_file(kib(32));
  auto s = make_space();
  load(*s);
  const VirtAddr a = must(s->mmap(file_mapping(kib(32), false)));
  f.while_reading = [&] {
    EXPECT_FALSE(f.page_cache().find(PageIndex{0}));
    EXPECT_EQ(s->handle_fault(a, hw::Access::Read, hw::Privilege::User, MayWait::No).result, FaultOutcome::Result::WouldWait);
    vm_->verify(Verify::Full);
  };
  EXPECT_TRUE(look(*s, a).major);
  verify();
}

TEST_F(PageCacheTest, APageWrittenToWhileItIsWrittenBackStaysDirty) {
  FakeFile& f = make_file(kib(32));
  write(f.page_cache(), 0, "one");
  f.while_writing = [&] {
    EXPECT_EQ(stat(VmItem::nr_writeback), 1);
    write(f.page_cache(), 0, "two");
    vm_->verify(Verify::Full);
  };
  ASSERT_TRUE(f.page_cache().write_back());
  EXPECT_EQ(f.page_cache().dirty_pages().value(), 1u);
  ASSERT_TRUE(f.page_cache().write_back());
  EXPECT_EQ(std::memcmp(f.bytes.data(), "two", 3), 0);
  verify();
}

TEST_F(PageCacheTest, AFileDroppedWhileItIsWrittenBackLeavesNothing) {
  FakeFile& f = make_file(kib(32));
  write(f.page_cache(), 0, "one");
  f.while_writing = [&] {
    f.page_cache().truncate(Bytes{0});
    vm_->verify(Verify::Full);
  };
  ASSERT_TRUE(f.page_cache().write_back());
  verify();
  EXPECT_EQ(used(), free_at_start_);
}

TEST_F(PageCacheTest, AgreesWithAByteArrayAtEveryStep) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed);
    FakeFile& f = make_file(kib(200));
    std::vector<std::byte> model = f.bytes;
    for (int step = 0; step < 400; ++step) {
      const uint64_t at = rng.below(model.size() + 5000), n = 1 + rng.below(20000);
      switch (rng.below(8)) {
        case 0:
        case 1:
        case 2: {
          const auto got = read(f.page_cache(), at, n);
          ASSERT_EQ(got.size(), at < model.size() ? std::min<uint64_t>(n, model.size() - at) : 0);
          ASSERT_EQ(std::memcmp(got.data(), model.data() + std::min<uint64_t>(at, model.size()), got.size()), 0) << "step " << step;
          break;
        }
        case 3:
        case 4:
        case 5: {
          const std::string text(n, static_cast<char>(rng.below(256)));
          if (at + n > model.size()) model.resize(at + n);
          if (rng.below(2)) f.bytes.resize(model.size());
          ASSERT_EQ(write(f.page_cache(), at, text), n);
          f.bytes.resize(model.size());
          std::memcpy(model.data() + at, text.data(), n);
          break;
        }
        case 6:
          model.resize(rng.below(kib(300).value()));
          f.bytes.resize(model.size());
          f.page_cache().truncate(Bytes{model.size()});
          break;
        default: ASSERT_TRUE(f.page_cache().write_back(Bytes{at}, Bytes{at + n})); break;
      }
      if (step % 10 == 0) verify();
    }
    ASSERT_TRUE(f.page_cache().write_back());
    EXPECT_EQ(f.bytes, model);
  }
}

}  // namespace
}  // namespace vitro::mm::test
