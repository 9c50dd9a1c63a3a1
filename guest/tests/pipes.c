// Pipes: waiting, end of file, EPIPE, O_NONBLOCK, capacity, poll.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "check.h"

static int fds[2];

static void fresh(int flags) {
  close(fds[0]), close(fds[1]);
  must(pipe2(fds, flags) == 0, "pipe2");
}

static void killed_by_sigpipe(void) {
  signal(SIGPIPE, SIG_DFL);
  close(fds[0]);
  if (write(fds[1], "x", 1) < 0) _exit(3);
}

int main(void) {
  char buffer[65536];
  must(pipe(fds) == 0, "pipe");
  check(write(fds[1], "hello world", 11) == 11 && read(fds[0], buffer, 5) == 5 && !memcmp(buffer, "hello", 5),
        "a read takes what it asks for");
  int there = 0;
  check(ioctl(fds[0], FIONREAD, &there) == 0 && there == 6, "FIONREAD tells what is left");
  check(read(fds[0], buffer, sizeof buffer) == 6, "or what there is");

  pid_t child = fork();
  if (child == 0) {
    usleep(20000);
    must(write(fds[1], "late", 4) == 4, "write");
    _exit(0);
  }
  check(read(fds[0], buffer, 100) == 4 && !memcmp(buffer, "late", 4), "a read waits for a writer");
  waitpid(child, NULL, 0);
  close(fds[1]);
  check(read(fds[0], buffer, 100) == 0, "end of file when the last writer is gone");

  fresh(0);
  check(WTERMSIG(in_child(killed_by_sigpipe)) == 0, "a reader that is still open elsewhere counts");
  signal(SIGPIPE, SIG_IGN);
  close(fds[0]);
  check(write(fds[1], "x", 1) == -1 && errno == EPIPE, "a write without readers is EPIPE");
  int status = in_child(killed_by_sigpipe);
  check(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE, "and SIGPIPE kills by default");

  fresh(O_NONBLOCK);
  check(read(fds[0], buffer, 1) == -1 && errno == EAGAIN, "an empty pipe is EAGAIN");
  memset(buffer, 'f', sizeof buffer);
  ssize_t total = 0, n;
  while ((n = write(fds[1], buffer, 4096)) > 0) total += n;
  check(n == -1 && errno == EAGAIN && total == 65536, "a full one too, at 65536 bytes");
  must(read(fds[0], buffer, 4096) == 4096, "read");
  check(write(fds[1], buffer, 4096) == 4096 && write(fds[1], buffer, 1) == -1, "room for what was read");
  while (read(fds[0], buffer, sizeof buffer) > 0) {
  }
  struct pollfd p[2] = {{.fd = fds[0], .events = POLLIN}, {.fd = fds[1], .events = POLLOUT}};
  check(poll(p, 2, 0) == 1 && p[0].revents == 0 && p[1].revents == POLLOUT, "poll: empty");
  must(write(fds[1], "1", 1) == 1, "write");
  check(poll(p, 2, 0) == 2 && p[0].revents == POLLIN, "poll: data");
  close(fds[1]);
  must(read(fds[0], buffer, 1) == 1, "read");
  check(poll(p, 1, -1) == 1 && (p[0].revents & POLLHUP), "poll: hung up");
  fds[1] = dup(fds[0]);

  // Writers of at most PIPE_BUF bytes never mix; one large write passes through a small pipe.
  fresh(0);
  enum { kWriters = 4, kEach = 40, kRecord = 512 };
  for (int w = 0; w < kWriters; w++)
    if (fork() == 0) {
      memset(buffer, 'A' + w, kRecord);
      for (int i = 0; i < kEach; i++) must(write(fds[1], buffer, kRecord) == kRecord, "record");
      _exit(0);
    }
  close(fds[1]);
  FILE* in = fdopen(fds[0], "r");
  int records = 0;
  bool whole = true;
  while (fread(buffer, kRecord, 1, in) == 1) {
    records++;
    for (int i = 1; i < kRecord; i++) whole &= buffer[i] == buffer[0];
  }
  check(whole && records == kWriters * kEach, "records of four writers stay whole");
  for (int w = 0; w < kWriters; w++) wait(NULL);
  fclose(in);

  must(pipe(fds) == 0, "pipe");
  child = fork();
  if (child == 0) {
    close(fds[0]);
    char* large = malloc(1 << 20);
    for (int i = 0; i < 1 << 20; i++) large[i] = (char)(i * 7 >> 3);
    _exit(write(fds[1], large, 1 << 20) == 1 << 20 ? 0 : 1);
  }
  close(fds[1]);
  size_t got = 0;
  bool right = true;
  while ((n = read(fds[0], buffer, 30000)) > 0)
    for (ssize_t i = 0; i < n; i++, got++) right &= buffer[i] == (char)((int)got * 7 >> 3);
  must(waitpid(child, &status, 0) == child && status == 0, "the writer");
  check(right && got == 1 << 20, "1 MiB in one write arrives whole and in order");
  check(lseek(fds[0], 0, SEEK_SET) == -1 && errno == ESPIPE, "a pipe cannot seek");
  close(fds[0]);

  // As a shell's <( ) does: the writer is gone before the reader opens the pipe by its name.
  must(pipe(fds) == 0 && write(fds[1], "gone", 4) == 4, "pipe");
  close(fds[1]);
  char name[32];
  snprintf(name, sizeof name, "/dev/fd/%d", fds[0]);
  int again = open(name, O_RDONLY);
  check(again >= 0 && read(again, buffer, 10) == 4 && read(again, buffer, 10) == 0, "a pipe without writers opens by its name at once");
  close(again);
  check(fcntl(fds[0], F_GETFL) == O_RDONLY && write(fds[0], "x", 1) == -1 && errno == EBADF, "nor be written at its reading end");
  return 0;
}
