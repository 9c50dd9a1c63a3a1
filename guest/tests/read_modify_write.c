// An instruction that reads memory and writes it back faults once, as a write; one that only reads faults as a read.
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <ucontext.h>

#include "check.h"

enum { kPage = 4096, kWrite = 2 };
static volatile int error_code;
static char* target;

// Notes the error code and lets the instruction go on.
static void on_segv(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)info;
  error_code = (int)((ucontext_t*)context)->uc_mcontext.gregs[REG_ERR];
  must(mprotect(target, kPage, PROT_READ | PROT_WRITE) == 0, "mprotect");
}

static long minor_faults(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

#define INSTRUCTION(name, text) \
  static void name(char* p) { __asm__ volatile(text : : "D"(p), "c"(1ul), "a"(0ul), "d"(0ul), "b"(0ul) : "memory", "cc"); }
INSTRUCTION(add_r, "addb %%cl, (%%rdi)")
INSTRUCTION(add_q, "addq %%rcx, 8(%%rdi)")
INSTRUCTION(or_i, "orl $1, (%%rdi)")
INSTRUCTION(adc_r, "adcl %%ecx, (%%rdi)")
INSTRUCTION(sub_i, "subq $1, 64(%%rdi)")
INSTRUCTION(and_b, "andb $1, (%%rdi)")
INSTRUCTION(xor_i, "xorl $0x12345678, (%%rdi)")
INSTRUCTION(inc_l, "incl (%%rdi)")
INSTRUCTION(dec_b, "decb (%%rdi)")
INSTRUCTION(not_q, "notq (%%rdi)")
INSTRUCTION(neg_w, "negw (%%rdi)")
INSTRUCTION(shl_1, "shll (%%rdi)")
INSTRUCTION(sar_cl, "sarl %%cl, (%%rdi)")
INSTRUCTION(rol_i, "rolq $3, (%%rdi)")
INSTRUCTION(shld_i, "shldl $3, %%ecx, (%%rdi)")
INSTRUCTION(bts_i, "btsl $3, (%%rdi)")
INSTRUCTION(btr_r, "btrl %%ecx, (%%rdi)")
INSTRUCTION(xadd_r, "xaddl %%ecx, (%%rdi)")
INSTRUCTION(cmpxchg_r, "cmpxchgl %%ecx, (%%rdi)")
INSTRUCTION(cmpxchg_8, "cmpxchg8b (%%rdi)")
INSTRUCTION(lock_inc, "lock incl (%%rdi)")
INSTRUCTION(xchg_r, "xchgl %%ecx, (%%rdi)")
INSTRUCTION(cmp_i, "cmpb $1, (%%rdi)")
INSTRUCTION(cmp_r, "cmpl %%ecx, (%%rdi)")
INSTRUCTION(test_i, "testl $1, (%%rdi)")
INSTRUCTION(bt_i, "btl $3, (%%rdi)")
INSTRUCTION(add_from, "addl (%%rdi), %%ecx")
INSTRUCTION(mul_m, "mull (%%rdi)")
INSTRUCTION(push_m, "subq $128, %%rsp; pushq (%%rdi); addq $136, %%rsp")
INSTRUCTION(store, "movl %%ecx, (%%rdi)")

static const struct {
  const char* name;
  void (*run)(char*);
  bool writes;
} instructions[] = {
    {"add m8, r8", add_r, true},       {"add m64, r64", add_q, true},     {"or m32, i8", or_i, true},          {"adc m32, r32", adc_r, true},
    {"sub m64, i8", sub_i, true},      {"and m8, i8", and_b, true},       {"xor m32, i32", xor_i, true},       {"inc m32", inc_l, true},
    {"dec m8", dec_b, true},           {"not m64", not_q, true},          {"neg m16", neg_w, true},            {"shl m32", shl_1, true},
    {"sar m32, cl", sar_cl, true},     {"rol m64, i8", rol_i, true},      {"shld m32, r32, i8", shld_i, true}, {"bts m32, i8", bts_i, true},
    {"btr m32, r32", btr_r, true},     {"xadd m32, r32", xadd_r, true},   {"cmpxchg m32, r32", cmpxchg_r, true}, {"cmpxchg8b m64", cmpxchg_8, true},
    {"lock inc m32", lock_inc, true},  {"xchg m32, r32", xchg_r, true},   {"cmp m8, i8", cmp_i, false},        {"cmp m32, r32", cmp_r, false},
    {"test m32, i32", test_i, false},  {"bt m32, i8", bt_i, false},       {"add r32, m32", add_from, false},   {"mul m32", mul_m, false},
    {"push m64", push_m, false},       {"mov m32, r32", store, true},
};

int main(void) {
  struct sigaction action = {.sa_sigaction = on_segv, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);
  enum { kCount = sizeof instructions / sizeof *instructions };
  minor_faults();
  for (int i = 0; i < kCount; i++) {  // once on memory that is there, so that code and stack are
    char* p = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(p, 0, kPage);
    instructions[i].run(p);
    munmap(p, kPage);
  }
  for (int i = 0; i < kCount; i++) {
    char what[100];
    target = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(target != MAP_FAILED, "mmap");
    madvise(target, kPage, MADV_NOHUGEPAGE);
    long before = minor_faults();
    instructions[i].run(target);
    long during = minor_faults() - before;
    target[100] = 1;
    long after = minor_faults() - before - during;
    snprintf(what, sizeof what, "%s: %ld fault, and %ld at the next write", instructions[i].name, during, after);
    check(during == 1 && after == (instructions[i].writes ? 0 : 1), what);

    must(madvise(target, kPage, MADV_DONTNEED) == 0 && mprotect(target, kPage, PROT_NONE) == 0, "mprotect");
    error_code = -1;
    instructions[i].run(target);
    snprintf(what, sizeof what, "%s: its error code says %s", instructions[i].name, instructions[i].writes ? "write" : "read");
    check(error_code >= 0 && !!(error_code & kWrite) == instructions[i].writes, what);
    munmap(target, kPage);
  }
  return 0;
}
