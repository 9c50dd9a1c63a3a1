// Guest RAM: one host mapping of bytes, physical address 0 to size. Host memory is used only for what the guest touches.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>

#include "vitro/base/check.h"
#include "vitro/base/result.h"
#include "vitro/base/types.h"
#include "vitro/hw/pte.h"

namespace vitro::hw {

// Told when the host writes to a frame that the CPU has executed from: translated code must go. Implemented by the CPU.
class CodeInvalidator {
 public:
  virtual ~CodeInvalidator() = default;
  virtual void invalidate_code(Pfn frame) = 0;
};

class HostPages;

class Ram {
 public:
  static constexpr Bytes kMinimum = mib(8);
  static constexpr Bytes kMaximum{uint64_t{1} << kPhysicalBits};

  // Maps `size` bytes (a multiple of 4 KiB). Errors: too small, too large, or more than the host can map.
  static Result<std::unique_ptr<Ram>, UserError> create(Bytes size);
  ~Ram();
  Ram(const Ram&) = delete;
  Ram& operator=(const Ram&) = delete;

  Bytes size() const { return size_; }
  Pages frames() const { return size_.pages_down(); }
  bool contains(PhysAddr a, Bytes n = Bytes{1}) const { return a.value() < size_.value() && n.value() <= size_.value() - a.value(); }
  std::byte* host_base() const { return base_; }

  // The bytes of [address, address + n) for reading. The range must lie in RAM.
  std::span<const std::byte> read(PhysAddr address, Bytes n) const {
    DCHECK(contains(address, n), "physical {:#x}+{:#x}", address.value(), n.value());
    return {base_ + address.value(), n.value()};
  }
  // The same for writing. Code translated from the frames it covers is thrown away first, so every host write to guest memory that
  // might be executed (page contents, kernel copies to user memory) goes through here.
  std::span<std::byte> write(PhysAddr address, Bytes n) {
    DCHECK(contains(address, n), "physical {:#x}+{:#x}", address.value(), n.value());
    for (Pfn f = address.pfn(); f.address() < address + n; ++f)
      if (executed_[f.value()]) [[unlikely]] forget_code(f);
    return {base_ + address.value(), n.value()};
  }
  // A page-table entry or another kernel word in place; never executed.
  template <class T>
  T& at(PhysAddr address) const {
    DCHECK(contains(address, Bytes{sizeof(T)}), "physical {:#x}", address.value());
    return *reinterpret_cast<T*>(base_ + address.value());
  }

  void zero_frame(Pfn f) { std::memset(write(f.address(), Bytes{kPageSize}).data(), 0, kPageSize); }
  void copy_frame(Pfn to, Pfn from) {
    std::memcpy(write(to.address(), Bytes{kPageSize}).data(), read(from.address(), Bytes{kPageSize}).data(), kPageSize);
  }

  // `f` is about to be used for the first time since power-on: the host's memory for it and some neighbours is fetched in one go. Only a matter
  // of speed: without it, it comes page by page.
  void bring_in(Pfn f);

  // The CPU fetched instructions from this frame.
  void mark_executed(Pfn f) { executed_[f.value()] = 1; }
  bool executed(Pfn f) const { return executed_[f.value()] != 0; }
  void set_code_invalidator(CodeInvalidator* i) { invalidator_ = i; }

 private:
  Ram(std::byte* base, Bytes size, uint8_t* executed);
  void forget_code(Pfn f);
  std::byte* base_;
  Bytes size_;
  uint8_t* executed_;  // one byte a frame, mapped lazily like RAM itself
  std::unique_ptr<HostPages> host_pages_;
  CodeInvalidator* invalidator_ = nullptr;
};

}  // namespace vitro::hw
