// Making, naming and connecting sockets: AF_UNIX, and AF_INET and AF_INET6 over the loopback interface.
#include "syscalls/socket_address.h"

#include <cstring>

#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "syscalls/inet_socket.h"
#include "syscalls/runtime.h"
#include "syscalls/socket_inode.h"
#include "syscalls/socket_names.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::syscalls {

Result<std::shared_ptr<UnixSocket>> socket_argument(Context& c, size_t i) {
  auto socket = std::dynamic_pointer_cast<UnixSocket>(TRY(file_argument(c, i)));
  if (!socket) return fail(Errno::NotSocket);
  return socket;
}

Result<std::string> read_address(Context& c, uint64_t address, int length) {
  std::array<char, kAddressSize> raw{};
  if (length < static_cast<int>(kFamilySize) || length > static_cast<int>(raw.size())) return fail(Errno::Invalid);
  TRY(c.user.copy_in(VirtAddr{address}, std::as_writable_bytes(std::span{raw}.first(static_cast<size_t>(length)))));
  uint16_t family = 0;
  std::memcpy(&family, raw.data(), sizeof family);
  if (family != kAfUnix) return fail(Errno::Invalid);
  std::string name(raw.data() + kFamilySize, static_cast<size_t>(length) - kFamilySize);
  if (!name.empty() && name[0] != 0) name = name.substr(0, name.find('\0'));  // a path ends at its zero
  return name;
}

Status write_address(Context& c, const UnixSocket& of, const std::string& name, uint64_t address, uint64_t length_address) {
  if (address == 0) return {};
  const auto room = TRY(c.user.get<int32_t>(VirtAddr{length_address}));
  if (room < 0) return fail(Errno::Invalid);
  if (is_inet(of)) {
    std::string raw(inet_address_size(of.family), '\0');
    raw[0] = static_cast<char>(of.family);
    raw.replace(kFamilySize, std::min(name.size(), raw.size() - kFamilySize), name, 0, raw.size() - kFamilySize);
    TRY(c.user.copy_out(VirtAddr{address}, std::as_bytes(std::span{raw}.first(std::min<size_t>(raw.size(), static_cast<size_t>(room))))));
    return c.user.put(VirtAddr{length_address}, static_cast<int32_t>(raw.size()));
  }
  std::array<char, kAddressSize + 1> raw{};
  std::memcpy(raw.data(), &kAfUnix, sizeof kAfUnix);
  name.copy(raw.data() + kFamilySize, kAddressSize - kFamilySize);
  // A path counts its zero, an abstract name has none.
  const size_t length = kFamilySize + name.size() + (!name.empty() && name[0] != 0 ? 1 : 0);
  TRY(c.user.copy_out(VirtAddr{address}, std::as_bytes(std::span{raw}.first(std::min<size_t>(length, static_cast<size_t>(room))))));
  return c.user.put(VirtAddr{length_address}, static_cast<int32_t>(length));
}

Result<std::shared_ptr<UnixSocket>> find_socket(Context& c, const std::string& name, SocketType type) {
  SocketNames& names = *c.runtime.sockets;
  std::shared_ptr<UnixSocket> found;
  if (name.empty()) return fail(Errno::Invalid);
  if (name[0] == 0) {
    if (const auto it = names.by_name.find(name); it != names.by_name.end()) found = it->second.lock();
  } else {
    const fs::PathContext context = c.kernel.path_context(c.task);
    const fs::Attributes a = TRY(c.kernel.vfs().stat(context, {}, name, fs::Follow::Yes));
    if ((a.mode & fs::kTypeMask) != fs::kSocket) return fail(Errno::ConnectionRefused);
    TRY(c.kernel.vfs().access(context, {}, name, fs::kMayWrite, true, fs::Follow::Yes));
    if (const auto it = names.by_file.find({a.device, a.inode}); it != names.by_file.end()) found = it->second.lock();
  }
  if (!found) return fail(Errno::ConnectionRefused);
  if (found->type() != type) return fail(Errno::Invalid);
  return found;
}

