// Base of files that have no name in any file system: epoll instances, timers, sockets. No position; reading and writing are for the kinds that can.
#pragma once

#include "vitro/fs/file.h"
#include "vitro/fs/inode.h"

namespace vitro::syscalls {

class AnonymousFile : public fs::File {
 public:
  using fs::File::File;
  Result<size_t> read(size_t, ByteSink&, Blocking&) override { return fail(Errno::Invalid); }
  Result<size_t> write(size_t, ByteSource&, Blocking&) override { return fail(Errno::Invalid); }
  Result<size_t> read_at(uint64_t, size_t, ByteSink&, Blocking&) override { return fail(Errno::IllegalSeek); }
  Result<size_t> write_at(uint64_t, size_t, ByteSource&, Blocking&) override { return fail(Errno::IllegalSeek); }
  Result<uint64_t> seek(int64_t, int) override { return fail(Errno::IllegalSeek); }
  Result<std::shared_ptr<mm::MappedFile>> map(bool) override { return fail(Errno::NoDevice); }
  bool is_stream() const override { return true; }
};

}  // namespace vitro::syscalls
