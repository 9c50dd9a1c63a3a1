// An epoll instance (fs/eventpoll.c): a set of interests, and a list of those that may be ready.
//
// Each interest sleeps on its file's queues all the time. When one is woken, the interest goes to the ready list and the instance's own waiters wake.
// A woken waiter has left its queue, so before an interest is looked at, it is put back; nothing that happens in between is lost because the look
// comes after.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <vector>

#include "syscalls/anonymous_file.h"
#include "syscalls/layouts.h"
#include "vitro/mm/kernel_object.h"

namespace vitro::syscalls {

inline constexpr uint32_t kEpollExclusive = 1u << 28, kEpollWakeup = 1u << 29, kEpollOneShot = 1u << 30, kEpollEdge = 1u << 31;
inline constexpr uint32_t kEpollPrivate = kEpollExclusive | kEpollWakeup | kEpollOneShot | kEpollEdge;

class EpollFile final : public AnonymousFile {
 public:
  EpollFile(std::shared_ptr<fs::Inode> inode, unsigned flags);
  ~EpollFile() override;

  // Exists; NotPermitted for files that cannot be waited for; SymlinkLoop where instances would form a circle or a chain of more than 5; Invalid.
  Status add(int fd, const std::shared_ptr<fs::File>& file, const UserEpollEvent& event, mm::SlabObject memory);
  Status modify(int fd, const std::shared_ptr<fs::File>& file, const UserEpollEvent& event);
  Status remove(int fd, const std::shared_ptr<fs::File>& file);
  // Takes up to out.size() events; level-triggered interests stay on the ready list.
  size_t collect(std::span<UserEpollEvent> out);

  unsigned poll(fs::PollTable* table) override;
  WaitQueue& waiters() { return waiters_; }
  size_t interests() const { return interests_.size(); }

 private:
  struct Interest;
  class Watch;
  using Key = std::pair<const fs::File*, int>;
  void mark_ready(Interest& i);
  static unsigned look(Interest& i, fs::File& file);  // sleeps on its queues again, then asks
  void drop(Key key);
  void drop_closed();
  int depth_to(const EpollFile* target, int depth) const;

  std::map<Key, std::unique_ptr<Interest>> interests_;
  std::list<Interest*> ready_;
  WaitQueue waiters_;
};

}  // namespace vitro::syscalls
