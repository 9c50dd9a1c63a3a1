#include "fs/pipe.h"

#include <bit>

#include "fs/anonymous_fs.h"
#include "fs/vfs_state.h"

namespace vitro::fs {
namespace {
constexpr unsigned kFionRead = 0x541b;
constexpr Bytes kPipeInfo{192}, kPipeBuffer{40};  // pipe_inode_info and one pipe_buffer
}  // namespace

Result<std::shared_ptr<Pipe>> Pipe::create(Vfs& vfs) {
  std::shared_ptr<Pipe> pipe(new Pipe(vfs));
  if (mm::VirtualMemory* vm = vfs.services().vm) {
    pipe->memory_ = TRY(vm->physical().caches().allocate_bytes(kPipeInfo, mm::Gfp::KernelAccount));
    pipe->ring_ = TRY(vm->physical().caches().allocate_bytes(kPipeBuffer * kDefaultSlots, mm::Gfp::KernelAccount));
  }
  return pipe;
}

Pipe::~Pipe() {
  for (Buffer& b : buffers_) free_buffer(b);
}

Result<Pipe::Buffer> Pipe::make_buffer() {
  Buffer b;
  if (mm::VirtualMemory* vm = vfs_.services().vm) {
    mm::PageAllocator& allocator = vm->physical().allocator();
    b.frame = allocator.allocate(mm::Gfp::HighUser | mm::Gfp::Account);
    if (!b.frame) return fail(Errno::NoMemory);
    allocator.set_state(*b.frame, Order{0}, mm::FrameState::Pipe);
  } else {
    b.host = std::make_unique<std::byte[]>(kPageSize);
  }
  return b;
}

void Pipe::free_buffer(Buffer& b) {
  if (b.frame) vfs_.services().vm->physical().allocator().put(*b.frame);
  b.frame.reset();
}

std::byte* Pipe::bytes_of(const Buffer& b, bool for_write) {
  if (!b.frame) return b.host.get();
  hw::Ram& ram = vfs_.services().vm->physical().ram();
  if (for_write) return ram.write(b.frame->address(), Bytes{kPageSize}).data();
  return const_cast<std::byte*>(ram.read(b.frame->address(), Bytes{kPageSize}).data());
}

uint64_t Pipe::bytes() const {
  uint64_t n = 0;
  for (const Buffer& b : buffers_) n += b.length;
  return n;
}

Result<size_t> Pipe::read(size_t count, ByteSink& sink, Blocking& blocking, bool non_blocking) {
  if (count == 0) return size_t{0};
  size_t done = 0;
  auto held = TRY(lock_.acquire(blocking, Interruptible::Yes));
  while (true) {
    const bool was_full = buffers_.size() >= slots_;
    Errno trouble{};
    bool packet_read = false;
    while (done < count && !buffers_.empty() && trouble == Errno{} && !packet_read) {
      Buffer& b = buffers_.front();
      const size_t n = std::min(count - done, b.length);
      const auto put = sink.put({bytes_of(b, false) + b.offset, n});
      if (!put) {
        trouble = put.error();
        break;
      }
      if (*put < n) trouble = Errno::Fault;
      done += *put;
      b.offset += *put, b.length -= *put;
      packet_read = b.packet;
      if (b.packet && trouble == Errno{}) b.length = 0;  // what does not fit of a packet is lost
      if (b.length == 0) {
        free_buffer(b);
        buffers_.pop_front();
      }
    }
    if (was_full && buffers_.size() < slots_) write_queue_.wake_all();
    if (done > 0) break;
    if (trouble != Errno{}) return fail(trouble);
    if (writers_ == 0) return size_t{0};
    if (non_blocking) return fail(Errno::Again);
    held.release();
    TRY(blocking.wait(read_queue_));
    held = TRY(lock_.acquire(blocking, Interruptible::Yes));
  }
  if (!buffers_.empty()) read_queue_.wake_all();  // another reader may have slept through what is left
  return done;
}

Result<size_t> Pipe::write(size_t count, ByteSource& source, Blocking& blocking, bool non_blocking, bool packets) {
  if (count == 0) return size_t{0};
  size_t done = 0;
  auto held = TRY(lock_.acquire(blocking, Interruptible::Yes));
  if (readers_ == 0) return fail(Errno::BrokenPipe);
  const bool was_empty = buffers_.empty();
  // The odd part of the write goes into the last buffer where it fits whole; from there on a buffer at a time. So a write of up to PIPE_BUF
  // (one page) is never split: it needs one place, found or waited for.
  const size_t odd = count & kPageOffsetMask;
  Errno trouble{};
  if (odd && !packets && !buffers_.empty()) {
    Buffer& last = buffers_.back();
    if (!last.packet && last.offset + last.length + odd <= kPageSize) {
      const auto taken = source.take({bytes_of(last, true) + last.offset + last.length, odd});
      if (!taken) return fail(taken.error());
      last.length += *taken;
      done += *taken;
      if (*taken < odd) trouble = Errno::Fault;
    }
  }
  while (done < count && trouble == Errno{}) {
    if (readers_ == 0) {
      trouble = Errno::BrokenPipe;
      break;
    }
    if (buffers_.size() < slots_) {
      auto fresh = make_buffer();
      if (!fresh) {
        trouble = fresh.error();
        break;
      }
      const size_t n = std::min<size_t>(count - done, kPageSize);
      const auto taken = source.take({bytes_of(*fresh, true), n});
      if (!taken) {
        free_buffer(*fresh);
        trouble = taken.error();
        break;
      }
      fresh->length = *taken;
      fresh->packet = packets;
      buffers_.push_back(std::move(*fresh));
      done += *taken;
      if (*taken < n) trouble = Errno::Fault;
      continue;
    }
    if (non_blocking) {
      trouble = Errno::Again;
      break;
    }
    held.release();
    read_queue_.wake_all();
    if (Status waited = blocking.wait(write_queue_); !waited) trouble = waited.error();
    auto again = lock_.acquire(blocking, Interruptible::Yes);
    if (!again) {
      trouble = again.error();
      break;
    }
    held = std::move(*again);
  }
  if (was_empty || done > 0) read_queue_.wake_all();
  if (done > 0) return done;
  return fail(trouble);
}

Result<uint64_t> Pipe::set_capacity(uint64_t bytes, bool privileged) {
  if (bytes > uint64_t{1} << 31) return fail(Errno::Invalid);
  const uint64_t size = std::bit_ceil(std::max<uint64_t>(bytes, kPageSize));
  if (size > capacity() && size > kMaxBytes && !privileged) return fail(Errno::NotPermitted);
  if (size / kPageSize < buffers_.size()) return fail(Errno::Busy);
  constexpr uint64_t kMostSlots = (8 << 10) / 40 * 32;  // far beyond it the ring itself could not be allocated
  if (size / kPageSize > kMostSlots) return fail(Errno::NoMemory);
  if (mm::VirtualMemory* vm = vfs_.services().vm) {
    const Bytes ring = std::min(kPipeBuffer * (size / kPageSize), kib(8));
    ring_ = TRY(vm->physical().caches().allocate_bytes(ring, mm::Gfp::KernelAccount));
  }
  slots_ = size / kPageSize;
  write_queue_.wake_all();
  return size;
}

unsigned Pipe::poll(PollTable* table, bool readable, bool writable) {
  unsigned events = 0;
  if (readable) {
    if (table) table->wait_on(read_queue_);
    if (!buffers_.empty()) events |= kPollIn | kPollRdNorm;
    if (writers_ == 0 && writers_ever_ > 0) events |= kPollHup;
  }
  if (writable) {
    if (table) table->wait_on(write_queue_);
    if (buffers_.size() < slots_) events |= kPollOut | kPollWrNorm;
    if (readers_ == 0) events |= kPollErr;
  }
  return events;
}

void Pipe::add_reader() { ++readers_, ++readers_ever_, partners_.wake_all(); }
void Pipe::add_writer() { ++writers_, ++writers_ever_, partners_.wake_all(); }
void Pipe::remove_reader() {
  --readers_;
  if (readers_ == 0) write_queue_.wake_all();
}
void Pipe::remove_writer() {
  --writers_;
  if (writers_ == 0) read_queue_.wake_all();
}

PipeFile::PipeFile(std::shared_ptr<Inode> inode, std::shared_ptr<Pipe> pipe, unsigned flags) : File(std::move(inode), flags), pipe_(std::move(pipe)) {
  if (readable()) pipe_->add_reader();
  if (writable()) pipe_->add_writer();
}

void PipeFile::released() {
  if (!counted_) return;
  counted_ = false;
  if (readable()) pipe_->remove_reader();
  if (writable()) pipe_->remove_writer();
}

Result<size_t> PipeFile::read(size_t count, ByteSink& sink, Blocking& blocking) { return pipe_->read(count, sink, blocking, non_blocking()); }
Result<size_t> PipeFile::write(size_t count, ByteSource& source, Blocking& blocking) {
  return pipe_->write(count, source, blocking, non_blocking(), flags() & kOpenDirect);
}

Result<long> PipeFile::ioctl(unsigned command, uint64_t argument, UserCopy& user) {
  if (command != kFionRead) return fail(Errno::NotTty);
  TRY(user.put(VirtAddr{argument}, static_cast<int32_t>(pipe_->bytes())));
  return 0;
}

Result<std::shared_ptr<File>> open_fifo(Vfs& vfs, const std::shared_ptr<Inode>& inode, unsigned flags, Blocking& blocking) {
  std::shared_ptr<Pipe> pipe = inode->fifo.lock();
  if (!pipe) {
    pipe = TRY(Pipe::create(vfs));
    inode->fifo = pipe;
  }
  const unsigned mode = flags & kOpenAccessMode;
  // A pipe(2) that is opened once more (/dev/fd/63) waits for nobody: its other end may have come and gone.
  const bool waits = &inode->file_system() != vfs.state().pipes.get();
  const bool non_blocking = flags & kOpenNonBlock;
  if (waits && mode == kOpenWrite && non_blocking && pipe->readers() == 0) return fail(Errno::NoDeviceOrAddress);
  const uint64_t readers_before = pipe->readers_ever(), writers_before = pipe->writers_ever();
  auto file = std::make_shared<PipeFile>(inode, pipe, flags);
  if (waits && mode == kOpenRead && !non_blocking)
    while (pipe->writers() == 0 && pipe->writers_ever() == writers_before) TRY(blocking.wait(pipe->partners()));
  if (waits && mode == kOpenWrite && !non_blocking)
    while (pipe->readers() == 0 && pipe->readers_ever() == readers_before) TRY(blocking.wait(pipe->partners()));
  return std::shared_ptr<File>(file);
}

Result<std::pair<std::shared_ptr<File>, std::shared_ptr<File>>> Vfs::make_pipe(unsigned flags) {
  auto inode = TRY(state_->pipes->make_inode(kFifo | 0600));
  auto pipe = TRY(Pipe::create(*this));
  inode->fifo = pipe;
  const std::string name = "pipe:[" + std::to_string(inode->attributes().inode) + "]";
  const unsigned kept = flags & (kOpenNonBlock | kOpenDirect);
  auto read_end = std::make_shared<PipeFile>(inode, pipe, kOpenRead | kept);
  auto write_end = std::make_shared<PipeFile>(inode, pipe, kOpenWrite | kept);
  TRY(adopt(*read_end, name));
  write_end->set_dentry(read_end->dentry());
  TRY(adopt(*write_end, name));
  return std::pair<std::shared_ptr<File>, std::shared_ptr<File>>{std::move(read_end), std::move(write_end)};
}

}  // namespace vitro::fs
