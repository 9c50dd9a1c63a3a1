// Data between sockets of one machine.
#include "syscalls/unix_socket.h"

#include <algorithm>

namespace vitro::syscalls {

UnixSocket::UnixSocket(std::shared_ptr<fs::Inode> inode, unsigned flags, SocketType type, mm::KernelCaches& caches, std::shared_ptr<SocketGarbage> garbage)
    : AnonymousFile(std::move(inode), flags), type_(type), caches_(caches), garbage_(std::move(garbage)) {
  garbage_->add(*this);
}

UnixSocket::~UnixSocket() {
  garbage_->remove(*this);
  released();
}

void UnixSocket::wake() { changed_.wake_all(); }

void UnixSocket::connect_pair(const std::shared_ptr<UnixSocket>& a, const std::shared_ptr<UnixSocket>& b) {
  a->peer_ = b;
  b->peer_ = a;
  a->connected_ = b->connected_ = true;
  a->other_name = b->name;
  b->other_name = a->name;
  a->other = b->own;
  b->other = a->own;
}

void UnixSocket::set_default_peer(const std::shared_ptr<UnixSocket>& to) {
  peer_ = to;
  connected_ = to != nullptr;
  if (to) other = to->own;
}

void UnixSocket::listen(unsigned backlog) {
  backlog_ = std::max(backlog, 1u);
  wake();
}

Status UnixSocket::offer(std::shared_ptr<UnixSocket> server) {
  if (offered_.size() >= backlog_) return fail(Errno::Again);
  offered_.push_back(std::move(server));
  wake();
  return {};
}

void UnixSocket::offer_in_excess(std::shared_ptr<UnixSocket> server) {
  offered_.push_back(std::move(server));
  wake();
}

Result<std::shared_ptr<UnixSocket>> UnixSocket::accept() {
  if (offered_.empty()) return fail(Errno::Again);
  auto server = std::move(offered_.front());
  offered_.pop_front();
  wake();
  return server;
}

Status UnixSocket::shut_down(bool reading, bool writing) {
  if (!connected_ && type_ != SocketType::Datagram) return fail(Errno::NotConnected);
  read_shut_ |= reading;
  write_shut_ |= writing;
  wake();
  if (const auto p = peer(); p && type_ != SocketType::Datagram) {
    p->read_shut_ |= writing;
    p->write_shut_ |= reading;
    p->wake();
  }
  return {};
}

void UnixSocket::released() {
  if (closed_) return;
  closed_ = true;
  backlog_ = 0;
  messages_.clear();
  queued_ = 0;
  for (const auto& server : offered_) server->released();  // whoever connected finds the connection reset
  offered_.clear();
  wake();
  if (const auto p = peer()) p->wake();
  garbage_->collect();
}

std::optional<Nanoseconds> UnixSocket::deadline(Nanoseconds timeout) const {
  if (!kernel || timeout == Nanoseconds{0}) return std::nullopt;
  return kernel->now() + timeout;
}

bool UnixSocket::sender_gone() const {
  if (read_shut_) return true;
  if (type_ == SocketType::Datagram) return false;
  const auto p = peer();
  return !p || p->closed_;
}

// Takes the bytes and pays for them: a kmalloc'd buffer for each 8 KiB.
Result<UnixSocket::Message> UnixSocket::make_message(size_t count, ByteSource& source) {
  constexpr size_t kPiece = 8192;
  Message m;
  for (size_t at = 0; at < std::max<size_t>(count, 1); at += kPiece)
    m.memory.push_back(TRY(caches_.allocate_bytes(Bytes{std::max<size_t>(std::min(kPiece, count - at), 64)}, mm::Gfp::KernelAccount)));
  m.data.resize(count);
  size_t taken = 0;
  while (taken < count) {
    const size_t n = TRY(source.take(std::span{m.data}.subspan(taken)));
    taken += n;
    if (n == 0) return fail(Errno::Fault);
  }
  m.from = source_name.empty() ? name : source_name;
  return m;
}

Result<UnixSocket::Received> UnixSocket::receive(size_t count, ByteSink& sink, Blocking& blocking, bool dont_wait, bool peek, bool wait_for_all) {
  if (type_ != SocketType::Datagram && !connected_) return fail(type_ == SocketType::Stream ? Errno::Invalid : Errno::NotConnected);
  const bool stream = type_ == SocketType::Stream;
  const auto until = deadline(receive_timeout);
  Received got;
  for (;;) {
    while (messages_.empty()) {
      if (pending_error != Errno{}) return fail(std::exchange(pending_error, Errno{}));
      if (got.count != 0 && (!wait_for_all || dont_wait)) return got;
      if (sender_gone()) return got;
      if (dont_wait) return got.count ? Result<Received>{got} : fail(Errno::Again);
      const Status s = blocking.wait(changed_, Interruptible::Yes, until);
      if (!s) return got.count ? Result<Received>{got} : fail(s.error() == Errno::TimedOut ? Errno::Again : s.error());
    }
    if (count == 0 && stream) return got;
    size_t copied_now = 0;
    // One call never joins pieces of different senders, nor data with descriptors of another piece (unix_stream_read_generic).
    if (got.count != 0 && (!messages_.front().claims.empty() || messages_.front().sender.pid != got.sender.pid)) return got;
    // A peek looks at the stream's first message only.
    Message& m = messages_.front();
    const size_t left = m.data.size() - m.read;
    const size_t want = std::min(count - got.count, left);
    if (want != 0) {
      const auto n = sink.put(std::span{m.data}.subspan(m.read, want));
      if (!n) return got.count ? Result<Received>{got} : fail(n.error());
      copied_now = *n;
    }
    got.count += copied_now;
    got.from = m.from;
    got.sender = m.sender;
    const bool carried = !m.claims.empty();
    if (carried) got.claims = peek ? m.claims : std::exchange(m.claims, {});
    got.full_length = stream ? got.count : left;
    got.cut_short = !stream && left > want;
    if (peek) return got;
    m.read += copied_now;
    if (!stream || m.read == m.data.size()) {
      queued_ -= m.data.size();
      messages_.pop_front();
    }
    if (const auto p = peer()) p->wake();
    wake();  // datagrams: senders wait on the receiver
    if (!stream || got.count == count || copied_now < want || carried) return got;
  }
}

Result<size_t> UnixSocket::send(size_t count, ByteSource& source, Blocking& blocking, bool dont_wait, const std::shared_ptr<UnixSocket>& to,
                                const PeerCredentials& sender, Claims claims) {
  const auto target = to ? to : peer();
  const bool stream = type_ == SocketType::Stream;
  if (pending_error != Errno{}) return fail(std::exchange(pending_error, Errno{}));
  if (write_shut_) return fail(Errno::BrokenPipe);
  if (!target) return fail(!connected_ ? Errno::NotConnected : type_ == SocketType::Datagram ? Errno::ConnectionRefused : Errno::BrokenPipe);
  if (!stream && count > kBuffer - 32) return fail(Errno::MessageSize);
  constexpr size_t kPiece = 32768;
  const auto until = deadline(send_timeout);
  size_t sent = 0;
  do {
    for (;;) {
      if (target->closed_ || target->read_shut_ || write_shut_) {
        if (sent) return sent;
        return fail(type_ == SocketType::Datagram && target->closed_ ? Errno::ConnectionRefused : Errno::BrokenPipe);
      }
      const size_t space = kBuffer - std::min(kBuffer, target->queued_);
      if (stream ? space != 0 : target->messages_.empty() || space >= count) break;
      if (!stream && family != 1) return count;  // a datagram that finds no room is lost
      if (dont_wait) return sent ? Result<size_t>{sent} : fail(Errno::Again);
      const Status s = blocking.wait(target->changed_, Interruptible::Yes, until);
      if (!s) return sent ? Result<size_t>{sent} : fail(s.error() == Errno::TimedOut ? Errno::Again : s.error());
    }
    if (stream && count == 0) return 0;
    const size_t space = kBuffer - std::min(kBuffer, target->queued_);
    const size_t n = stream ? std::min({count - sent, kPiece, space}) : count;
    auto m = make_message(n, source);
    if (!m) return sent ? Result<size_t>{sent} : fail(m.error());
    // Reading user memory may have waited, and the other end gone meanwhile.
    if (target->closed_) continue;
    m->sender = sender;
    m->claims = std::exchange(claims, {});  // with the first piece
    if (std::ranges::any_of(m->claims, [](const auto& claim) { return dynamic_cast<UnixSocket*>(claim->file.get()); })) garbage_->carries_sockets();
    target->queued_ += n;
    target->messages_.push_back(std::move(*m));
    sent += n;
    target->wake();
  } while (sent < count);
  return sent;
}

Result<size_t> UnixSocket::read(size_t count, ByteSink& sink, Blocking& blocking) {
  return TRY(receive(count, sink, blocking, non_blocking(), false, false)).count;
}
Result<size_t> UnixSocket::write(size_t count, ByteSource& source, Blocking& blocking) {
  PeerCredentials sender;
  if (kernel) {
    const kernel::Process& p = *kernel->current_task().process;
    sender = {p.pid.value(), p.credentials.uid, p.credentials.gid};
  }
  if (!find_peer) return send(count, source, blocking, non_blocking(), nullptr, sender);
  const auto to = TRY(find_peer());
  if (to) return send(count, source, blocking, non_blocking(), to, sender);
  pending_error = Errno::ConnectionRefused;  // what comes back from a port that nobody has
  return count;
}

Result<long> UnixSocket::ioctl(unsigned command, uint64_t argument, UserCopy& user) {
  constexpr unsigned kInQueue = 0x541b, kOutQueue = 0x5411;
  if (command == kOutQueue) {  // whatever was sent has arrived
    TRY(user.put(VirtAddr{argument}, int32_t{0}));
    return 0;
  }
  if (command != kInQueue) return fail(Errno::NotTty);
  if (listening()) return fail(Errno::Invalid);
  size_t n = 0;
  if (type_ == SocketType::Stream) {
    for (const Message& m : messages_) n += m.data.size() - m.read;
  } else if (!messages_.empty()) {
    n = messages_.front().data.size();
  }
  TRY(user.put(VirtAddr{argument}, static_cast<int32_t>(n)));
  return 0;
}

unsigned UnixSocket::poll(fs::PollTable* table) {
  if (table) table->wait_on(changed_);
  if (listening()) return offered_.empty() ? 0 : fs::kPollIn | fs::kPollRdNorm;
  unsigned events = 0;
  const auto p = peer();
  if (p && table) table->wait_on(p->changed_);
  const bool gone = connected_ ? sender_gone() : type_ != SocketType::Datagram;
  if (pending_error != Errno{}) events |= fs::kPollErr;
  if (!messages_.empty()) events |= fs::kPollIn | fs::kPollRdNorm;
  if (connected_ && gone) events |= fs::kPollIn | fs::kPollRdNorm | fs::kPollRdHup;
  if (type_ != SocketType::Datagram && (!connected_ || !p || p->closed_ || (read_shut_ && write_shut_))) events |= fs::kPollHup;
  if (!p || p->queued_ * 4 <= kBuffer) events |= fs::kPollOut | fs::kPollWrNorm;
  return events;
}

}  // namespace vitro::syscalls
