#include "vitro/fs/host_stream.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <vector>

#include "fs/anonymous_fs.h"
#include "fs/terminal.h"
#include "fs/vfs_state.h"

namespace vitro::fs {
namespace {

constexpr unsigned kFionRead = 0x541b;
constexpr size_t kChunk = 64 * 1024;

enum class HostKind : uint8_t { Terminal, Pipe, Regular, Other };

Errno write_error(int host_errno) {
  switch (host_errno) {
    case EPIPE: return Errno::BrokenPipe;
    case ENOSPC:
    case EDQUOT: return Errno::NoSpace;
    case EFBIG: return Errno::FileTooBig;
    case EBADF: return Errno::BadFile;
    default: return Errno::IoError;
  }
}

// What the host's descriptor is, and what several guest files on it share.
struct Stream {
  Vfs& vfs;
  int fd;
  HostInput& input;
  HostKind kind = HostKind::Other;
  std::shared_ptr<Terminal> terminal;
  std::string unread;  // read from the host, but the guest's buffer was bad
};

class StreamFile;

class StreamInode final : public Inode {
 public:
  StreamInode(std::shared_ptr<Stream> stream, Attributes a, mm::SlabObject memory, FileSystem& fs)
      : stream_(std::move(stream)), attributes_(a), memory_(std::move(memory)), fs_(fs) {}
  FileSystem& file_system() override { return fs_; }
  Attributes attributes() override {
    struct stat s {};
    if (stream_->kind == HostKind::Regular && ::fstat(stream_->fd, &s) == 0) {
      attributes_.size = static_cast<uint64_t>(s.st_size);
      attributes_.blocks = (attributes_.size + 511) / 512;
    }
    return attributes_;
  }
  Status set_attributes(const AttributeChange& c) override {
    if (c.size) return stream_->kind == HostKind::Terminal ? Status{} : fail(Errno::Invalid);
    if (c.mode) attributes_.mode = (attributes_.mode & kTypeMask) | (*c.mode & 07777);
    if (c.uid) attributes_.uid = *c.uid;
    if (c.gid) attributes_.gid = *c.gid;
    if (c.accessed) attributes_.accessed = *c.accessed;
    if (c.modified) attributes_.modified = *c.modified;
    return {};
  }
  Result<std::shared_ptr<File>> open(unsigned flags, const OpenContext& context) override;

 private:
  std::shared_ptr<Stream> stream_;
  Attributes attributes_;
  mm::SlabObject memory_;
  FileSystem& fs_;
};

class StreamFile final : public File {
 public:
  StreamFile(std::shared_ptr<Inode> inode, std::shared_ptr<Stream> stream, unsigned flags) : File(std::move(inode), flags), stream_(std::move(stream)) {}

  Result<size_t> read(size_t count, ByteSink& sink, Blocking& blocking) override {
    if (count == 0) return size_t{0};
    if (stream_->unread.empty()) {
      while (!stream_->input.ready(stream_->fd)) {
        if (non_blocking()) return fail(Errno::Again);
        TRY(blocking.wait(stream_->input.queue(stream_->fd)));
      }
      std::string& data = stream_->unread;
      data.resize(std::min(count, kChunk));
      ssize_t n = 0;
      do n = ::read(stream_->fd, data.data(), data.size());
      while (n < 0 && errno == EINTR);
      const int trouble = errno;
      data.resize(n > 0 ? static_cast<size_t>(n) : 0);
      if (n < 0) return fail(trouble == EAGAIN ? Errno::Again : trouble == EISDIR ? Errno::IsDirectory : trouble == EBADF ? Errno::BadFile : Errno::IoError);
      if (n == 0) return size_t{0};
    }
    const auto part = std::string_view(stream_->unread).substr(0, count);
    const size_t put = TRY(sink.put(std::as_bytes(std::span(part.data(), part.size()))));
    stream_->unread.erase(0, put);
    return put;
  }

