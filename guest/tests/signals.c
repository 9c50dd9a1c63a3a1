// Signals: delivery, masks, stacks, restarts, and that a handler leaves no trace in the registers.
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>

#include "check.h"

static volatile int count, depth, deepest, sender, order[8], orders;
static volatile uintptr_t handler_stack;
static int wake[2];

static void set(int signal, void (*handler)(int, siginfo_t*, void*), int flags) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
  must(sigaction(signal, &action, NULL) == 0, "sigaction");
}

static void counting(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)context;
  int here;
  count++;
  sender = info->si_pid;
  handler_stack = (uintptr_t)&here;
}

static void nesting(int signal, siginfo_t* info, void* context) {
  (void)info, (void)context;
  if (++depth > deepest) deepest = depth;
  if (count++ < 3) raise(signal);
  depth--;
}

static void outer(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)info, (void)context;
  order[orders++] = 1;
  raise(SIGUSR2);
  order[orders++] = 3;
}

static void inner(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)info, (void)context;
  order[orders++] = 2;
}

static void clobber(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)info, (void)context;
  count++;
  __asm__ volatile(
      "pcmpeqb %%xmm0, %%xmm0\n pcmpeqb %%xmm1, %%xmm1\n pcmpeqb %%xmm7, %%xmm7\n pcmpeqb %%xmm15, %%xmm15\n"
      "xor %%r12, %%r12\n xor %%r13, %%r13\n fninit\n" ::
          : "xmm0", "xmm1", "xmm7", "xmm15", "r12", "r13");
}

static void waking(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)info, (void)context;
  count++;
  must(write(wake[1], "w", 1) == 1, "write in a handler");
}

static void skip_instruction(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)info;
  ucontext_t* u = context;
  u->uc_mcontext.gregs[REG_RIP] += 2;  // ud2
  u->uc_mcontext.gregs[REG_RAX] = 4711;
}

static void timer_in(long microseconds) {
  struct itimerval t = {.it_value = {.tv_usec = microseconds}};
  must(setitimer(ITIMER_REAL, &t, NULL) == 0, "setitimer");
}

static void die_by_default(void) { raise(SIGTERM); }

static void registers_survive(void) {
  uint64_t in[4][2] = {{1, 2}, {3, 4}, {5, 6}, {7, 8}}, out[4][2], r12, r13;
  long double st;
  __asm__ volatile(
      "movdqu 0(%[in]), %%xmm0\n movdqu 16(%[in]), %%xmm1\n movdqu 32(%[in]), %%xmm7\n movdqu 48(%[in]), %%xmm15\n"
      "mov $0x1234, %%r12\n mov $0x5678, %%r13\n fldpi\n"
      "mov %[pid], %%edi\n mov %[sig], %%esi\n mov $62, %%eax\n syscall\n"
      "movdqu %%xmm0, 0(%[out])\n movdqu %%xmm1, 16(%[out])\n movdqu %%xmm7, 32(%[out])\n movdqu %%xmm15, 48(%[out])\n"
      "mov %%r12, %[r12]\n mov %%r13, %[r13]\n fstpt %[st]\n"
      : [r12] "=m"(r12), [r13] "=m"(r13), [st] "=m"(st)
      : [in] "r"(in), [out] "r"(out), [pid] "r"(getpid()), [sig] "i"(SIGUSR1)
      : "memory", "rax", "rcx", "r11", "rdi", "rsi", "r12", "r13", "xmm0", "xmm1", "xmm7", "xmm15");
  check(count == 1, "a handler ran between two instructions");
  check(!memcmp(in, out, sizeof in), "xmm registers are what they were");
  check(r12 == 0x1234 && r13 == 0x5678, "general registers too");
  check(st > 3.14159265L && st < 3.14159266L, "and the x87 stack");
}

