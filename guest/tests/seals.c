// What can no longer be done to a sealed memfd; and a program that runs cannot be written to, nor can one be run that is open for writing.
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "check.h"

static int made(const char* name) {
  const int fd = memfd_create(name, MFD_ALLOW_SEALING);
  must(fd >= 0 && ftruncate(fd, 8192) == 0, "memfd_create");
  return fd;
}
static int add(int fd, int seals) { return fcntl(fd, F_ADD_SEALS, seals); }

static void seals(void) {
  int fd = memfd_create("plain", 0);
  check(fcntl(fd, F_GET_SEALS) == F_SEAL_SEAL && add(fd, F_SEAL_GROW) == -1 && errno == EPERM, "a memfd that did not ask for it cannot be sealed");
  close(fd);
  fd = made("size");
  check(fcntl(fd, F_GET_SEALS) == 0, "one that did has no seals");
  check(add(fd, F_SEAL_SHRINK) == 0 && ftruncate(fd, 4096) == -1 && errno == EPERM && ftruncate(fd, 12288) == 0, "F_SEAL_SHRINK");
  check(add(fd, F_SEAL_GROW) == 0 && ftruncate(fd, 16384) == -1 && errno == EPERM, "F_SEAL_GROW");
  check(pwrite(fd, "xy", 2, 12287) == 1 && pwrite(fd, "x", 1, 12288) == -1 && errno == EPERM, "which holds for writing too");
  check(fallocate(fd, 0, 12288, 4096) == -1 && errno == EPERM, "and for fallocate");
  check(add(fd, F_SEAL_SEAL) == 0 && add(fd, F_SEAL_WRITE) == -1 && errno == EPERM, "F_SEAL_SEAL");
  close(fd);
  fd = made("contents");
  void* p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  check(add(fd, F_SEAL_WRITE) == -1 && errno == EBUSY, "F_SEAL_WRITE waits for writable mappings to go");
  munmap(p, 4096);
  check(add(fd, F_SEAL_WRITE) == 0 && pwrite(fd, "x", 1, 0) == -1 && errno == EPERM, "F_SEAL_WRITE");
  check(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EPERM, "no shared mapping then");
  p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  check(p != MAP_FAILED, "a private one still");
  *(char*)p = 1;
  check(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == -1 && errno == EPERM, "no hole either");
  close(fd);
  fd = made("future");
  p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  check(add(fd, F_SEAL_FUTURE_WRITE) == 0, "F_SEAL_FUTURE_WRITE with a writable mapping");
  strcpy(p, "through it");
  char text[11] = "";
  check(pread(fd, text, 10, 0) == 10 && !strcmp(text, "through it") && pwrite(fd, "x", 1, 0) == -1 && errno == EPERM, "which can go on writing, and nobody else");
  void* q = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
  check(q != MAP_FAILED && mprotect(q, 4096, PROT_READ | PROT_WRITE) == -1 && errno == EACCES, "later mappings stay read-only");
  close(fd);
}

static void copy_program(const char* to) {
  char buffer[65536];
  const int in = open("/proc/self/exe", O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0700);
  must(in >= 0 && out >= 0, "open");
  for (ssize_t n; (n = read(in, buffer, sizeof buffer)) > 0;) must(write(out, buffer, (size_t)n) == n, "copy");
  close(in), close(out);
}

static void busy_text(const char* name) {
  copy_program(name);
  int ready[2];
  must(pipe(ready) == 0, "pipe");
  const pid_t child = fork();
  if (child == 0) {
    dup2(ready[1], 1);
    execl(name, name, "wait", NULL);
    _exit(1);
  }
  char c;
  must(read(ready[0], &c, 1) == 1, "ready");
  check(open(name, O_WRONLY) == -1 && errno == ETXTBSY, "a running program cannot be opened for writing");
  check(truncate(name, 0) == -1 && errno == ETXTBSY, "nor truncated");
  kill(child, 9);
  waitpid(child, NULL, 0);
  const int fd = open(name, O_WRONLY);
  check(fd >= 0, "once it has ended it can");
  fflush(stdout);
  const pid_t other = fork();
  if (other == 0) {
    execl(name, name, "wait", NULL);
    _exit(errno == ETXTBSY ? 7 : 1);
  }
  int status;
  waitpid(other, &status, 0);
  check(WIFEXITED(status) && WEXITSTATUS(status) == 7, "a file that is open for writing cannot be run");
  close(fd);
  unlink(name);
}

// Sockets that only each other's messages refer to: nothing to see, but the machine is checked at its end.
static void send_descriptor(int over, int fd) {
  char control[CMSG_SPACE(sizeof fd)] = {0}, byte = 'x';
  struct iovec data = {&byte, 1};
  struct msghdr m = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr* header = CMSG_FIRSTHDR(&m);
  header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS, header->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(header), &fd, sizeof fd);
  must(sendmsg(over, &m, 0) == 1, "sendmsg");
}
static void socket_cycles(const char* name) {
  int a[2], b[2], pipes[2];
  must(socketpair(AF_UNIX, SOCK_STREAM, 0, a) == 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, b) == 0 && pipe(pipes) == 0, "socketpair");
  const int file = open(name, O_RDWR | O_CREAT, 0600);
  unlink(name);
  send_descriptor(a[0], a[1]);    // in its own queue
  send_descriptor(a[0], file);
  send_descriptor(a[0], pipes[1]);
  send_descriptor(b[0], b[1]);
  send_descriptor(b[1], b[0]);
  close(a[0]), close(a[1]), close(b[0]), close(b[1]), close(file), close(pipes[1]);
  int last[2];
  must(socketpair(AF_UNIX, SOCK_STREAM, 0, last) == 0, "socketpair");
  close(last[0]), close(last[1]);  // closing any socket looks for such
  char c;
  check(read(pipes[0], &c, 1) == 0, "descriptors in messages that nobody can receive are closed");
}

int main(int argc, char** argv) {
  if (argc > 1) {
    if (write(1, "x", 1)) {}
    pause();
    return 0;
  }
  (void)argv;
  char name[64];
  seals();
  snprintf(name, sizeof name, "/tmp/busy-%d", getpid());
  busy_text(name);
  socket_cycles(name);
  return 0;
}
