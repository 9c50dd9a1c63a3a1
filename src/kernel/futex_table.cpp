#include "kernel/futex_table.h"

#include <algorithm>

namespace vitro::kernel {

void FutexTable::remove(FutexWaiter& w) {
  auto it = queues_.find(w.key);
  if (it == queues_.end()) return;
  it->second.remove(&w);
  if (it->second.empty()) queues_.erase(it);
}

int FutexTable::wake(const FutexKey& key, int count, uint32_t bitset) {
  auto it = queues_.find(key);
  if (it == queues_.end()) return 0;
  int woken = 0;
  for (auto w = it->second.begin(); w != it->second.end() && woken < count;) {
    if (!((*w)->bitset & bitset)) {
      ++w;
      continue;
    }
    FutexWaiter& waiter = **w;
    w = it->second.erase(w);
    waiter.woken = true;
    waiter.queue.wake_all();
    ++woken;
  }
  if (it->second.empty()) queues_.erase(it);
  return woken;
}

FutexTable::Requeued FutexTable::requeue(const FutexKey& from, const FutexKey& to, int wake_count, int move_count) {
  Requeued result;
  result.woken = wake(from, wake_count);
  if (from == to) {
    result.moved = std::min<int>(move_count, static_cast<int>(waiting(from)));
    return result;
  }
  while (result.moved < move_count) {
    auto it = queues_.find(from);
    if (it == queues_.end()) break;
    FutexWaiter* w = it->second.front();
    it->second.pop_front();
    if (it->second.empty()) queues_.erase(it);
    w->key = to;
    queues_[to].push_back(w);
    ++result.moved;
  }
  return result;
}

size_t FutexTable::waiting(const FutexKey& key) const {
  auto it = queues_.find(key);
  return it == queues_.end() ? 0 : it->second.size();
}

}  // namespace vitro::kernel
