// Interests and readiness of an epoll instance.
#include "syscalls/epoll_file.h"

namespace vitro::syscalls {

// One interest's place in one wait queue.
class EpollFile::Watch final : public Waiter {
 public:
  Watch(Interest& interest, WaitQueue& queue) : interest_(interest), queue_(&queue) {}
  ~Watch() override { leave(); }
  void wake() override;
  void join() {
    if (!queue_link.linked()) queue_->add(*this);
  }
  // A queue that died has unlinked its waiters; one that we are linked in is alive.
  void leave() {
    if (queue_link.linked()) queue_->remove(*this);
  }
  const WaitQueue* queue() const { return queue_; }

 private:
  Interest& interest_;
  WaitQueue* queue_;
};

struct EpollFile::Interest {
  EpollFile& owner;
  Key key;
  std::weak_ptr<fs::File> file;
  uint32_t events;
  uint64_t data;
  bool ready = false;
  std::list<EpollFile::Interest*>::iterator position{};
  std::list<Watch> watches;
  mm::SlabObject memory;

  unsigned mask() const { return events & ~kEpollPrivate; }
  bool disabled() const { return mask() == 0; }
};

void EpollFile::Watch::wake() { interest_.owner.mark_ready(interest_); }

EpollFile::EpollFile(std::shared_ptr<fs::Inode> inode, unsigned flags) : AnonymousFile(std::move(inode), flags) {}

EpollFile::~EpollFile() {
  ready_.clear();
  interests_.clear();
}

void EpollFile::mark_ready(Interest& i) {
  if (i.disabled()) return;
  if (!i.ready) {
    i.position = ready_.insert(ready_.end(), &i);
    i.ready = true;
  }
  waiters_.wake_all();
}

unsigned EpollFile::look(Interest& i, fs::File& file) {
  class Registration final : public fs::PollTable {
   public:
    explicit Registration(Interest& i) : interest_(i) {}
    void wait_on(WaitQueue& queue) override {
      for (Watch& w : interest_.watches)
        if (w.queue() == &queue) return w.join();
      interest_.watches.emplace_back(interest_, queue).join();
    }

   private:
    Interest& interest_;
  } registration{i};
  return file.poll(&registration) & i.mask();
}

int EpollFile::depth_to(const EpollFile* target, int depth) const {
  constexpr int kMaxNests = 4;  // EP_MAX_NESTS
  if (this == target || depth > kMaxNests) return -1;
  int deepest = depth;
  for (const auto& [key, i] : interests_) {
    const auto file = i->file.lock();
    const auto* nested = dynamic_cast<const EpollFile*>(file.get());
    if (!nested) continue;
    const int d = nested->depth_to(target, depth + 1);
    if (d < 0) return -1;
    deepest = std::max(deepest, d);
  }
  return deepest;
}

Status EpollFile::add(int fd, const std::shared_ptr<fs::File>& file, const UserEpollEvent& event, mm::SlabObject memory) {
  if (file.get() == this) return fail(Errno::Invalid);
  const uint32_t type = file->inode().attributes().mode & fs::kTypeMask;
  if (type == fs::kRegular || type == fs::kDirectory || type == fs::kSymlink) return fail(Errno::NotPermitted);
  const auto* nested = dynamic_cast<const EpollFile*>(file.get());
  if (nested) {
    if (event.events & kEpollExclusive) return fail(Errno::Invalid);
    if (nested->depth_to(this, 1) < 0) return fail(Errno::SymlinkLoop);
  }
  drop_closed();
  const Key key{file.get(), fd};
  if (interests_.contains(key)) return fail(Errno::Exists);
  auto& slot = interests_[key];
  slot.reset(new Interest{*this, key, file, event.events | fs::kPollErr | fs::kPollHup, event.data});
  slot->memory = std::move(memory);
  if (look(*slot, *file)) mark_ready(*slot);
  return {};
}

Status EpollFile::modify(int fd, const std::shared_ptr<fs::File>& file, const UserEpollEvent& event) {
  const auto it = interests_.find({file.get(), fd});
  if (it == interests_.end() || it->second->file.expired()) return fail(Errno::NoEntry);
  Interest& i = *it->second;
  if ((event.events | i.events) & kEpollExclusive) return fail(Errno::Invalid);
  i.events = event.events | fs::kPollErr | fs::kPollHup;
  i.data = event.data;
  i.watches.clear();  // the file may wait on other queues for other events
  if (look(i, *file)) mark_ready(i);
  return {};
}

Status EpollFile::remove(int fd, const std::shared_ptr<fs::File>& file) {
  drop_closed();
  const Key key{file.get(), fd};
  if (!interests_.contains(key)) return fail(Errno::NoEntry);
  drop(key);
  return {};
}

void EpollFile::drop(Key key) {
  const auto it = interests_.find(key);
  if (it->second->ready) ready_.erase(it->second->position);
  interests_.erase(it);
}

// Linux takes a file out of every instance when its last descriptor goes (eventpoll_release); here it is noticed at the next look.
void EpollFile::drop_closed() {
  for (auto it = interests_.begin(); it != interests_.end();) {
    const auto next = std::next(it);
    if (it->second->file.expired()) drop(it->first);
    it = next;
  }
}

size_t EpollFile::collect(std::span<UserEpollEvent> out) {
  size_t n = 0;
  // Each interest is looked at once: those that go back to the end are for the next call (ep_send_events).
  for (size_t left = ready_.size(); left > 0 && n < out.size(); --left) {
    Interest& i = *ready_.front();
    ready_.pop_front();
    i.ready = false;
    const auto file = i.file.lock();
    if (!file) {
      drop(i.key);
      continue;
    }
    const unsigned events = look(i, *file);
    if (events == 0) continue;
    out[n++] = {events, i.data};
    if (i.events & kEpollOneShot) i.events &= kEpollPrivate;
    else if (!(i.events & kEpollEdge)) {
      i.position = ready_.insert(ready_.end(), &i);
      i.ready = true;
    }
  }
  return n;
}

unsigned EpollFile::poll(fs::PollTable* table) {
  if (table) table->wait_on(waiters_);
  for (auto it = ready_.begin(); it != ready_.end();) {
    Interest& i = **it;
    const auto file = i.file.lock();
    if (file && look(i, *file)) return fs::kPollIn | fs::kPollRdNorm;
    it = ready_.erase(it);
    i.ready = false;
  }
  return 0;
}

}  // namespace vitro::syscalls
