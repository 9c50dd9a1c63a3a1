// POSIX threads: one address space, separate stacks and thread-local data; mutexes, conditions, barriers.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "check.h"

enum { kThreads = 8, kRounds = 2000 };
static __thread int local = 42;
static int counter, produced, consumed, sum, once_count, destroyed;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ready = PTHREAD_COND_INITIALIZER, space = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int queue[4], filled;
static pid_t ids[kThreads];

static void init(void) { once_count++; }
static void destroy(void* value) { __atomic_fetch_add(&destroyed, (int)(intptr_t)value, __ATOMIC_SEQ_CST); }

static void* worker(void* argument) {
  intptr_t me = (intptr_t)argument;
  must(local == 42, "thread-local data starts fresh");
  local = (int)me;
  ids[me] = (pid_t)syscall(SYS_gettid);
  pthread_once(&once, init);
  pthread_setspecific(key, (void*)(intptr_t)1);
  pthread_barrier_wait(&barrier);
  for (int i = 0; i < kRounds; i++) {
    pthread_mutex_lock(&mutex);
    int seen = counter;
    if (i % 64 == 0) sched_yield();
    counter = seen + 1;
    pthread_mutex_unlock(&mutex);
  }
  must(local == me, "thread-local data is ours alone");
  return (void*)(me * me);
}

static void* producer(void* argument) {
  for (int i = 1; i <= 500; i++) {
    pthread_mutex_lock(&mutex);
    while (filled == 4) pthread_cond_wait(&space, &mutex);
    queue[filled++] = i;
    produced++;
    pthread_cond_signal(&ready);
    pthread_mutex_unlock(&mutex);
  }
  return argument;
}

static void* consumer(void* argument) {
  for (;;) {
    pthread_mutex_lock(&mutex);
    while (filled == 0 && consumed < 1000) pthread_cond_wait(&ready, &mutex);
    if (filled == 0) break;
    sum += queue[--filled];
    if (++consumed == 1000) pthread_cond_broadcast(&ready);
    pthread_cond_signal(&space);
    pthread_mutex_unlock(&mutex);
  }
  pthread_mutex_unlock(&mutex);
  return argument;
}

static void* spin(void* argument) {
  volatile int* flag = argument;
  while (!*flag) {
  }
  return NULL;
}

static void* sleeper(void* argument) {
  for (;;) pause();
  return argument;
}

static void* leave(void* argument) { pthread_exit((void*)((intptr_t)argument + 1)); }

int main(void) {
  pthread_t threads[kThreads];
  pthread_key_create(&key, destroy);
  pthread_barrier_init(&barrier, NULL, kThreads);
  for (intptr_t i = 0; i < kThreads; i++) must(pthread_create(&threads[i], NULL, worker, (void*)i) == 0, "pthread_create");
  bool results = true, distinct = true;
  for (intptr_t i = 0; i < kThreads; i++) {
    void* result;
    must(pthread_join(threads[i], &result) == 0, "pthread_join");
    results &= result == (void*)(i * i);
  }
  check(results, "each thread returns its value");
  check(counter == kThreads * kRounds, "a mutex protects a counter");
  check(once_count == 1, "pthread_once runs once");
  check(destroyed == kThreads, "thread-specific data is destroyed at exit");
  check(local == 42, "the main thread's own copy is untouched");
  for (int i = 0; i < kThreads; i++)
    for (int j = 0; j < i; j++) distinct &= ids[i] != ids[j] && ids[i] != getpid();
  check(distinct && syscall(SYS_gettid) == getpid(), "threads have ids of their own");

  pthread_create(&threads[0], NULL, producer, NULL), pthread_create(&threads[1], NULL, producer, NULL);
  pthread_create(&threads[2], NULL, consumer, NULL), pthread_create(&threads[3], NULL, consumer, NULL);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  check(produced == 1000 && consumed == 1000 && sum == 2 * 500 * 501 / 2, "producers and consumers with conditions");

  volatile int flag = 0;
  pthread_create(&threads[0], NULL, spin, (void*)&flag);
  usleep(10000);
  flag = 1;
  check(pthread_join(threads[0], NULL) == 0, "a spinning thread is preempted");
  pthread_create(&threads[0], NULL, sleeper, NULL);
  usleep(1000);
  void* result;
  pthread_cancel(threads[0]);
  check(pthread_join(threads[0], &result) == 0 && result == PTHREAD_CANCELED, "a sleeping thread is cancelled");
  for (intptr_t i = 0; i < 100; i++) {
    must(pthread_create(&threads[0], NULL, leave, (void*)i) == 0 && pthread_join(threads[0], &result) == 0 && result == (void*)(i + 1),
         "create and join");
  }
  check(true, "a hundred threads one after the other");

  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += 20000000;
  if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
  pthread_mutex_lock(&mutex);
  check(pthread_cond_timedwait(&ready, &mutex, &until) == ETIMEDOUT, "a condition times out");
  pthread_mutex_unlock(&mutex);

  int status;
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    pthread_create(&threads[0], NULL, sleeper, NULL);
    pthread_create(&threads[1], NULL, sleeper, NULL);
    exit(9);  // takes all threads along
  }
  must(waitpid(child, &status, 0) == child, "waitpid");
  check(WEXITSTATUS(status) == 9, "exit ends all threads");
  return 0;
}
