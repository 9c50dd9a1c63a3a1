// Writing back: the flusher's timer and order, limits, throttling, pages in flight, and errors that are told once.
#include "vitro/mm/writeback.h"

#include <deque>

#include "unit/mm/virtual_memory_rig.h"
#include "vitro/base/error_sequence.h"
#include "vitro/hw/clock.h"

namespace vitro::mm::test {
namespace {

// A file on a slow device: a request is complete when the test says so, or by the clock.
class SlowFile final : public MappedFile, public FileBacking {
 public:
  SlowFile(VirtualMemory& vm, hw::Clock& clock, Bytes size) : size_(size), clock_(clock), cache_(vm, *this, FrameState::FileCache, 5) {}
  PageCache& page_cache() override { return cache_; }
  uint64_t device_number() const override { return 8; }
  uint64_t inode_number() const override { return 5; }
  std::string mapped_path() const override { return "/slow"; }
  bool opened_for_write() const override { return true; }
  bool opened_for_read() const override { return true; }
  void read_pages(PageIndex, Into pages, Done done) override {
    for (const auto& p : pages) std::memset(p.data(), 0x5a, p.size());
    later(pages.size(), {}, std::move(done));
  }
  void write_pages(PageIndex first, From pages, Done done) override {
    ++requests;
    written += pages.size();
    last_first = first;
    later(pages.size(), fail_writes ? Status{fail(Errno::IoError)} : Status{}, std::move(done));
  }
  Bytes size() const override { return size_; }
  void later(size_t pages, Status result, Done done) {
    busy_until = std::max(busy_until, clock_.now()) + per_page * pages;
    clock_.schedule(busy_until, [done = std::move(done), result] { done(result); });
  }

  Nanoseconds per_page = microseconds(100);  // 40 MB/s
  Nanoseconds busy_until{0};
  unsigned requests = 0;
  uint64_t written = 0;
  PageIndex last_first{0};
  bool fail_writes = false;

 private:
  Bytes size_;
  hw::Clock& clock_;
  PageCache cache_;
};

// The only task: a wait lets virtual time pass until it is woken or the deadline comes.
class SoloTask final : public Blocking {
 public:
  explicit SoloTask(hw::Clock& clock) : clock_(clock) {}
  Status wait(WaitQueue& queue, Interruptible, std::optional<Nanoseconds> deadline) override {
    struct Self final : Waiter {
      void wake() override { woken = true; }
      bool woken = false;
    } self;
    queue.add(self);
    while (!self.woken) {
      const auto next = clock_.next_event();
      if (deadline && (!next || *deadline < *next)) {
        slept += *deadline - std::min(*deadline, clock_.now());
        clock_.idle_until(*deadline);
        queue.remove(self);
        return fail(Errno::TimedOut);
      }
      if (!next) break;
      clock_.idle_until(*next);
      clock_.run_due_events();
      if (flusher) flusher();
    }
    queue.remove(self);
    return self.woken ? Status{} : fail(Errno::RestartSys);
  }
  bool may_wait() const override { return true; }
  Nanoseconds slept{0};
  std::function<void()> flusher;

