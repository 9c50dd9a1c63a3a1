// System V message queues (ipc/msg.c).
#pragma once

#include <list>
#include <vector>

#include "syscalls/ipc_ownership.h"
#include "vitro/base/wait_queue.h"
#include "vitro/mm/kernel_object.h"

namespace vitro::syscalls {

struct Message {
  int64_t type = 0;
  std::vector<std::byte> text;
  std::vector<mm::SlabObject> memory;
};

struct MessageQueue : IpcOwnership {
  std::list<Message> messages;
  uint64_t bytes = 0, most_bytes = 0;
  int64_t sent_time = 0, received_time = 0, changed_time = 0;
  Pid last_sender{0}, last_receiver{0};
  bool removed = false;
  WaitQueue senders, receivers;
  mm::SlabObject memory;
};

class MessageQueues : public IpcTable<MessageQueue> {
 public:
  static constexpr size_t kMostQueues = 32000, kLongest = 8192, kMostBytes = 16384;   // MSGMNI, MSGMAX, MSGMNB

  void remove(MessageQueue& queue);
};

}  // namespace vitro::syscalls
