// Processes and their parents: wait and its options, zombies, orphans, process groups, stopping and continuing.
#define _GNU_SOURCE
#include <signal.h>
#include <sys/resource.h>

#include "check.h"

static void exits_with_300(void) { _exit(300); }
static void divides(void) { __asm__ volatile("xor %%edx, %%edx\n mov $1, %%eax\n xor %%ecx, %%ecx\n idiv %%ecx" ::: "eax", "ecx", "edx"); }
static void aborts(void) { abort(); }

static pid_t child_that_waits(void) {
  pid_t child = fork();
  must(child >= 0, "fork");
  if (child == 0)
    for (;;) pause();
  return child;
}

int main(void) {
  int status;
  check(waitpid(-1, &status, 0) == -1 && errno == ECHILD, "no children: ECHILD");
  check(WIFEXITED(in_child(exits_with_300)) && WEXITSTATUS(in_child(exits_with_300)) == (300 & 255), "an exit status has eight bits");
  check(WTERMSIG(in_child(divides)) == SIGFPE, "a division by zero is SIGFPE");
  status = in_child(aborts);
  check(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "abort is SIGABRT");

  pid_t child = child_that_waits();
  check(waitpid(child, &status, WNOHANG) == 0, "WNOHANG does not wait for one that runs");
  kill(child, SIGSTOP);
  check(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP,
        "WUNTRACED tells of one that was stopped");
  kill(child, SIGCONT);
  check(waitpid(child, &status, WCONTINUED) == child && WIFCONTINUED(status), "WCONTINUED of one that goes on");
  kill(child, SIGKILL);
  siginfo_t info = {0};
  check(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) == 0 && info.si_pid == child, "WNOWAIT looks and leaves the zombie");
  check(kill(child, 0) == 0, "a zombie still has its number");
  check(waitpid(child, &status, WNOHANG) == child && WTERMSIG(status) == SIGKILL, "then it is taken");
  check(kill(child, 0) == -1 && errno == ESRCH, "and is gone");

  // An orphan is given to another parent.
  int fds[2];
  must(pipe(fds) == 0, "pipe");
  child = fork();
  if (child == 0) {
    pid_t parent = getpid();
    if (fork() == 0) {
      while (getppid() == parent) usleep(1000);
      pid_t now = getppid();
      must(write(fds[1], &now, sizeof now) == sizeof now, "write");
      _exit(0);
    }
    _exit(0);
  }
  pid_t now;
  must(waitpid(child, NULL, 0) == child && read(fds[0], &now, sizeof now) == sizeof now, "read");
  check(now != child && now >= 0, "an orphan gets a new parent");
  while (waitpid(-1, NULL, WNOHANG) > 0) {
  }

  // Process groups.
  pid_t leader = child_that_waits();
  must(setpgid(leader, leader) == 0 && getpgid(leader) == leader, "setpgid");
  pid_t member = child_that_waits();
  check(setpgid(member, leader) == 0 && getpgid(member) == leader && getpgrp() != leader, "a child joins another group");
  check(setpgid(member, 99999) == -1 && errno == EPERM, "which must exist");
  check(waitpid(-leader, &status, WNOHANG) == 0, "waiting for a group");
  must(kill(-leader, SIGTERM) == 0, "kill a group");
  pid_t a = waitpid(-leader, &status, 0), b = waitpid(-leader, &status, 0);
  check(a != b && (a == leader || a == member) && (b == leader || b == member) && WTERMSIG(status) == SIGTERM,
        "a signal to the group reaches both");
  check(waitpid(-leader, &status, 0) == -1 && errno == ECHILD, "then it is empty");
  child = fork();
  if (child == 0) _exit(setsid() == getpid() && getsid(0) == getpid() && getpgrp() == getpid() && setsid() == -1 && errno == EPERM ? 0 : 1);
  must(waitpid(child, &status, 0) == child, "waitpid");
  check(status == 0, "setsid makes a session and a group, once");

  // Many at once, collected in whatever order they end.
  int sum = 0;
  for (int i = 1; i <= 40; i++)
    if (fork() == 0) {
      usleep((useconds_t)(41 - i) * 100);
      _exit(i);
    }
  while (wait(&status) > 0) sum += WEXITSTATUS(status);
  check(sum == 40 * 41 / 2 && errno == ECHILD, "forty children are collected");

  child = fork();
  if (child == 0) {
    volatile char* p = malloc(4 << 20);
    for (int i = 0; i < 4 << 20; i += 4096) p[i] = 1;
    _exit(0);
  }
  struct rusage usage;
  check(wait4(child, &status, 0, &usage) == child && usage.ru_minflt >= 1024 && usage.ru_maxrss >= 4096, "wait4 tells what the child used");
  getrusage(RUSAGE_CHILDREN, &usage);
  check(usage.ru_minflt >= 1024, "and it is added up");

  pid_t me = getpid();
  child = vfork();
  if (child == 0) _exit(getpid() != me ? 3 : 4);
  check(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 3, "vfork");
  return 0;
}
