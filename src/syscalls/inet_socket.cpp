#include "syscalls/inet_socket.h"

#include <algorithm>
#include <cstring>

#include "syscalls/arguments.h"
#include "syscalls/runtime.h"
#include "syscalls/socket_names.h"

namespace vitro::syscalls {
namespace {

constexpr std::array<uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr uint16_t kFirstAutomatic = 32768, kLastAutomatic = 60999;  // net.ipv4.ip_local_port_range
constexpr size_t kBody4 = 14, kBody6 = 26;

InetAddress loopback_of(bool version4) {
  InetAddress a;
  if (version4) {
    std::ranges::copy(kMapped, a.bytes.begin());
    a.bytes[12] = 127;
  }
  a.bytes[15] = 1;
  return a;
}

InetAddress any_of(int family) {
  InetAddress a;
  if (family == kAfInet) std::ranges::copy(kMapped, a.bytes.begin());
  return a;
}

// Whether a socket bound to `bound` gets what goes to `to`.
bool takes(const UnixSocket& s, const InetAddress& bound, const InetAddress& to) {
  if (bound.bytes == to.bytes) return true;
  if (bound.any()) return bound.version4() == to.version4() || (!bound.version4() && !s.version6_only);
  // To any of the machine's addresses is to this one.
  return to.any() && bound.loopback() && bound.version4() == to.version4();
}

bool overlap(const UnixSocket& a, const InetAddress& at, const UnixSocket& b, const InetAddress& bt) { return takes(a, at, bt) || takes(b, bt, at); }

}  // namespace

bool InetAddress::version4() const { return std::equal(kMapped.begin(), kMapped.end(), bytes.begin()); }
bool InetAddress::any() const {
  return std::all_of(bytes.begin() + (version4() ? kMapped.size() : 0), bytes.end(), [](uint8_t b) { return b == 0; });
}
bool InetAddress::loopback() const { return version4() ? bytes[12] == 127 : bytes == loopback_of(false).bytes; }

bool is_inet(const UnixSocket& s) { return s.family == kAfInet || s.family == kAfInet6; }
size_t inet_address_size(int family) { return 2 + (family == kAfInet ? kBody4 : kBody6); }

Result<InetAddress> read_inet_address(Context& c, int family, uint64_t address, int length) {
  constexpr int kShort6 = 24;  // SIN6_LEN_RFC2133: without the scope
  if (length < (family == kAfInet ? static_cast<int>(inet_address_size(family)) : kShort6)) return fail(Errno::Invalid);
  std::array<uint8_t, 28> raw{};
  const size_t n = std::min<size_t>(static_cast<size_t>(length), inet_address_size(family));
  TRY(c.user.copy_in(VirtAddr{address}, std::as_writable_bytes(std::span{raw}.first(n))));
  uint16_t given = 0;
  std::memcpy(&given, raw.data(), sizeof given);
  if (given != family) return fail(Errno::FamilyNotSupported);
  InetAddress a;
  a.port = static_cast<uint16_t>(raw[2] << 8 | raw[3]);
  if (family == kAfInet) {
    a.bytes = any_of(family).bytes;
    std::copy_n(raw.begin() + 4, 4, a.bytes.begin() + 12);
  } else {
    std::copy_n(raw.begin() + 8, 16, a.bytes.begin());
  }
  return a;
}

std::string inet_name(int family, const InetAddress& a) {
  std::string body(family == kAfInet ? kBody4 : kBody6, '\0');
  body[0] = static_cast<char>(a.port >> 8), body[1] = static_cast<char>(a.port);
  if (family == kAfInet)
    std::copy_n(a.bytes.begin() + 12, 4, body.begin() + 2);
  else
    std::copy_n(a.bytes.begin(), 16, body.begin() + 6);
  return body;
}

InetAddress inet_address(const UnixSocket& s, const std::string& name) {
  InetAddress a = any_of(s.family);
  if (name.size() < (s.family == kAfInet ? kBody4 : kBody6)) return a;
  a.port = static_cast<uint16_t>(static_cast<uint8_t>(name[0]) << 8 | static_cast<uint8_t>(name[1]));
  if (s.family == kAfInet)
    std::copy_n(name.begin() + 2, 4, a.bytes.begin() + 12);
  else
    std::copy_n(name.begin() + 6, 16, a.bytes.begin());
  return a;
}

// net/ipv4/inet_connection_sock.c: inet_csk_get_port
Result<long> inet_bind(Context& c, const std::shared_ptr<UnixSocket>& socket, const InetAddress& a) {
  constexpr uint16_t kFirstUnprivileged = 1024;
  if (!socket->name.empty()) return fail(Errno::Invalid);
  if (!a.any() && !a.loopback()) return fail(Errno::AddressNotAvailable);
  if (a.port != 0 && a.port < kFirstUnprivileged && !privileged(c)) return fail(Errno::Access);
  auto& ports = c.runtime.sockets->by_port;
  InetAddress chosen = a;
  const auto taken = [&](uint16_t port) {
    const auto [first, last] = ports.equal_range({static_cast<int>(socket->type()), port});
    for (auto it = first; it != last; ++it) {
      const auto other = it->second.lock();
      if (!other || other == socket || other->closed()) continue;
      if (socket->reuses_port && other->reuses_port) continue;
      if (socket->reuses_address && other->reuses_address && !other->listening()) continue;
      if (overlap(*socket, chosen, *other, inet_address(*other, other->name))) return true;
    }
    return false;
  };
  if (a.port == 0) {
    uint16_t& next = c.runtime.sockets->next_port;
    unsigned tries = 0;
    do {
      if (tries++ > kLastAutomatic - kFirstAutomatic) return fail(Errno::AddressInUse);
      chosen.port = next;
      next = next == kLastAutomatic ? kFirstAutomatic : static_cast<uint16_t>(next + 1);
    } while (taken(chosen.port));
  } else if (taken(a.port)) {
    return fail(Errno::AddressInUse);
  }
  std::erase_if(ports, [](const auto& entry) { return entry.second.expired(); });
  ports.emplace(std::pair{static_cast<int>(socket->type()), chosen.port}, socket);
  socket->name = inet_name(socket->family, chosen);
  return 0;
}

Status inet_bind_automatically(Context& c, const std::shared_ptr<UnixSocket>& socket, bool loopback) {
  if (!socket->name.empty()) return {};
  TRY(inet_bind(c, socket, loopback ? loopback_of(socket->family == kAfInet) : any_of(socket->family)));
  return {};
}

std::shared_ptr<UnixSocket> find_inet_socket(Context& c, SocketType type, const InetAddress& to, const std::string& from) {
  std::shared_ptr<UnixSocket> best;
  int best_score = -1;
  const auto [first, last] = c.runtime.sockets->by_port.equal_range({static_cast<int>(type), to.port});
  for (auto it = first; it != last; ++it) {
    const auto s = it->second.lock();
    if (!s || s->closed() || (type == SocketType::Stream && !s->listening())) continue;
    const InetAddress bound = inet_address(*s, s->name);
    if (!takes(*s, bound, to)) continue;
    const bool connected = type == SocketType::Datagram && !s->other_name.empty();
    if (connected && s->other_name != from) continue;  // it hears its peer only
    const int score = 2 * connected + (bound.bytes == to.bytes);
    if (score > best_score) best = s, best_score = score;
  }
  return best;
}

Result<std::shared_ptr<UnixSocket>> inet_datagram_target(Context& c, const std::shared_ptr<UnixSocket>& sender, const InetAddress& to) {
  if (!to.any() && !to.loopback()) return fail(Errno::NetworkUnreachable);
  if (to.port == 0) return fail(Errno::Invalid);
  TRY(inet_bind_automatically(c, sender, false));
  // What a receiver sees of a sender that is bound to no address: the loopback's.
  InetAddress from = inet_address(*sender, sender->name);
  if (from.any()) from.bytes = loopback_of(to.version4()).bytes;
  sender->source_name = inet_name(sender->family, from);
  return find_inet_socket(c, SocketType::Datagram, to, sender->source_name);
}

}  // namespace vitro::syscalls
