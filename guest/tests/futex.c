// futex(2) itself: wait, wake, timeouts, requeue; and robust mutexes, which tell that their owner died.
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include "check.h"

static long futex(volatile uint32_t* word, int op, uint32_t value, const struct timespec* timeout, volatile uint32_t* word2,
                  uint32_t value3) {
  return syscall(SYS_futex, word, op, value, timeout, word2, value3);
}

// Long enough for the others to reach their calls, on a loaded machine too.
static void settle(void) { usleep(200000); }

static volatile uint32_t word, other;
static volatile int awake;
static pthread_mutex_t robust;

static void* waiter(void* argument) {
  while (futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0) == -1 && errno == EINTR) {
  }
  __atomic_fetch_add(&awake, 1, __ATOMIC_SEQ_CST);
  return argument;
}

static void* dies_locked(void* argument) {
  must(pthread_mutex_lock(&robust) == 0, "lock");
  return argument;
}

int main(void) {
  word = 1;
  check(futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0) == -1 && errno == EAGAIN, "waiting for a value that is gone is EAGAIN");
  struct timespec short_time = {.tv_nsec = 10000000}, before, after;
  clock_gettime(CLOCK_MONOTONIC, &before);
  check(futex(&word, FUTEX_WAIT_PRIVATE, 1, &short_time, NULL, 0) == -1 && errno == ETIMEDOUT, "a wait times out");
  clock_gettime(CLOCK_MONOTONIC, &after);
  check((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec >= 10000000, "and not too early");
  check(futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == 0, "a wake without waiters wakes nobody");
  check(futex((uint32_t*)((uintptr_t)&word + 1), FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == -1 && errno == EINVAL,
        "a misaligned word is EINVAL");
  check(futex((uint32_t*)8, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0) == -1 && errno == EFAULT, "a bad address is EFAULT");

  word = 0;
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, waiter, NULL);
  settle();
  check(futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == 1, "one of four waiters is woken");
  settle();
  check(awake == 1, "and only one");
  check(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (const struct timespec*)(uintptr_t)2, &other, 0) == 3,
        "one more is woken, two are moved to another word");
  settle();
  check(awake == 2, "the moved ones sleep on");
  check(futex(&other, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0) == 2, "until that word is woken");
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);

  // A shared word is the same one in every process that maps it.
  volatile uint32_t* shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pid_t child = fork();
  if (child == 0) {
    while (*shared == 0) futex(shared, FUTEX_WAIT, 0, NULL, NULL, 0);
    _exit((int)*shared);
  }
  settle();
  *shared = 6;
  futex(shared, FUTEX_WAKE, 1, NULL, NULL, 0);
  int status;
  must(waitpid(child, &status, 0) == child, "waitpid");
  check(WEXITSTATUS(status) == 6, "a shared word wakes another process");

  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&robust, &attributes);
  pthread_create(&threads[0], NULL, dies_locked, NULL);
  pthread_join(threads[0], NULL);
  check(pthread_mutex_lock(&robust) == EOWNERDEAD, "a robust mutex tells that its owner died");
  check(pthread_mutex_consistent(&robust) == 0 && pthread_mutex_unlock(&robust) == 0 && pthread_mutex_lock(&robust) == 0,
        "and can be used again");
  return 0;
}
