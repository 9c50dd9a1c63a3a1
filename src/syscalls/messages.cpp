// msgget, msgsnd, msgrcv, msgctl.
#include <algorithm>
#include <utility>

#include "syscalls/handlers.h"
#include "syscalls/message_queues.h"
#include "syscalls/runtime.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::syscalls {

void MessageQueues::remove(MessageQueue& queue) {
  const auto keep = find(queue.id);
  queue.removed = true;
  objects_.erase(queue.id);
  queue.messages.clear();
  queue.senders.wake_all();
  queue.receivers.wake_all();
}

namespace {

constexpr int kNoError = 010000, kExcept = 020000, kCopy = 040000;
constexpr int kMsgStat = 11, kMsgInfo = 12, kMsgStatAny = 13;

using Queue = MessageQueue;

struct UserMsqid {
  UserIpcPerm perm;
  int64_t sent, received, changed;
  uint64_t bytes, messages, most_bytes;
  int32_t last_sender, last_receiver;
  uint64_t unused4, unused5;
};
static_assert(sizeof(UserMsqid) == 120);
struct UserMsginfo {
  int32_t pool, map, longest, most_bytes, most_queues, segment_size, all;
  uint16_t segments, pad;
};
static_assert(sizeof(UserMsginfo) == 32);

UserMsqid state_of(const Queue& q) {
  UserMsqid u{};
  u.perm = user_form(q);
  u.sent = q.sent_time;
  u.received = q.received_time;
  u.changed = q.changed_time;
  u.bytes = q.bytes;
  u.messages = q.messages.size();
  u.most_bytes = q.most_bytes;
  u.last_sender = q.last_sender.value();
  u.last_receiver = q.last_receiver.value();
  return u;
}

// ipc/msgutil.c: load_msg: a header and text that fill at most a page, then page after page.
Result<Message> load_message(Context& c, VirtAddr text, size_t size) {
  constexpr size_t kHeader = 48, kSegment = 8;
  Message m;
  size_t paid = 0;
  do {
    const size_t header = paid == 0 ? kHeader : kSegment;
    const size_t piece = std::min(size - paid, kPageSize - header);
    m.memory.push_back(TRY(c.kernel.vm().physical().caches().allocate_bytes(Bytes{header + piece}, mm::Gfp::KernelAccount)));
    paid += piece;
  } while (paid < size);
  m.text.resize(size);
  TRY(c.user.copy_in(text, m.text));
  return m;
}

// find_msg, testmsg
std::list<Message>::iterator find_message(Queue& q, int64_t type, int flags) {
  auto& all = q.messages;
  if (flags & kCopy) return type < 0 || static_cast<uint64_t>(type) >= all.size() ? all.end() : std::next(all.begin(), type);
  if (type == 0) return all.begin();
  if (type > 0) return std::ranges::find_if(all, [&](const Message& m) { return (m.type == type) == !(flags & kExcept); });
  const int64_t most = type == INT64_MIN ? INT64_MAX : -type;
  auto lowest = std::ranges::min_element(all, {}, &Message::type);
  return lowest != all.end() && lowest->type <= most ? lowest : all.end();
}

}  // namespace

Result<long> sys_msgget(Context& c) {
  const auto key = static_cast<int32_t>(c[0]);
  const int flags = int_argument(c, 1);
  MessageQueues& queues = *c.runtime.queues;
  if (const auto id = TRY(find_for_get(c, queues.find_key(key), key, flags, [](const Queue&) { return true; }))) return *id;
  if (queues.all().size() >= MessageQueues::kMostQueues) return fail(Errno::NoSpace);
  auto queue = std::make_shared<Queue>();
  queue->most_bytes = MessageQueues::kMostBytes;
  constexpr Bytes kStructure{256};  // struct msg_queue
  queue->memory = TRY(c.kernel.vm().physical().caches().allocate_bytes(kStructure, mm::Gfp::KernelAccount));
  fill_ownership(c, *queue, key, flags);
  queue->changed_time = now_seconds(c);
  queues.add(queue);
  return queue->id;
}

Result<long> sys_msgsnd(Context& c) {
  const auto type = TRY(c.user.get<int64_t>(address_argument(c, 1)));
  const uint64_t size = c[2];
  const int flags = int_argument(c, 3);
  if (size > MessageQueues::kLongest || int_argument(c, 0) < 0 || type < 1) return fail(Errno::Invalid);
  Message message = TRY(load_message(c, address_argument(c, 1) + Bytes{sizeof(int64_t)}, size));
  message.type = type;
  const auto q = c.runtime.queues->find(int_argument(c, 0));
  if (!q) return fail(Errno::Invalid);
  for (;;) {
    if (q->removed) return fail(kIdentifierRemoved);
    if (!permitted(c, *q, fs::kMayWrite)) return fail(Errno::Access);
    if (size + q->bytes <= q->most_bytes && 1 + q->messages.size() <= q->most_bytes) break;
    if (flags & kIpcNoWait) return fail(Errno::Again);
    if (const Status woken = c.kernel.wait(q->senders, Interruptible::Yes, std::nullopt); !woken) return fail(q->removed ? kIdentifierRemoved : Errno::RestartNoHand);
  }
  q->bytes += size;
  q->messages.push_back(std::move(message));
  q->last_sender = c.task.process->pid;
  q->sent_time = now_seconds(c);
  q->receivers.wake_all();
  return 0;
}

