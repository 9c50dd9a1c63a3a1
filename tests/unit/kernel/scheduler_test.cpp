#include "kernel/scheduler.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace vitro::kernel {
namespace {

// A CPU that is never run: the tasks here are C++ functions.
class IdleCpu final : public hw::Cpu {
 public:
  void evict(VirtAddr) override {}
  void flush() override {}
  void invalidate_code(Pfn) override {}
  hw::CpuStop run() override { return {}; }
  hw::UserRegisters registers() const override { return {}; }
  void set_registers(const hw::UserRegisters&) override {}
  hw::FpuState fpu_state() const override { return {}; }
  void set_fpu_state(const hw::FpuState&) override {}
  SyscallArguments syscall_arguments() const override { return {}; }
  void set_syscall_result(uint64_t) override {}
  uint64_t instruction_pointer() const override { return 0; }
  uint64_t stack_pointer() const override { return 0; }
  std::unique_ptr<hw::CpuContext> make_context() override { return nullptr; }
  void save(hw::CpuContext&) override {}
  void restore(const hw::CpuContext&) override {}
  void set_fault_service(hw::FaultService*) override {}
  void set_precise_faults(bool) override {}
  void set_single_step(bool) override {}
  void request_stop() override {}
  hw::MmuMode mode() const override { return hw::MmuMode::Fast; }
  void set_zero_frame(Pfn) override {}
};

class SchedulerTest : public testing::Test, public SchedulerPort {
 protected:
  SchedulerTest()
      : ram(std::move(*hw::Ram::create(mib(16)))),
        mmu(*ram, hw::TlbConfig{}, timing, tracer),
        scheduler(cpu, clock, mmu, timing, tracer, *this) {}
  bool signal_pending(const Task& t) const override { return t.pending.set & ~t.blocked; }
  bool fatal_signal_pending(const Task& t) const override { return t.pending.set & signal_bit(kSigKill); }
  bool poll_host() override { return true; }
  bool wait_for_host() override { return false; }
  bool wait_for_host_until(Nanoseconds) override { return false; }
  void task_ended(Task& t) override {
    t.fibre.reset();
    ++ended;
  }
  std::optional<Nanoseconds> cpu_timer_remaining(const Task&) const override { return std::nullopt; }

  Task& spawn(std::string name, std::function<void()> body, int nice = 0) {
    auto t = std::make_unique<Task>();
    t->tid = Pid{static_cast<int>(tasks.size()) + 1};
    t->comm = std::move(name);
    t->nice = nice;
    t->fibre = std::make_unique<Fibre>(scheduler.stacks(), [this, body = std::move(body), raw = t.get()] {
      body();
      raw->state = TaskState::Zombie;
    });
    tasks.push_back(std::move(t));
    scheduler.start(*tasks.back(), nullptr);
    return *tasks.back();
  }
  Status sleep(WaitQueue& q, Sleep kind = Sleep::Interruptible, std::optional<Nanoseconds> deadline = std::nullopt) {
    WaitQueue* one = &q;
    return scheduler.sleep(std::span{&one, 1}, kind, deadline);
  }
  // As if user code ran for a while.
  void burn(Nanoseconds n) {
    for (Nanoseconds done{0}; done < n; done += microseconds(100)) {
      scheduler.account_system();
      clock.advance(microseconds(100));
      scheduler.account_user();
      scheduler.run_due_events();
      if (scheduler.preemption_pending()) scheduler.preempt_if_needed();
    }
  }
  Scheduler::Ended run() {
    return scheduler.run([this] { return ended == static_cast<int>(tasks.size()); });
  }

