// Reading and writing, at the position and elsewhere; moving the position; device control.
#include "syscalls/file_io.h"

#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "syscalls/user_io.h"
#include "vitro/fs/notify.h"
#include "vitro/fs/tty.h"

namespace vitro::syscalls {

void send_own_signal(Context& c, int signal) {
  kernel::SignalInfo info;
  info.signal = signal;
  info.sender = c.task.process->pid;
  info.sender_uid = c.task.process->credentials.uid;
  (void)c.kernel.send_signal_to_task(c.task, info);
}

Result<uint64_t> limit_write(Context& c, fs::File& file, uint64_t position, uint64_t count) {
  const uint64_t limit = c.task.process->limits[kernel::kLimitFsize].soft;
  if (limit == ~0ull || type_of(file) != fs::kRegular) return count;
  if (file.flags() & fs::kOpenAppend) position = file.inode().attributes().size;
  if (position >= limit) {
    if (count == 0) return count;
    send_own_signal(c, kernel::kSigXfsz);
    return fail(Errno::FileTooBig);
  }
  return std::min(count, limit - position);
}

namespace {

enum class At : bool { Position, Offset };

Result<long> finish_read(Context& c, fs::File& file, Result<size_t> n) {
  ++c.task.io_syscr;
  if (!n) return fail(n.error());
  if (*n > 0) fs::notify(file, fs::kNotifyAccess);
  c.task.io_rchar += *n;
  charge_copy(c, *n);
  if (file.is_generated()) c.kernel.clock().advance(Nanoseconds{c.kernel.timing().generate_per_kib.value() * *n / 1024});
  return static_cast<long>(*n);
}

Result<long> finish_write(Context& c, fs::File& file, Result<size_t> n) {
  ++c.task.io_syscw;
  if (!n) {
    if (n.error() == Errno::BrokenPipe) send_own_signal(c, kernel::kSigPipe);
    return fail(n.error());
  }
  if (*n > 0) fs::notify(file, fs::kNotifyModify);
  c.task.io_wchar += *n;
  charge_copy(c, *n);
  return static_cast<long>(*n);
}

// Nothing to move, and the file has nothing to say about that.
bool nothing_to_do(fs::File& file, uint64_t count) {
  if (count != 0) return false;
  const uint32_t type = type_of(file);
  return type == fs::kFifo || type == fs::kCharDevice;
}

// fs/read_write.c: rw_verify_area.
bool beyond_any_file(int64_t offset, uint64_t total) { return total > static_cast<uint64_t>(INT64_MAX) - static_cast<uint64_t>(offset); }

Result<long> read_segments(Context& c, fs::File& file, std::span<const UserIovec> segments, uint64_t total, At where, int64_t offset) {
  if (!file.readable()) return fail(Errno::BadFile);
  if (where == At::Offset && beyond_any_file(offset, total)) return fail(Errno::Invalid);
  if (nothing_to_do(file, total)) return finish_read(c, file, 0);
  UserSegments sink{c.user, segments};
  if (where == At::Offset) return finish_read(c, file, file.read_at(static_cast<uint64_t>(offset), total, sink, c.kernel));
  return finish_read(c, file, file.read(total, sink, c.kernel));
}

Result<long> write_segments(Context& c, fs::File& file, std::span<const UserIovec> segments, uint64_t total, At where, int64_t offset) {
  if (!file.writable()) return fail(Errno::BadFile);
  if (where == At::Offset && beyond_any_file(offset, total)) return fail(Errno::Invalid);
  if (nothing_to_do(file, total)) return finish_write(c, file, 0);
  total = TRY(limit_write(c, file, where == At::Offset ? static_cast<uint64_t>(offset) : file.position, total));
  UserSegments source{c.user, segments};
  if (where == At::Offset) return finish_write(c, file, file.write_at(static_cast<uint64_t>(offset), total, source, c.kernel));
  return finish_write(c, file, file.write(total, source, c.kernel));
}

// One buffer: arguments 1 and 2 are its address and length.
Result<UserIovec> buffer_argument(Context& c) {
  if (static_cast<int64_t>(c[2]) < 0) return fail(Errno::Invalid);
  if (!in_user_range(c[1], c[2])) return fail(Errno::Fault);
  return UserIovec{c[1], std::min(c[2], kMaxRwCount)};
}

// fs/read_write.c: kiocb_set_rw_flags. High priority and the synchronous kinds are met: nothing here completes later.
Status check_rw_flags(fs::File& file, uint64_t flags) {
  constexpr uint64_t kHighPriority = 1, kDataSync = 2, kSync = 4;
  if (flags & ~(kHighPriority | kDataSync | kSync)) return fail(Errno::NotSupported);
  return {};
}

Result<long> vector_call(Context& c, bool writes, At where, int64_t offset, uint64_t flags) {
  auto file = TRY(file_argument(c, 0));
  if (where == At::Offset) {
    if (offset < 0) return fail(Errno::Invalid);
    if (file->is_stream()) return fail(Errno::IllegalSeek);
  }
  if (writes ? !file->writable() : !file->readable()) return fail(Errno::BadFile);
  TRY(check_rw_flags(*file, flags));
  const IovecArray iov = TRY(IovecArray::read(c.user, address_argument(c, 1), c[2]));
  if (!writes) return read_segments(c, *file, iov.segments(), iov.total(), where, offset);
  const auto n = TRY(write_segments(c, *file, iov.segments(), iov.total(), where, offset));
  if ((flags & 6) && n > 0) TRY(file->sync(flags & 4 ? fs::Inode::Sync::All : fs::Inode::Sync::DataOnly));
  return n;
}

}  // namespace

Result<long> sys_read(Context& c) {
  auto file = TRY(file_argument(c, 0));
  if (!file->readable()) return fail(Errno::BadFile);
  const UserIovec buffer = TRY(buffer_argument(c));
  return read_segments(c, *file, {&buffer, 1}, buffer.length, At::Position, 0);
}

Result<long> sys_write(Context& c) {
  auto file = TRY(file_argument(c, 0));
  if (!file->writable()) return fail(Errno::BadFile);
  const UserIovec buffer = TRY(buffer_argument(c));
  return write_segments(c, *file, {&buffer, 1}, buffer.length, At::Position, 0);
}

Result<long> sys_pread64(Context& c) {
  if (static_cast<int64_t>(c[3]) < 0) return fail(Errno::Invalid);
  auto file = TRY(file_argument(c, 0));
  if (file->is_stream()) return fail(Errno::IllegalSeek);
  const UserIovec buffer = TRY(buffer_argument(c));
  return read_segments(c, *file, {&buffer, 1}, buffer.length, At::Offset, static_cast<int64_t>(c[3]));
}

Result<long> sys_pwrite64(Context& c) {
  if (static_cast<int64_t>(c[3]) < 0) return fail(Errno::Invalid);
  auto file = TRY(file_argument(c, 0));
  if (file->is_stream()) return fail(Errno::IllegalSeek);
  const UserIovec buffer = TRY(buffer_argument(c));
  return write_segments(c, *file, {&buffer, 1}, buffer.length, At::Offset, static_cast<int64_t>(c[3]));
}

Result<long> sys_readv(Context& c) { return vector_call(c, false, At::Position, 0, 0); }
Result<long> sys_writev(Context& c) { return vector_call(c, true, At::Position, 0, 0); }
// The offset comes in two halves, of which the low one is whole on 64-bit machines.
Result<long> sys_preadv(Context& c) { return vector_call(c, false, At::Offset, static_cast<int64_t>(c[3]), 0); }
Result<long> sys_pwritev(Context& c) { return vector_call(c, true, At::Offset, static_cast<int64_t>(c[3]), 0); }
Result<long> sys_preadv2(Context& c) {
  return vector_call(c, false, static_cast<int64_t>(c[3]) == -1 ? At::Position : At::Offset, static_cast<int64_t>(c[3]), unsigned_argument(c, 5));
}
Result<long> sys_pwritev2(Context& c) {
  return vector_call(c, true, static_cast<int64_t>(c[3]) == -1 ? At::Position : At::Offset, static_cast<int64_t>(c[3]), unsigned_argument(c, 5));
}

Result<long> sys_lseek(Context& c) {
  auto file = TRY(file_argument(c, 0));
  const unsigned whence = unsigned_argument(c, 2);
  if (whence > 4) return fail(Errno::Invalid);
  if (file->is_stream()) return fail(Errno::IllegalSeek);
  return static_cast<long>(TRY(file->seek(static_cast<int64_t>(c[1]), static_cast<int>(whence))));
}

Result<long> sys_ioctl(Context& c) {
  constexpr unsigned kFionBio = 0x5421, kFioClex = 0x5451, kFionClex = 0x5450, kFioAsync = 0x5452, kFioQsize = 0x5460, kFionRead = 0x541b, kFigetBsz = 2,
                     kTiocGPtPeer = 0x5441;
  auto file = TRY(file_argument(c, 0));
  const unsigned command = unsigned_argument(c, 1);
  switch (command) {
    case kFioClex: return done(descriptors(c).set_close_on_exec(int_argument(c, 0), true));
    case kFionClex: return done(descriptors(c).set_close_on_exec(int_argument(c, 0), false));
    case kFionBio: {
      const int on = TRY(c.user.get<int>(address_argument(c, 2)));
      file->set_flags(on ? file->flags() | fs::kOpenNonBlock : file->flags() & ~fs::kOpenNonBlock);
      return 0;
    }
    case kFioAsync: return fail(Errno::NotTty);
    case kFioQsize: {
      const fs::Attributes a = file->inode().attributes();
      const uint32_t type = a.mode & fs::kTypeMask;
      if (type != fs::kDirectory && type != fs::kRegular && type != fs::kSymlink) return fail(Errno::NotTty);
      return done(c.user.put(address_argument(c, 2), static_cast<int64_t>(a.size)));
    }
    case kFionRead:
      if (type_of(*file) == fs::kRegular) {
        const auto left = static_cast<int64_t>(file->inode().attributes().size) - static_cast<int64_t>(file->position);
        return done(c.user.put(address_argument(c, 2), static_cast<int32_t>(left)));
      }
      break;
    case kFigetBsz:
      if (type_of(*file) == fs::kRegular || type_of(*file) == fs::kDirectory)
        return done(c.user.put(address_argument(c, 2), static_cast<int32_t>(file->inode().attributes().block_size)));
      break;
    case kTiocGPtPeer: {
      const unsigned flags = unsigned_argument(c, 2);
      auto peer = TRY(fs::open_peer(c.kernel.vfs(), *file, flags & (fs::kOpenAccessMode | fs::kOpenNonBlock)));
      return install(c, std::move(peer), flags & fs::kOpenCloseOnExec);
    }
    default: break;
  }
  return file->ioctl(command, c[2], c.user);
}

}  // namespace vitro::syscalls
