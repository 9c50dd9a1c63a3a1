// System V semaphores (ipc/sem.c).
#pragma once

#include <map>
#include <vector>

#include "syscalls/ipc_ownership.h"
#include "vitro/base/wait_queue.h"
#include "vitro/mm/kernel_object.h"

namespace vitro::syscalls {

struct Semaphore {
  int value = 0;
  Pid last{0};                               // who changed it
  unsigned wait_for_more = 0, wait_for_zero = 0;
};

struct SemaphoreSet : IpcOwnership {
  std::vector<Semaphore> semaphores;
  int64_t operated_time = 0, changed_time = 0;
  bool removed = false;
  WaitQueue changed;
  std::map<Pid, std::vector<int>> undo;      // by process: what its end adds to each semaphore
  std::vector<mm::SlabObject> memory;
};

class SemaphoreSets : public IpcTable<SemaphoreSet> {
 public:
  static constexpr size_t kMostSets = 32000, kMostOfSet = 32000, kMostInAll = 1'024'000'000, kMostOperations = 500;   // SEMMNI, SEMMSL, SEMMNS, SEMOPM
  static constexpr int kMostValue = 32767;                                                                           // SEMVMX

  void remove(SemaphoreSet& set);
  size_t semaphores() const;
  void process_ended(Pid process);             // exit_sem
};

}  // namespace vitro::syscalls