  hw::Clock clock{400};
  hw::TimingModel timing;
  Tracer tracer;
  std::unique_ptr<hw::Ram> ram;
  hw::Mmu mmu;
  IdleCpu cpu;
  Scheduler scheduler;
  std::vector<std::unique_ptr<Task>> tasks;
  int ended = 0;
};

TEST_F(SchedulerTest, SleepersRunAgainWhenTheyAreWoken) {
  WaitQueue queue;
  std::string trail;
  spawn("a", [&] {
    trail += "a";
    EXPECT_TRUE(sleep(queue));
    trail += "A";
  });
  spawn("b", [&] {
    trail += "b";
    EXPECT_EQ(queue.wake_all(), 1u);
    trail += "B";
  });
  EXPECT_EQ(run(), Scheduler::Ended::Done);
  EXPECT_EQ(trail, "abBA");
}

TEST_F(SchedulerTest, DeadlinesLetVirtualTimePass) {
  WaitQueue nobody;
  spawn("sleeper", [&] {
    EXPECT_EQ(sleep(nobody, Sleep::Uninterruptible, seconds(600)).error(), Errno::TimedOut);
    EXPECT_GE(clock.now(), seconds(600));
    EXPECT_EQ(sleep(nobody, Sleep::Interruptible, seconds(5)).error(), Errno::TimedOut) << "already past";
  });
  EXPECT_EQ(run(), Scheduler::Ended::Done);
  EXPECT_TRUE(nobody.empty());
  EXPECT_GT(scheduler.totals().iowait, seconds(599));
}

TEST_F(SchedulerTest, SignalsEndOnlyTheSleepsThatListen) {
  WaitQueue queue;
  std::vector<Task*> sleepers;
  auto sleeper = [&](Sleep kind, Status expected) {
    sleepers.push_back(&spawn("s", [this, &queue, kind, expected] {
      const Status got = sleep(queue, kind);
      EXPECT_EQ(got.has_value(), expected.has_value());
      EXPECT_TRUE(got || got.error() == Errno::RestartSys);
    }));
  };
  sleeper(Sleep::Interruptible, fail(Errno::RestartSys));
  sleeper(Sleep::Killable, {});
  sleeper(Sleep::Uninterruptible, {});
  spawn("sender", [&] {
    for (Task* t : sleepers) {
      t->pending.set |= signal_bit(kSigUsr1);
      scheduler.wake_for_signal(*t, false);
    }
    EXPECT_EQ(sleepers[0]->state, TaskState::Running);
    EXPECT_EQ(sleepers[1]->state, TaskState::DiskSleep);
    EXPECT_EQ(sleepers[2]->state, TaskState::DiskSleep);
    scheduler.yield();  // the first leaves the queue
    EXPECT_EQ(queue.wake_all(), 2u);
  });
  EXPECT_EQ(run(), Scheduler::Ended::Done);
}

TEST_F(SchedulerTest, AnyOfSeveralQueuesWakesAndAllAreLeft) {
  WaitQueue a, b, c;
  WaitQueue* all[] = {&a, &b, &c};
  spawn("poll", [&] { EXPECT_TRUE(scheduler.sleep(all, Sleep::Interruptible, std::nullopt)); });
  spawn("waker", [&] {
    EXPECT_FALSE(a.empty() || b.empty() || c.empty());
    b.wake_all();
  });
  EXPECT_EQ(run(), Scheduler::Ended::Done);
  EXPECT_TRUE(a.empty() && b.empty() && c.empty());
}

TEST_F(SchedulerTest, NobodyLeftToWakeIsADeadlock) {
  WaitQueue queue;
  spawn("forever", [&] { (void)sleep(queue); });
  EXPECT_EQ(run(), Scheduler::Ended::Deadlock);
  queue.wake_all();
  EXPECT_EQ(run(), Scheduler::Ended::Done);
}

TEST_F(SchedulerTest, HogsShareTheCpuByWeight) {
  Nanoseconds spent[3]{};
  bool stop = false;
  const int nice[3] = {0, 0, 5};
  for (int i = 0; i < 3; ++i)
    spawn(
        "hog",
        [&, i] {
          while (!stop) {
            burn(microseconds(100));
            spent[i] += microseconds(100);
            if (clock.now() > seconds(2)) stop = true;
          }
        },
        nice[i]);
  EXPECT_EQ(run(), Scheduler::Ended::Done);
  EXPECT_NEAR(static_cast<double>(spent[0].value()) / static_cast<double>(spent[1].value()), 1.0, 0.05);
  EXPECT_NEAR(static_cast<double>(spent[0].value()) / static_cast<double>(spent[2].value()), 1024.0 / 335, 0.2);
}

TEST_F(SchedulerTest, AWokenTaskPreemptsAHog) {
  WaitQueue nobody;
  bool stop = false;
  Nanoseconds worst{0};
  spawn("hog", [&] {
    while (!stop) burn(microseconds(100));
  });
  spawn("interactive", [&] {
    for (int i = 0; i < 20; ++i) {
      const Nanoseconds wanted = clock.now() + milliseconds(10);
      (void)sleep(nobody, Sleep::Interruptible, wanted);
      worst = std::max(worst, clock.now() - wanted);
    }
    stop = true;
  });
  EXPECT_EQ(run(), Scheduler::Ended::Done);
  EXPECT_LT(worst, milliseconds(1));
}

TEST_F(SchedulerTest, YieldLetsEverybodyElseRunFirst) {
  std::string trail;
  for (char name : {'a', 'b', 'c'})
    spawn(std::string(1, name), [&, name] {
      for (int i = 0; i < 3; ++i) {
        trail += name;
        scheduler.yield();
      }
    });
  EXPECT_EQ(run(), Scheduler::Ended::Done);
  EXPECT_EQ(trail, "abcabcabc");
}

TEST_F(SchedulerTest, TimeAddsUp) {
  WaitQueue nobody;
  spawn("worker", [&] {
    burn(milliseconds(3));
    (void)sleep(nobody, Sleep::Interruptible, clock.now() + milliseconds(7));
    burn(milliseconds(2));
  });
  EXPECT_EQ(run(), Scheduler::Ended::Done);
  const auto totals = scheduler.totals();
  EXPECT_EQ(totals.user, milliseconds(5));
  EXPECT_EQ((totals.user + totals.system + totals.idle + totals.iowait).value(), clock.now().value());
}

}  // namespace
}  // namespace vitro::kernel
