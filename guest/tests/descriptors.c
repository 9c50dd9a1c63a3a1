// Descriptors that stand for more than files: processes, signals; and descriptors that travel.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "check.h"

static const idtype_t kPidfd = (idtype_t)3;  // P_PIDFD

static void process_descriptors(void) {
  int ready[2];
  must(pipe(ready) == 0, "pipe");
  pid_t child = fork();
  if (child == 0) {
    char c;
    close(ready[1]);
    if (read(ready[0], &c, 1) == 0) pause();
    _exit(7);
  }
  int fd = (int)syscall(SYS_pidfd_open, child, 0);
  check(fd >= 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC), "pidfd_open gives a descriptor that exec closes");
  struct pollfd p = {fd, POLLIN, 0};
  check(poll(&p, 1, 0) == 0, "it is not readable while the process lives");
  int theirs = (int)syscall(SYS_pidfd_getfd, fd, ready[0], 0);
  check(theirs >= 0, "pidfd_getfd copies one of its descriptors");
  close(theirs);
  check(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) == 0, "pidfd_send_signal asks");
  must(write(ready[1], "x", 1) == 1, "write");
  check(poll(&p, 1, 5000) == 1 && p.revents == POLLIN, "it becomes readable when the process ends");
  siginfo_t info = {0};
  check(waitid(kPidfd, (id_t)fd, &info, WEXITED) == 0 && info.si_pid == child && info.si_status == 7, "waitid(P_PIDFD)");
  check(syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0) < 0 && errno == ESRCH, "and then there is no such process");
  check(syscall(SYS_pidfd_open, -1, 0) < 0 && errno == EINVAL, "a number must be positive");
  close(fd);

  fd = -1;
  child = (pid_t)syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &fd, 0, 0);
  if (child == 0) {
    pause();
    _exit(0);
  }
  check(child > 0 && fd >= 0, "clone gives one at once");
  must(syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) == 0, "SIGKILL");
  check(waitid(kPidfd, (id_t)fd, &info, WEXITED) == 0 && info.si_code == CLD_KILLED && info.si_status == SIGKILL, "and it can be killed through it");
  close(fd);
}

static void signal_descriptors(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigaddset(&set, SIGRTMIN);
  sigprocmask(SIG_BLOCK, &set, NULL);
  int fd = signalfd(-1, &set, SFD_NONBLOCK);
  struct signalfd_siginfo info[3];
  check(fd >= 0 && read(fd, info, sizeof info) < 0 && errno == EAGAIN, "a signalfd without signals");
  union sigval v = {.sival_int = 99};
  must(sigqueue(getpid(), SIGRTMIN, v) == 0 && kill(getpid(), SIGUSR1) == 0, "sending");
  struct pollfd p = {fd, POLLIN, 0};
  check(poll(&p, 1, 0) == 1, "it is readable when one is pending");
  check(read(fd, info, sizeof info) == 2 * sizeof *info && info[0].ssi_signo == SIGUSR1 && info[1].ssi_signo == (uint32_t)SIGRTMIN && info[1].ssi_int == 99 &&
            info[0].ssi_pid == (uint32_t)getpid(),
        "reading takes them, the lowest first");
  close(fd);
  fd = signalfd(-1, &set, 0);
  pid_t parent = getpid(), child = fork();
  if (child == 0) {
    usleep(1000);
    kill(parent, SIGUSR1);
    _exit(0);
  }
  check(read(fd, info, sizeof info) == sizeof *info && info[0].ssi_pid == (uint32_t)child, "a reader waits for one");
  waitpid(child, NULL, 0);
  close(fd);
}

static ssize_t send_descriptors(int to, const int* fds, size_t n, const char* text) {
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(8 * sizeof(int))];
  } control = {0};
  struct iovec iov = {(void*)text, strlen(text)};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = CMSG_SPACE(n * sizeof(int))};
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(n * sizeof(int));
  memcpy(CMSG_DATA(c), fds, n * sizeof(int));
  return sendmsg(to, &m, 0);
}

