// A pipe (fs/pipe.c): a ring of buffers, each a frame of guest memory, between counted readers and writers.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "vitro/fs/file.h"
#include "vitro/fs/sleep_lock.h"
#include "vitro/fs/vfs.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::fs {

class Pipe {
 public:
  static constexpr size_t kDefaultSlots = 16;                    // include/linux/pipe_fs_i.h: PIPE_DEF_BUFFERS
  static constexpr uint64_t kMaxBytes = 1 << 20;                 // fs.pipe-max-size
  static Result<std::shared_ptr<Pipe>> create(Vfs& vfs);
  ~Pipe();

  Result<size_t> read(size_t count, ByteSink& sink, Blocking& blocking, bool non_blocking);
  Result<size_t> write(size_t count, ByteSource& source, Blocking& blocking, bool non_blocking, bool packets);
  uint64_t bytes() const;
  uint64_t capacity() const { return slots_ * kPageSize; }
  // Rounds up to a power of two of pages. Busy where more is in the pipe, NotPermitted beyond kMaxBytes unless privileged, Invalid.
  Result<uint64_t> set_capacity(uint64_t bytes, bool privileged);
  unsigned poll(PollTable* table, bool readable, bool writable);

  void add_reader();
  void add_writer();
  void remove_reader();
  void remove_writer();
  unsigned readers() const { return readers_; }
  unsigned writers() const { return writers_; }
  // How many ever opened it: a FIFO's open waits for the count to move, so that a writer that came and went is not missed.
  uint64_t readers_ever() const { return readers_ever_; }
  uint64_t writers_ever() const { return writers_ever_; }
  WaitQueue& partners() { return partners_; }

 private:
  struct Buffer {
    std::optional<Pfn> frame;                  // the bytes; where the Vfs has no memory manager they lie in `host` instead
    std::unique_ptr<std::byte[]> host;
    size_t offset = 0, length = 0;
    bool packet = false;                       // O_DIRECT: read in one piece, nothing is merged into it
  };
  explicit Pipe(Vfs& vfs) : vfs_(vfs) {}
  Result<Buffer> make_buffer();
  void free_buffer(Buffer& b);
  std::byte* bytes_of(const Buffer& b, bool for_write);

  Vfs& vfs_;
  size_t slots_ = kDefaultSlots;
  std::deque<Buffer> buffers_;
  unsigned readers_ = 0, writers_ = 0;
  uint64_t readers_ever_ = 0, writers_ever_ = 0;
  SleepLock lock_;                             // held while bytes are copied, which may wait for user memory
  WaitQueue read_queue_, write_queue_, partners_;
  mm::SlabObject memory_, ring_;
};

class PipeFile final : public File {
 public:
  PipeFile(std::shared_ptr<Inode> inode, std::shared_ptr<Pipe> pipe, unsigned flags);
  ~PipeFile() override { released(); }
  Result<size_t> read(size_t count, ByteSink& sink, Blocking& blocking) override;
  Result<size_t> write(size_t count, ByteSource& source, Blocking& blocking) override;
  Result<size_t> read_at(uint64_t, size_t, ByteSink&, Blocking&) override { return fail(Errno::IllegalSeek); }
  Result<size_t> write_at(uint64_t, size_t, ByteSource&, Blocking&) override { return fail(Errno::IllegalSeek); }
  Result<uint64_t> seek(int64_t, int) override { return fail(Errno::IllegalSeek); }
  Result<long> ioctl(unsigned command, uint64_t argument, UserCopy& user) override;
  unsigned poll(PollTable* table) override { return pipe_->poll(table, readable(), writable()); }
  Status sync(Inode::Sync, Bytes, Bytes) override { return fail(Errno::Invalid); }
  Result<uint64_t> pipe_size() override { return pipe_->capacity(); }
  Result<uint64_t> set_pipe_size(uint64_t bytes, bool privileged) override { return pipe_->set_capacity(bytes, privileged); }
  Result<std::shared_ptr<mm::MappedFile>> map(bool) override { return fail(Errno::NoDevice); }
  bool is_stream() const override { return true; }
  void released() override;

 private:
  std::shared_ptr<Pipe> pipe_;
  bool counted_ = true;
};

// open(2) of a FIFO (fs/pipe.c: fifo_open): waits for the other end unless O_NONBLOCK or O_RDWR. NoDeviceOrAddress: O_WRONLY|O_NONBLOCK without a reader.
Result<std::shared_ptr<File>> open_fifo(Vfs& vfs, const std::shared_ptr<Inode>& inode, unsigned flags, Blocking& blocking);

}  // namespace vitro::fs
