// mmap, munmap, mprotect, mremap, madvise, brk: what is mapped, with which rights, and what it holds.
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>

#include "check.h"

enum { kPage = 4096 };
static sigjmp_buf escape;
static volatile int code;

static void on_segv(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)context;
  code = info->si_code;
  siglongjmp(escape, 1);
}

// si_code of the SIGSEGV that a read (or write) of *p raises; 0 where it succeeds.
static int probe(volatile char* p, bool write) {
  if (sigsetjmp(escape, 1)) return code;
  if (write)
    *p = *p;
  else
    (void)*p;
  return 0;
}

static char* map(size_t pages) {
  char* p = mmap(NULL, pages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(p != MAP_FAILED, "mmap");
  return p;
}

// How many lines of /proc/self/maps lie in [from, from + n).
static int areas(const char* from, size_t n) {
  FILE* f = fopen("/proc/self/maps", "r");
  must(f != NULL, "open /proc/self/maps");
  char line[512];
  int count = 0;
  unsigned long start, end;
  while (fgets(line, sizeof line, f))
    if (sscanf(line, "%lx-%lx", &start, &end) == 2 && start < (uintptr_t)from + n && end > (uintptr_t)from) count++;
  fclose(f);
  return count;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = on_segv, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);

  char* p = map(8);
  bool zero = true;
  for (int i = 0; i < 8 * kPage; i++) zero &= p[i] == 0;
  check(zero, "new anonymous memory is zero");
  memset(p, 'a', 8 * kPage);
  must(munmap(p + 3 * kPage, 2 * kPage) == 0, "munmap");
  check(probe(p + 2 * kPage, true) == 0 && probe(p + 5 * kPage, true) == 0, "munmap in the middle leaves both sides");
  check(probe(p + 3 * kPage, false) == SEGV_MAPERR && probe(p + 5 * kPage - 1, false) == SEGV_MAPERR, "and the hole is not mapped");
  check(munmap(p + 3 * kPage, kPage) == 0, "munmap of a hole succeeds");
  check(munmap(p + 1, kPage) == -1 && errno == EINVAL, "munmap of an odd address is EINVAL");
  check(mlock(p, SIZE_MAX) == 0 && munlock(p, SIZE_MAX) == 0, "mlock of a length that wraps to nothing locks nothing");
  check(mlock(p, SIZE_MAX - 2 * kPage) == -1, "one that wraps to less than it began with is refused");
  if (on_vitro()) {
    char* low = mmap((void*)kPage, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    check(low == (void*)kPage && munmap(low, kPage) == 0, "root may map below vm.mmap_min_addr");
  }
  check(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL, "mmap of nothing is EINVAL");

  char* q = mmap(p + 3 * kPage, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  check(q == p + 3 * kPage && q[0] == 0, "MAP_FIXED fills the hole with zeros");
  q = mmap(p + 2 * kPage, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  check(q == p + 2 * kPage && q[0] == 0 && p[2 * kPage - 1] == 'a', "MAP_FIXED replaces what was there");
  check(mmap(p, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED && errno == EEXIST,
        "MAP_FIXED_NOREPLACE does not");

  must(mprotect(p, kPage, PROT_READ) == 0, "mprotect");
  check(probe(p, false) == 0 && probe(p, true) == SEGV_ACCERR && p[0] == 'a',
        "a page made read-only keeps its contents and refuses writes");
  must(mprotect(p, kPage, PROT_NONE) == 0, "mprotect");
  check(probe(p, false) == SEGV_ACCERR, "PROT_NONE refuses reads");
  check(areas(p, 8 * kPage) >= 2, "mprotect split the area");
  must(mprotect(p, kPage, PROT_READ | PROT_WRITE) == 0, "mprotect");
  check(probe(p, true) == 0 && p[0] == 'a', "and back");
  munmap(p, 8 * kPage);
  check(mprotect(p, kPage, PROT_READ) == -1 && errno == ENOMEM, "mprotect of nothing is ENOMEM");

  p = map(4);
  for (int i = 0; i < 4; i++) p[i * kPage] = (char)('A' + i);
  char* grown = mremap(p, 4 * kPage, 64 * kPage, MREMAP_MAYMOVE);
  must(grown != MAP_FAILED, "mremap");
  check(grown[0] == 'A' && grown[3 * kPage] == 'D' && grown[4 * kPage] == 0 && grown[64 * kPage - 1] == 0,
        "mremap grows and keeps the contents");
  check(mremap(grown, 64 * kPage, 2 * kPage, 0) == grown && grown[kPage] == 'B' && probe(grown + 2 * kPage, false) == SEGV_MAPERR,
        "mremap shrinks in place");
  char* target = map(2);
  char* moved = mremap(grown, 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, target);
  check(moved == target && moved[kPage] == 'B' && probe(grown, false) == SEGV_MAPERR, "MREMAP_FIXED moves to where it is told");

  memset(moved, 'x', 2 * kPage);
  must(madvise(moved, kPage, MADV_DONTNEED) == 0, "madvise");
  check(moved[0] == 0 && moved[kPage - 1] == 0 && moved[kPage] == 'x', "MADV_DONTNEED gives zeros back, and only there");
  char* shared = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  shared[0] = 's';
  madvise(shared, kPage, MADV_DONTNEED);
  check(shared[0] == 's', "but not of shared memory");
  check(madvise(moved, kPage, 12345) == -1 && errno == EINVAL, "unknown advice is EINVAL");

  unsigned char resident[4];
  p = map(4);
  p[kPage] = 1;
  must(mincore(p, 4 * kPage, resident) == 0, "mincore");
  check(!(resident[0] & 1) && (resident[1] & 1) && !(resident[2] & 1), "mincore knows which pages were touched");
  p = mmap(NULL, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  must(mincore(p, 4 * kPage, resident) == 0, "mincore");
  check((resident[0] & resident[1] & resident[2] & resident[3]) & 1, "MAP_POPULATE touches them all");

  char* old = sbrk(0);
  must(sbrk(5 * kPage) == old, "sbrk");
  old[5 * kPage - 1] = 'h';
  check(sbrk(0) == old + 5 * kPage && old[0] == 0, "the break moves up and its memory is zero");
  must(sbrk(-5 * kPage) != (void*)-1, "sbrk back");
  must(sbrk(5 * kPage) == old, "sbrk again");
  check(old[5 * kPage - 1] == 0, "and what it gave back was forgotten");

  char* many[200];
  for (int i = 0; i < 200; i++) many[i] = map(3), many[i][2 * kPage] = (char)i;
  bool good = true;
  for (int i = 0; i < 200; i += 2) munmap(many[i], 3 * kPage);
  for (int i = 1; i < 200; i += 2) good &= many[i][2 * kPage] == (char)i;
  check(good, "200 mappings, every other one gone, the rest intact");

  char* pages = mmap(NULL, 4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < 4; i++) pages[i * kPage] = (char)('a' + i);
  check(syscall(SYS_remap_file_pages, pages, 2 * kPage, 0, 2, 0) == 0 && pages[0] == 'c' && pages[kPage] == 'd' && pages[2 * kPage] == 'c',
        "remap_file_pages shows another part of the file");
  pages[0] = 'x';
  check(pages[2 * kPage] == 'x', "and it is the same memory");
  check(syscall(SYS_remap_file_pages, many[1], kPage, 0, 0, 0) == -1 && errno == EINVAL, "but not in a private mapping");

  struct utsname system;
  uname(&system);
  const int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
  const struct iovec ranges[] = {{pages, kPage}, {pages + 2 * kPage, 2 * kPage}};
  const long advised = syscall(SYS_process_madvise, self, ranges, 2, MADV_COLD, 0);
  check(advised == 3 * kPage || (advised == -1 && errno == EPERM && !strstr(system.release, "vitro")), "process_madvise counts the bytes it advised");
  check(syscall(SYS_process_madvise, self, ranges, 2, MADV_COLD, 1) == -1 && errno == EINVAL, "it knows no flags");
  return 0;
}
