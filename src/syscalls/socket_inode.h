// The inode behind a socket: of sockfs, which is mounted nowhere.
#pragma once

#include <memory>

#include "vitro/fs/inode.h"
#include "vitro/syscalls/table.h"

namespace vitro::syscalls {

// Kept by SocketNames: one a machine.
class SocketFileSystem;
std::shared_ptr<SocketFileSystem> make_socket_file_system();
std::shared_ptr<fs::Inode> make_socket_inode(Context& c);

}  // namespace vitro::syscalls
