// Sending and receiving on sockets, and their options.
#include "syscalls/arguments.h"
#include "syscalls/file_io.h"
#include "syscalls/handlers.h"
#include "syscalls/socket_address.h"
#include "syscalls/user_io.h"

namespace vitro::syscalls {
namespace {

constexpr unsigned kOutOfBand = 1, kPeek = 2, kTruncate = 0x20, kDontWait = 0x40, kEndOfRecord = 0x80, kWaitAll = 0x100, kNoSignal = 0x4000, kMore = 0x8000,
                   kCloseOnExec = 0x40000000;

struct UserMessage {
  uint64_t name;
  int32_t name_length, pad0;
  uint64_t iov, iov_count, control, control_length;
  int32_t flags, pad1;
};
static_assert(sizeof(UserMessage) == 56);

Result<long> send(Context& c, UnixSocket& socket, std::span<const UserIovec> segments, uint64_t total, unsigned flags, uint64_t name, int name_length) {
  if (flags & kOutOfBand) return fail(Errno::NotSupported);
  if (flags & ~(kDontWait | kEndOfRecord | kNoSignal | kMore)) return fail(Errno::Invalid);
  std::shared_ptr<UnixSocket> to;
  if (name != 0 && name_length != 0) {
    if (socket.type() != SocketType::Datagram) return fail(socket.connected() ? Errno{106} : Errno::NotSupported);  // EISCONN
    to = TRY(find_socket(c, TRY(read_address(c, name, name_length)), SocketType::Datagram));
  }
  UserSegments source{c.user, segments};
  const auto n = socket.send(total, source, c.kernel, socket.non_blocking() || (flags & kDontWait), to);
  if (!n) {
    if (n.error() == Errno::BrokenPipe && !(flags & kNoSignal)) send_own_signal(c, kernel::kSigPipe);
    return fail(n.error());
  }
  charge_copy(c, *n);
  return static_cast<long>(*n);
}

Result<UnixSocket::Received> receive(Context& c, UnixSocket& socket, std::span<const UserIovec> segments, uint64_t total, unsigned flags) {
  if (flags & kOutOfBand) return fail(Errno::NotSupported);
  UserSegments sink{c.user, segments};
  auto got = TRY(socket.receive(total, sink, c.kernel, socket.non_blocking() || (flags & kDontWait), flags & kPeek, flags & kWaitAll));
  charge_copy(c, got.count);
  return got;
}

Result<UserIovec> buffer(Context& c) {
  if (!in_user_range(c[1], c[2])) return fail(Errno::Fault);
  return UserIovec{c[1], std::min(c[2], kMaxRwCount)};
}

}  // namespace

Result<long> sys_sendto(Context& c) {
  auto socket = TRY(socket_argument(c, 0));
  const UserIovec b = TRY(buffer(c));
  return send(c, *socket, {&b, 1}, b.length, unsigned_argument(c, 3), c[4], int_argument(c, 5));
}

Result<long> sys_recvfrom(Context& c) {
  auto socket = TRY(socket_argument(c, 0));
  const UserIovec b = TRY(buffer(c));
  const unsigned flags = unsigned_argument(c, 3);
  const auto got = TRY(receive(c, *socket, {&b, 1}, b.length, flags));
  if (c[4] != 0) {
    // A stream's peer has no name to give with each piece.
    if (socket->type() == SocketType::Datagram) TRY(write_address(c, got.from, c[4], c[5]));
    else if (c[5] != 0) TRY(c.user.put(address_argument(c, 5), int32_t{0}));
  }
  return static_cast<long>((flags & kTruncate) ? got.full_length : got.count);
}

Result<long> sys_sendmsg(Context& c) {
  auto socket = TRY(socket_argument(c, 0));
  const auto m = TRY(c.user.get<UserMessage>(address_argument(c, 1)));
  if (m.iov_count > 1024) return fail(Errno::MessageSize);
  if (m.control_length != 0) return fail(Errno::Invalid);  // descriptors and credentials are not passed along
  const IovecArray iov = TRY(IovecArray::read(c.user, VirtAddr{m.iov}, m.iov_count));
  return send(c, *socket, iov.segments(), iov.total(), unsigned_argument(c, 2), m.name, m.name_length);
}

Result<long> sys_recvmsg(Context& c) {
  auto socket = TRY(socket_argument(c, 0));
  auto m = TRY(c.user.get<UserMessage>(address_argument(c, 1)));
  if (m.iov_count > 1024) return fail(Errno::MessageSize);
  const IovecArray iov = TRY(IovecArray::read(c.user, VirtAddr{m.iov}, m.iov_count));
  const unsigned flags = unsigned_argument(c, 2);
  const auto got = TRY(receive(c, *socket, iov.segments(), iov.total(), flags));
  // Results go into the caller's msghdr: the name and its length, the control data's length, what happened.
  const uint64_t at = c[1];
  if (m.name != 0 && socket->type() == SocketType::Datagram) TRY(write_address(c, got.from, m.name, at + offsetof(UserMessage, name_length)));
  else TRY(c.user.put(VirtAddr{at + offsetof(UserMessage, name_length)}, int32_t{0}));
  TRY(c.user.put(VirtAddr{at + offsetof(UserMessage, control_length)}, uint64_t{0}));
  TRY(c.user.put(VirtAddr{at + offsetof(UserMessage, flags)}, static_cast<int32_t>((got.cut_short ? kTruncate : 0) | (flags & kCloseOnExec))));
  return static_cast<long>((flags & kTruncate) ? got.full_length : got.count);
}

namespace {

constexpr int kSolSocket = 1;
constexpr int kReuseAddress = 2, kType = 3, kError = 4, kSendBuffer = 7, kReceiveBuffer = 8, kKeepAlive = 9, kPassCredentials = 16, kPeerCredentials = 17, kAcceptConn = 30,
              kProtocol = 38, kDomain = 39;

}  // namespace

// Reuse and keep-alive mean nothing to AF_UNIX on Linux either; buffer sizes are advice that Linux bounds too.
Result<long> sys_setsockopt(Context& c) {
  TRY(socket_argument(c, 0));
  if (int_argument(c, 4) < 0) return fail(Errno::Invalid);
  if (int_argument(c, 1) != kSolSocket) return fail(Errno::NotSupported);
  switch (int_argument(c, 2)) {
    case kReuseAddress:
    case kKeepAlive:
      if (int_argument(c, 4) < 4) return fail(Errno::Invalid);
      TRY(c.user.get<int32_t>(address_argument(c, 3)));
      return 0;
    default: return fail(Errno::ProtocolOption);
  }
}

Result<long> sys_getsockopt(Context& c) {
  auto socket = TRY(socket_argument(c, 0));
  const auto room = TRY(c.user.get<int32_t>(address_argument(c, 4)));
  if (room < 0) return fail(Errno::Invalid);
  if (int_argument(c, 1) != kSolSocket) return fail(Errno::NotSupported);
  int32_t value = 0;
  std::span<const std::byte> out = std::as_bytes(std::span{&value, 1});
  PeerCredentials peer;
  switch (int_argument(c, 2)) {
    case kType: value = static_cast<int32_t>(socket->type()); break;
    case kError: value = static_cast<int32_t>(std::exchange(socket->pending_error, Errno{})); break;
    case kSendBuffer:
    case kReceiveBuffer: value = UnixSocket::kBuffer; break;
    case kReuseAddress:
    case kKeepAlive:
    case kPassCredentials:
    case kProtocol: break;
    case kAcceptConn: value = socket->listening(); break;
    case kDomain: value = kAfUnix; break;
    case kPeerCredentials:
      peer = socket->other;
      out = std::as_bytes(std::span{&peer, 1});
      break;
    default: return fail(Errno::ProtocolOption);
  }
  const size_t n = std::min<size_t>(out.size(), static_cast<size_t>(room));
  TRY(c.user.copy_out(address_argument(c, 3), out.first(n)));
  return done(c.user.put(address_argument(c, 4), static_cast<int32_t>(n)));
}

}  // namespace vitro::syscalls
