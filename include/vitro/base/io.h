// Where bytes go to and come from: user memory, a kernel buffer, a host buffer. File systems and the page cache copy through these.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>

#include "vitro/base/result.h"
#include "vitro/base/types.h"

namespace vitro {

class ByteSink {
 public:
  virtual ~ByteSink() = default;
  // Accepts all of `bytes`, or the first part of it where the destination ends in a bad address: returns how many (> 0). Fault if none.
  virtual Result<size_t> put(std::span<const std::byte> bytes) = 0;
};

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Fills all of `bytes`, or the first part where the source ends in a bad address: returns how many (> 0). Fault if none.
  virtual Result<size_t> take(std::span<std::byte> bytes) = 0;
};

class BufferSink final : public ByteSink {
 public:
  explicit BufferSink(std::span<std::byte> buffer) : left_(buffer) {}
  Result<size_t> put(std::span<const std::byte> bytes) override {
    const size_t n = std::min(bytes.size(), left_.size());
    if (n == 0) return fail(Errno::Fault);
    std::memcpy(left_.data(), bytes.data(), n);
    left_ = left_.subspan(n);
    return n;
  }

 private:
  std::span<std::byte> left_;
};

class BufferSource final : public ByteSource {
 public:
  explicit BufferSource(std::span<const std::byte> buffer) : left_(buffer) {}
  Result<size_t> take(std::span<std::byte> bytes) override {
    const size_t n = std::min(bytes.size(), left_.size());
    if (n == 0) return fail(Errno::Fault);
    std::memcpy(bytes.data(), left_.data(), n);
    left_ = left_.subspan(n);
    return n;
  }

 private:
  std::span<const std::byte> left_;
};

// The current task's user memory, for system calls and ioctls. All-or-nothing: Fault when any byte cannot be accessed.
class UserCopy {
 public:
  virtual ~UserCopy() = default;
  virtual Status copy_in(VirtAddr from, std::span<std::byte> to) = 0;
  virtual Status copy_out(VirtAddr to, std::span<const std::byte> from) = 0;
  template <class T>
  Result<T> get(VirtAddr from) {
    T value{};
    TRY(copy_in(from, std::as_writable_bytes(std::span{&value, 1})));
    return value;
  }
  template <class T>
  Status put(VirtAddr to, const T& value) { return copy_out(to, std::as_bytes(std::span{&value, 1})); }
};

}  // namespace vitro
