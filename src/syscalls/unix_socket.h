// Sockets between the processes of one machine (net/unix/af_unix.c): streams, datagrams, sequenced packets, connected pairs and listeners. AF_UNIX, and
// with names of another kind AF_INET and AF_INET6 (inet_socket.h).
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "syscalls/anonymous_file.h"
#include "vitro/fs/types.h"
#include "vitro/kernel/fd_table.h"
#include "vitro/kernel/kernel.h"
#include "vitro/mm/kernel_object.h"

namespace vitro::syscalls {

enum class SocketType : int { Stream = 1, Datagram = 2, SequencedPacket = 5 };

// Descriptors on their way from one process to another (SCM_RIGHTS).
using Claims = std::vector<kernel::FdTable::Claim>;

struct PeerCredentials {
  int32_t pid = 0;
  uint32_t uid = ~0u, gid = ~0u;
};

class UnixSocket;

// Sockets whose only descriptors lie in messages that nobody can receive any more: queued in themselves, or in each other (net/unix/garbage.c).
class SocketGarbage {
 public:
  void add(UnixSocket& s) { sockets_.emplace(next_++, &s); }
  void remove(UnixSocket& s) { std::erase_if(sockets_, [&](const auto& e) { return e.second == &s; }); }
  void carries_sockets() { possible_ = true; }
  // Closes what is garbage. Costs nothing while no message carries a socket.
  void collect();

 private:
  std::map<uint64_t, UnixSocket*> sockets_;   // in order of creation
  uint64_t next_ = 0;
  bool possible_ = false, collecting_ = false;
};

class UnixSocket final : public AnonymousFile {
 public:
  static constexpr size_t kBuffer = 212992;  // net.core.wmem_default: what may wait to be read

  UnixSocket(std::shared_ptr<fs::Inode> inode, unsigned flags, SocketType type, mm::KernelCaches& caches, std::shared_ptr<SocketGarbage> garbage);
  ~UnixSocket() override;

  SocketType type() const { return type_; }
  bool listening() const { return backlog_ != 0; }
  bool connected() const { return connected_; }
  std::shared_ptr<UnixSocket> peer() const { return peer_.lock(); }

  static void connect_pair(const std::shared_ptr<UnixSocket>& a, const std::shared_ptr<UnixSocket>& b);
  void set_default_peer(const std::shared_ptr<UnixSocket>& to);  // datagrams
  void listen(unsigned backlog);
  // The connection that `server` stands for waits to be accepted. Again where the backlog is full.
  Status offer(std::shared_ptr<UnixSocket> server);
  void offer_in_excess(std::shared_ptr<UnixSocket> server);   // beyond the backlog too
  // Again where nobody waits to be accepted.
  Result<std::shared_ptr<UnixSocket>> accept();
  Status shut_down(bool reading, bool writing);

  struct Received {
    size_t count = 0;
    bool cut_short = false;  // a message was longer than the buffer
    size_t full_length = 0;
    std::string from;        // sender's name
    PeerCredentials sender;
    Claims claims;
  };
  // One message, or a piece of the stream. Again, NotConnected; may wait unless `dont_wait`.
  Result<Received> receive(size_t count, ByteSink& sink, Blocking& blocking, bool dont_wait, bool peek, bool wait_for_all);
  // `to`: where a datagram goes, null: the peer. BrokenPipe, NotConnected, MessageSize, ConnectionRefused.
  Result<size_t> send(size_t count, ByteSource& source, Blocking& blocking, bool dont_wait, const std::shared_ptr<UnixSocket>& to,
                      const PeerCredentials& sender = {}, Claims claims = {});

  Result<size_t> read(size_t count, ByteSink& sink, Blocking& blocking) override;
  Result<size_t> write(size_t count, ByteSource& source, Blocking& blocking) override;
  Result<long> ioctl(unsigned command, uint64_t argument, UserCopy& user) override;
  unsigned poll(fs::PollTable* table) override;
  void released() override;

  WaitQueue& changed() { return changed_; }

  std::string name;            // as bound; abstract ones begin with a zero byte
  std::string other_name;      // the peer's, kept when the peer is gone
  int family = 1;              // AF_UNIX, AF_INET or AF_INET6
  // AF_INET and AF_INET6.
  bool reuses_address = false, reuses_port = false, version6_only = false;
  std::string source_name;     // what receivers of datagrams see
  std::function<Result<std::shared_ptr<UnixSocket>>()> find_peer;   // a connected datagram socket's peer, looked for at each write
  std::map<std::pair<int, int>, int32_t> options;   // by level and number: what is kept, and means nothing where segments take no time
  // SO_RCVTIMEO, SO_SNDTIMEO; 0: for ever.
  Nanoseconds receive_timeout{0}, send_timeout{0};
  kernel::Kernel* kernel = nullptr;   // whose clock counts the timeouts, and whose current task sends
  bool closed() const { return closed_; }
  PeerCredentials own, other;  // for SO_PEERCRED
  bool passes_credentials = false;   // SO_PASSCRED
  Errno pending_error{};

 private:
  struct Message {
    std::vector<std::byte> data;
    size_t read = 0;
    std::string from;
    PeerCredentials sender;
    Claims claims;
    std::vector<mm::SlabObject> memory;  // what it costs the guest
  };
  Result<Message> make_message(size_t count, ByteSource& source);
  bool sender_gone() const;  // nothing more can arrive
  std::optional<Nanoseconds> deadline(Nanoseconds timeout) const;
  void wake();

  friend class SocketGarbage;
  SocketType type_;
  mm::KernelCaches& caches_;
  std::shared_ptr<SocketGarbage> garbage_;
  std::weak_ptr<UnixSocket> peer_;
  bool connected_ = false;
  bool read_shut_ = false, write_shut_ = false, closed_ = false;
  unsigned backlog_ = 0;
  std::deque<std::shared_ptr<UnixSocket>> offered_;
  std::deque<Message> messages_;
  size_t queued_ = 0;
  WaitQueue changed_;
};

}  // namespace vitro::syscalls
