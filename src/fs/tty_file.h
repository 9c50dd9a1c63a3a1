// An open file on a terminal, and what the layers above ask about it.
#pragma once

#include "vitro/fs/tty.h"

namespace vitro::fs {

class TtyFile final : public File {
 public:
  TtyFile(std::shared_ptr<Inode> inode, unsigned flags, std::shared_ptr<Tty> tty, std::function<void()> closed)
      : File(std::move(inode), flags), tty_(std::move(tty)), closed_(std::move(closed)), opened_(tty_->opening()) {}
  ~TtyFile() override { released(); }
  Result<size_t> read(size_t count, ByteSink& sink, Blocking& blocking) override { return tty_->read(count, sink, blocking, non_blocking(), opened_); }
  Result<size_t> write(size_t count, ByteSource& source, Blocking& blocking) override { return tty_->write(count, source, blocking, non_blocking(), opened_); }
  Result<size_t> read_at(uint64_t, size_t, ByteSink&, Blocking&) override { return fail(Errno::IllegalSeek); }
  Result<size_t> write_at(uint64_t, size_t, ByteSource&, Blocking&) override { return fail(Errno::IllegalSeek); }
  Result<uint64_t> seek(int64_t, int) override { return fail(Errno::IllegalSeek); }
  Result<long> ioctl(unsigned command, uint64_t argument, UserCopy& user) override {
    if (opened_ != tty_->opening()) return fail(Errno::IoError);
    return tty_->ioctl(command, argument, user, false);
  }
  unsigned poll(PollTable* table) override { return tty_->poll(table, opened_); }
  Status sync(Inode::Sync, Bytes, Bytes) override { return fail(Errno::Invalid); }
  Status truncate(uint64_t) override { return fail(Errno::Invalid); }
  Result<std::shared_ptr<mm::MappedFile>> map(bool) override { return fail(Errno::NoDevice); }
  bool is_stream() const override { return true; }
  void released() override {
    if (closed_) std::exchange(closed_, nullptr)();
  }

 private:
  std::shared_ptr<Tty> tty_;
  std::function<void()> closed_;
  unsigned opened_;
};

}  // namespace vitro::fs
