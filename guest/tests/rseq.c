// Restartable sequences: the area names the CPU, a signal inside a sequence leads to its abort handler, and what is wrong kills.
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>

#include "check.h"

#define OWN_SIGNATURE 0x1234567

static struct {
  uint32_t cpu_id_start, cpu_id;
  volatile uint64_t sequence;
  uint32_t flags, padding[3];
} area __attribute__((aligned(32)));
extern char abort_handler[];
static volatile int signals;
static volatile uint64_t spins;
static void* volatile interrupted_at;

static long call(void* a, uint32_t length, int flags, uint32_t signature) { return syscall(SYS_rseq, a, length, flags, signature); }

static void on_alarm(int s, siginfo_t* i, void* context) {
  (void)s, (void)i;
  ++signals;
  interrupted_at = (void*)((ucontext_t*)context)->uc_mcontext.gregs[REG_RIP];
}

// Spins in a sequence that only an abort ends.
__attribute__((noinline)) static void spin_until_aborted(void) {
  asm volatile(
      ".pushsection .data, \"aw\"\n"
      ".balign 32\n"
      "3: .long 0, 0\n"
      ".quad 1f, 2f - 1f, abort_handler\n"
      ".popsection\n"
      "leaq 3b(%%rip), %%rax\n"
      "movq %%rax, %0\n"
      "1: incq %1\n"
      "jmp 1b\n"
      "2: ud2\n"
      ".long 0x1234567\n"
      ".globl abort_handler\n"
      "abort_handler:\n"
      : "+m"(area.sequence), "+m"(spins)
      :
      : "rax", "memory", "cc");
}

static void bad_sequence(void) {
  area.sequence = 8;  // nothing is mapped there
  sched_yield();
  for (int i = 0; i < 1000; ++i) usleep(100);
}

int main(void) {
  char* libc_area = (char*)__builtin_thread_pointer() + __rseq_offset;
  if (__rseq_size != 0) {
    check(call(libc_area, 32, 0, RSEQ_SIG) == -1 && errno == EBUSY, "the C library has registered its area");
    check(call(libc_area, 32, 0, 1) == -1 && errno == EPERM, "another signature is refused");
    check(call(libc_area, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG) == 0, "an area can be given back");
  }
  check(call((char*)&area + 8, 32, 0, OWN_SIGNATURE) == -1 && errno == EINVAL, "an area must be aligned");
  check(call(&area, 16, 0, OWN_SIGNATURE) == -1 && errno == EINVAL, "and have its size");
  area.cpu_id = ~0u;
  check(call(&area, 32, 0, OWN_SIGNATURE) == 0, "it is registered");
  check(area.cpu_id == (uint32_t)sched_getcpu() || area.cpu_id < 1024, "and names the CPU");

  struct sigaction action = {.sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO};
  sigaction(SIGALRM, &action, NULL);
  struct itimerval once = {{0, 5000}, {0, 5000}};
  setitimer(ITIMER_REAL, &once, NULL);
  for (int i = 0; i < 5; ++i) {
    spin_until_aborted();
    must(area.sequence == 0, "the sequence is over");
  }
  memset(&once, 0, sizeof once);
  setitimer(ITIMER_REAL, &once, NULL);
  check(spins > 0, "a sequence that is interrupted goes on at its abort handler");
  check(signals == 0 || interrupted_at != NULL, "a handler runs before it");

  int status = in_child(bad_sequence);
  check(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "a sequence that cannot be read kills");
  check(call(&area, 32, RSEQ_FLAG_UNREGISTER, OWN_SIGNATURE) == 0 && area.cpu_id == ~0u, "after giving it back it names none");
  return 0;
}
