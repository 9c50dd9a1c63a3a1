// Time: it never goes backwards, sleeps last as long as asked, timers come when they are due.
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <sys/time.h>
#include <time.h>

#include "check.h"

static volatile int ticks;
static void tick(int signal) {
  (void)signal;
  ticks++;
}

static int64_t now(clockid_t clock) {
  struct timespec t;
  must(clock_gettime(clock, &t) == 0, "clock_gettime");
  must(t.tv_nsec >= 0 && t.tv_nsec < 1000000000, "nanoseconds are below a second");
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int main(void) {
  const int64_t ms = 1000000;
  int64_t last = now(CLOCK_MONOTONIC);
  bool forward = true;
  for (int i = 0; i < 10000; i++) {
    int64_t t = now(CLOCK_MONOTONIC);
    forward &= t >= last;
    last = t;
  }
  check(forward, "CLOCK_MONOTONIC never goes back");
  int64_t real = now(CLOCK_REALTIME), start = now(CLOCK_MONOTONIC);
  struct timeval tv;
  gettimeofday(&tv, NULL);
  check(real > 1500000000ll * 1000000000 && tv.tv_sec - real / 1000000000 <= 1 && time(NULL) - tv.tv_sec <= 1,
        "the wall clock is one clock");

  struct timespec t = {.tv_nsec = 30 * ms};
  must(nanosleep(&t, NULL) == 0, "nanosleep");
  int64_t slept = now(CLOCK_MONOTONIC) - start;
  check(slept >= 30 * ms && slept < 2000 * ms, "nanosleep sleeps 30 ms");
  check(now(CLOCK_REALTIME) - real >= 30 * ms, "the wall clock moved as well");
  int64_t until = now(CLOCK_MONOTONIC) + 20 * ms;
  t = (struct timespec){until / 1000000000, until % 1000000000};
  check(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == 0 && now(CLOCK_MONOTONIC) >= until, "clock_nanosleep until a time");
  t = (struct timespec){.tv_nsec = 1000000000};
  check(nanosleep(&t, NULL) == -1 && errno == EINVAL, "a billion nanoseconds are EINVAL");
  check(clock_gettime(9999, &t) == -1 && errno == EINVAL, "so is an unknown clock");

  struct sigaction action = {.sa_handler = tick};
  sigaction(SIGALRM, &action, NULL);
  start = now(CLOCK_MONOTONIC);
  struct itimerval timer = {.it_value = {.tv_usec = 20000}}, left;
  must(setitimer(ITIMER_REAL, &timer, NULL) == 0 && getitimer(ITIMER_REAL, &left) == 0, "setitimer");
  check(left.it_value.tv_sec == 0 && left.it_value.tv_usec > 0 && left.it_value.tv_usec <= 20000, "getitimer tells what is left");
  t = (struct timespec){.tv_sec = 5};
  struct timespec rest;
  check(nanosleep(&t, &rest) == -1 && errno == EINTR && ticks == 1, "an interval timer interrupts a sleep");
  check(now(CLOCK_MONOTONIC) - start >= 20 * ms && rest.tv_sec == 4, "when it is due, and the rest is reported");
  timer = (struct itimerval){{.tv_usec = 10000}, {.tv_usec = 10000}};
  ticks = 0;
  start = now(CLOCK_MONOTONIC);
  must(setitimer(ITIMER_REAL, &timer, NULL) == 0, "setitimer");
  while (ticks < 5) pause();
  check(now(CLOCK_MONOTONIC) - start >= 50 * ms, "a periodic timer comes again and again");
  timer = (struct itimerval){0};
  must(setitimer(ITIMER_REAL, &timer, NULL) == 0, "setitimer off");

  ticks = 0;
  check(alarm(100) == 0 && alarm(1) > 98, "a second alarm replaces the first and says what was left of it");
  start = now(CLOCK_MONOTONIC);
  pause();
  check(ticks == 1 && now(CLOCK_MONOTONIC) - start >= 990 * ms && alarm(0) == 0, "alarm after one second");
  ticks = 0;
  ualarm(10000, 0);
  while (ticks == 0) {
  }
  check(ticks == 1, "a busy loop is interrupted too");

  int64_t cpu = now(CLOCK_PROCESS_CPUTIME_ID);
  t = (struct timespec){.tv_nsec = 50 * ms};
  nanosleep(&t, NULL);
  check(now(CLOCK_PROCESS_CPUTIME_ID) - cpu < 30 * ms, "sleeping uses no processor time");
  cpu = now(CLOCK_PROCESS_CPUTIME_ID);
  for (volatile int i = 0; i < 2000000; i++) {
  }
  check(now(CLOCK_PROCESS_CPUTIME_ID) > cpu, "computing does");

  timer_t id;
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
  ticks = 0;
  if (timer_create(CLOCK_MONOTONIC, &event, &id) == 0) {
    struct itimerspec spec = {{0, 5 * ms}, {0, 5 * ms}};
    must(timer_settime(id, 0, &spec, NULL) == 0, "timer_settime");
    while (ticks < 3) pause();
    check(timer_delete(id) == 0, "a POSIX timer");
  }
  return 0;
}
