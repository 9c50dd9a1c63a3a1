// AF_INET and AF_INET6 over the loopback interface, the only one there is: streams and datagrams between sockets of one machine.
//
// A socket's name is its sockaddr without the family: port, address, and what else the family has.
#pragma once

#include <array>
#include <compare>
#include <memory>
#include <string>

#include "syscalls/unix_socket.h"
#include "vitro/syscalls/table.h"

namespace vitro::syscalls {

inline constexpr int kAfInet = 2, kAfInet6 = 10;

// An address as IPv6 writes it; IPv4's are ::ffff:a.b.c.d.
struct InetAddress {
  std::array<uint8_t, 16> bytes{};
  uint16_t port = 0;
  bool operator==(const InetAddress&) const = default;
  bool any() const;        // 0.0.0.0 or ::
  bool loopback() const;   // 127.0.0.0/8 or ::1
  bool version4() const;   // ::ffff:...
};

bool is_inet(const UnixSocket& s);
// Length of the family's sockaddr.
size_t inet_address_size(int family);
// From user memory. Invalid (too short), FamilyNotSupported.
Result<InetAddress> read_inet_address(Context& c, int family, uint64_t address, int length);
// A name, as UnixSocket::name holds it, and back.
std::string inet_name(int family, const InetAddress& a);
InetAddress inet_address(const UnixSocket& s, const std::string& name);

Result<long> inet_bind(Context& c, const std::shared_ptr<UnixSocket>& socket, const InetAddress& a);
// Gives an unbound socket a port of its own. AddressInUse where all are taken.
Status inet_bind_automatically(Context& c, const std::shared_ptr<UnixSocket>& socket, bool loopback);
// Who gets what goes to `to`: the listener, or the datagram socket that would take it from `from`. Null: nobody.
std::shared_ptr<UnixSocket> find_inet_socket(Context& c, SocketType type, const InetAddress& to, const std::string& from);
// Where a datagram for `to` goes; the sender is bound if it is not. Null: nowhere, it is lost. NetworkUnreachable.
Result<std::shared_ptr<UnixSocket>> inet_datagram_target(Context& c, const std::shared_ptr<UnixSocket>& sender, const InetAddress& to);

}  // namespace vitro::syscalls