 private:
  hw::Clock& clock_;
};

class WritebackTest : public VirtualMemoryRig {
 protected:
  WritebackTest() {
    vm_->set_blocking(&task_);
    vm_->writeback().set_clock(&clock_);
    slow_ = std::make_unique<SlowFile>(*vm_, clock_, mib(64));
  }
  ~WritebackTest() override {
    drain();
    slow_.reset();
    vm_->writeback().set_clock(nullptr);
    vm_->set_blocking(nullptr);
  }
  void drain() {
    while (clock_.next_event()) {
      clock_.idle_until(*clock_.next_event());
      clock_.run_due_events();
      if (timer_only()) break;
    }
  }
  bool timer_only() { return stat(VmItem::nr_writeback) == 0; }
  void dirty(uint64_t page, uint64_t count = 1) {
    const std::vector<std::byte> bytes(count * kPageSize, std::byte{7});
    BufferSource source(bytes);
    EXPECT_EQ(slow_->page_cache().write(PageIndex{page}.offset(), bytes.size(), source).value_or(0), bytes.size());
  }
  // One round of the flusher thread, as it runs when it is woken.
  void pass(Nanoseconds time) {
    const Nanoseconds end = clock_.now() + time;
    while (clock_.next_event() && *clock_.next_event() <= end) {
      clock_.idle_until(*clock_.next_event());
      clock_.run_due_events();
      run_flusher();
    }
    clock_.idle_until(end);
  }
  void run_flusher() {
    vm_->writeback().flush_due([] { return false; });
  }
  hw::Clock clock_{0};
  SoloTask task_{clock_};
  std::unique_ptr<SlowFile> slow_;
};

TEST_F(WritebackTest, APageIsUnderWritebackWhileTheDiskWorks) {
  dirty(3, 2);
  EXPECT_EQ(stat(VmItem::nr_dirty), 2);
  EXPECT_EQ(slow_->page_cache().start_writing(), 2u);
  EXPECT_EQ(stat(VmItem::nr_dirty), 0);
  EXPECT_EQ(stat(VmItem::nr_writeback), 2);
  EXPECT_EQ(stat(VmItem::nr_zone_write_pending), 2);
  EXPECT_TRUE(frame(*slow_->page_cache().find(PageIndex{3})).has(FrameFlag::Writeback));
  verify();
  ASSERT_TRUE(slow_->page_cache().wait_for_writing());
  EXPECT_EQ(stat(VmItem::nr_writeback), 0);
  EXPECT_EQ(stat(VmItem::nr_zone_write_pending), 0);
  EXPECT_EQ(stat(VmItem::nr_written), 2);
  EXPECT_EQ(stat(VmItem::nr_dirtied), 2);
  EXPECT_EQ(clock_.now(), microseconds(200));
  verify();
}

TEST_F(WritebackTest, NeighboursGoInOneRequest) {
  dirty(0, 10);
  dirty(20, 3);
  ASSERT_TRUE(slow_->page_cache().write_back());
  EXPECT_EQ(slow_->requests, 2u);
  EXPECT_EQ(slow_->written, 13u);
}

TEST_F(WritebackTest, APageThatIsWrittenToMeanwhileIsWrittenAgain) {
  dirty(0);
  slow_->page_cache().start_writing();
  dirty(0);
  EXPECT_EQ(stat(VmItem::nr_dirty), 1);
  EXPECT_EQ(stat(VmItem::nr_writeback), 1);
  EXPECT_EQ(slow_->page_cache().start_writing(), 0u);  // not while it is on its way
  verify();
  ASSERT_TRUE(slow_->page_cache().write_back());
  EXPECT_EQ(slow_->written, 2u);
  EXPECT_EQ(stat(VmItem::nr_dirty) + stat(VmItem::nr_writeback), 0);
}

TEST_F(WritebackTest, TruncationWaitsForWhatIsOnItsWay) {
  dirty(0, 4);
  slow_->page_cache().start_writing();
  slow_->page_cache().truncate(Bytes{kPageSize});
  EXPECT_EQ(stat(VmItem::nr_writeback), 0);
  EXPECT_EQ(slow_->page_cache().cached_pages(), Pages{1});
  verify();
}

TEST_F(WritebackTest, AFileCanGoAwayWhileItsPagesAreBeingWritten) {
  dirty(0, 4);
  slow_->page_cache().start_writing();
  const Nanoseconds end = slow_->busy_until;
  slow_.reset();
  EXPECT_EQ(stat(VmItem::nr_writeback), 4);
  verify();
  clock_.idle_until(end);
  clock_.run_due_events();
  EXPECT_EQ(stat(VmItem::nr_writeback), 0);
  EXPECT_EQ(used(), free_at_start_);
  verify();
  slow_ = std::make_unique<SlowFile>(*vm_, clock_, mib(1));
}

TEST_F(WritebackTest, NothingIsDueOnAnIdleMachine) {
  EXPECT_FALSE(clock_.next_event());
  dirty(0);
  EXPECT_EQ(*clock_.next_event(), seconds(5));
}

TEST_F(WritebackTest, TheFlusherWritesWhatHasBeenDirtyForThirtySeconds) {
  dirty(0, 8);
  pass(seconds(29));
  EXPECT_EQ(slow_->written, 0u);
  pass(seconds(7));
  EXPECT_EQ(slow_->written, 8u);
  EXPECT_EQ(stat(VmItem::nr_dirty), 0);
}

TEST_F(WritebackTest, TheFlusherCanBeAskedForPages) {
  dirty(0, 100);
  vm_->writeback().wake_flusher(30);
  run_flusher();
  EXPECT_EQ(slow_->written, 30u);
}

TEST_F(WritebackTest, TheFlusherGoesOnWhereItStoppedAndThenFromTheStart) {
  dirty(0, 100);
  vm_->writeback().wake_flusher(30);
  run_flusher();
  drain();
  dirty(0, 10);  // again: not what is to be written next
  vm_->writeback().wake_flusher(20);
  run_flusher();
  EXPECT_EQ(slow_->last_first, PageIndex{30});
  drain();
  vm_->writeback().wake_flusher(60);
  run_flusher();
  EXPECT_EQ(slow_->last_first, PageIndex{0});
  EXPECT_EQ(slow_->written, 110u);
}

TEST_F(WritebackTest, TunablesAreRatiosOrBytes) {
  WritebackTunables t;
  const auto a = Writeback::limits_of(t, 44000);
  EXPECT_EQ(a.threshold, 819u * 44000 >> 12);
  EXPECT_EQ(a.background, 409u * 44000 >> 12);
  t.dirty_background_ratio = 50;
  EXPECT_EQ(Writeback::limits_of(t, 44000).background, a.threshold / 2);
  t.dirty_bytes = kib(64);
  EXPECT_EQ(Writeback::limits_of(t, 44000).threshold, 16u);
  EXPECT_EQ(Writeback::limits_of({}, 0).threshold, 0u);
}

TEST_F(WritebackTest, WritersAreSlowedDownAndStayBelowTheLimit) {
  task_.flusher = [this] {
    vm_->writeback().write_some(1024);
  };
  const auto limits = vm_->writeback().limits();
  uint64_t most = 0;
  for (uint64_t page = 0; page < 2000; ++page) {
    dirty(page);
    most = std::max<uint64_t>(most, static_cast<uint64_t>(stat(VmItem::nr_dirty) + stat(VmItem::nr_writeback)));
  }
  EXPECT_GT(task_.slept, milliseconds(20));
  EXPECT_GT(most, limits.background);
  EXPECT_LE(most, limits.threshold + 64);
}

TEST_F(WritebackTest, AnErrorIsToldToEachObserverOnce) {
  ErrorSequence& errors = slow_->page_cache().write_errors();
  ErrorSequence::Mark early = errors.sample();
  slow_->fail_writes = true;
  dirty(0);
  const Status status = slow_->page_cache().write_back();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error(), Errno::IoError);
  ErrorSequence::Mark late = errors.sample();  // opened after the error, which nobody has seen
  EXPECT_FALSE(errors.check_and_advance(early));
  EXPECT_TRUE(errors.check_and_advance(early));
  EXPECT_FALSE(errors.check_and_advance(late));
  ErrorSequence::Mark after = errors.sample();
  EXPECT_TRUE(errors.check_and_advance(after));
  EXPECT_EQ(stat(VmItem::nr_dirty), 0);  // it is lost, not tried for ever
}

TEST_F(WritebackTest, MappedPagesAreWriteProtectedAgain) {
  auto file = std::shared_ptr<SlowFile>(slow_.get(), [](SlowFile*) {});
  auto space = make_space();
  load(*space);
  MmapRequest r;
  r.length = Bytes{2 * kPageSize};
  r.protection = VmFlag::Read | VmFlag::Write;
  r.shared = true;
  r.file = file;
  const VirtAddr a = must(space->mmap(r));
  touch(*space, a);
  EXPECT_EQ(stat(VmItem::nr_dirty), 1);
  ASSERT_TRUE(space->msync(a, Bytes{kPageSize}, 4));
  EXPECT_EQ(stat(VmItem::nr_dirty), 0);
  EXPECT_FALSE(entry(*space, a).writable());
  const auto again = touch(*space, a);
  EXPECT_EQ(again.kind, FaultKind::File);
  EXPECT_FALSE(again.major);
  EXPECT_EQ(stat(VmItem::nr_dirty), 1);
  ASSERT_TRUE(space->munmap(a, r.length));
  verify();
}

}  // namespace
}  // namespace vitro::mm::test
