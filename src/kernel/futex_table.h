// Who waits on which futex (kernel/futex/core.c): queues by key, in arrival order.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>

#include "vitro/base/wait_queue.h"
#include "vitro/mm/ports.h"

namespace vitro::kernel {

// What a futex word is identified by: its address space and address, or, in a shared mapping, the file's pages and the offset in them.
// `object` is compared, never printed or ordered.
struct FutexKey {
  const void* object = nullptr;
  uint64_t offset = 0;
  bool operator==(const FutexKey&) const = default;
};

struct FutexWaiter {
  FutexKey key;
  uint32_t bitset = ~0u;
  bool woken = false;
  WaitQueue queue;                        // its own, so that it can be moved to another futex
  std::shared_ptr<mm::MappedFile> keeps;  // keeps a shared key's object alive
};

class FutexTable {
 public:
  void add(FutexWaiter& w) { queues_[w.key].push_back(&w); }
  // After a wait that nobody woke.
  void remove(FutexWaiter& w);
  // Wakes at most `count` waiters whose bitset meets `bitset`.
  int wake(const FutexKey& key, int count, uint32_t bitset = ~0u);
  // Wakes `wake_count`, moves at most `move_count` of the others to `to`. Both counts are returned.
  struct Requeued {
    int woken = 0, moved = 0;
  };
  Requeued requeue(const FutexKey& from, const FutexKey& to, int wake_count, int move_count);
  size_t waiting(const FutexKey& key) const;
  bool empty() const { return queues_.empty(); }

 private:
  struct Hash {
    size_t operator()(const FutexKey& k) const { return std::hash<const void*>{}(k.object) * 31 + std::hash<uint64_t>{}(k.offset); }
  };
  // Only looked up by key, never iterated.
  std::unordered_map<FutexKey, std::list<FutexWaiter*>, Hash> queues_;
};

}  // namespace vitro::kernel
