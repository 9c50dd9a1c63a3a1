// Triggers on /proc/pressure: what they refuse, and that they fire when tasks wait and not otherwise.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static int open_file(const char *name) {
  char path[64];
  snprintf(path, sizeof path, "/proc/pressure/%s", name);
  return open(path, O_RDWR | O_NONBLOCK);
}

// Writes `text` with its terminating zero. 0, or errno.
static int add(int fd, const char *text) { return write(fd, text, strlen(text) + 1) == (ssize_t)strlen(text) + 1 ? 0 : errno; }

static int refusal(const char *text) {
  const int fd = open_file("cpu");
  const int error = add(fd, text);
  close(fd);
  return error;
}

static pid_t spinner(void) {
  const pid_t pid = fork();
  if (pid == 0)
    for (;;) {}
  return pid;
}

static void end(pid_t pid) {
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
}

static short wait_for(int fd, int timeout) {
  struct pollfd p = {.fd = fd, .events = POLLPRI};
  return poll(&p, 1, timeout) == 1 ? p.revents : 0;
}

int main(void) {
  // Other systems may have no such files, or other tasks that keep the CPU busy.
  if (!on_vitro()) return 0;

  check(refusal("some 100000 1000000") == 0 && refusal("full 1000000 1000000") == 0, "some and full are taken");
  check(refusal("some100000 1000000 and more") == 0, "what the kernel's sscanf takes, too");
  check(refusal("") == EINVAL && refusal("most 100000 1000000") == EINVAL && refusal("some 100000") == EINVAL, "anything else is EINVAL");
  check(refusal("some -1 1000000") == EINVAL && refusal("some 0 1000000") == EINVAL && refusal("some 1000001 1000000") == EINVAL,
        "thresholds from 1 to the window");
  check(refusal("some 100000 499999") == EINVAL && refusal("some 100000 10000001") == EINVAL, "windows from 0.5 to 10 s");

  int fd = open_file("cpu");
  check(write(fd, "", 0) == -1 && errno == EINVAL, "nothing is EINVAL");
  check(wait_for(fd, 0) == (POLLPRI | POLLERR), "poll without a trigger is an error");
  check(write(fd, "some 50000 5000005", 18) == 18, "the last byte counts as the end of the text: without a zero a digit is lost");
  check(add(fd, "some 50000 500000") == EBUSY, "one trigger for an open file");
  check(wait_for(fd, 2000) == 0, "nobody waits for the CPU: no event");

  const pid_t a = spinner(), b = spinner();
  check(wait_for(fd, 1000) == POLLPRI, "two programs at once: an event");
  check(wait_for(fd, 0) == 0, "taken once");
  check(wait_for(fd, 1000) == POLLPRI, "and one in the next window");
  end(a), end(b);
  while (wait_for(fd, 3000)) {}

  char text[256];
  const ssize_t n = pread(fd, text, sizeof text - 1, 0);
  must(n > 0, "read");
  text[n] = 0;
  unsigned long total = 0;
  check(sscanf(strstr(text, "total="), "total=%lu", &total) == 1 && total > 50000, "the same file is read");
  close(fd);

  must(seteuid(1000) == 0, "seteuid");
  check(refusal("some 10000 500000") == EINVAL, "others than root: windows of whole two seconds");
  fd = open_file("cpu");
  check(add(fd, "some 10000 2000000") == 0, "such a trigger is taken");
  const pid_t c = spinner(), d = spinner();
  usleep(50000);
  must(seteuid(0) == 0, "seteuid");
  end(c), end(d);
  check(wait_for(fd, 2100) == POLLPRI, "its event comes with the averages");
  while (wait_for(fd, 6000)) {}
  check(wait_for(fd, 60000) == 0, "and none while nothing waits");
  close(fd);
  return 0;
}
