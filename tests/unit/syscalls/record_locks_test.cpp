// Byte-range locks, by hand and against a naive model.
#include "syscalls/record_locks.h"

#include <gtest/gtest.h>

#include <array>

#include "vitro/base/rng.h"

namespace vitro::syscalls {
namespace {

constexpr LockKey kFile{1, 2}, kOther{1, 3};

struct Owner {
  std::shared_ptr<int> object = std::make_shared<int>(0);
  LockOwner lock_owner(int pid = 1) const { return {object, object.get(), Pid{pid}}; }
};

TEST(RecordLocks, ReadersShareAndWritersDoNot) {
  RecordLocks locks;
  Owner a, b;
  EXPECT_TRUE(locks.try_lock(kFile, a.lock_owner(), LockKind::Read, {0, 9}));
  EXPECT_TRUE(locks.try_lock(kFile, b.lock_owner(), LockKind::Read, {5, 14}));
  EXPECT_FALSE(locks.try_lock(kFile, b.lock_owner(), LockKind::Write, {0, 0}));
  EXPECT_TRUE(locks.try_lock(kFile, b.lock_owner(), LockKind::Write, {10, 14}));
  EXPECT_TRUE(locks.try_lock(kOther, b.lock_owner(), LockKind::Write, {0, 9})) << "another file";
}

TEST(RecordLocks, UnlockSplitsALock) {
  RecordLocks locks;
  Owner a;
  locks.try_lock(kFile, a.lock_owner(), LockKind::Write, {0, 99});
  locks.unlock(kFile, a.lock_owner(), {40, 59});
  const auto held = locks.locks(kFile, a.lock_owner());
  ASSERT_EQ(held.size(), 2u);
  EXPECT_EQ(held[0].range.last, 39u);
  EXPECT_EQ(held[1].range.first, 60u);
  EXPECT_EQ(held[1].range.last, 99u);
}

TEST(RecordLocks, NeighboursOfOneKindJoin) {
  RecordLocks locks;
  Owner a;
  locks.try_lock(kFile, a.lock_owner(), LockKind::Read, {0, 9});
  locks.try_lock(kFile, a.lock_owner(), LockKind::Read, {20, 29});
  locks.try_lock(kFile, a.lock_owner(), LockKind::Read, {10, 19});
  ASSERT_EQ(locks.locks(kFile, a.lock_owner()).size(), 1u);
  locks.try_lock(kFile, a.lock_owner(), LockKind::Write, {10, 19});
  EXPECT_EQ(locks.locks(kFile, a.lock_owner()).size(), 3u);
}

TEST(RecordLocks, ReportsTheFirstConflict) {
  RecordLocks locks;
  Owner a, b;
  locks.try_lock(kFile, a.lock_owner(7), LockKind::Write, {100, 199});
  locks.try_lock(kFile, a.lock_owner(7), LockKind::Read, {300, UINT64_MAX});
  const auto c = locks.find_conflict(kFile, b.lock_owner(), LockKind::Write, {0, UINT64_MAX});
  ASSERT_TRUE(c);
  EXPECT_EQ(c->range.first, 100u);
  EXPECT_EQ(c->owner.pid, Pid{7});
  EXPECT_FALSE(locks.find_conflict(kFile, b.lock_owner(), LockKind::Read, {300, 400}));
  EXPECT_FALSE(locks.find_conflict(kFile, a.lock_owner(), LockKind::Write, {0, UINT64_MAX})) << "one's own";
}

TEST(RecordLocks, AnOwnerThatIsGoneHoldsNothing) {
  RecordLocks locks;
  Owner b;
  {
    Owner a;
    locks.try_lock(kFile, a.lock_owner(), LockKind::Write, {});
    EXPECT_FALSE(locks.try_lock(kFile, b.lock_owner(), LockKind::Write, {}));
  }
  EXPECT_TRUE(locks.try_lock(kFile, b.lock_owner(), LockKind::Write, {}));
}

TEST(RecordLocks, ForgetsFilesWithoutLocks) {
  RecordLocks locks;
  Owner a;
  locks.try_lock(kFile, a.lock_owner(), LockKind::Write, {});
  locks.try_lock(kOther, a.lock_owner(), LockKind::Write, {});
  locks.remove_owner(a.lock_owner());
  EXPECT_EQ(locks.files(), 0u);
}

TEST(RecordLocks, SeesACircleOfWaiters) {
  RecordLocks locks;
  Owner a, b, c;
  locks.begin_wait(a.lock_owner(), b.lock_owner());
  locks.begin_wait(b.lock_owner(), c.lock_owner());
  EXPECT_TRUE(locks.would_deadlock(c.lock_owner(), a.lock_owner()));
  locks.end_wait(b.lock_owner());
  EXPECT_FALSE(locks.would_deadlock(c.lock_owner(), a.lock_owner()));
}

// Each byte's holder kept by hand.
TEST(RecordLocks, AgreesWithAByteByByteModel) {
  constexpr size_t kBytes = 24, kOwners = 3;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng{seed};
    RecordLocks locks;
    std::array<Owner, kOwners> owners;
    std::array<std::array<int, kBytes>, kOwners> held{};  // 0 none, 1 read, 2 write
    for (int step = 0; step < 200; ++step) {
      const size_t who = rng.below(kOwners);
      const uint64_t first = rng.below(kBytes), last = first + rng.below(kBytes - first);
      const int what = static_cast<int>(rng.below(3));
      if (what == 0) {
        locks.unlock(kFile, owners[who].lock_owner(), {first, last});
        for (uint64_t i = first; i <= last; ++i) held[who][i] = 0;
      } else {
        bool free = true;
        for (size_t o = 0; o < kOwners; ++o)
          for (uint64_t i = first; i <= last; ++i)
            if (o != who && held[o][i] != 0 && (what == 2 || held[o][i] == 2)) free = false;
        ASSERT_EQ(locks.try_lock(kFile, owners[who].lock_owner(), what == 1 ? LockKind::Read : LockKind::Write, {first, last}), free);
        if (free)
          for (uint64_t i = first; i <= last; ++i) held[who][i] = what;
      }
      for (size_t o = 0; o < kOwners; ++o) {
        std::array<int, kBytes> now{};
        const auto list = locks.locks(kFile, owners[o].lock_owner());
        for (size_t l = 0; l < list.size(); ++l) {
          for (uint64_t i = list[l].range.first; i <= list[l].range.last; ++i) {
            ASSERT_EQ(now[i], 0) << "one owner's locks overlap";
            now[i] = list[l].kind == LockKind::Read ? 1 : 2;
          }
          ASSERT_TRUE(l == 0 || list[l - 1].range.last + 1 < list[l].range.first || list[l - 1].kind != list[l].kind) << "not joined";
        }
        ASSERT_EQ(now, held[o]);
      }
    }
  }
}

}  // namespace
}  // namespace vitro::syscalls
