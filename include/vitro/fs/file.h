// An open file description (Linux's struct file): what a descriptor refers to. Shared by dup and fork.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "vitro/base/io.h"
#include "vitro/base/result.h"
#include "vitro/base/wait_queue.h"
#include "vitro/fs/inode.h"
#include "vitro/fs/types.h"
#include "vitro/mm/kernel_object.h"
#include "vitro/mm/ports.h"
#include "vitro/mm/readahead.h"

namespace vitro::fs {

// A place in the tree: an inode and the path it was reached by.
struct Dentry;
using DentryRef = std::shared_ptr<Dentry>;

// What opening needs to know of the opener.
struct OpenContext {
  const Credentials* credentials = nullptr;
  Blocking* blocking = nullptr;   // for opens that wait (fifo)
  Pid pid{0};                     // the opener's thread group
  bool no_controlling_terminal = false;   // O_NOCTTY
};

// Collects the queues to sleep on during poll(2), select(2), epoll_wait(2).
class PollTable {
 public:
  virtual ~PollTable() = default;
  virtual void wait_on(WaitQueue& queue) = 0;
};

class File : public mm::MappedFile, public std::enable_shared_from_this<File> {
 public:
  File(std::shared_ptr<Inode> inode, unsigned flags);
  ~File() override;

  Inode& inode() { return *inode_; }
  const std::shared_ptr<Inode>& inode_ref() const { return inode_; }
  unsigned flags() const { return flags_; }
  void set_flags(unsigned f) { flags_ = f; }   // fcntl(F_SETFL): O_APPEND, O_NONBLOCK, ...
  bool readable() const { return (flags_ & kOpenAccessMode) != kOpenWrite && !(flags_ & kOpenPath); }
  bool writable() const { return (flags_ & kOpenAccessMode) != kOpenRead && !(flags_ & kOpenPath); }
  bool non_blocking() const { return flags_ & kOpenNonBlock; }
  const DentryRef& dentry() const { return dentry_; }
  void set_dentry(DentryRef d) { dentry_ = std::move(d); }

  // read(2) and write(2) at the file position, which moves. Rights (readable/writable) were checked by the caller. May wait; Again if non-blocking.
  virtual Result<size_t> read(size_t count, ByteSink& sink, Blocking& blocking);
  virtual Result<size_t> write(size_t count, ByteSource& source, Blocking& blocking);
  // pread(2), pwrite(2): IllegalSeek where there is no position.
  virtual Result<size_t> read_at(uint64_t offset, size_t count, ByteSink& sink, Blocking& blocking);
  virtual Result<size_t> write_at(uint64_t offset, size_t count, ByteSource& source, Blocking& blocking);
  virtual Result<uint64_t> seek(int64_t offset, int whence);   // SET, CUR, END, DATA, HOLE
  virtual Result<long> ioctl(unsigned command, uint64_t argument, UserCopy& user) { return fail(Errno::NotTty); }
  // What is ready now; `table` (may be null) learns what to sleep on.
  virtual unsigned poll(PollTable* table) { return kPollIn | kPollOut | kPollRdNorm | kPollWrNorm; }
  // fsync(2), fdatasync(2): as Inode::sync, and the error of an earlier write that this description has not been told of, once.
  virtual Status sync(Inode::Sync what = Inode::Sync::All, Bytes from = Bytes{0}, Bytes to = Bytes{UINT64_MAX});
  // The error of an earlier write that this description has not been told of, once (file_check_and_advance_wb_err).
  Status check_write_errors();
  // syncfs(2), likewise for the whole file system.
  Status sync_file_system();
  // posix_fadvise(2), for what it changes of later reading: NORMAL 0, RANDOM 1, SEQUENTIAL 2.
  void advise_reading(int advice);
  virtual Status truncate(uint64_t size);
  virtual Status allocate(int mode, uint64_t offset, uint64_t length);   // fallocate(2)
  // getdents64(2): entries from the position on; the position moves past each one accepted.
  virtual Status list(const std::function<bool(const DirectoryEntry&)>& visit);
  // For mmap(2): the object to map, or NoDevice. Regular files: themselves. May return another file (/dev/zero shared: shmem) or null (anonymous).
  virtual Result<std::shared_ptr<mm::MappedFile>> map(bool shared);
  // True where seek has no meaning (pipe, terminal).
  virtual bool is_stream() const { return false; }
  // True where contents are made up as they are read (/proc, /sys), which costs more than copying.
  virtual bool is_generated() const { return false; }
  // fcntl(F_GETPIPE_SZ), fcntl(F_SETPIPE_SZ): the pipe's capacity in bytes. BadFile where this is no pipe; Busy, NotPermitted, Invalid.
  virtual Result<uint64_t> pipe_size() { return fail(Errno::BadFile); }
  virtual Result<uint64_t> set_pipe_size(uint64_t bytes, bool privileged) { return fail(Errno::BadFile); }
  // Called when the last descriptor is closed (before destruction, which mappings may delay).
  virtual void released() {}

  // mm::MappedFile
  mm::PageCache& page_cache() override;
  uint64_t device_number() const override;
  uint64_t inode_number() const override;
  std::string mapped_path() const override;
  bool opened_for_write() const override { return writable(); }
  bool opened_for_read() const override { return readable(); }
  Status sync_mapped(Bytes from, Bytes to) override;
  mm::ReadaheadWindow& readahead_window() override { return readahead_; }

  uint64_t position = 0;
  mm::SlabObject memory;   // its filp

  // Counts this description among the inode's writers until it is destroyed.
  void hold_write_access();
  // Keeps others from opening the file for writing, as a running program does, until this description goes or allow_writes(). TextBusy: it is open
  // for writing (deny_write_access).
  Status deny_writes();
  void allow_writes();

 protected:
  std::shared_ptr<Inode> inode_;
  unsigned flags_;
  DentryRef dentry_;

 private:
  Result<size_t> write_locked(uint64_t offset, size_t count, ByteSource& source);
  mm::ReadaheadWindow readahead_;
  ErrorSequence::Mark seen_errors_, seen_file_system_errors_;
  SleepLock position_lock_;
  bool holds_write_access_ = false, denies_writes_ = false;
};

}  // namespace vitro::fs
