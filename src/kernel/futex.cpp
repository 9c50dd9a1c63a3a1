// futex(2): waiting and waking by the value of a user word (kernel/futex/syscalls.c, waitwake.c, requeue.c), and robust lists at exit.
#include "kernel/futex_table.h"
#include "kernel/state.h"
#include "kernel/user_exit.h"

namespace vitro::kernel {
namespace {

constexpr int kWait = 0, kWake = 1, kRequeue = 3, kCmpRequeue = 4, kWakeOp = 5, kWaitBitset = 9, kWakeBitset = 10;
constexpr int kPrivate = 128, kClockRealtime = 256;
constexpr uint32_t kWaiters = 0x80000000, kOwnerDied = 0x40000000, kTidMask = 0x3fffffff;

struct KeyAndHolder {
  FutexKey key;
  std::shared_ptr<mm::MappedFile> keeps;
};

// kernel/futex/core.c: get_futex_key. Invalid: not aligned. Fault: nothing mapped (shared keys only).
Result<KeyAndHolder> key_of(Task& t, uint64_t address, bool is_private) {
  if (address & 3) return fail(Errno::Invalid);
  if (address >= mm::kUserEnd.value()) return fail(Errno::Fault);
  KeyAndHolder result{{t.space(), address}, nullptr};
  if (is_private) return result;
  const mm::Vma* v = t.space()->find(VirtAddr{address});
  if (!v) return fail(Errno::Fault);
  if (v->shared() && v->file) {
    result.keeps = v->file;
    result.key = {&v->file->page_cache(), v->index_of(VirtAddr{address}).offset().value() + (address & kPageOffsetMask)};
  }
  return result;
}

// FUTEX_WAKE_OP's instruction word (kernel/futex/waitwake.c: futex_atomic_op_inuser).
struct WakeOperation {
  unsigned operation, comparison;
  int32_t operand, compared;
  explicit WakeOperation(uint32_t encoded)
      : operation((encoded >> 28) & 7),
        comparison((encoded >> 24) & 15),
        operand(static_cast<int32_t>(encoded << 8) >> 20),
        compared(static_cast<int32_t>(encoded << 20) >> 20) {
    if (encoded & 0x80000000) operand = static_cast<int32_t>(1u << (operand & 31));
  }
  uint32_t apply(uint32_t old) const {
    const auto v = static_cast<uint32_t>(operand);
    switch (operation) {
      case 0:
        return v;
      case 1:
        return old + v;
      case 2:
        return old | v;
      case 3:
        return old & ~v;
      default:
        return old ^ v;
    }
  }
  bool holds(uint32_t old) const {
    const auto a = static_cast<int32_t>(old);
    switch (comparison) {
      case 0:
        return a == compared;
      case 1:
        return a != compared;
      case 2:
        return a < compared;
      case 3:
        return a <= compared;
      case 4:
        return a > compared;
      default:
        return a >= compared;
    }
  }
  bool valid() const { return operation <= 4 && comparison <= 5; }
};

Result<long> futex_wait(Kernel& kernel, Task& t, uint64_t address, bool is_private, uint32_t value, std::optional<Nanoseconds> deadline,
                        uint32_t bitset) {
  if (bitset == 0) return fail(Errno::Invalid);
  Kernel::State& s = kernel.state();
  FutexWaiter waiter;
  {
    KeyAndHolder k = TRY(key_of(t, address, is_private));
    waiter.key = k.key;
    waiter.keeps = std::move(k.keeps);
  }
  waiter.bitset = bitset;
  // Reading the word may wait for a page; after it nothing does until we are queued, so no wake-up is lost.
  if (TRY(t.user().get<uint32_t>(VirtAddr{address})) != value) return fail(Errno::Again);
  s.futexes.add(waiter);
  while (!waiter.woken) {
    t.wait_channel = "futex_wait_queue";
    const Status slept = kernel.wait(waiter.queue, Interruptible::Yes, deadline);
    if (waiter.woken) break;
    if (slept) continue;
    s.futexes.remove(waiter);
    if (slept.error() == Errno::TimedOut) return fail(Errno::TimedOut);
    if (!deadline) return fail(Errno::RestartSys);
    t.restart_block = [&kernel, &t, address, is_private, value, deadline, bitset] {
      return futex_wait(kernel, t, address, is_private, value, deadline, bitset);
    };
    return fail(Errno::RestartRestartBlock);
  }
  return 0;
}

}  // namespace

Result<long> Kernel::futex(Task& t, uint64_t address, int operation, uint32_t value, std::optional<Nanoseconds> deadline, uint64_t value2,
                           uint64_t address2, uint32_t value3) {
  const bool is_private = operation & kPrivate;
  const int command = operation & ~(kPrivate | kClockRealtime);
  if ((operation & kClockRealtime) && command != kWait && command != kWaitBitset) return fail(Errno::NoSyscall);
  FutexTable& table = state_->futexes;
  mm::UserAccess user = t.user();
  switch (command) {
    case kWait:
      return futex_wait(*this, t, address, is_private, value, deadline, ~0u);
    case kWaitBitset:
      return futex_wait(*this, t, address, is_private, value, deadline, value3);
    case kWake:
      return table.wake(TRY(key_of(t, address, is_private)).key, static_cast<int>(value));
    case kWakeBitset:
      if (value3 == 0) return fail(Errno::Invalid);
      return table.wake(TRY(key_of(t, address, is_private)).key, static_cast<int>(value), value3);
    case kRequeue:
    case kCmpRequeue: {
      const int wake_count = static_cast<int>(value), move_count = static_cast<int>(value2);
      if (wake_count < 0 || move_count < 0) return fail(Errno::Invalid);
      const KeyAndHolder from = TRY(key_of(t, address, is_private)), to = TRY(key_of(t, address2, is_private));
      if (command == kCmpRequeue && TRY(user.get<uint32_t>(VirtAddr{address})) != value3) return fail(Errno::Again);
      const auto moved = table.requeue(from.key, to.key, wake_count, move_count);
      return command == kCmpRequeue ? moved.woken + moved.moved : moved.woken;
    }
    case kWakeOp: {
      const WakeOperation what{value3};
      const KeyAndHolder first = TRY(key_of(t, address, is_private)), second = TRY(key_of(t, address2, is_private));
      if (!what.valid()) return fail(Errno::NoSyscall);
      uint32_t old = TRY(user.get<uint32_t>(VirtAddr{address2}));
      while (true) {
        const uint32_t seen = TRY(user.compare_exchange(VirtAddr{address2}, old, what.apply(old)));
        if (seen == old) break;
        old = seen;
      }
      int woken = table.wake(first.key, static_cast<int>(value));
      if (what.holds(old)) woken += table.wake(second.key, static_cast<int>(value2));
      return woken;
    }
    default:
      return fail(Errno::NoSyscall);  // priority inheritance is not modelled
  }
}

// kernel/futex/core.c: exit_robust_list. The list lies in user memory and may be anything: it is followed at most ROBUST_LIST_LIMIT long.
void release_robust_futexes(Kernel& kernel, Task& t) {
  constexpr int kListLimit = 2048;
  const uint64_t head = std::exchange(t.robust_list, 0);
  if (!head) return;
  mm::UserAccess user = t.user();
  struct Head {
    uint64_t next;
    int64_t offset;
    uint64_t pending;
  };
  const auto list = user.get<Head>(VirtAddr{head});
  if (!list) return;
  auto release = [&](uint64_t entry, bool pending) {
    if (entry & 1) return true;  // a priority-inheritance futex: not ours
    const uint64_t address = entry + static_cast<uint64_t>(list->offset);
    if (address & 3) return false;
    while (true) {
      const auto value = user.get<uint32_t>(VirtAddr{address});
      if (!value) return false;
      if (pending && *value == 0) {  // the unlock had happened, the wake-up had not
        (void)kernel.futex(t, address, kWake, 1, std::nullopt, 0, 0, 0);
        return true;
      }
      if ((*value & kTidMask) != static_cast<uint32_t>(t.tid.value())) return true;
      const auto seen = user.compare_exchange(VirtAddr{address}, *value, (*value & kWaiters) | kOwnerDied);
      if (!seen) return false;
      if (*seen != *value) continue;
      if (*value & kWaiters) (void)kernel.futex(t, address, kWake, 1, std::nullopt, 0, 0, 0);
      return true;
    }
  };
  uint64_t entry = list->next;
  for (int left = kListLimit; left > 0 && (entry & ~1ull) != head; --left) {
    const auto next = user.get<uint64_t>(VirtAddr{entry & ~1ull});  // before the owner may reuse it
    if (entry != list->pending && !release(entry, false)) return;
    if (!next) return;
    entry = *next;
  }
  if (list->pending) release(list->pending, true);
}

}  // namespace vitro::kernel