namespace {

constexpr unsigned kTypeBits = 0xf;

Result<std::shared_ptr<UnixSocket>> make_socket(Context& c, SocketType type, unsigned flags, int family) {
  auto socket = std::make_shared<UnixSocket>(make_socket_inode(c), fs::kOpenReadWrite | (flags & fs::kOpenNonBlock), type, c.kernel.vm().physical().caches(), c.runtime.sockets->garbage);
  TRY(c.kernel.vfs().adopt(*socket, "socket:[" + std::to_string(socket->inode().attributes().inode) + "]"));
  socket->own = {c.task.process->pid.value(), c.task.process->credentials.euid, c.task.process->credentials.egid};
  socket->family = family;
  socket->kernel = &c.kernel;
  return socket;
}

// socket(2)'s first three arguments.
Result<SocketType> check_kind(Context& c) {
  const int family = int_argument(c, 0), protocol = int_argument(c, 2);
  const unsigned type = unsigned_argument(c, 1);
  if ((type & ~kTypeBits) & ~(fs::kOpenCloseOnExec | fs::kOpenNonBlock)) return fail(Errno::Invalid);
  if (family == kAfInet || family == kAfInet6) {
    constexpr int kTcp = 6, kUdp = 17;
    switch (type & kTypeBits) {
      case 1: return protocol == 0 || protocol == kTcp ? Result<SocketType>{SocketType::Stream} : fail(Errno::ProtocolNotSupported);
      case 2: return protocol == 0 || protocol == kUdp ? Result<SocketType>{SocketType::Datagram} : fail(Errno::ProtocolNotSupported);
      default: return fail((type & kTypeBits) == 3 ? Errno::NotPermitted : Errno::SocketType);  // no raw packets
    }
  }
  if (family != kAfUnix) return fail(Errno::FamilyNotSupported);
  if (protocol != 0 && protocol != kAfUnix) return fail(Errno::ProtocolNotSupported);
  switch (type & kTypeBits) {
    case 1: return SocketType::Stream;
    case 2:
    case 3: return SocketType::Datagram;  // a raw one is a datagram socket
    case 5: return SocketType::SequencedPacket;
    default: return fail(Errno::SocketType);
  }
}

}  // namespace

Result<long> sys_socket(Context& c) {
  const SocketType type = TRY(check_kind(c));
  auto socket = TRY(make_socket(c, type, unsigned_argument(c, 1), int_argument(c, 0)));
  return install(c, std::move(socket), unsigned_argument(c, 1) & fs::kOpenCloseOnExec);
}

Result<long> sys_socketpair(Context& c) {
  const SocketType type = TRY(check_kind(c));
  const unsigned flags = unsigned_argument(c, 1);
  if (int_argument(c, 0) != kAfUnix) return fail(Errno::NotSupported);
  auto a = TRY(make_socket(c, type, flags, kAfUnix));
  auto b = TRY(make_socket(c, type, flags, kAfUnix));
  UnixSocket::connect_pair(a, b);
  std::array<int32_t, 2> fds{};
  fds[0] = static_cast<int32_t>(TRY(install(c, a, flags & fs::kOpenCloseOnExec)));
  const auto second = install(c, b, flags & fs::kOpenCloseOnExec);
  if (!second) {
    (void)descriptors(c).close(fds[0]);
    return fail(second.error());
  }
  fds[1] = static_cast<int32_t>(*second);
  if (const Status s = c.user.put(address_argument(c, 3), fds); !s) {
    (void)descriptors(c).close(fds[0]);
    (void)descriptors(c).close(fds[1]);
    return fail(s.error());
  }
  return 0;
}

