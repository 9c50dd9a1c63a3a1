// inotify (fs/notify/inotify): a descriptor that tells what happens to files and directories.
#include <deque>
#include <map>

#include "syscalls/anonymous_file.h"
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "vitro/fs/notify.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::syscalls {
namespace {

constexpr uint32_t kAllEvents = 0xfff, kUnmount = 0x2000, kOnlyDirectory = 0x01000000, kDontFollow = 0x02000000, kExceptUnlinked = 0x04000000, kMaskCreate = 0x10000000,
                   kMaskAdd = 0x20000000, kOneShot = 0x80000000;
constexpr uint32_t kKnown = kAllEvents | kUnmount | fs::kNotifyOverflow | fs::kNotifyIgnored | kOnlyDirectory | kDontFollow | kExceptUnlinked | kMaskCreate | kMaskAdd |
                            fs::kNotifyDirectory | kOneShot;
constexpr size_t kMostEvents = 16384;  // fs.inotify.max_queued_events

struct UserEvent {
  int32_t watch;
  uint32_t mask, cookie, length;
};
static_assert(sizeof(UserEvent) == 16);

class InotifyFile final : public AnonymousFile {
 public:
  InotifyFile(std::shared_ptr<fs::Inode> inode, unsigned flags, mm::KernelCaches& caches) : AnonymousFile(std::move(inode), flags), caches_(caches) {}

  Result<long> add(const std::shared_ptr<fs::Inode>& inode, uint32_t mask);
  Status remove(int watch);

  Result<size_t> read(size_t count, ByteSink& sink, Blocking& blocking) override;
  Result<long> ioctl(unsigned command, uint64_t argument, UserCopy& user) override {
    constexpr unsigned kFionRead = 0x541b;
    if (command != kFionRead) return fail(Errno::NotTty);
    size_t bytes = 0;
    for (const Event& e : events_) bytes += e.size();
    TRY(user.put(VirtAddr{argument}, static_cast<int32_t>(bytes)));
    return 0;
  }
  unsigned poll(fs::PollTable* table) override {
    if (table) table->wait_on(readers_);
    return events_.empty() ? 0 : fs::kPollIn | fs::kPollRdNorm;
  }
  void released() override { watches_.clear(); }

 private:
  class Watch final : public fs::NotifyMark {
   public:
    Watch(InotifyFile& owner, int number, std::shared_ptr<fs::Inode> inode, uint32_t mask, mm::SlabObject memory)
        : NotifyMark(std::move(inode)), mask(mask), owner_(owner), number_(number), memory_(std::move(memory)) {}
    void happened(uint32_t what, std::string_view name, uint32_t cookie, bool unlinked) override {
      if (!(what & mask & kAllEvents) || (unlinked && (mask & kExceptUnlinked))) return;
      owner_.queue({number_, what, cookie, std::string(name)});
      if (mask & kOneShot) owner_.drop(number_);
    }
    void inode_gone() override { owner_.drop(number_); }
    uint32_t mask;

   private:
    InotifyFile& owner_;
    int number_;
    mm::SlabObject memory_;  // its inotify_inode_mark
  };
  struct Event {
    int watch = 0;
    uint32_t mask = 0, cookie = 0;
    std::string name;
    // A name is padded with zero bytes, at least one, to a multiple of the header's size.
    size_t name_room() const { return name.empty() ? 0 : (name.size() + sizeof(UserEvent)) / sizeof(UserEvent) * sizeof(UserEvent); }
    size_t size() const { return sizeof(UserEvent) + name_room(); }
    bool same(const Event& o) const { return watch == o.watch && mask == o.mask && name == o.name; }
  };
  void queue(Event e) {
    // inotify_merge: what repeats the last event says nothing new.
    if (!events_.empty() && events_.back().same(e)) return;
    if (events_.size() > kMostEvents) return;
    if (events_.size() == kMostEvents) e = {-1, fs::kNotifyOverflow, 0, {}};
    events_.push_back(std::move(e));
    readers_.wake_all();
  }
  void drop(int number) {
    const auto it = watches_.find(number);
    if (it == watches_.end()) return;
    const auto gone = std::move(it->second);
    watches_.erase(it);
    queue({number, fs::kNotifyIgnored, 0, {}});
  }

