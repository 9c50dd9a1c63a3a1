// Socket arguments: descriptors, and sockaddr_un to and from names.
#pragma once

#include "syscalls/unix_socket.h"
#include "vitro/syscalls/table.h"

namespace vitro::syscalls {

inline constexpr uint16_t kAfUnix = 1;
inline constexpr size_t kFamilySize = 2, kAddressSize = 110;  // sockaddr_un: a family and 108 bytes

// BadFile, NotSocket.
Result<std::shared_ptr<UnixSocket>> socket_argument(Context& c, size_t i);
// A name: a path without its zero, an abstract name with its leading zero, or empty. Invalid, Fault.
Result<std::string> read_address(Context& c, uint64_t address, int length);
// Writes as much as *length says there is room for, and the whole length there. Nothing where address is 0.
Status write_address(Context& c, const UnixSocket& of, const std::string& name, uint64_t address, uint64_t length_address);
// Who is bound to the name: ConnectionRefused where nobody is, Invalid for another type.
Result<std::shared_ptr<UnixSocket>> find_socket(Context& c, const std::string& name, SocketType type);

}  // namespace vitro::syscalls
