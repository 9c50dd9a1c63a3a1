// For programs that check themselves: "ok WHAT" a line for what holds, "FAIL WHAT" and exit status 1 for the first thing that does not.
// They run on any Linux, which is the oracle for them.
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

static __attribute__((unused)) void failed(const char* what) {
  fprintf(stdout, "FAIL %s (errno %d: %s)\n", what, errno, strerror(errno));
  fflush(stdout);
  _exit(1);
}

// Must hold, not worth a line.
static __attribute__((unused)) void must(bool condition, const char* what) {
  if (!condition) failed(what);
}

static __attribute__((unused)) void check(bool condition, const char* what) {
  must(condition, what);
  printf("ok %s\n", what);
  fflush(stdout);
}

// Runs `body` in a child and returns its wait status. Nothing buffered is printed twice.
static __attribute__((unused)) int in_child(void (*body)(void)) {
  fflush(stdout);
  pid_t child = fork();
  must(child >= 0, "fork");
  if (child == 0) {
    body();
    _exit(0);
  }
  int status = -1;
  must(waitpid(child, &status, 0) == child, "waitpid");
  return status;
}

// For what other kernels may lack, or not let a container do: there it is not checked, here it must be.
static __attribute__((unused)) bool on_vitro(void) {
  struct utsname u;
  return uname(&u) == 0 && strstr(u.release, "vitro");
}
