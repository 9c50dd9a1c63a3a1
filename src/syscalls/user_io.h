// User memory as a sink or source of bytes, in one piece or scattered (iov_iter).
#pragma once

#include <array>
#include <span>
#include <vector>

#include "syscalls/layouts.h"
#include "vitro/base/io.h"
#include "vitro/mm/address_space.h"

namespace vitro::syscalls {

// Segments of user memory, used up from the front.
class UserSegments final : public ByteSink, public ByteSource {
 public:
  // `segments` must outlive this.
  UserSegments(mm::UserAccess& user, std::span<const UserIovec> segments) : user_(user), segments_(segments) {}
  Result<size_t> put(std::span<const std::byte> bytes) override;
  Result<size_t> take(std::span<std::byte> bytes) override;

 private:
  // Calls `copy(address, offset, n)` -> bytes copied, segment after segment, until `total` bytes or a bad address.
  template <class Copy>
  Result<size_t> walk(size_t total, Copy copy);
  mm::UserAccess& user_;
  std::span<const UserIovec> segments_;
  uint64_t used_ = 0;  // of the first segment
};

// An iovec array copied from the guest and checked (lib/iov_iter.c: iovec_from_user): Invalid for a count over 1024 or a negative length, Fault for a
// range outside the user half. The total is cut to MAX_RW_COUNT.
class IovecArray {
 public:
  static Result<IovecArray> read(mm::UserAccess& user, VirtAddr address, uint64_t count);
  std::span<const UserIovec> segments() const { return count_ <= inline_.size() ? std::span{inline_}.first(count_) : std::span<const UserIovec>{many_}; }
  uint64_t total() const { return total_; }

 private:
  std::array<UserIovec, 8> inline_{};
  std::vector<UserIovec> many_;
  size_t count_ = 0;
  uint64_t total_ = 0;
};

}  // namespace vitro::syscalls
