// The stack grows by itself down to its limit; beyond it there is SIGSEGV, which a handler on another stack survives.
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "check.h"

static sigjmp_buf escape;
static volatile int code;
static volatile uintptr_t faulted;
static char* top;
static volatile size_t deepest;
static char alternate[64 << 10];

static void on_segv(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)context;
  char here;
  must(&here > alternate && &here < alternate + sizeof alternate, "the handler runs on the alternate stack");
  code = info->si_code;
  faulted = (uintptr_t)info->si_addr;
  siglongjmp(escape, 1);
}

// Uses about `bytes` of stack, a page or less a call; returns a sum that the compiler cannot do without.
static __attribute__((noinline)) unsigned descend(size_t bytes) {
  volatile char frame[1024];
  frame[0] = (char)bytes;
  deepest = (size_t)(top - (char*)&frame[0]);
  if (deepest >= bytes) return (unsigned)frame[0];
  unsigned below = descend(bytes);
  return below + (unsigned)frame[0];
}

static long stack_kib(void) {
  FILE* f = fopen("/proc/self/status", "r");
  must(f != NULL, "open status");
  char line[256];
  long kib = -1;
  while (fgets(line, sizeof line, f)) sscanf(line, "VmStk: %ld", &kib);
  fclose(f);
  return kib;
}

static void without_handler(void) {
  signal(SIGSEGV, SIG_DFL);
  descend(SIZE_MAX);
}

int main(void) {
  char base;
  top = &base;
  stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
  must(sigaltstack(&stack, NULL) == 0, "sigaltstack");
  struct sigaction action = {.sa_sigaction = on_segv, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigaction(SIGSEGV, &action, NULL);

  struct rlimit limit = {2 << 20, RLIM_INFINITY};
  struct rlimit old;
  must(getrlimit(RLIMIT_STACK, &old) == 0, "getrlimit");
  limit.rlim_max = old.rlim_max;
  must(setrlimit(RLIMIT_STACK, &limit) == 0, "setrlimit");
  long before = stack_kib();
  descend(1 << 20);
  check(deepest >= 1 << 20, "one MiB of recursion in a stack of two");
  check(stack_kib() >= 1024 && stack_kib() > before, "VmStk grew");
  descend(3 << 19);
  check(deepest >= 3 << 19, "one and a half");

  if (!sigsetjmp(escape, 1)) {
    descend(SIZE_MAX);
    failed("recursion without end came to an end");
  }
  check(code == SEGV_MAPERR, "beyond the limit: SIGSEGV, si_code SEGV_MAPERR");
  check(deepest > (2 << 20) - (128 << 10) && deepest < (2 << 20) + (64 << 10), "at the limit, not elsewhere");
  check((uintptr_t)top - faulted > (2 << 20) - (128 << 10) && (uintptr_t)top - faulted < (2 << 20) + (64 << 10), "si_addr is in the stack");
  if (!sigsetjmp(escape, 1)) {
    descend(SIZE_MAX);
    failed("the second time");
  }
  check(true, "and again");
  limit.rlim_cur = 4 << 20;
  must(setrlimit(RLIMIT_STACK, &limit) == 0, "setrlimit");
  descend(3 << 20);
  check(deepest >= 3 << 20, "a raised limit lets it grow further");
  int status = in_child(without_handler);
  check(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "without a handler it kills");

  // A mapping of our own that grows down.
  char* area = mmap(NULL, 4 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(area != MAP_FAILED && munmap(area, 4 << 20) == 0, "find a hole");
  char* grows = mmap(area + (3 << 20), 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
  must(grows == area + (3 << 20), "mmap MAP_GROWSDOWN");
  *(volatile char*)(grows - 1) = 'g';
  *(volatile char*)(grows - 8192) = 'h';
  check(grows[-1] == 'g' && grows[-8192] == 'h', "a MAP_GROWSDOWN mapping grows down when it is touched below");
  return 0;
}