Result<long> sys_bind(Context& c) {
  auto socket = TRY(socket_argument(c, 0));
  if (is_inet(*socket)) return inet_bind(c, socket, TRY(read_inet_address(c, socket->family, c[1], int_argument(c, 2))));
  std::string name = TRY(read_address(c, c[1], int_argument(c, 2)));
  if (!socket->name.empty()) return fail(Errno::Invalid);
  SocketNames& names = *c.runtime.sockets;
  if (name.empty()) {  // autobind: an abstract name of five hex digits
    constexpr char kDigits[] = "0123456789abcdef";
    do {
      name.assign(1, '\0');
      for (int shift = 16; shift >= 0; shift -= 4) name += kDigits[names.next_automatic >> shift & 0xf];
      names.next_automatic = (names.next_automatic + 1) & 0xfffff;
    } while (names.by_name.contains(name) && !names.by_name[name].expired());
  }
  if (name[0] == 0) {
    auto& slot = names.by_name[name];
    if (!slot.expired()) return fail(Errno::AddressInUse);
    slot = socket;
  } else {
    const fs::PathContext context = c.kernel.path_context(c.task);
    const Status made = c.kernel.vfs().make_node(context, {}, name, fs::kSocket | (socket->inode().attributes().mode & 0777), 0);
    if (!made) return fail(made.error() == Errno::Exists ? Errno::AddressInUse : made.error());
    const fs::Attributes a = TRY(c.kernel.vfs().stat(context, {}, name, fs::Follow::No));
    names.by_file[{a.device, a.inode}] = socket;
  }
  socket->name = std::move(name);
  return 0;
}

Result<long> sys_listen(Context& c) {
  auto socket = TRY(socket_argument(c, 0));
  if (socket->type() == SocketType::Datagram) return fail(Errno::NotSupported);
  if (is_inet(*socket) && !socket->connected()) TRY(inet_bind_automatically(c, socket, false));
  if (socket->name.empty() || socket->connected()) return fail(Errno::Invalid);
  constexpr unsigned kMost = 4096;  // net.core.somaxconn
  socket->listen(std::min(unsigned_argument(c, 1), kMost));
  socket->own = {c.task.process->pid.value(), c.task.process->credentials.euid, c.task.process->credentials.egid};
  return 0;
}

namespace {

Result<long> accept_one(Context& c, unsigned flags) {
  if (flags & ~(fs::kOpenCloseOnExec | fs::kOpenNonBlock)) return fail(Errno::Invalid);
  auto socket = TRY(socket_argument(c, 0));
  if (socket->type() == SocketType::Datagram) return fail(Errno::NotSupported);
  for (;;) {
    if (!socket->listening()) return fail(Errno::Invalid);
    auto server = socket->accept();
    if (!server) {
      if (socket->non_blocking()) return fail(Errno::Again);
      TRY(c.kernel.wait(socket->changed(), Interruptible::Yes, std::nullopt));
      continue;
    }
    (*server)->set_flags(fs::kOpenReadWrite | (flags & fs::kOpenNonBlock));
    if (c[1] != 0) TRY(write_address(c, **server, (*server)->other_name, c[1], c[2]));
    return install(c, std::move(*server), flags & fs::kOpenCloseOnExec);
  }
}

}  // namespace

Result<long> sys_accept(Context& c) { return accept_one(c, 0); }
Result<long> sys_accept4(Context& c) { return accept_one(c, unsigned_argument(c, 3)); }

