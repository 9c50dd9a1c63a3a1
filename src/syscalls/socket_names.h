// Which socket listens behind a name: paths of AF_UNIX sockets and abstract names.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "vitro/fs/inode.h"

namespace vitro::syscalls {

class SocketGarbage;
class UnixSocket;
class SocketFileSystem;

class SocketNames {
 public:
  // By the socket file's inode, or by an abstract name (with its leading zero byte).
  std::map<std::pair<uint64_t, uint64_t>, std::weak_ptr<UnixSocket>> by_file;
  std::map<std::string, std::weak_ptr<UnixSocket>> by_name;
  // By type and port (inet_socket.h).
  std::multimap<std::pair<int, uint16_t>, std::weak_ptr<UnixSocket>> by_port;
  uint16_t next_port = 32768;
  uint32_t next_automatic = 1;
  std::shared_ptr<SocketFileSystem> file_system;
  std::shared_ptr<SocketGarbage> garbage;
};

}  // namespace vitro::syscalls