  mm::KernelCaches& caches_;
  std::map<int, std::unique_ptr<Watch>> watches_;
  int next_ = 1;
  std::deque<Event> events_;
  WaitQueue readers_;
};

Result<long> InotifyFile::add(const std::shared_ptr<fs::Inode>& inode, uint32_t mask) {
  for (const auto& [number, w] : watches_) {
    if (&w->inode() != inode.get()) continue;
    if (mask & kMaskCreate) return fail(Errno::Exists);
    const uint32_t kept = mask & (kAllEvents | kExceptUnlinked | kOneShot);
    w->mask = mask & kMaskAdd ? w->mask | kept : kept;
    return number;
  }
  constexpr Bytes kMark{88};  // struct inotify_inode_mark
  auto memory = TRY(caches_.allocate_bytes(kMark, mm::Gfp::KernelAccount));
  const int number = next_++;
  watches_[number] = std::make_unique<Watch>(*this, number, inode, mask & (kAllEvents | kExceptUnlinked | kOneShot), std::move(memory));
  return number;
}

Status InotifyFile::remove(int number) {
  if (!watches_.contains(number)) return fail(Errno::Invalid);
  drop(number);
  return {};
}

Result<size_t> InotifyFile::read(size_t count, ByteSink& sink, Blocking& blocking) {
  while (events_.empty()) {
    if (non_blocking()) return fail(Errno::Again);
    TRY(blocking.wait(readers_));
  }
  size_t done = 0;
  while (!events_.empty() && done + events_.front().size() <= count) {
    const Event e = std::move(events_.front());
    events_.pop_front();
    std::vector<std::byte> bytes(e.size());
    const UserEvent header{e.watch, e.mask, e.cookie, static_cast<uint32_t>(e.name_room())};
    std::memcpy(bytes.data(), &header, sizeof header);
    std::memcpy(bytes.data() + sizeof header, e.name.data(), e.name.size());
    const auto n = sink.put(bytes);
    if (!n || *n < bytes.size()) return done ? Result<size_t>{done} : fail(n ? Errno::Fault : n.error());
    done += bytes.size();
  }
  if (done == 0) return fail(Errno::Invalid);  // the first event does not fit
  return done;
}

Result<long> make(Context& c, unsigned flags) {
  if (flags & ~(fs::kOpenCloseOnExec | fs::kOpenNonBlock)) return fail(Errno::Invalid);
  auto file = std::make_shared<InotifyFile>(TRY(c.kernel.vfs().make_anonymous_inode()), flags & fs::kOpenNonBlock, c.kernel.vm().physical().caches());
  TRY(c.kernel.vfs().adopt(*file, "anon_inode:inotify"));
  return install(c, std::move(file), flags & fs::kOpenCloseOnExec);
}

Result<std::shared_ptr<InotifyFile>> inotify_argument(Context& c) {
  auto file = std::dynamic_pointer_cast<InotifyFile>(TRY(file_argument(c, 0)));
  if (!file) return fail(Errno::Invalid);
  return file;
}

}  // namespace

Result<long> sys_inotify_init(Context& c) { return make(c, 0); }
Result<long> sys_inotify_init1(Context& c) { return make(c, unsigned_argument(c, 0)); }

Result<long> sys_inotify_add_watch(Context& c) {
  const uint32_t mask = unsigned_argument(c, 2);
  if (!(mask & kKnown) || (mask & ~kKnown)) return fail(Errno::Invalid);
  if ((mask & kMaskAdd) && (mask & kMaskCreate)) return fail(Errno::Invalid);
  const auto file = TRY(inotify_argument(c));
  const std::string path = TRY(path_argument(c, 1));
  const fs::PathContext context = c.kernel.path_context(c.task);
  const fs::Follow follow = mask & kDontFollow ? fs::Follow::No : fs::Follow::Yes;
  const fs::DentryRef d = TRY(c.kernel.vfs().resolve(context, {}, path, follow));
  fs::Inode& inode = c.kernel.vfs().inode_of(d);
  if ((mask & kOnlyDirectory) && !inode.is_directory()) return fail(Errno::NotDirectory);
  TRY(c.kernel.vfs().access(context, {}, path, fs::kMayRead, true, follow));
  return file->add(inode.shared_from_this(), mask);
}

Result<long> sys_inotify_rm_watch(Context& c) { return done(TRY(inotify_argument(c))->remove(int_argument(c, 1))); }

}  // namespace vitro::syscalls
