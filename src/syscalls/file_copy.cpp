// Data from file to file inside the kernel: sendfile, copy_file_range, splice.
#include <memory>

#include "syscalls/arguments.h"
#include "syscalls/file_io.h"
#include "syscalls/handlers.h"
#include "vitro/fs/notify.h"

namespace vitro::syscalls {
namespace {

constexpr size_t kChunk = 65536;

// One end of a copy: a place of its own, or the file's position.
struct End {
  fs::File* file;
  std::optional<uint64_t> offset;  // absent: the file's position, or a pipe
  Result<size_t> read(Context& c, std::span<std::byte> to) {
    BufferSink sink{to};
    auto n = offset ? file->read_at(*offset, to.size(), sink, c.kernel) : file->read(to.size(), sink, c.kernel);
    if (n && *n > 0) fs::notify(*file, fs::kNotifyAccess);
    if (n && offset) *offset += *n;
    return n;
  }
  Result<size_t> write(Context& c, std::span<const std::byte> from) {
    BufferSource source{from};
    auto n = offset ? file->write_at(*offset, from.size(), source, c.kernel) : file->write(from.size(), source, c.kernel);
    if (n && *n > 0) fs::notify(*file, fs::kNotifyModify);
    if (n && offset) *offset += *n;
    return n;
  }
};

// Moves up to `count` bytes. An input with a position is read at an offset and moved on only by what was written, so that nothing is lost where the
// output takes less.
Result<long> copy(Context& c, fs::File& in, std::optional<uint64_t> in_offset, End out, uint64_t count, std::optional<uint64_t>* in_after) {
  const bool positioned = !in.is_stream();
  End source{&in, in_offset};
  if (positioned && !in_offset) source.offset = in.position;
  const auto buffer = std::make_unique<std::byte[]>(kChunk);
  uint64_t moved = 0;
  Errno error{};
  while (moved < count && error == Errno{}) {
    const size_t want = std::min<uint64_t>(kChunk, count - moved);
    const std::optional<uint64_t> before = source.offset;
    const auto n = source.read(c, {buffer.get(), want});
    if (!n) error = n.error();
    if (!n || *n == 0) break;
    size_t written = 0;
    while (written < *n) {
      const auto w = out.write(c, {buffer.get() + written, *n - written});
      if (!w) error = w.error();
      if (!w || *w == 0) break;
      written += *w;
    }
    moved += written;
    if (before) source.offset = *before + written;
    // A stream hands out what it has; only a short read of a file means its end.
    if (written < *n || *n < want) break;
  }
  if (positioned && !in_offset) in.position = *source.offset;
  if (in_after) *in_after = source.offset;
  c.task.io_rchar += moved;
  c.task.io_wchar += moved;
  ++c.task.io_syscr;
  ++c.task.io_syscw;
  charge_copy(c, moved);
  if (moved == 0 && error != Errno{}) {
    if (error == Errno::BrokenPipe) send_own_signal(c, kernel::kSigPipe);
    return fail(error);
  }
  return static_cast<long>(moved);
}

Result<std::optional<uint64_t>> offset_argument(Context& c, size_t i) {
  if (c[i] == 0) return std::nullopt;
  const auto offset = TRY(c.user.get<int64_t>(address_argument(c, i)));
  if (offset < 0) return fail(Errno::Invalid);
  return static_cast<uint64_t>(offset);
}

}  // namespace

Result<long> sys_sendfile(Context& c) {
  const auto offset = TRY(offset_argument(c, 2));
  auto out = TRY(file_argument(c, 0));
  auto in = TRY(file_argument(c, 1));
  if (!in->readable() || !out->writable()) return fail(Errno::BadFile);
  if (in->is_stream()) return fail(offset ? Errno::IllegalSeek : Errno::Invalid);
  if (type_of(*in) == fs::kDirectory) return fail(Errno::Invalid);
  if (out->flags() & fs::kOpenAppend) return fail(Errno::Invalid);
  const uint64_t count = TRY(limit_write(c, *out, out->position, std::min(c[3], kMaxRwCount)));
  std::optional<uint64_t> after;
  const long n = TRY(copy(c, *in, offset, {out.get(), std::nullopt}, count, &after));
  if (offset) TRY(c.user.put(address_argument(c, 2), *after));
  return n;
}

Result<long> sys_copy_file_range(Context& c) {
  auto in = TRY(file_argument(c, 0));
  auto out = TRY(file_argument(c, 2));
  const auto in_offset = TRY(offset_argument(c, 1));
  const auto out_offset = TRY(offset_argument(c, 3));
  if (c[5] != 0) return fail(Errno::Invalid);
  // fs/read_write.c: generic_file_rw_checks, generic_copy_file_checks
  const uint32_t in_type = type_of(*in), out_type = type_of(*out);
  if (in_type == fs::kDirectory || out_type == fs::kDirectory) return fail(Errno::IsDirectory);
  if (in_type != fs::kRegular || out_type != fs::kRegular) return fail(Errno::Invalid);
  if (!in->readable() || !out->writable() || (out->flags() & fs::kOpenAppend)) return fail(Errno::BadFile);
  if (in->inode().attributes().device != out->inode().attributes().device) return fail(Errno::CrossDevice);
  const uint64_t from = in_offset.value_or(in->position), to = out_offset.value_or(out->position);
  uint64_t count = std::min(c[4], kMaxRwCount);
  if (from + c[4] < from || to + c[4] < to) return fail(Errno::Overflow);
  const uint64_t size = in->inode().attributes().size;
  count = from >= size ? 0 : std::min(count, size - from);
  if (&in->inode() == &out->inode() && from < to + count && to < from + count) return fail(Errno::Invalid);
  count = TRY(limit_write(c, *out, to, count));
  if (count == 0) return 0;
  std::optional<uint64_t> after;
  const long n = TRY(copy(c, *in, in_offset, {out.get(), out_offset}, count, &after));
  if (in_offset) TRY(c.user.put(address_argument(c, 1), *after));
  if (out_offset) TRY(c.user.put(address_argument(c, 3), *out_offset + static_cast<uint64_t>(n)));
  return n;
}

Result<long> sys_splice(Context& c) {
  constexpr unsigned kNonBlock = 2, kAll = 15;
  if (unsigned_argument(c, 5) & ~kAll) return fail(Errno::Invalid);
  if (c[4] == 0) return 0;
  auto in = TRY(file_argument(c, 0));
  auto out = TRY(file_argument(c, 2));
  if (!in->readable() || !out->writable()) return fail(Errno::BadFile);
  const bool in_pipe = type_of(*in) == fs::kFifo, out_pipe = type_of(*out) == fs::kFifo;
  if (!in_pipe && !out_pipe) return fail(Errno::Invalid);
  if ((in_pipe && c[1] != 0) || (out_pipe && c[3] != 0)) return fail(Errno::IllegalSeek);
  if (in_pipe && out_pipe && &in->inode() == &out->inode()) return fail(Errno::Invalid);
  if (out->flags() & fs::kOpenAppend) return fail(Errno::Invalid);
  if ((c[1] != 0 && in->is_stream()) || (c[3] != 0 && out->is_stream())) return fail(Errno::Invalid);
  const auto in_offset = TRY(offset_argument(c, 1));
  const auto out_offset = TRY(offset_argument(c, 3));
  // Into a pipe, at most what an empty one holds: as much as one call of Linux moves.
  uint64_t count = std::min<uint64_t>(c[4], kChunk);
  if (unsigned_argument(c, 5) & kNonBlock) {
    if (in_pipe && !(in->poll(nullptr) & (fs::kPollIn | fs::kPollHup))) return fail(Errno::Again);
    if (out_pipe && !(out->poll(nullptr) & (fs::kPollOut | fs::kPollErr))) return fail(Errno::Again);
    count = std::min<uint64_t>(count, kPageSize);  // what a writable pipe certainly takes
  }
  if (!out_pipe) count = TRY(limit_write(c, *out, out_offset.value_or(out->position), count));
  std::optional<uint64_t> after;
  const long n = TRY(copy(c, *in, in_offset, {out.get(), out_offset}, count, &after));
  if (in_offset) TRY(c.user.put(address_argument(c, 1), *after));
  if (out_offset) TRY(c.user.put(address_argument(c, 3), *out_offset + static_cast<uint64_t>(n)));
  return n;
}

}  // namespace vitro::syscalls
