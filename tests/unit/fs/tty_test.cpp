#include "vitro/fs/tty.h"

#include "unit/fs/fs_rig.h"

namespace vitro::fs::test {
namespace {

class Screen final : public TtyDevice {
 public:
  size_t room() override { return most - std::min(most, shown.size()); }
  void put(std::span<const uint8_t> bytes) override { shown.append(reinterpret_cast<const char*>(bytes.data()), bytes.size()); }
  void flush_output() override { shown.clear(); }
  void suspend() override { ++suspensions; }
  std::string take() { return std::exchange(shown, {}); }
  std::string shown;
  size_t most = SIZE_MAX;
  unsigned suspensions = 0;
};

// One process: 10, leader of session 10, or a member of group 11.
class Jobs final : public JobControl {
 public:
  std::optional<Caller> caller() const override { return me; }
  bool caller_heeds(int) const override { return heeds; }
  bool orphaned(Pid) const override { return is_orphaned; }
  std::optional<Pid> session_of(Pid g) const override { return g == Pid{10} || g == Pid{11} ? std::optional{Pid{10}} : g == Pid{20} ? std::optional{Pid{20}} : std::nullopt; }
  void signal_group(Pid g, int signal) override { sent.emplace_back(g.value(), signal); }
  void signal_process(Pid p, int signal) override { sent.emplace_back(-p.value(), signal); }
  void set_terminal(std::shared_ptr<Tty> t) override { me.terminal = std::move(t); }
  void drop_terminal(Pid) override { me.terminal = nullptr; }
  Caller me{Pid{10}, Pid{10}, Pid{10}, nullptr, true};
  bool heeds = true, is_orphaned = false;
  std::vector<std::pair<int, int>> sent;
};

class TtyTest : public FsRig {
 protected:
  TtyTest() {
    mount_overlay();
    vfs_->set_job_control(&jobs_);
    tty_ = std::make_shared<Tty>(*vfs_, screen_, make_device(136, 0));
    tty_->opened_by_caller(false);
  }
  ~TtyTest() override {
    jobs_.me.terminal = nullptr;
    tty_.reset();
    vfs_->set_job_control(nullptr);
  }
  void type(std::string_view text) { tty_->receive({reinterpret_cast<const uint8_t*>(text.data()), text.size()}); }
  Result<std::string> got(size_t count = 100) {
    std::string text(count, '\0');
    BufferSink sink(std::as_writable_bytes(std::span(text)));
    const size_t n = TRY(tty_->read(count, sink, task_, true, tty_->opening()));
    text.resize(n);
    return text;
  }
  Result<size_t> show(std::string_view text) {
    BufferSource source(std::as_bytes(std::span(text)));
    return tty_->write(text.size(), source, task_, true, tty_->opening());
  }
  std::shared_ptr<Screen> screen_ = std::make_shared<Screen>();
  Jobs jobs_;
  std::shared_ptr<Tty> tty_;
};

TEST_F(TtyTest, TheFirstOpenerThatLeadsASessionGetsTheTerminal) {
  EXPECT_EQ(tty_->session(), Pid{10});
  EXPECT_EQ(tty_->foreground(), Pid{10});
  EXPECT_EQ(jobs_.me.terminal, tty_);
}

TEST_F(TtyTest, ALineIsReadWhenItIsWhole) {
  type("ab");
  EXPECT_EQ(error_of(got()), Errno::Again);
  EXPECT_EQ(tty_->poll(nullptr, 0) & kPollIn, 0u);
  type("c\rnext\n");
  EXPECT_EQ(screen_->take(), "abc\r\nnext\r\n");
  EXPECT_EQ(*got(), "abc\n");
  EXPECT_EQ(*got(2), "ne");
  EXPECT_EQ(*got(), "xt\n");
  type("\4");
  EXPECT_EQ(*got(), "");
}

TEST_F(TtyTest, AnExactReadSwallowsTheEndOfFileBehindIt) {
  type("abc\4next\n");
  EXPECT_EQ(*got(3), "abc");
  EXPECT_EQ(*got(), "next\n");
}

TEST_F(TtyTest, AnInterruptSignalsTheForegroundAndFlushes) {
  type("half\3");
  EXPECT_EQ(jobs_.sent, (std::vector<std::pair<int, int>>{{10, 2}}));
  EXPECT_EQ(screen_->take(), "^C");
  type("\n");
  EXPECT_EQ(*got(), "\n");
}

TEST_F(TtyTest, AStopThatNobodyInsideCouldEndGoesToTheDevice) {
  type("\x1a");
  EXPECT_EQ(screen_->suspensions, 0u);
  jobs_.is_orphaned = true;
  type("\x1a");
  EXPECT_EQ(screen_->suspensions, 1u);
}

TEST_F(TtyTest, TheBackgroundIsStopped) {
  jobs_.me.group = Pid{11};
  type("line\n");
  EXPECT_EQ(error_of(got()), Errno::RestartSys);
  EXPECT_EQ(jobs_.sent.back(), (std::pair<int, int>{11, 21}));
  jobs_.heeds = false;
  EXPECT_EQ(error_of(got()), Errno::IoError);
  EXPECT_EQ(*show("x"), 1u);
  Termios t = tty_->settings();
  t.local |= kToStop;
  tty_->set_settings(t);
  EXPECT_EQ(*show("x"), 1u) << "it ignores SIGTTOU";
  jobs_.heeds = true;
  EXPECT_EQ(error_of(show("x")), Errno::RestartSys);
  EXPECT_EQ(jobs_.sent.back(), (std::pair<int, int>{11, 22}));
  jobs_.is_orphaned = true;
  EXPECT_EQ(error_of(show("x")), Errno::IoError);
}

TEST_F(TtyTest, AFullDeviceTakesPartAndLosesNothing) {
  screen_->most = 64;
  std::string all(100, 'x');
  const size_t n = *show(all);
  EXPECT_LT(n, 100u);
  EXPECT_EQ(screen_->take().size(), n);
  screen_->most = 0;
  type("y");
  EXPECT_EQ(error_of(show("z")), Errno::Again);
  screen_->most = SIZE_MAX;
  EXPECT_EQ(*show("z"), 1u);
  EXPECT_EQ(screen_->take(), "yz") << "the echo waited";
}

TEST_F(TtyTest, AHangUpKillsOpenFilesAndTellsTheLeader) {
  const unsigned opened = tty_->opening();
  tty_->hang_up();
  EXPECT_EQ(jobs_.sent, (std::vector<std::pair<int, int>>{{-10, 1}, {-10, 18}}));
  std::byte b;
  BufferSink sink({&b, 1});
  EXPECT_EQ(*tty_->read(1, sink, task_, false, opened), 0u);
  BufferSource source(std::span<const std::byte>{&b, 1});
  EXPECT_EQ(error_of(tty_->write(1, source, task_, false, opened)), Errno::IoError);
  EXPECT_TRUE(tty_->poll(nullptr, opened) & kPollHup);
  EXPECT_EQ(tty_->session(), Pid{0});
}

// Whatever is typed in whatever mode, nothing is read that was not typed, and the buffer's bound holds.
TEST_F(TtyTest, AnyInputInAnyModeIsContained) {
  uint64_t state = 12345;
  const auto random = [&state] { return state = state * 6364136223846793005u + 1442695040888963407u, static_cast<uint32_t>(state >> 33); };
  for (int i = 0; i < 20000; ++i) {
    if (random() % 50 == 0) {
      Termios t = Termios::standard();
      t.input = random() & 0xffff;
      t.local = random() & 0x1ffff;
      t.output = random() & 0x1fff;
      for (uint8_t& c : t.cc) c = static_cast<uint8_t>(random() % 4 == 0 ? random() : c);
      tty_->set_settings(t);
    }
    std::string text;
    for (unsigned n = random() % 40; n > 0; --n) text += static_cast<char>(random());
    if (tty_->receive_room() > 0) type(text);
    if (random() % 3 == 0) (void)got(random() % 100 + 1);
    if (random() % 10 == 0) screen_->take();
    ASSERT_LE(tty_->unread(), 4096u + 64);
  }
}

TEST_F(TtyTest, PairsComeAndGoInDevpts) {
  ASSERT_TRUE(vfs_->mount("/dev", make_devfs(*vfs_, 1), "udev"));
  ASSERT_TRUE(vfs_->mount("/dev/pts", make_devpts(*vfs_, tty_), "devpts"));
  EXPECT_EQ(names("/dev/pts"), (std::vector<std::string>{"ptmx", "0"}));
  EXPECT_EQ(stat("/dev/pts/0").special_device, make_device(136, 0));
  {
    auto master = *open("/dev/ptmx", kOpenReadWrite), second = *open("/dev/ptmx", kOpenReadWrite);
    EXPECT_EQ(names("/dev/pts"), (std::vector<std::string>{"ptmx", "0", "1", "2"}));
    EXPECT_EQ(open_error("/dev/pts/1", kOpenReadWrite), Errno::IoError) << "locked";
    auto slave = *open_peer(*vfs_, *master, kOpenReadWrite);
    EXPECT_EQ(*write(*slave, "out\n"), 4u);
    EXPECT_EQ(read(*master), "out\r\n");
    EXPECT_EQ(*write(*master, "in\n"), 3u);
    EXPECT_EQ(read(*slave), "in\n");
    EXPECT_EQ(error_of(open_peer(*vfs_, *slave, kOpenReadWrite)), Errno::NotTty);
  }
  EXPECT_EQ(names("/dev/pts"), (std::vector<std::string>{"ptmx", "0"}));
  EXPECT_EQ(open_error("/dev/pts/ptmx", kOpenReadWrite), Errno{}) << "root may";
}

}  // namespace
}  // namespace vitro::fs::test