int main(void) {
  set(SIGUSR1, counting, 0);
  check(raise(SIGUSR1) == 0 && count == 1, "a handler runs");
  check(kill(getpid(), SIGUSR1) == 0 && count == 2 && sender == getpid(),
        "kill of oneself is delivered before it returns, si_pid is the sender");

  sigset_t mask, old, pending;
  sigemptyset(&mask);
  sigaddset(&mask, SIGUSR1);
  must(sigprocmask(SIG_BLOCK, &mask, &old) == 0, "sigprocmask");
  raise(SIGUSR1), raise(SIGUSR1);
  must(sigpending(&pending) == 0, "sigpending");
  check(count == 2 && sigismember(&pending, SIGUSR1), "a blocked signal is pending");
  must(sigprocmask(SIG_SETMASK, &old, NULL) == 0, "sigprocmask");
  check(count == 3, "and comes once when it is unblocked, however often it was sent");

  count = 0;
  set(SIGUSR1, nesting, 0);
  raise(SIGUSR1);
  check(count == 4 && deepest == 1, "a signal is blocked in its own handler");
  count = deepest = 0;
  set(SIGUSR1, nesting, SA_NODEFER);
  raise(SIGUSR1);
  check(count == 4 && deepest == 4, "with SA_NODEFER it nests");
  set(SIGUSR1, outer, 0), set(SIGUSR2, inner, 0);
  raise(SIGUSR1);
  check(orders == 3 && order[0] == 1 && order[1] == 2 && order[2] == 3, "another signal interrupts a handler");
  count = 0;
  set(SIGUSR1, counting, (int)SA_RESETHAND);
  raise(SIGUSR1);
  struct sigaction now;
  sigaction(SIGUSR1, NULL, &now);
  check(count == 1 && now.sa_handler == SIG_DFL, "SA_RESETHAND forgets the handler");

  size_t size = 64 << 10;
  char* stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  stack_t alternate = {.ss_sp = stack, .ss_size = size}, current;
  must(sigaltstack(&alternate, NULL) == 0, "sigaltstack");
  set(SIGUSR1, counting, SA_ONSTACK);
  raise(SIGUSR1);
  check(handler_stack > (uintptr_t)stack && handler_stack < (uintptr_t)stack + size, "SA_ONSTACK runs on the alternate stack");
  check(sigaltstack(NULL, &current) == 0 && current.ss_sp == stack && current.ss_flags == 0, "which is free again afterwards");
  set(SIGUSR1, counting, 0);
  raise(SIGUSR1);
  check(handler_stack < (uintptr_t)stack || handler_stack > (uintptr_t)stack + size, "without it, on the normal one");

  count = 0;
  set(SIGUSR1, clobber, 0);
  registers_survive();
  set(SIGILL, skip_instruction, 0);
  long result;
  __asm__ volatile("ud2" : "=a"(result));
  check(result == 4711, "a handler may change the registers it returns to");

  char byte;
  must(pipe(wake) == 0, "pipe");
  count = 0;
  set(SIGALRM, counting, 0);
  timer_in(20000);
  check(read(wake[0], &byte, 1) == -1 && errno == EINTR && count == 1, "a read is interrupted: EINTR");
  set(SIGALRM, waking, SA_RESTART);
  timer_in(20000);
  check(read(wake[0], &byte, 1) == 1 && byte == 'w' && count == 2, "with SA_RESTART it goes on");
  set(SIGALRM, counting, SA_RESTART);
  timer_in(20000);
  check(pause() == -1 && errno == EINTR, "pause never restarts");

  count = 0;
  set(SIGCHLD, counting, 0);
  sigemptyset(&mask), sigaddset(&mask, SIGCHLD);
  sigprocmask(SIG_BLOCK, &mask, &old);
  pid_t child = fork();
  if (child == 0) _exit(5);
  sigset_t none;
  sigemptyset(&none);
  check(sigsuspend(&none) == -1 && errno == EINTR && count == 1 && sender == child, "SIGCHLD ends a sigsuspend and names the child");
  sigprocmask(SIG_SETMASK, &old, NULL);
  siginfo_t info;
  must(waitid(P_PID, (id_t)child, &info, WEXITED) == 0, "waitid");
  check(info.si_pid == child && info.si_code == CLD_EXITED && info.si_status == 5, "waitid tells how it ended");
  child = fork();
  if (child == 0)
    for (;;) pause();
  must(kill(child, SIGKILL) == 0 && waitid(P_PID, (id_t)child, &info, WEXITED) == 0, "kill a child");
  check(info.si_code == CLD_KILLED && info.si_status == SIGKILL, "and that a signal killed it");
  set(SIGCHLD, counting, SA_NOCLDWAIT);
  child = fork();
  if (child == 0) _exit(0);
  check(waitpid(child, NULL, 0) == -1 && errno == ECHILD, "SA_NOCLDWAIT leaves no zombies");
  signal(SIGCHLD, SIG_DFL);

  check(WTERMSIG(in_child(die_by_default)) == SIGTERM, "without a handler SIGTERM kills");
  check(kill(getpid(), 0) == 0 && kill(getpid(), 999) == -1 && errno == EINVAL, "signal 0 only asks, 999 is EINVAL");
  signal(SIGUSR1, SIG_IGN);
  check(raise(SIGUSR1) == 0, "an ignored signal is ignored");
  struct sigaction action = {.sa_handler = SIG_IGN};
  check(sigaction(SIGKILL, &action, NULL) == -1 && errno == EINVAL, "SIGKILL cannot be ignored");

  // Real-time signals queue, carry values and come lowest number first.
  sigemptyset(&mask), sigaddset(&mask, SIGRTMIN), sigaddset(&mask, SIGRTMIN + 1);
  sigprocmask(SIG_BLOCK, &mask, NULL);
  sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 1});
  sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 2});
  sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 3});
  int values[3];
  for (int i = 0; i < 3; i++) must(sigwaitinfo(&mask, &info) > 0, "sigwaitinfo"), values[i] = info.si_value.sival_int;
  check(values[0] == 2 && values[1] == 3 && values[2] == 1, "real-time signals queue in order");
  return 0;
}
