// Data through pairs of sockets.
#include "syscalls/unix_socket.h"

#include <gtest/gtest.h>

#include <string>

#include "unit/syscalls/fake_files.h"

namespace vitro::syscalls {
namespace {

struct UnixSocketTest : testing::Test {
  std::shared_ptr<UnixSocket> make(SocketType t) { return std::make_shared<UnixSocket>(std::make_shared<FakeInode>(fs::kSocket | 0777), fs::kOpenReadWrite, t, caches, garbage); }
  void pair(SocketType t) {
    a = make(t);
    b = make(t);
    UnixSocket::connect_pair(a, b);
  }
  Result<size_t> send(UnixSocket& s, std::string_view text, bool dont_wait = true) {
    BufferSource source{std::as_bytes(std::span{text})};
    return s.send(text.size(), source, blocking, dont_wait, nullptr);
  }
  Result<std::string> receive(UnixSocket& s, size_t n, bool peek = false) {
    std::string out(n, '\0');
    BufferSink sink{std::as_writable_bytes(std::span{out})};
    auto got = s.receive(n, sink, blocking, true, peek, false);
    if (!got) return fail(got.error());
    out.resize(got->count);
    last = *got;
    return out;
  }
  FreeCaches caches;
  NeverWaits blocking;
  std::shared_ptr<SocketGarbage> garbage = std::make_shared<SocketGarbage>();
  std::shared_ptr<UnixSocket> a, b;
  UnixSocket::Received last;
};

TEST_F(UnixSocketTest, StreamsHaveNoBoundaries) {
  pair(SocketType::Stream);
  EXPECT_EQ(receive(*b, 10).error(), Errno::Again);
  EXPECT_EQ(send(*a, "hel").value(), 3u);
  EXPECT_EQ(send(*a, "lo").value(), 2u);
  EXPECT_EQ(receive(*b, 2, true).value(), "he");
  EXPECT_EQ(receive(*b, 4).value(), "hell");
  EXPECT_EQ(receive(*b, 4).value(), "o");
}

TEST_F(UnixSocketTest, PacketsKeepTheirsAndLoseWhatDoesNotFit) {
  pair(SocketType::SequencedPacket);
  EXPECT_EQ(send(*a, "first").value(), 5u);
  EXPECT_EQ(send(*a, "second").value(), 6u);
  EXPECT_EQ(receive(*b, 3).value(), "fir");
  EXPECT_TRUE(last.cut_short);
  EXPECT_EQ(last.full_length, 5u);
  EXPECT_EQ(receive(*b, 10).value(), "second");
}

TEST_F(UnixSocketTest, AFullBufferTakesNoMoreAndSaysSo) {
  pair(SocketType::Stream);
  const std::string big(UnixSocket::kBuffer + 1000, 'x');
  EXPECT_EQ(send(*a, big).value(), UnixSocket::kBuffer);
  EXPECT_EQ(send(*a, "y").error(), Errno::Again);
  EXPECT_FALSE(a->poll(nullptr) & fs::kPollOut);
  std::string all;
  while (all.size() < UnixSocket::kBuffer) all += receive(*b, 100'000).value();
  EXPECT_EQ(all.size(), UnixSocket::kBuffer);
  EXPECT_TRUE(a->poll(nullptr) & fs::kPollOut);
}

TEST_F(UnixSocketTest, TheOtherEndGoneIsEndOfFileAndBrokenPipe) {
  pair(SocketType::Stream);
  ASSERT_TRUE(send(*a, "last words"));
  a->released();
  EXPECT_TRUE(b->poll(nullptr) & fs::kPollHup);
  EXPECT_EQ(receive(*b, 100).value(), "last words");
  EXPECT_EQ(receive(*b, 100).value(), "");
  EXPECT_EQ(send(*b, "anybody?").error(), Errno::BrokenPipe);
}

TEST_F(UnixSocketTest, ShutdownClosesOneDirection) {
  pair(SocketType::Stream);
  ASSERT_TRUE(a->shut_down(false, true));
  EXPECT_EQ(receive(*b, 1).value(), "");
  EXPECT_EQ(send(*a, "x").error(), Errno::BrokenPipe);
  EXPECT_EQ(send(*b, "y").value(), 1u);
  EXPECT_EQ(receive(*a, 1).value(), "y");
}

TEST_F(UnixSocketTest, ListenersQueueConnections) {
  auto listener = make(SocketType::Stream);
  listener->listen(1);
  EXPECT_EQ(listener->accept().error(), Errno::Again);
  ASSERT_TRUE(listener->offer(make(SocketType::Stream)));
  EXPECT_EQ(listener->offer(make(SocketType::Stream)).error(), Errno::Again);
  EXPECT_TRUE(listener->poll(nullptr) & fs::kPollIn);
  EXPECT_TRUE(listener->accept());
}

TEST_F(UnixSocketTest, BuffersCostMemory) {
  pair(SocketType::Stream);
  caches.fails = true;
  EXPECT_EQ(send(*a, "x").error(), Errno::NoMemory);
}

}  // namespace
}  // namespace vitro::syscalls