Result<long> sys_msgrcv(Context& c) {
  const uint64_t size = c[2];
  const auto type = static_cast<int64_t>(c[3]);
  const int flags = int_argument(c, 4);
  if (int_argument(c, 0) < 0 || static_cast<int64_t>(size) < 0) return fail(Errno::Invalid);
  if ((flags & kCopy) && ((flags & kExcept) || !(flags & kIpcNoWait))) return fail(Errno::Invalid);
  const auto q = c.runtime.queues->find(int_argument(c, 0));
  if (!q) return fail(Errno::Invalid);
  for (;;) {
    if (q->removed) return fail(kIdentifierRemoved);
    if (!permitted(c, *q, fs::kMayRead)) return fail(Errno::Access);
    const auto found = find_message(*q, type, flags);
    if (found != q->messages.end()) {
      if (found->text.size() > size && !(flags & kNoError)) return fail(Errno::TooBig);
      Message message;
      if (flags & kCopy) {
        message.type = found->type, message.text = found->text;
      } else {
        message = std::move(*found);
        q->messages.erase(found);
        q->bytes -= message.text.size();
        q->last_receiver = c.task.process->pid;
        q->received_time = now_seconds(c);
        q->senders.wake_all();
      }
      const size_t n = std::min<size_t>(size, message.text.size());
      TRY(c.user.put(address_argument(c, 1), message.type));
      TRY(c.user.copy_out(address_argument(c, 1) + Bytes{sizeof(int64_t)}, std::span{message.text}.first(n)));
      return static_cast<long>(n);
    }
    if (flags & kIpcNoWait) return fail(kNoMessage);
    if (const Status woken = c.kernel.wait(q->receivers, Interruptible::Yes, std::nullopt); !woken) return fail(q->removed ? kIdentifierRemoved : Errno::RestartNoHand);
  }
}

Result<long> sys_msgctl(Context& c) {
  MessageQueues& queues = *c.runtime.queues;
  const int id = int_argument(c, 0), command = int_argument(c, 1);
  if (id < 0 || command < 0) return fail(Errno::Invalid);
  if (command == kIpcInfo || command == kMsgInfo) {
    UserMsginfo u{512000, MessageQueues::kMostBytes, MessageQueues::kLongest, MessageQueues::kMostBytes, MessageQueues::kMostQueues, 16, MessageQueues::kMostBytes, 0xffff, 0};
    if (command == kMsgInfo) {  // what is there now
      u.pool = static_cast<int32_t>(queues.all().size());
      u.map = u.all = 0;
      for (const auto& [number, q] : queues.all()) u.map += static_cast<int32_t>(q->messages.size()), u.all += static_cast<int32_t>(q->bytes);
    }
    TRY(c.user.put(address_argument(c, 2), u));
    return queues.highest_place();
  }
  const auto q = command == kMsgStat || command == kMsgStatAny ? queues.at(id) : queues.find(id);
  if (!q) return fail(Errno::Invalid);
  switch (command) {
    case kIpcStat:
    case kMsgStat:
    case kMsgStatAny:
      if (command != kMsgStatAny && !permitted(c, *q, fs::kMayRead)) return fail(Errno::Access);
      TRY(c.user.put(address_argument(c, 2), state_of(*q)));
      return command == kIpcStat ? 0 : q->id;
    case kIpcSet: {
      const auto u = TRY(c.user.get<UserMsqid>(address_argument(c, 2)));
      if (!owns(c, *q)) return fail(Errno::NotPermitted);
      if (u.most_bytes > MessageQueues::kMostBytes && !privileged(c)) return fail(Errno::NotPermitted);
      q->most_bytes = u.most_bytes;
      change_ownership(*q, u.perm);
      q->changed_time = now_seconds(c);
      q->senders.wake_all();
      q->receivers.wake_all();
      return 0;
    }
    case kIpcRemove:
      if (!owns(c, *q)) return fail(Errno::NotPermitted);
      queues.remove(*q);
      return 0;
    default: return fail(Errno::Invalid);
  }
}

}  // namespace vitro::syscalls
