// siginfo_t as the guest sees it (include/uapi/asm-generic/siginfo.h); which member of its union is used follows kernel/signal.c:
// siginfo_layout.
#include <cstring>

#include "vitro/kernel/signal.h"

namespace vitro::kernel {
namespace {

enum class Layout : uint8_t { Kill, Timer, Poll, Fault, Child, Queue };

Layout layout_of(int signal, int code) {
  if (code > kSiUser && code < kSiKernel) {
    switch (signal) {
      case kSigIll:
      case kSigFpe:
      case kSigSegv:
      case kSigBus:
      case kSigTrap:
        return Layout::Fault;
      case kSigChld:
        return Layout::Child;
      case kSigIo:
        return Layout::Poll;
      default:
        return Layout::Kill;
    }
  }
  if (code == kSiTimer) return Layout::Timer;
  if (code < 0) return Layout::Queue;
  return Layout::Kill;
}

constexpr uint64_t kNanosecondsPerTick = 10'000'000;  // USER_HZ 100

}  // namespace

std::array<std::byte, kSigInfoSize> encode_signal_info(const SignalInfo& info) {
  std::array<std::byte, kSigInfoSize> bytes{};
  auto put = [&](size_t at, auto value) { std::memcpy(bytes.data() + at, &value, sizeof value); };
  put(0, static_cast<int32_t>(info.signal));
  put(4, static_cast<int32_t>(info.error));
  put(8, static_cast<int32_t>(info.code));
  switch (layout_of(info.signal, info.code)) {
    case Layout::Queue:
      put(24, info.value);
      [[fallthrough]];
    case Layout::Kill:
      put(16, info.sender.value());
      put(20, info.sender_uid);
      break;
    case Layout::Timer:
      put(16, static_cast<int32_t>(info.timer_id));
      put(20, static_cast<int32_t>(info.overrun));
      put(24, info.value);
      break;
    case Layout::Poll:
      put(16, info.value);
      put(24, static_cast<int32_t>(info.status));
      break;
    case Layout::Fault:
      put(16, info.address);
      break;
    case Layout::Child:
      put(16, info.sender.value());
      put(20, info.sender_uid);
      put(24, static_cast<int32_t>(info.status));
      put(32, info.user_time / kNanosecondsPerTick);
      put(40, info.system_time / kNanosecondsPerTick);
      break;
  }
  return bytes;
}

SignalInfo decode_signal_info(std::span<const std::byte, kSigInfoSize> bytes) {
  auto get = [&]<class T>(size_t at, T) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
  };
  SignalInfo info;
  info.signal = get(0, int32_t{});
  info.error = get(4, int32_t{});
  info.code = get(8, int32_t{});
  switch (layout_of(info.signal, info.code)) {
    case Layout::Queue:
      info.value = get(24, uint64_t{});
      [[fallthrough]];
    case Layout::Kill:
      info.sender = Pid{get(16, int32_t{})};
      info.sender_uid = get(20, uint32_t{});
      break;
    case Layout::Timer:
      info.timer_id = get(16, int32_t{});
      info.overrun = get(20, int32_t{});
      info.value = get(24, uint64_t{});
      break;
    case Layout::Poll:
      info.value = get(16, uint64_t{});
      info.status = get(24, int32_t{});
      break;
    case Layout::Fault:
      info.address = get(16, uint64_t{});
      break;
    case Layout::Child:
      info.sender = Pid{get(16, int32_t{})};
      info.sender_uid = get(20, uint32_t{});
      info.status = get(24, int32_t{});
      info.user_time = get(32, uint64_t{}) * kNanosecondsPerTick;
      info.system_time = get(40, uint64_t{}) * kNanosecondsPerTick;
      break;
  }
  return info;
}

}  // namespace vitro::kernel
