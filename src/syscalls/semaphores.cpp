// semget, semop, semtimedop, semctl.
#include "syscalls/semaphore_sets.h"

#include <algorithm>

#include "syscalls/clocks.h"
#include "syscalls/handlers.h"
#include "syscalls/runtime.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::syscalls {

void SemaphoreSets::remove(SemaphoreSet& set) {
  const auto keep = find(set.id);
  set.removed = true;
  objects_.erase(set.id);
  set.changed.wake_all();
}

size_t SemaphoreSets::semaphores() const {
  size_t n = 0;
  for (const auto& [id, s] : objects_) n += s->semaphores.size();
  return n;
}

void SemaphoreSets::process_ended(Pid process) {
  for (const auto& [id, s] : objects_) {
    const auto it = s->undo.find(process);
    if (it == s->undo.end()) continue;
    for (size_t i = 0; i < it->second.size(); ++i) {
      if (it->second[i] == 0) continue;
      Semaphore& m = s->semaphores[i];
      m.value = std::clamp(m.value + it->second[i], 0, kMostValue);
      m.last = process;
    }
    s->undo.erase(it);
    s->changed.wake_all();
  }
}

namespace {

constexpr int kGetPid = 11, kGetValue = 12, kGetAll = 13, kGetMore = 14, kGetZero = 15, kSetValue = 16, kSetAll = 17, kSemStat = 18, kSemInfo = 19, kSemStatAny = 20;
constexpr int16_t kUndo = 010000;

using Set = SemaphoreSet;

struct UserOperation {
  uint16_t number;
  int16_t change, flags;
};
static_assert(sizeof(UserOperation) == 6);
struct UserSemid {
  UserIpcPerm perm;
  int64_t operated, unused1, changed, unused2;
  uint64_t count, unused3, unused4;
};
static_assert(sizeof(UserSemid) == 104);
struct UserSeminfo {
  int32_t map, sets, all, undos, of_set, operations, undo_entries, size, most_value, most_undo;
};

UserSemid state_of(const Set& s) {
  UserSemid u{};
  u.perm = user_form(s);
  u.operated = s.operated_time;
  u.changed = s.changed_time;
  u.count = s.semaphores.size();
  return u;
}

enum class Attempt { Done, WaitForMore, WaitForZero };

// perform_atomic_semop: all operations or none. Which one would have to wait goes to `at`. Range, Again.
Result<Attempt> attempt(Set& s, Pid process, std::span<const UserOperation> operations, size_t& at) {
  std::vector<int> values;
  for (const auto& m : s.semaphores) values.push_back(m.value);
  std::vector<int> undo;
  if (const auto it = s.undo.find(process); it != s.undo.end()) undo = it->second;
  undo.resize(values.size());
  bool undoes = false;
  for (at = 0; at < operations.size(); ++at) {
    const UserOperation& o = operations[at];
    int& value = values[o.number];
    const bool waits = o.change == 0 ? value != 0 : value + o.change < 0;
    if (waits) {
      if (o.flags & kIpcNoWait) return fail(Errno::Again);
      return o.change == 0 ? Attempt::WaitForZero : Attempt::WaitForMore;
    }
    value += o.change;
    if (value > SemaphoreSets::kMostValue) return fail(Errno::Range);
    if (o.flags & kUndo) {
      undoes = true;
      int& adjustment = undo[o.number];
      adjustment -= o.change;
      if (adjustment < -SemaphoreSets::kMostValue - 1 || adjustment > SemaphoreSets::kMostValue) return fail(Errno::Range);
    }
  }
  bool changed = false;
  for (const UserOperation& o : operations) {
    s.semaphores[o.number].last = process;
    changed |= o.change != 0;
  }
  for (size_t i = 0; i < values.size(); ++i) s.semaphores[i].value = values[i];
  if (undoes) s.undo[process] = std::move(undo);
  if (changed) s.changed.wake_all();
  return Attempt::Done;
}

Result<long> operate(Context& c, std::optional<Nanoseconds> deadline) {
  const size_t n = unsigned_argument(c, 2);
  if (n < 1 || int_argument(c, 0) < 0) return fail(Errno::Invalid);
  if (n > SemaphoreSets::kMostOperations) return fail(Errno::TooBig);
  std::vector<UserOperation> operations(n);
  TRY(c.user.copy_in(address_argument(c, 1), std::as_writable_bytes(std::span{operations})));
  const auto set = c.runtime.semaphores->find(int_argument(c, 0));
  if (!set) return fail(Errno::Invalid);
  bool alters = false;
  for (const UserOperation& o : operations) {
    if (o.number >= set->semaphores.size()) return fail(Errno::FileTooBig);
    alters |= o.change != 0;
  }
  if (!permitted(c, *set, alters ? fs::kMayWrite : fs::kMayRead)) return fail(Errno::Access);
  const Pid me = c.task.process->pid;
  for (;;) {
    size_t at = 0;
    const Attempt outcome = TRY(attempt(*set, me, operations, at));
    if (outcome == Attempt::Done) {
      set->operated_time = now_seconds(c);
      return 0;
    }
    Semaphore& m = set->semaphores[operations[at].number];
    unsigned& waiters = outcome == Attempt::WaitForMore ? m.wait_for_more : m.wait_for_zero;
    ++waiters;
    const Status woken = c.kernel.wait(set->changed, Interruptible::Yes, deadline);
    --waiters;
    if (set->removed) return fail(kIdentifierRemoved);
    // A signal ends the call for good: it is never restarted (signal(7)).
    if (!woken) return fail(woken.error() == Errno::TimedOut ? Errno::Again : Errno::Interrupted);
  }
}

}  // namespace

