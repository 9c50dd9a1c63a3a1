// Byte-range locks.
#include "syscalls/record_locks.h"

#include <algorithm>

#include "vitro/fs/file.h"
#include "vitro/kernel/task.h"

namespace vitro::syscalls {

LockKey lock_key(fs::File& file) {
  const fs::Attributes a = file.inode().attributes();
  return {a.device, a.inode};
}

LockOwner process_lock_owner(const kernel::Process& p) { return {p.files, p.files.get(), p.pid}; }
LockOwner file_lock_owner(const std::shared_ptr<fs::File>& file) { return {file, file.get(), Pid{-1}}; }

RecordLocks::File* RecordLocks::find(LockKey key) {
  const auto it = files_.find(key);
  if (it == files_.end()) return nullptr;
  if (std::erase_if(it->second.locks, [](const Lock& l) { return l.owner.alive.expired(); }) != 0) it->second.changed.wake_all();
  return &it->second;
}

void RecordLocks::forget_if_unused(LockKey key) {
  const auto it = files_.find(key);
  if (it != files_.end() && it->second.locks.empty() && it->second.changed.empty()) files_.erase(it);
}

std::optional<RecordLocks::Lock> RecordLocks::find_conflict(LockKey key, const LockOwner& owner, LockKind kind, LockRange range) {
  File* file = find(key);
  if (!file) return std::nullopt;
  for (const Lock& l : file->locks)
    if (!(l.owner == owner) && l.range.overlaps(range) && (kind == LockKind::Write || l.kind == LockKind::Write)) return l;
  return std::nullopt;
}

// Takes `range` out of the owner's locks; what sticks out on either side stays.
void RecordLocks::cut(std::vector<Lock>& locks, const LockOwner& owner, LockRange range) {
  std::vector<Lock> rest;
  for (Lock& l : locks) {
    if (!(l.owner == owner) || !l.range.overlaps(range)) {
      rest.push_back(std::move(l));
      continue;
    }
    if (l.range.first < range.first) rest.push_back({l.owner, l.kind, {l.range.first, range.first - 1}});
    if (l.range.last > range.last) rest.push_back({l.owner, l.kind, {range.last + 1, l.range.last}});
  }
  // A right-hand rest may begin behind other owners' locks.
  std::stable_sort(rest.begin(), rest.end(), [](const Lock& a, const Lock& b) { return a.range.first < b.range.first; });
  locks = std::move(rest);
}

bool RecordLocks::try_lock(LockKey key, const LockOwner& owner, LockKind kind, LockRange range) {
  if (find_conflict(key, owner, kind, range)) return false;
  File& file = files_[key];
  cut(file.locks, owner, range);
  // Join with neighbours of the same owner and kind that touch it.
  Lock joined{owner, kind, range};
  std::erase_if(file.locks, [&](const Lock& l) {
    if (!(l.owner == owner) || l.kind != kind) return false;
    const bool before = l.range.last != UINT64_MAX && l.range.last + 1 == joined.range.first;
    const bool after = joined.range.last != UINT64_MAX && joined.range.last + 1 == l.range.first;
    if (before) joined.range.first = l.range.first;
    if (after) joined.range.last = l.range.last;
    return before || after;
  });
  const auto at = std::upper_bound(file.locks.begin(), file.locks.end(), joined, [](const Lock& a, const Lock& b) { return a.range.first < b.range.first; });
  file.locks.insert(at, std::move(joined));
  file.changed.wake_all();  // a write lock may have become a read lock
  return true;
}

void RecordLocks::unlock(LockKey key, const LockOwner& owner, LockRange range) {
  File* file = find(key);
  if (!file) return;
  cut(file->locks, owner, range);
  file->changed.wake_all();
  forget_if_unused(key);
}

void RecordLocks::remove_owner_from(LockKey key, const LockOwner& owner) {
  if (files_.empty()) return;
  unlock(key, owner, {});
}

void RecordLocks::remove_owner(const LockOwner& owner) {
  std::vector<LockKey> keys;
  for (const auto& [key, file] : files_)
    if (std::any_of(file.locks.begin(), file.locks.end(), [&](const Lock& l) { return l.owner == owner; })) keys.push_back(key);
  for (LockKey key : keys) unlock(key, owner, {});
}

WaitQueue& RecordLocks::changed(LockKey key) { return files_[key].changed; }

bool RecordLocks::would_deadlock(const LockOwner& waiter, const LockOwner& holder) {
  const LockOwner* at = &holder;
  for (size_t steps = 0; steps <= waits_.size(); ++steps) {
    if (*at == waiter) return true;
    const auto next = std::find_if(waits_.begin(), waits_.end(), [&](const auto& w) { return w.first == *at; });
    if (next == waits_.end()) return false;
    at = &next->second;
  }
  return false;
}

void RecordLocks::begin_wait(const LockOwner& waiter, const LockOwner& holder) { waits_.emplace_back(waiter, holder); }

void RecordLocks::end_wait(const LockOwner& waiter) {
  const auto it = std::find_if(waits_.begin(), waits_.end(), [&](const auto& w) { return w.first == waiter; });
  if (it != waits_.end()) waits_.erase(it);
}

std::vector<RecordLocks::Lock> RecordLocks::locks(LockKey key, const LockOwner& owner) {
  std::vector<Lock> out;
  if (File* file = find(key))
    for (const Lock& l : file->locks)
      if (l.owner == owner) out.push_back(l);
  return out;
}

}  // namespace vitro::syscalls
