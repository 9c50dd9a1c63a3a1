// Sending and receiving on sockets, and their options.
#include "syscalls/arguments.h"
#include "syscalls/file_io.h"
#include "syscalls/handlers.h"
#include "syscalls/inet_socket.h"
#include "syscalls/socket_address.h"
#include "syscalls/user_io.h"

namespace vitro::syscalls {
namespace {

constexpr unsigned kOutOfBand = 1, kPeek = 2, kTruncate = 0x20, kDontWait = 0x40, kEndOfRecord = 0x80, kControlTruncate = 8, kWaitAll = 0x100, kNoSignal = 0x4000, kMore = 0x8000,
                   kCloseOnExec = 0x40000000;

struct UserMessage {
  uint64_t name;
  int32_t name_length, pad0;
  uint64_t iov, iov_count, control, control_length;
  int32_t flags, pad1;
};
static_assert(sizeof(UserMessage) == 56);

Result<long> send(Context& c, const std::shared_ptr<UnixSocket>& shared, std::span<const UserIovec> segments, uint64_t total, unsigned flags, uint64_t name, int name_length,
                  const PeerCredentials& sender, Claims claims) {
  if (flags & kOutOfBand) return fail(Errno::NotSupported);
  if (flags & ~(kDontWait | kEndOfRecord | kNoSignal | kMore)) return fail(Errno::Invalid);
  UnixSocket& socket = *shared;
  std::shared_ptr<UnixSocket> to;
  if (is_inet(socket) && socket.type() == SocketType::Datagram) {
    if (name != 0 && name_length != 0)
      to = TRY(inet_datagram_target(c, shared, TRY(read_inet_address(c, socket.family, name, name_length))));
    else if (socket.find_peer)
      to = TRY(socket.find_peer());
    else
      return fail(Errno::DestinationRequired);
    if (!to) {  // nobody has the port: a connected sender hears of it with its next call
      if (socket.pending_error != Errno{}) return fail(std::exchange(socket.pending_error, Errno{}));
      if (socket.find_peer) socket.pending_error = Errno::ConnectionRefused;
      return static_cast<long>(total);
    }
  } else if (!is_inet(socket) && name != 0 && name_length != 0) {
    if (socket.type() != SocketType::Datagram) return fail(socket.connected() ? Errno{106} : Errno::NotSupported);  // EISCONN
    to = TRY(find_socket(c, TRY(read_address(c, name, name_length)), SocketType::Datagram));
  }
  UserSegments source{c.user, segments};
  const auto n = socket.send(total, source, c.kernel, socket.non_blocking() || (flags & kDontWait), to, sender, std::move(claims));
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

struct UserControlHeader {
  uint64_t length;  // with this header
  int32_t level, type;
};
static_assert(sizeof(UserControlHeader) == 16);
constexpr int kSolSocket = 1, kRights = 1, kCredentials = 2;
constexpr size_t kMostDescriptors = 253;  // SCM_MAX_FD
constexpr uint64_t aligned(uint64_t n) { return (n + 7) & ~uint64_t{7}; }

PeerCredentials caller_credentials(Context& c) {
  const kernel::Process& p = *c.task.process;
  return {p.pid.value(), p.credentials.uid, p.credentials.gid};
}

struct Ancillary {
  PeerCredentials sender;
  Claims claims;
};

// net/core/scm.c: __scm_send. Invalid, BadFile, NotPermitted (posing as another).
Result<Ancillary> read_ancillary(Context& c, const UserMessage& m) {
  Ancillary a{caller_credentials(c), {}};
  constexpr uint64_t kMostControl = 20480;  // net.core.optmem_max
  if (m.control_length > kMostControl) return fail(Errno{105});  // ENOBUFS
  for (uint64_t at = 0; at + sizeof(UserControlHeader) <= m.control_length;) {
    const auto header = TRY(c.user.get<UserControlHeader>(VirtAddr{m.control + at}));
    if (header.length < sizeof header || header.length > m.control_length - at) return fail(Errno::Invalid);
    const uint64_t data = m.control + at + sizeof header, size = header.length - sizeof header;
    if (header.level == kSolSocket) {
      if (header.type == kRights) {
        const size_t n = size / sizeof(int32_t);
        if (n + a.claims.size() > kMostDescriptors) return fail(Errno::Invalid);
        for (size_t i = 0; i < n; ++i) a.claims.push_back(TRY(descriptors(c).share(TRY(c.user.get<int32_t>(VirtAddr{data + i * sizeof(int32_t)})))));
      } else if (header.type == kCredentials) {
        if (size != sizeof(PeerCredentials)) return fail(Errno::Invalid);
        const auto claimed = TRY(c.user.get<PeerCredentials>(VirtAddr{data}));
        const fs::Credentials& own = c.task.process->credentials;
        const bool same = claimed.pid == a.sender.pid && (claimed.uid == own.uid || claimed.uid == own.euid || claimed.uid == own.suid) &&
                          (claimed.gid == own.gid || claimed.gid == own.egid || claimed.gid == own.sgid);
        if (!same && !privileged(c)) return fail(Errno::NotPermitted);
        if (!c.kernel.find_process(Pid{claimed.pid})) return fail(Errno::NoProcess);
        a.sender = claimed;
      } else {
        return fail(Errno::Invalid);
      }
    }
    at += aligned(header.length);
  }
  return a;
}

struct WrittenAncillary {
  uint64_t length = 0;
  bool cut_short = false;
};

// net/core/scm.c: scm_recv, scm_detach_fds. Descriptors that find no room are closed.
Result<WrittenAncillary> write_ancillary(Context& c, const UnixSocket& socket, const UserMessage& m, UnixSocket::Received got, bool close_on_exec) {
  WrittenAncillary written;
  const auto room = [&] { return m.control_length - std::min(m.control_length, written.length); };
  if (socket.passes_credentials) {
    const uint64_t size = sizeof(UserControlHeader) + sizeof(PeerCredentials);
    if (room() < size) {
      written.cut_short = true;
    } else {
      TRY(c.user.put(VirtAddr{m.control + written.length}, UserControlHeader{size, kSolSocket, kCredentials}));
      TRY(c.user.put(VirtAddr{m.control + written.length + sizeof(UserControlHeader)}, got.sender));
      written.length += std::min(aligned(size), room());
    }
  }
  if (got.claims.empty()) return written;
  const uint64_t fits = room() < sizeof(UserControlHeader) ? 0 : (room() - sizeof(UserControlHeader)) / sizeof(int32_t);
  uint64_t n = 0;
  for (; n < std::min<uint64_t>(fits, got.claims.size()); ++n) {
    const auto fd = descriptors(c).install(got.claims[n], close_on_exec, descriptor_limit(c));
    if (!fd) break;
    TRY(c.user.put(VirtAddr{m.control + written.length + sizeof(UserControlHeader) + n * sizeof(int32_t)}, static_cast<int32_t>(*fd)));
  }
  written.cut_short |= n < got.claims.size();
  if (n > 0) {
    const uint64_t size = sizeof(UserControlHeader) + n * sizeof(int32_t);
    TRY(c.user.put(VirtAddr{m.control + written.length}, UserControlHeader{size, kSolSocket, kRights}));
    written.length += std::min(aligned(size), room());
  }
  return written;
}

Result<UserIovec> buffer(Context& c) {
  if (!in_user_range(c[1], c[2])) return fail(Errno::Fault);
  return UserIovec{c[1], std::min(c[2], kMaxRwCount)};
}

}  // namespace

Result<long> sys_sendto(Context& c) {
  auto socket = TRY(socket_argument(c, 0));
  const UserIovec b = TRY(buffer(c));
  return send(c, socket, {&b, 1}, b.length, unsigned_argument(c, 3), c[4], int_argument(c, 5), caller_credentials(c), {});
}

Result<long> sys_recvfrom(Context& c) {
  auto socket = TRY(socket_argument(c, 0));
  const UserIovec b = TRY(buffer(c));
  const unsigned flags = unsigned_argument(c, 3);
  const auto got = TRY(receive(c, *socket, {&b, 1}, b.length, flags));
  if (c[4] != 0) {
    // A stream's peer has no name to give with each piece.
    if (socket->type() == SocketType::Datagram) TRY(write_address(c, *socket, got.from, c[4], c[5]));
    else if (c[5] != 0) TRY(c.user.put(address_argument(c, 5), int32_t{0}));
  }
  return static_cast<long>((flags & kTruncate) ? got.full_length : got.count);
}

Result<long> sys_sendmsg(Context& c) {
  auto socket = TRY(socket_argument(c, 0));
  const auto m = TRY(c.user.get<UserMessage>(address_argument(c, 1)));
  if (m.iov_count > 1024) return fail(Errno::MessageSize);
  Ancillary ancillary = TRY(read_ancillary(c, m));
  const IovecArray iov = TRY(IovecArray::read(c.user, VirtAddr{m.iov}, m.iov_count));
  return send(c, socket, iov.segments(), iov.total(), unsigned_argument(c, 2), m.name, m.name_length, ancillary.sender, std::move(ancillary.claims));
}

Result<long> sys_recvmsg(Context& c) {
  auto socket = TRY(socket_argument(c, 0));
  auto m = TRY(c.user.get<UserMessage>(address_argument(c, 1)));
  if (m.iov_count > 1024) return fail(Errno::MessageSize);
  const IovecArray iov = TRY(IovecArray::read(c.user, VirtAddr{m.iov}, m.iov_count));
  const unsigned flags = unsigned_argument(c, 2);
  auto got = TRY(receive(c, *socket, iov.segments(), iov.total(), flags));
  const bool cut_short = got.cut_short;
  const auto result = static_cast<long>((flags & kTruncate) ? got.full_length : got.count);
  // Results go into the caller's msghdr: the name and its length, the control data's length, what happened.
  const uint64_t at = c[1];
  if (m.name != 0 && socket->type() == SocketType::Datagram) TRY(write_address(c, *socket, got.from, m.name, at + offsetof(UserMessage, name_length)));
  else TRY(c.user.put(VirtAddr{at + offsetof(UserMessage, name_length)}, int32_t{0}));
  const WrittenAncillary written = TRY(write_ancillary(c, *socket, m, std::move(got), flags & kCloseOnExec));
  TRY(c.user.put(VirtAddr{at + offsetof(UserMessage, control_length)}, written.length));
  TRY(c.user.put(VirtAddr{at + offsetof(UserMessage, flags)}, static_cast<int32_t>((cut_short ? kTruncate : 0) | (written.cut_short ? kControlTruncate : 0) | (flags & kCloseOnExec))));
  return result;
}

namespace {

constexpr int kReuseAddress = 2, kType = 3, kError = 4, kSendBuffer = 7, kReceiveBuffer = 8, kKeepAlive = 9, kPassCredentials = 16, kPeerCredentials = 17, kAcceptConn = 30,
              kProtocol = 38, kDomain = 39, kReusePort = 15, kReceiveTimeout = 20, kSendTimeout = 21, kKept = -1;
constexpr int kLevelIp = 0, kLevelTcp = 6, kLevelV6 = 41, kV6Only = 26;

// Options of AF_INET and AF_INET6 that are kept and told. All but SO_REUSEADDR, SO_REUSEPORT and IPV6_V6ONLY are about segments on a wire: when they
// are sent, how they are marked, how long one waits for an answer. Here they arrive at once, in order, and unmarked.
bool kept_option(int level, int option) {
  switch (level) {
    case kSolSocket:  // + SO_DONTROUTE, SO_BROADCAST, buffers, SO_OOBINLINE, SO_PRIORITY, SO_LINGER's first half
      return option == kReuseAddress || option == kReusePort || (option >= 5 && option <= 10) || option == 12 || option == 13;
    case kLevelTcp: return option >= 1 && option <= 37 && option != 11 && option != 13;  // not TCP_INFO, TCP_CONGESTION
    case kLevelIp: return option >= 1 && option <= 25;
    case kLevelV6: return option >= 1 && option <= 76;
    default: return false;
  }
}

}  // namespace

// Reuse and keep-alive mean nothing to AF_UNIX on Linux either.
Result<long> sys_setsockopt(Context& c) {
  auto socket = TRY(socket_argument(c, 0));
  if (int_argument(c, 4) < 0) return fail(Errno::Invalid);
  const int level = int_argument(c, 1), option = int_argument(c, 2);
  if (level != kSolSocket && !is_inet(*socket)) return fail(Errno::NotSupported);
  if (level == kSolSocket && (option == kReceiveTimeout || option == kSendTimeout)) {
    if (int_argument(c, 4) < static_cast<int>(sizeof(UserTimeval))) return fail(Errno::Invalid);
    const auto t = TRY(c.user.get<UserTimeval>(address_argument(c, 3)));
    if (t.microseconds < 0 || t.microseconds >= 1'000'000) return fail(Errno::Domain);
    (option == kReceiveTimeout ? socket->receive_timeout : socket->send_timeout) =
        t.seconds < 0 ? Nanoseconds{1} : seconds(static_cast<uint64_t>(std::min<int64_t>(t.seconds, 1'000'000'000))) + Nanoseconds{static_cast<uint64_t>(t.microseconds) * 1000};
    return 0;
  }
  if (is_inet(*socket)) {
    if (!kept_option(level, option)) return fail(Errno::ProtocolOption);
    if (int_argument(c, 4) < 4) return fail(Errno::Invalid);
    const auto value = TRY(c.user.get<int32_t>(address_argument(c, 3)));
    if (level == kSolSocket && option == kReuseAddress) socket->reuses_address = value != 0;
    if (level == kSolSocket && option == kReusePort) socket->reuses_port = value != 0;
    if (level == kLevelV6 && option == kV6Only) {
      if (!socket->name.empty()) return fail(Errno::Invalid);
      socket->version6_only = value != 0;
    }
    socket->options[{level, option}] = value;
    return 0;
  }
  switch (option) {
    case kPassCredentials:
      if (int_argument(c, 4) < 4) return fail(Errno::Invalid);
      socket->passes_credentials = TRY(c.user.get<int32_t>(address_argument(c, 3))) != 0;
      return 0;
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
  const int level = int_argument(c, 1), option = int_argument(c, 2);
  if (level != kSolSocket && !is_inet(*socket)) return fail(Errno::NotSupported);
  int32_t value = 0;
  std::span<const std::byte> out = std::as_bytes(std::span{&value, 1});
  PeerCredentials peer;
  UserTimeval time{};
  if (level == kSolSocket && (option == kReceiveTimeout || option == kSendTimeout)) {
    const uint64_t ns = (option == kReceiveTimeout ? socket->receive_timeout : socket->send_timeout).value();
    time = {static_cast<int64_t>(ns / 1'000'000'000), static_cast<int64_t>(ns % 1'000'000'000 / 1000)};
    const size_t n = std::min(sizeof time, static_cast<size_t>(room));
    TRY(c.user.copy_out(address_argument(c, 3), std::as_bytes(std::span{&time, 1}).first(n)));
    return done(c.user.put(address_argument(c, 4), static_cast<int32_t>(n)));
  }
  const auto kept = socket->options.find({level, option});
  if (level != kSolSocket && !kept_option(level, option)) return fail(Errno::ProtocolOption);
  if (kept != socket->options.end()) value = kept->second;
  switch (level != kSolSocket || kept != socket->options.end() ? kKept : option) {
    case kKept: break;
    case kType: value = static_cast<int32_t>(socket->type()); break;
    case kError: value = static_cast<int32_t>(std::exchange(socket->pending_error, Errno{})); break;
    case kSendBuffer:
    case kReceiveBuffer: value = UnixSocket::kBuffer; break;
    case kReuseAddress:
    case kKeepAlive:
    case kProtocol: value = !is_inet(*socket) ? 0 : socket->type() == SocketType::Stream ? 6 : 17; break;
    case kPassCredentials: value = socket->passes_credentials; break;
    case kAcceptConn: value = socket->listening(); break;
    case kDomain: value = socket->family; break;
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
