// Soft-dirty bits: clear_refs forgets what was written, pagemap tells what was written since.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "check.h"

#define PAGE 4096
static int pagemap;

static bool dirty(const volatile char* p) {
  uint64_t word = 0;
  must(pread(pagemap, &word, sizeof word, (off_t)((uintptr_t)p / PAGE * 8)) == sizeof word, "pread of pagemap");
  return word >> 55 & 1;
}

static void forget(const char* what) {
  const int fd = open("/proc/self/clear_refs", O_WRONLY);
  must(fd >= 0 && write(fd, what, 1) == 1, "write to clear_refs");
  close(fd);
}

static volatile char* map(size_t pages, int flags) {
  volatile char* p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
  must(p != MAP_FAILED, "mmap");
  return p;
}

int main(void) {
  pagemap = open("/proc/self/pagemap", O_RDONLY);
  must(pagemap >= 0, "open of pagemap");
  volatile char* a = map(8, MAP_PRIVATE);
  if (!on_vitro() && !dirty(a)) return 0;
  for (int i = 0; i < 6; ++i) a[i * PAGE] = 1;
  volatile char* shared = map(2, MAP_SHARED);
  shared[0] = shared[PAGE] = 1;
  check(dirty(a + PAGE) && dirty(a + 7 * PAGE) && dirty(shared), "a new area counts as written");

  forget("4");
  check(!dirty(a) && !dirty(a + 7 * PAGE) && !dirty(shared), "all of it is forgotten");
  check(a[PAGE] == 1 && !dirty(a + PAGE), "reading is no writing");
  a[2 * PAGE] = 2, a[6 * PAGE] = 2, shared[PAGE] = 2;
  check(dirty(a + 2 * PAGE) && dirty(a + 6 * PAGE) && dirty(shared + PAGE), "a write is seen, to an old page and to a new one");
  check(!dirty(a + PAGE) && !dirty(a + 3 * PAGE) && !dirty(shared), "of the page that was written");

  must(mprotect((void*)a, 8 * PAGE, PROT_READ) == 0 && mprotect((void*)a, 8 * PAGE, PROT_READ | PROT_WRITE) == 0, "mprotect");
  check(!dirty(a + 3 * PAGE), "other rights are no writing");
  a[3 * PAGE] = 3;
  check(dirty(a + 3 * PAGE), "a write behind them is seen");

  forget("4");
  const pid_t child = fork();
  if (child == 0) {
    a[4 * PAGE] = 4;
    _exit(dirty(a));
  }
  int status = 0;
  must(waitpid(child, &status, 0) == child, "waitpid");
  check(!dirty(a + 4 * PAGE), "what a child writes is its own");
  a[4 * PAGE] = 5;
  check(dirty(a + 4 * PAGE) && a[4 * PAGE] == 5, "and what its parent writes is the parent's");

  forget("4");
  volatile char* moved = mremap((void*)a, 8 * PAGE, 16 * PAGE, MREMAP_MAYMOVE);
  must(moved != MAP_FAILED, "mremap");
  if (moved != a) check(dirty(moved) && dirty(moved + 3 * PAGE), "pages that were moved count as written");

  // With a swap area they go out and come back, without one they stay: what is known of them is the same.
  forget("4");
  moved[PAGE] = 6;
  madvise((void*)moved, 8 * PAGE, MADV_PAGEOUT);
  check(dirty(moved + PAGE) && !dirty(moved + 2 * PAGE), "known of a page that is swapped out");
  check(moved[PAGE] == 6 && moved[2 * PAGE] == 2 && dirty(moved + PAGE) && !dirty(moved + 2 * PAGE), "and of one that comes back");

  forget("1"), forget("2"), forget("3"), forget("5");
  const int fd = open("/proc/self/clear_refs", O_WRONLY);
  check(write(fd, "0", 1) == -1 && errno == EINVAL && write(fd, "6", 1) == -1 && errno == EINVAL, "1 to 5 are taken");
  return 0;
}
