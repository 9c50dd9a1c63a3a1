// TCP and UDP over the loopback interface.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "check.h"

static struct sockaddr_in loopback(int port) {
  return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int listener(struct sockaddr_in* at) {
  int s = socket(AF_INET, SOCK_STREAM, 0);
  socklen_t n = sizeof *at;
  *at = loopback(0);
  must(s >= 0 && bind(s, (struct sockaddr*)at, sizeof *at) == 0 && listen(s, 5) == 0, "listening");
  must(getsockname(s, (struct sockaddr*)at, &n) == 0 && n == sizeof *at && at->sin_port != 0, "a port was chosen");
  return s;
}

static void streams(void) {
  struct sockaddr_in at, other;
  int l = listener(&at);
  int taken = socket(AF_INET, SOCK_STREAM, 0);
  check(bind(taken, (struct sockaddr*)&at, sizeof at) < 0 && errno == EADDRINUSE, "a port is bound once");
  close(taken);
  pid_t child = fork();
  if (child == 0) {
    int s = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    must(connect(s, (struct sockaddr*)&at, sizeof at) == 0, "connect");
    must(setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0, "TCP_NODELAY");
    char block[8192];
    memset(block, 'b', sizeof block);
    for (int i = 0; i < 128; ++i) must(write(s, block, sizeof block) == sizeof block, "writing much");
    shutdown(s, SHUT_WR);
    must(read(s, block, sizeof block) == 4, "the answer");
    _exit(0);
  }
  socklen_t n = sizeof other;
  int s = accept(l, (struct sockaddr*)&other, &n);
  check(s >= 0 && other.sin_family == AF_INET && other.sin_addr.s_addr == htonl(INADDR_LOOPBACK) && other.sin_port != at.sin_port, "accept names the other end");
  struct sockaddr_in mine, theirs;
  n = sizeof mine;
  must(getsockname(s, (struct sockaddr*)&mine, &n) == 0, "getsockname");
  n = sizeof theirs;
  must(getpeername(s, (struct sockaddr*)&theirs, &n) == 0, "getpeername");
  check(mine.sin_port == at.sin_port && theirs.sin_port == other.sin_port, "both ends have their names");
  size_t total = 0;
  char block[5000];
  for (ssize_t got; (got = read(s, block, sizeof block)) > 0;) total += (size_t)got;
  check(total == 128 * 8192, "a megabyte arrives, then the end");
  must(write(s, "done", 4) == 4, "write");
  int status;
  waitpid(child, &status, 0);
  check(status == 0, "and the other way still works after that");
  close(s), close(l);
  s = socket(AF_INET, SOCK_STREAM, 0);
  check(connect(s, (struct sockaddr*)&at, sizeof at) < 0 && errno == ECONNREFUSED, "nobody listens: refused");
  close(s);
  struct sockaddr_in away = {.sin_family = AF_INET, .sin_port = htons(1), .sin_addr.s_addr = inet_addr("192.0.2.1")};
  s = socket(AF_INET, SOCK_STREAM, 0);
  check(bind(s, (struct sockaddr*)&away, sizeof away) < 0 && errno == EADDRNOTAVAIL, "an address of another machine cannot be bound");
  struct timeval t = {.tv_usec = 20000};
  check(setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t) == 0, "SO_RCVTIMEO");
  close(s);
}

static void datagrams(void) {
  int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in at = {.sin_family = AF_INET}, from, to;
  socklen_t n = sizeof at;
  must(bind(a, (struct sockaddr*)&at, sizeof at) == 0 && getsockname(a, (struct sockaddr*)&at, &n) == 0, "bind");
  to = loopback(ntohs(at.sin_port));
  must(sendto(b, "one", 3, 0, (struct sockaddr*)&to, sizeof to) == 3 && sendto(b, "three", 5, 0, (struct sockaddr*)&to, sizeof to) == 5, "sendto");
  char text[16];
  n = sizeof from;
  check(recvfrom(a, text, sizeof text, 0, (struct sockaddr*)&from, &n) == 3 && from.sin_addr.s_addr == htonl(INADDR_LOOPBACK) && from.sin_port != 0,
        "a datagram and its sender");
  check(recv(a, text, 2, MSG_TRUNC) == 5, "what does not fit is cut");
  must(sendto(a, "back", 4, 0, (struct sockaddr*)&from, sizeof from) == 4, "sendto");
  check(recv(b, text, sizeof text, 0) == 4, "the answer");
  must(connect(b, (struct sockaddr*)&to, sizeof to) == 0 && write(b, "c", 1) == 1, "a connected sender");
  check(read(a, text, sizeof text) == 1, "needs no address");
  int other = socket(AF_INET, SOCK_DGRAM, 0);
  must(sendto(other, "x", 1, 0, (struct sockaddr*)&from, sizeof from) == 1, "sendto");
  struct pollfd p = {b, POLLIN, 0};
  check(poll(&p, 1, 50) == 0, "and hears nobody else");
  struct timeval t = {.tv_usec = 20000};
  setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
  check(recv(a, text, sizeof text, 0) < 0 && errno == EAGAIN, "a receiver's patience ends with SO_RCVTIMEO");
  close(a), close(b), close(other);
}

int main(void) {
  alarm(60);
  streams();
  datagrams();
  return 0;
}