Result<long> sys_semget(Context& c) {
  const auto key = static_cast<int32_t>(c[0]);
  const int n = int_argument(c, 1), flags = int_argument(c, 2);
  if (n < 0 || static_cast<size_t>(n) > SemaphoreSets::kMostOfSet) return fail(Errno::Invalid);
  SemaphoreSets& sets = *c.runtime.semaphores;
  const auto large_enough = [n](const Set& s) { return static_cast<size_t>(n) <= s.semaphores.size(); };
  if (const auto id = TRY(find_for_get(c, sets.find_key(key), key, flags, large_enough))) return *id;
  if (n == 0) return fail(Errno::Invalid);
  if (sets.all().size() >= SemaphoreSets::kMostSets || sets.semaphores() + static_cast<size_t>(n) > SemaphoreSets::kMostInAll) return fail(Errno::NoSpace);
  auto set = std::make_shared<Set>();
  // struct sem_array and its struct sem, a cache line each; Linux takes vmalloc where kmalloc's caches end.
  constexpr size_t kHeader = 128, kEach = 64, kPiece = 8192;
  for (size_t left = kHeader + static_cast<size_t>(n) * kEach; left > 0;) {
    const size_t piece = std::min(left, kPiece);
    set->memory.push_back(TRY(c.kernel.vm().physical().caches().allocate_bytes(Bytes{piece}, mm::Gfp::KernelAccount)));
    left -= piece;
  }
  fill_ownership(c, *set, key, flags);
  set->semaphores.resize(static_cast<size_t>(n));
  set->changed_time = now_seconds(c);
  sets.add(set);
  return set->id;
}

Result<long> sys_semop(Context& c) { return operate(c, std::nullopt); }

Result<long> sys_semtimedop(Context& c) {
  if (c[3] == 0) return operate(c, std::nullopt);
  const auto timeout = TRY(c.user.get<UserTimespec>(address_argument(c, 3)));
  return operate(c, add_saturating(c.kernel.now(), TRY(duration_of(timeout))));
}

