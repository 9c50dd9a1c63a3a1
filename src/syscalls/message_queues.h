// System V message queues (ipc/msg.c).
#pragma once

#include <list>
#include <map>
#include <memory>
#include <vector>

#include "syscalls/ipc_ownership.h"
#include "vitro/base/wait_queue.h"
#include "vitro/mm/kernel_object.h"

namespace vitro::syscalls {

class MessageQueues {
 public:
  static constexpr size_t kMostQueues = 32000, kLongest = 8192, kMostBytes = 16384;   // MSGMNI, MSGMAX, MSGMNB

  struct Message {
    int64_t type = 0;
    std::vector<std::byte> text;
    std::vector<mm::SlabObject> memory;
  };
  struct Queue : IpcOwnership {
    std::list<Message> messages;
    uint64_t bytes = 0, most_bytes = kMostBytes;
    int64_t sent_time = 0, received_time = 0, changed_time = 0;
    Pid last_sender{0}, last_receiver{0};
    bool removed = false;
    WaitQueue senders, receivers;
    mm::SlabObject memory;
  };

  std::shared_ptr<Queue> find(int id) const;
  std::shared_ptr<Queue> find_key(int32_t key) const;
  void add(std::shared_ptr<Queue> queue);
  void remove(Queue& queue);
  const std::map<int, std::shared_ptr<Queue>>& all() const { return queues_; }

 private:
  std::map<int, std::shared_ptr<Queue>> queues_;
  int next_id_ = 0;
};

}  // namespace vitro::syscalls
