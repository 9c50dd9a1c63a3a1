// Advisory file locks (fs/locks.c): byte ranges, shared or exclusive, by owner. One instance holds fcntl's record locks, another flock's.
//
//   if (!locks.try_lock(key, owner, LockKind::Write, {0, 99})) ... wait on locks.changed(key) ...
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "vitro/base/types.h"
#include "vitro/base/wait_queue.h"

namespace vitro::fs {
class File;
}
namespace vitro::kernel {
class Process;
}

namespace vitro::syscalls {

enum class LockKind : uint8_t { Read, Write };

struct LockRange {
  uint64_t first = 0, last = UINT64_MAX;  // inclusive; UINT64_MAX: to the end, however far the file grows
  bool overlaps(const LockRange& o) const { return first <= o.last && o.first <= last; }
};

// The file: device and inode number.
using LockKey = std::pair<uint64_t, uint64_t>;
LockKey lock_key(fs::File& file);

// Who holds a lock. It counts as long as `alive` does: a process's descriptor table, or an open file description.
struct LockOwner {
  std::weak_ptr<const void> alive;
  const void* identity = nullptr;
  Pid pid{-1};  // what F_GETLK reports; -1: an open file description
  bool operator==(const LockOwner& o) const { return identity == o.identity; }
};
LockOwner process_lock_owner(const kernel::Process& p);
LockOwner file_lock_owner(const std::shared_ptr<fs::File>& file);

class RecordLocks {
 public:
  struct Lock {
    LockOwner owner;
    LockKind kind;
    LockRange range;
  };

  // The first lock, by position, that keeps `owner` from having this one.
  std::optional<Lock> find_conflict(LockKey key, const LockOwner& owner, LockKind kind, LockRange range);
  // Takes it (replacing, splitting and joining the owner's own locks) unless another's is in the way.
  bool try_lock(LockKey key, const LockOwner& owner, LockKind kind, LockRange range);
  void unlock(LockKey key, const LockOwner& owner, LockRange range);
  // All of an owner's locks on one file, or on every file.
  void remove_owner_from(LockKey key, const LockOwner& owner);
  void remove_owner(const LockOwner& owner);

  // Descriptors were closed: whoever waits looks again whether the holder is still there.
  void owners_may_be_gone() {
    for (auto& [key, file] : files_) file.changed.wake_all();
  }
  // Woken when a lock on the file goes. Valid until the file's last lock is gone and nobody waits.
  WaitQueue& changed(LockKey key);

  // Waiting: `waiter` sleeps for `holder`. True where that closes a circle, and then nothing is noted (fs/locks.c: posix_locks_deadlock).
  bool would_deadlock(const LockOwner& waiter, const LockOwner& holder);
  void begin_wait(const LockOwner& waiter, const LockOwner& holder);
  void end_wait(const LockOwner& waiter);

  // An owner's locks on a file, by position. For tests.
  std::vector<Lock> locks(LockKey key, const LockOwner& owner);
  size_t files() const { return files_.size(); }
  bool empty() const { return files_.empty(); }

 private:
  struct File {
    std::vector<Lock> locks;  // by first byte; one owner's never overlap or touch with the same kind
    WaitQueue changed;
  };
  File* find(LockKey key);  // without locks of owners that are gone
  void forget_if_unused(LockKey key);
  static void cut(std::vector<Lock>& locks, const LockOwner& owner, LockRange range);
  std::map<LockKey, File> files_;
  std::vector<std::pair<LockOwner, LockOwner>> waits_;
};

}  // namespace vitro::syscalls