namespace {

// Datagrams: from now on to this address, and from it only.
Result<long> connect_datagrams(Context& c, const std::shared_ptr<UnixSocket>& socket, const InetAddress& to) {
  socket->other_name.clear();
  TRY(inet_datagram_target(c, socket, to));
  if (inet_address(*socket, socket->name).any()) socket->name = socket->source_name;
  socket->other_name = inet_name(socket->family, to);
  kernel::Kernel& kernel = c.kernel;
  Runtime& runtime = c.runtime;
  // The writer's own context is made when it writes: it may be another task than this one.
  socket->find_peer = [&kernel, &runtime, weak = std::weak_ptr(socket), to]() -> Result<std::shared_ptr<UnixSocket>> {
    const auto self = weak.lock();
    kernel::Task& task = kernel.current_task();
    Context now{kernel, task, {}, task.user(), runtime};
    return inet_datagram_target(now, self, to);
  };
  return 0;
}

Result<long> inet_connect(Context& c, const std::shared_ptr<UnixSocket>& socket, int length) {
  if (length >= 2 && TRY(c.user.get<uint16_t>(address_argument(c, 1))) == 0) {
    if (socket->type() != SocketType::Datagram) return fail(Errno::FamilyNotSupported);
    socket->other_name.clear();
    socket->find_peer = nullptr;
    return 0;
  }
  InetAddress to = TRY(read_inet_address(c, socket->family, c[1], length));
  if (socket->type() == SocketType::Datagram) return connect_datagrams(c, socket, to);
  if (socket->listening()) return fail(Errno{106});  // EISCONN
  if (socket->connected()) return fail(Errno{106});
  if (!to.any() && !to.loopback()) return fail(Errno::NetworkUnreachable);
  const auto listener = find_inet_socket(c, SocketType::Stream, to, {});
  if (!listener) return fail(Errno::ConnectionRefused);
  TRY(inet_bind_automatically(c, socket, true));
  auto server = TRY(make_socket(c, SocketType::Stream, 0, listener->family));
  if (to.any()) to.bytes = inet_address(*socket, socket->name).bytes;
  server->name = inet_name(server->family, to);
  server->own = listener->own;
  UnixSocket::connect_pair(socket, server);
  server->other_name = inet_name(server->family, inet_address(*socket, socket->name));
  socket->other_name = inet_name(socket->family, to);
  // A full backlog delays the handshake's end, and that nobody here can tell from a slow accept.
  listener->offer_in_excess(std::move(server));
  return 0;
}

}  // namespace

Result<long> sys_connect(Context& c) {
  auto socket = TRY(socket_argument(c, 0));
  const int length = int_argument(c, 2);
  if (is_inet(*socket)) return inet_connect(c, socket, length);
  if (socket->type() == SocketType::Datagram && length >= 2 && TRY(c.user.get<uint16_t>(address_argument(c, 1))) == 0) {
    socket->set_default_peer(nullptr);  // AF_UNSPEC: no longer connected
    return 0;
  }
  const std::string name = TRY(read_address(c, c[1], length));
  if (socket->type() == SocketType::Datagram) {
    socket->set_default_peer(TRY(find_socket(c, name, SocketType::Datagram)));
    return 0;
  }
  if (socket->listening()) return fail(Errno::Invalid);
  if (socket->connected()) return fail(Errno{106});  // EISCONN
  auto server = TRY(make_socket(c, socket->type(), 0, kAfUnix));
  for (;;) {
    auto listener = TRY(find_socket(c, name, socket->type()));
    if (!listener->listening()) return fail(Errno::ConnectionRefused);
    server->name = listener->name;
    server->own = listener->own;
    const Status offered = listener->offer(server);
    if (offered) break;
    if (socket->non_blocking()) return fail(Errno::Again);
    TRY(c.kernel.wait(listener->changed(), Interruptible::Yes, std::nullopt));
  }
  socket->own = {c.task.process->pid.value(), c.task.process->credentials.euid, c.task.process->credentials.egid};
  UnixSocket::connect_pair(socket, server);
  return 0;
}

Result<long> sys_shutdown(Context& c) {
  auto socket = TRY(socket_argument(c, 0));
  const int how = int_argument(c, 1);
  if (how < 0 || how > 2) return fail(Errno::Invalid);
  return done(socket->shut_down(how != 1, how != 0));
}

Result<long> sys_getsockname(Context& c) {
  const auto socket = TRY(socket_argument(c, 0));
  return done(write_address(c, *socket, socket->name, c[1], c[2]));
}

Result<long> sys_getpeername(Context& c) {
  auto socket = TRY(socket_argument(c, 0));
  if (is_inet(*socket)) {
    if (socket->other_name.empty()) return fail(Errno::NotConnected);
    return done(write_address(c, *socket, socket->other_name, c[1], c[2]));
  }
  const auto peer = socket->peer();
  if (!socket->connected() || !peer) return fail(Errno::NotConnected);
  return done(write_address(c, *peer, peer->name, c[1], c[2]));
}

}  // namespace vitro::syscalls
