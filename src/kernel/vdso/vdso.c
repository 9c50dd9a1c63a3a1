/* The shared object that the kernel maps into every program: the functions that C libraries call instead of making a system call where the kernel can
 * answer without one (arch/x86/entry/vdso). vitro's clock has no counter that a program could read, so each function makes the system call, as Linux's do
 * when the clock source is not fit for it. It runs inside the simulated machine: no library, no data. */
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

static inline long system_call(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return result;
}

int __vdso_clock_gettime(clockid_t clock, struct timespec* to) { return (int)system_call(SYS_clock_gettime, clock, (long)to, 0); }
int __vdso_clock_getres(clockid_t clock, struct timespec* to) { return (int)system_call(SYS_clock_getres, clock, (long)to, 0); }
int __vdso_gettimeofday(struct timeval* to, void* zone) { return (int)system_call(SYS_gettimeofday, (long)to, (long)zone, 0); }
time_t __vdso_time(time_t* to) { return system_call(SYS_time, (long)to, 0, 0); }
long __vdso_getcpu(unsigned* cpu, unsigned* node, void* unused) { return system_call(SYS_getcpu, (long)cpu, (long)node, (long)unused); }

int clock_gettime(clockid_t, struct timespec*) __attribute__((weak, alias("__vdso_clock_gettime")));
int clock_getres(clockid_t, struct timespec*) __attribute__((weak, alias("__vdso_clock_getres")));
int gettimeofday(struct timeval*, void*) __attribute__((weak, alias("__vdso_gettimeofday")));
time_t time(time_t*) __attribute__((weak, alias("__vdso_time")));
long getcpu(unsigned*, unsigned*, void*) __attribute__((weak, alias("__vdso_getcpu")));
