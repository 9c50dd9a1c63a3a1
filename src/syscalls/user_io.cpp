// User memory as sink and source.
#include "syscalls/user_io.h"

#include "syscalls/arguments.h"

namespace vitro::syscalls {

template <class Copy>
Result<size_t> UserSegments::walk(size_t total, Copy copy) {
  size_t moved = 0;
  while (moved < total && !segments_.empty()) {
    const UserIovec& s = segments_.front();
    const size_t n = std::min<uint64_t>(total - moved, s.length - used_);
    if (n == 0) {
      segments_ = segments_.subspan(1);
      used_ = 0;
      continue;
    }
    const size_t copied = copy(VirtAddr{s.base + used_}, moved, n);
    moved += copied;
    used_ += copied;
    if (copied < n) break;
  }
  if (moved == 0 && total != 0) return fail(Errno::Fault);
  return moved;
}

Result<size_t> UserSegments::put(std::span<const std::byte> bytes) {
  return walk(bytes.size(), [&](VirtAddr at, size_t offset, size_t n) { return user_.copy_out_partial(at, bytes.subspan(offset, n)); });
}

Result<size_t> UserSegments::take(std::span<std::byte> bytes) {
  return walk(bytes.size(), [&](VirtAddr at, size_t offset, size_t n) { return user_.copy_in_partial(at, bytes.subspan(offset, n)); });
}

Result<IovecArray> IovecArray::read(mm::UserAccess& user, VirtAddr address, uint64_t count) {
  if (count > 1024) return fail(Errno::Invalid);
  IovecArray out;
  out.count_ = count;
  std::span<UserIovec> to = std::span{out.inline_}.first(std::min<size_t>(count, out.inline_.size()));
  if (count > out.inline_.size()) {
    out.many_.resize(count);
    to = out.many_;
  }
  if (count != 0) TRY(user.copy_in(address, std::as_writable_bytes(to)));
  for (UserIovec& s : to) {
    if (static_cast<int64_t>(s.length) < 0) return fail(Errno::Invalid);
    if (!in_user_range(s.base, s.length)) return fail(Errno::Fault);
    s.length = std::min(s.length, kMaxRwCount - out.total_);
    out.total_ += s.length;
  }
  return out;
}

}  // namespace vitro::syscalls
