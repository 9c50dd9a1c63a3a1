// Floating point: SSE and x87 results to the last bit, denormals, rounding modes, and that they belong to a process.
#include <float.h>
#include <sched.h>
#include <stdint.h>
#include <xmmintrin.h>

#include "check.h"

static uint64_t bits(double d) {
  uint64_t b;
  memcpy(&b, &d, sizeof b);
  return b;
}

// Values that the compiler must not fold.
static double d(double x) {
  __asm__ volatile("" : "+x"(x));
  return x;
}
static long double ld(long double x) {
  volatile long double y = x;
  return y;
}

static double square_root(double x) { return _mm_cvtsd_f64(_mm_sqrt_pd(_mm_set1_pd(x))); }
static long double square_root_wide(long double x) {
  __asm__ volatile("fsqrt" : "+t"(x));
  return x;
}
static long double sine(long double x) {
  __asm__ volatile("fsin" : "+t"(x));
  return x;
}

// Rounding in both units (0 nearest, 1 down, 2 up, 3 to zero), as fesetround sets it. Here so that no libm is needed.
static void set_rounding(unsigned mode) {
  uint16_t control;
  __asm__ volatile("fnstcw %0" : "=m"(control));
  control = (uint16_t)((control & ~0xc00) | mode << 10);
  __asm__ volatile("fldcw %0" : : "m"(control) : "memory");
  _mm_setcsr((_mm_getcsr() & ~0x6000u) | mode << 13);
}
static unsigned rounding(void) {
  uint16_t control;
  __asm__ volatile("fnstcw %0" : "=m"(control));
  unsigned x87 = control >> 10 & 3, sse = _mm_getcsr() >> 13 & 3;
  return x87 == sse ? sse : 99;
}

int main(void) {
  check(bits(d(0.1) + d(0.2)) == 0x3fd3333333333334, "0.1 + 0.2");
  check(bits(square_root(d(2))) == 0x3ff6a09e667f3bcd, "sqrt(2)");
  check(bits(d(1) / d(3)) == 0x3fd5555555555555, "1 / 3");
  check(bits((double)sine(ld(1))) == 0x3feaed548f090cee, "sin(1) by the x87");
  check((int64_t)d(-2.7) == -2 && (float)d(1e-50) == 0.0f && _mm_cvtsd_si64(_mm_set_sd(d(2.5))) == 2, "conversions");
  check(bits(d(DBL_MIN) / 2) == 0x0008000000000000 && d(DBL_MIN) / 2 > 0, "denormals are kept");
  check(d(5e-324) / 2 == 0 && d(5e-324) * 3 == 1.5e-323, "down to the smallest");
  check(__builtin_isinf(d(1) / d(0)) && __builtin_isnan(d(0) / d(0)) && __builtin_signbit(d(-0.0)), "infinity, NaN, minus zero");

  volatile long double third = ld(1) / ld(3);
  char extended[16];
  memcpy(extended, (const void*)&third, 10);
  check(!memcmp(extended, "\xab\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xfd\x3f", 10), "long double has 64 bits of mantissa");
  check(ld(1) + ld(LDBL_EPSILON) > 1 && (double)(ld(1) + ld(LDBL_EPSILON)) == 1, "and more of them than double");
  check(ld(LDBL_MIN) / 4 > 0 && square_root_wide(ld(2)) * square_root_wide(ld(2)) != 2, "x87 denormals");
  char text[64];
  snprintf(text, sizeof text, "%.20Lg %.17g %a", ld(2) / ld(3), d(2) / d(3), d(1.5));
  check(!strcmp(text, "0.66666666666666666668 0.66666666666666663 0x1.8p+0"), "printf");
  check(strtod("1e23", NULL) == 1e23 && strtold("0.1", NULL) == 0.1L, "strtod");

  set_rounding(2);
  check(bits(d(1) / d(3)) == 0x3fd5555555555556, "rounding up");
  set_rounding(1);
  check(bits(d(2) / d(3)) == 0x3fe5555555555555 && ld(1) / ld(3) < third, "rounding down, in both units");
  int status;
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    if (rounding() != 1) _exit(1);
    set_rounding(3);
    _exit(0);
  }
  must(waitpid(child, &status, 0) == child && status == 0, "the rounding mode is inherited");
  check(rounding() == 1, "a child's rounding mode is its own");
  set_rounding(0);

  // Two processes calculate at once, switching all the time: neither sees the other's registers.
  double sums[2] = {0, 0};
  int fds[2];
  must(pipe(fds) == 0, "pipe");
  for (int who = 0; who < 2; who++) {
    if (fork() == 0) {
      double sum = 0;
      long double wide = 0;
      for (int i = 1; i <= 20000; i++) {
        sum += d(1) / d(i + who);
        wide += ld(1) / ld(i + who);
        if (i % 500 == 0) sched_yield();
      }
      must(__builtin_fabsl(wide - (long double)sum) < 1e-11L, "both units agree");
      double message[2] = {who, sum};
      must(write(fds[1], message, sizeof message) == sizeof message, "write");
      _exit(0);
    }
  }
  for (int i = 0; i < 2; i++) {
    double message[2];
    must(read(fds[0], message, sizeof message) == sizeof message, "read");
    sums[message[0] != 0] = message[1];
    must(wait(&status) > 0 && status == 0, "wait");
  }
  double expected[2] = {0, 0};
  for (int i = 1; i <= 20000; i++) expected[0] += d(1) / d(i), expected[1] += d(1) / d(i + 1);
  check(sums[0] == expected[0] && sums[1] == expected[1], "processes keep their registers apart");

  __m128 a = _mm_set_ps(4, 3, 2, 1), b = _mm_set_ps(8, 7, 6, 5);
  float lanes[4];
  _mm_storeu_ps(lanes, _mm_add_ps(_mm_mul_ps(a, b), _mm_shuffle_ps(a, b, 0x1b)));
  check(lanes[0] == 5 + 4 && lanes[1] == 12 + 3 && lanes[2] == 21 + 6 && lanes[3] == 32 + 5, "four lanes at once");
  return 0;
}