static ssize_t receive_descriptors(int from, int* fds, size_t* n, char* text, size_t size, size_t room, int* flags) {
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(8 * sizeof(int))];
  } control = {0};
  struct iovec iov = {text, size};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = room};
  ssize_t got = recvmsg(from, &m, 0);
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);
  *n = 0;
  *flags = m.msg_flags;
  if (got >= 0 && c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
    *n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(fds, CMSG_DATA(c), *n * sizeof(int));
  }
  return got;
}

static void travelling_descriptors(void) {
  int pair[2], pipes[2], got[8], flags;
  size_t n;
  char text[64], c;
  must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && pipe(pipes) == 0, "socketpair, pipe");
  check(send_descriptors(pair[0], pipes, 2, "two") == 3, "SCM_RIGHTS");
  close(pipes[0]), close(pipes[1]);
  must(write(pair[0], "tail", 4) == 4, "write");
  check(receive_descriptors(pair[1], got, &n, text, sizeof text, CMSG_SPACE(8 * sizeof(int)), &flags) == 3 && n == 2 && flags == 0,
        "arrive with their piece of the stream, and with it alone");
  check(write(got[1], "z", 1) == 1 && read(got[0], &c, 1) == 1 && c == 'z', "and are open although their sender closed them");
  close(got[1]);
  check(read(got[0], &c, 1) == 0, "and are the only ones");
  check(read(pair[1], text, sizeof text) == 4, "the rest of the stream");
  int three[3] = {got[0], pair[0], pair[1]};
  must(send_descriptors(pair[0], three, 3, "x") == 1, "sending three");
  check(receive_descriptors(pair[1], got, &n, text, sizeof text, CMSG_LEN(2 * sizeof(int)), &flags) == 1 && n == 2 && (flags & MSG_CTRUNC),
        "those that find no room are closed");
  close(got[0]), close(got[1]);

  int on = 1;
  must(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0, "SO_PASSCRED");
  pid_t child = fork();
  if (child == 0) {
    must(write(pair[0], "me", 2) == 2, "write");
    _exit(0);
  }
  waitpid(child, NULL, 0);
  char control[CMSG_SPACE(sizeof(struct ucred))];
  struct iovec iov = {text, sizeof text};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  must(recvmsg(pair[1], &m, 0) == 2, "recvmsg");
  struct cmsghdr* h = CMSG_FIRSTHDR(&m);
  struct ucred who = {0};
  if (h && h->cmsg_type == SCM_CREDENTIALS) memcpy(&who, CMSG_DATA(h), sizeof who);
  check(who.pid == child && who.uid == getuid(), "SO_PASSCRED says who sent");
  close(pair[0]), close(pair[1]);
}

static void locks(void) {
  char name[] = "/tmp/vitro-lock-XXXXXX";
  int fd = mkstemp(name);
  must(fd >= 0, "mkstemp");
  int pipes[2];
  must(pipe(pipes) == 0, "pipe");
  pid_t child = fork();
  if (child == 0) {
    int mine = open(name, O_RDWR);
    must(flock(mine, LOCK_EX) == 0, "flock");
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    must(fcntl(mine, F_SETLKW, &l) == 0, "F_SETLKW");
    must(write(pipes[1], "x", 1) == 1, "write");
    usleep(20000);
    _exit(0);  // lets go of both
  }
  char c;
  must(read(pipes[0], &c, 1) == 1, "read");
  struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  check(flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK, "another's flock is in the way");
  check(fcntl(fd, F_GETLK, &l) == 0 && l.l_pid == child, "F_GETLK names the holder of a record lock");
  l.l_type = F_WRLCK;
  check(fcntl(fd, F_SETLKW, &l) == 0, "waiting for a record lock ends with its holder");
  check(flock(fd, LOCK_EX) == 0, "and for a flock");
  waitpid(child, NULL, 0);
  unlink(name);
  close(fd);
}

int main(void) {
  alarm(60);
  process_descriptors();
  signal_descriptors();
  travelling_descriptors();
  locks();
  return 0;
}