Result<long> sys_semctl(Context& c) {
  SemaphoreSets& sets = *c.runtime.semaphores;
  const int id = int_argument(c, 0), number = int_argument(c, 1), command = int_argument(c, 2);
  if (id < 0) return fail(Errno::Invalid);
  if (command == kIpcInfo || command == kSemInfo) {
    constexpr auto kAll = static_cast<int32_t>(SemaphoreSets::kMostInAll);
    constexpr auto kOperations = static_cast<int32_t>(SemaphoreSets::kMostOperations);
    UserSeminfo u{kAll, SemaphoreSets::kMostSets, kAll, kAll, SemaphoreSets::kMostOfSet, kOperations, kOperations, 20, SemaphoreSets::kMostValue, SemaphoreSets::kMostValue};
    if (command == kSemInfo) {
      u.size = static_cast<int32_t>(sets.all().size());
      u.most_undo = static_cast<int32_t>(sets.semaphores());
    }
    TRY(c.user.put(address_argument(c, 3), u));
    return sets.highest_place();
  }
  const auto set = command == kSemStat || command == kSemStatAny ? sets.at(id) : sets.find(id);
  if (!set) return fail(Errno::Invalid);
  const auto one = [&]() -> Result<Semaphore*> {
    if (number < 0 || static_cast<size_t>(number) >= set->semaphores.size()) return fail(Errno::Invalid);
    return &set->semaphores[static_cast<size_t>(number)];
  };
  const auto forget_undo = [&](size_t i) {
    for (auto& [process, undo] : set->undo)
      if (i < undo.size()) undo[i] = 0;
  };
  switch (command) {
    case kIpcStat:
    case kSemStat:
    case kSemStatAny:
      if (command != kSemStatAny && !permitted(c, *set, fs::kMayRead)) return fail(Errno::Access);
      TRY(c.user.put(address_argument(c, 3), state_of(*set)));
      return command == kIpcStat ? 0 : set->id;
    case kIpcSet: {
      const auto u = TRY(c.user.get<UserSemid>(address_argument(c, 3)));
      if (!owns(c, *set)) return fail(Errno::NotPermitted);
      change_ownership(*set, u.perm);
      set->changed_time = now_seconds(c);
      return 0;
    }
    case kIpcRemove:
      if (!owns(c, *set)) return fail(Errno::NotPermitted);
      sets.remove(*set);
      return 0;
    case kGetAll: {
      if (!permitted(c, *set, fs::kMayRead)) return fail(Errno::Access);
      std::vector<uint16_t> values;
      for (const auto& m : set->semaphores) values.push_back(static_cast<uint16_t>(m.value));
      TRY(c.user.copy_out(address_argument(c, 3), std::as_bytes(std::span{values})));
      return 0;
    }
    case kSetAll: {
      if (!permitted(c, *set, fs::kMayWrite)) return fail(Errno::Access);
      std::vector<uint16_t> values(set->semaphores.size());
      TRY(c.user.copy_in(address_argument(c, 3), std::as_writable_bytes(std::span{values})));
      if (set->removed) return fail(kIdentifierRemoved);  // reading may have waited
      if (std::ranges::any_of(values, [](uint16_t v) { return v > SemaphoreSets::kMostValue; })) return fail(Errno::Range);
      for (size_t i = 0; i < values.size(); ++i) set->semaphores[i].value = values[i], set->semaphores[i].last = c.task.process->pid, forget_undo(i);
      set->changed_time = now_seconds(c);
      set->changed.wake_all();
      return 0;
    }
    case kSetValue: {
      const auto value = static_cast<int>(c[3]);
      if (value < 0 || value > SemaphoreSets::kMostValue) return fail(Errno::Range);
      Semaphore* m = TRY(one());
      if (!permitted(c, *set, fs::kMayWrite)) return fail(Errno::Access);
      m->value = value;
      m->last = c.task.process->pid;
      forget_undo(static_cast<size_t>(number));
      set->changed_time = now_seconds(c);
      set->changed.wake_all();
      return 0;
    }
    case kGetValue:
    case kGetPid:
    case kGetMore:
    case kGetZero: {
      if (!permitted(c, *set, fs::kMayRead)) return fail(Errno::Access);
      const Semaphore* m = TRY(one());
      return command == kGetValue ? m->value : command == kGetPid ? m->last.value() : static_cast<long>(command == kGetMore ? m->wait_for_more : m->wait_for_zero);
    }
    default: return fail(Errno::Invalid);
  }
}

}  // namespace vitro::syscalls
