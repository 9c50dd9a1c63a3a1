// eventfd(2) (fs/eventfd.c): a counter that can be waited for.
#include "fs/vfs_state.h"
#include "vitro/fs/vfs.h"

namespace vitro::fs {
namespace {

constexpr unsigned kEventSemaphore = 1;

class EventFile final : public File {
 public:
  EventFile(std::shared_ptr<Inode> inode, uint64_t initial, unsigned flags, bool semaphore)
      : File(std::move(inode), flags), count_(initial), semaphore_(semaphore) {}
  Result<size_t> read(size_t count, ByteSink& sink, Blocking& blocking) override {
    if (count < sizeof(uint64_t)) return fail(Errno::Invalid);
    while (count_ == 0) {
      if (non_blocking()) return fail(Errno::Again);
      TRY(blocking.wait(readers_));
    }
    const uint64_t value = semaphore_ ? 1 : count_;
    count_ -= value;
    writers_.wake_all();
    const size_t n = TRY(sink.put(std::as_bytes(std::span{&value, 1})));
    if (n < sizeof value) return fail(Errno::Fault);
    return n;
  }
  Result<size_t> write(size_t count, ByteSource& source, Blocking& blocking) override {
    uint64_t value = 0;
    if (count < sizeof value) return fail(Errno::Invalid);
    if (TRY(source.take(std::as_writable_bytes(std::span{&value, 1}))) < sizeof value) return fail(Errno::Fault);
    if (value == UINT64_MAX) return fail(Errno::Invalid);
    while (UINT64_MAX - count_ <= value) {
      if (non_blocking()) return fail(Errno::Again);
      TRY(blocking.wait(writers_));
    }
    count_ += value;
    if (count_ > 0) readers_.wake_all();
    return sizeof value;
  }
  Result<size_t> read_at(uint64_t, size_t, ByteSink&, Blocking&) override { return fail(Errno::IllegalSeek); }
  Result<size_t> write_at(uint64_t, size_t, ByteSource&, Blocking&) override { return fail(Errno::IllegalSeek); }
  Result<uint64_t> seek(int64_t, int) override { return position; }  // fs/read_write.c: noop_llseek
  unsigned poll(PollTable* table) override {
    if (table) table->wait_on(readers_), table->wait_on(writers_);
    unsigned events = 0;
    if (count_ > 0) events |= kPollIn | kPollRdNorm;
    if (count_ < UINT64_MAX - 1) events |= kPollOut | kPollWrNorm;
    return events;
  }
  Result<std::shared_ptr<mm::MappedFile>> map(bool) override { return fail(Errno::NoDevice); }
  Status sync(Inode::Sync, Bytes, Bytes) override { return fail(Errno::Invalid); }

 private:
  uint64_t count_;
  bool semaphore_;
  WaitQueue readers_, writers_;
};

}  // namespace

Result<std::shared_ptr<File>> Vfs::make_eventfd(uint64_t initial, unsigned flags) {
  if (flags & ~(kEventSemaphore | kOpenNonBlock | kOpenCloseOnExec)) return fail(Errno::Invalid);
  auto file = std::make_shared<EventFile>(TRY(make_anonymous_inode()), initial, kOpenReadWrite | (flags & kOpenNonBlock), flags & kEventSemaphore);
  TRY(adopt(*file, "anon_inode:[eventfd]"));
  return std::shared_ptr<File>(std::move(file));
}

}  // namespace vitro::fs