  Result<size_t> write(size_t count, ByteSource& source, Blocking&) override {
    count = std::min(count, kMaxTransfer);
    std::vector<std::byte> chunk(std::min(count, kChunk));
    size_t done = 0;
    while (done < count) {
      const auto part = std::span(chunk).first(std::min(count - done, kChunk));
      const auto taken = source.take(part);
      if (!taken && done == 0) return fail(taken.error());
      if (!taken) break;
      const bool shown = stream_->kind == HostKind::Terminal && *taken > 0;
      if (shown) stream_->input.before_output();
      for (size_t at = 0; at < *taken;) {
        const ssize_t n = ::write(stream_->fd, part.data() + at, *taken - at);
        if (n >= 0) {
          at += static_cast<size_t>(n), done += static_cast<size_t>(n);
        } else if (errno == EAGAIN) {
          pollfd p{stream_->fd, POLLOUT, 0};
          (void)::poll(&p, 1, -1);
        } else if (errno != EINTR) {
          if (done > 0) return done;
          return fail(write_error(errno));
        }
      }
      if (shown) stream_->input.after_output(static_cast<char>(part[*taken - 1]));
      if (*taken < part.size()) break;
    }
    return done;
  }

  Result<size_t> read_at(uint64_t offset, size_t count, ByteSink& sink, Blocking&) override {
    if (stream_->kind != HostKind::Regular) return fail(Errno::IllegalSeek);
    if (offset > kMaxOffset) return fail(Errno::Invalid);
    std::vector<std::byte> chunk(std::min(count, kChunk));
    const ssize_t n = ::pread(stream_->fd, chunk.data(), chunk.size(), static_cast<off_t>(offset));
    if (n < 0) return fail(errno == EBADF ? Errno::BadFile : Errno::IoError);
    if (n == 0) return size_t{0};
    return sink.put(std::span<const std::byte>(chunk).first(static_cast<size_t>(n)));
  }
  Result<size_t> write_at(uint64_t offset, size_t count, ByteSource& source, Blocking&) override {
    if (stream_->kind != HostKind::Regular) return fail(Errno::IllegalSeek);
    if (offset > kMaxOffset) return fail(Errno::Invalid);
    if (count == 0) return size_t{0};
    std::vector<std::byte> chunk(std::min(count, kChunk));
    const size_t taken = TRY(source.take(chunk));
    const ssize_t n = ::pwrite(stream_->fd, chunk.data(), taken, static_cast<off_t>(offset));
    if (n < 0) return fail(write_error(errno));
    return static_cast<size_t>(n);
  }

  Result<uint64_t> seek(int64_t offset, int whence) override {
    if (stream_->kind != HostKind::Regular) return fail(Errno::IllegalSeek);
    if (whence < SEEK_SET || whence > SEEK_HOLE) return fail(Errno::Invalid);
    if (whence == SEEK_CUR) offset -= static_cast<int64_t>(stream_->unread.size());
    const off_t at = ::lseek(stream_->fd, offset, whence);
    if (at < 0) return fail(errno == ENXIO ? Errno::NoDeviceOrAddress : Errno::Invalid);
    stream_->unread.clear();
    return position = static_cast<uint64_t>(at);
  }

  Result<long> ioctl(unsigned command, uint64_t argument, UserCopy& user) override {
    if (stream_->terminal) return stream_->terminal->ioctl(command, argument, user);
    if (command != kFionRead) return fail(Errno::NotTty);
    int32_t n = 0;
    if (::ioctl(stream_->fd, FIONREAD, &n) != 0) return fail(Errno::NotTty);
    TRY(user.put(VirtAddr{argument}, n));
    return 0;
  }

  unsigned poll(PollTable* table) override {
    unsigned events = kPollOut | kPollWrNorm;
    if (readable()) {
      if (table) table->wait_on(stream_->input.queue(stream_->fd));
      if (!stream_->unread.empty() || stream_->input.ready(stream_->fd)) events |= kPollIn | kPollRdNorm;
    }
    if (!writable()) events &= ~(kPollOut | kPollWrNorm);
    return events;
  }

  Status sync() override { return stream_->kind == HostKind::Regular ? Status{} : fail(Errno::Invalid); }  // write(2) has handed all to the host
  Status truncate(uint64_t) override { return fail(Errno::Invalid); }
  Result<std::shared_ptr<mm::MappedFile>> map(bool) override { return fail(Errno::NoDevice); }
  bool is_stream() const override { return stream_->kind != HostKind::Regular; }
  Terminal* terminal() const { return stream_->terminal.get(); }

 private:
  std::shared_ptr<Stream> stream_;
};

Result<std::shared_ptr<File>> StreamInode::open(unsigned flags, const OpenContext&) {
  return std::shared_ptr<File>(std::make_shared<StreamFile>(shared_from_this(), stream_, flags));
}

// Looks like what the host has, with numbers that do not depend on the host.
Attributes attributes_of(Vfs& vfs, int fd, HostKind& kind) {
  Attributes a;
  a.device = vfs.state().anonymous->device();
  a.inode = 1000 + static_cast<uint64_t>(fd);
  a.accessed = a.modified = a.changed = a.born = vfs.now();
  struct stat s {};
  if (::isatty(fd)) {
    kind = HostKind::Terminal;
    a.mode = kCharDevice | 0620;
    a.gid = 5;  // tty
    a.special_device = make_device(136, 0);
    a.inode = 3;
    a.block_size = 1024;
  } else if (::fstat(fd, &s) == 0 && S_ISREG(s.st_mode)) {
    kind = HostKind::Regular;
    a.mode = kRegular | 0644;
  } else if (S_ISCHR(s.st_mode)) {
    a.mode = kCharDevice | 0666;
    a.special_device = make_device(1, 3);
  } else {
    kind = HostKind::Pipe;
    a.mode = kFifo | 0600;
  }
  return a;
}

const char* name_of(HostKind kind) {
  switch (kind) {
    case HostKind::Terminal: return "/dev/pts/0";
    case HostKind::Pipe: return "pipe:[1000]";
    case HostKind::Regular: return "/dev/host-file";
    case HostKind::Other: return "/dev/null";
  }
  return "";
}

}  // namespace

std::shared_ptr<File> make_host_stream(Vfs& vfs, int host_fd, unsigned flags, HostInput& input) {
  // A reader that went away must reach the guest as EPIPE, not kill the host process.
  std::signal(SIGPIPE, SIG_IGN);
  auto stream = std::make_shared<Stream>(Stream{vfs, host_fd, input});
  const Attributes a = attributes_of(vfs, host_fd, stream->kind);
  if (stream->kind == HostKind::Terminal) {
    // All the guest's terminals are the one that the host process runs on.
    if (!vfs.state().terminal) vfs.state().terminal = std::make_shared<Terminal>(host_fd);
    stream->terminal = vfs.state().terminal;
  }
  auto memory = charge(vfs, mm::KernelCache::InodeCache);
  auto inode = std::make_shared<StreamInode>(stream, a, memory ? std::move(*memory) : mm::SlabObject{}, *vfs.state().anonymous);
  auto file = std::make_shared<StreamFile>(inode, stream, flags);
  const Status adopted = vfs.adopt(*file, name_of(stream->kind));
  CHECK(adopted, "no memory for the standard streams");
  return file;
}

Pid foreground_group(File& terminal) {
  const auto* file = dynamic_cast<StreamFile*>(&terminal);
  return file && file->terminal() ? file->terminal()->foreground : Pid{0};
}

bool is_terminal(File& file) {
  const auto* stream = dynamic_cast<StreamFile*>(&file);
  return stream && stream->terminal();
}

void set_terminal_owner(File& terminal, Pid session, Pid foreground) {
  const auto* file = dynamic_cast<StreamFile*>(&terminal);
  if (!file || !file->terminal()) return;
  file->terminal()->session = session;
  file->terminal()->foreground = foreground;
}

}  // namespace vitro::fs
