// Two processes that take turns, each touching its own array between two switches: for measuring what a change of address space does to a TLB.
//   switch_pattern PAGES TURNS   each process reads one byte of each of its PAGES pages, gives the turn away through a pipe, TURNS times
//
// Every page is written once before the first turn, so that the turns have no page faults. touch() holds all it needs in registers.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kPage = 4096 };

static __attribute__((noinline)) void touch(const char* at, uint64_t pages) {
  for (; pages; pages--, at += kPage) __asm__ volatile("movzbl (%0), %%eax" : : "r"(at) : "eax");
}

static void take_turns(int in, int out, const char* array, uint64_t pages, uint64_t turns) {
  char token = 0;
  for (; turns; turns--) {
    if (read(in, &token, 1) != 1) _exit(1);
    touch(array, pages);
    if (write(out, &token, 1) != 1) _exit(1);
  }
}

int main(int argc, char** argv) {
  char* end = argc == 3 ? argv[1] : NULL;
  const uint64_t pages = end ? strtoull(argv[1], &end, 10) : 0, turns = end && !*end ? strtoull(argv[2], &end, 10) : 0;
  if (!end || *end || pages == 0 || pages > 1u << 20 || turns == 0) {
    fprintf(stderr, "usage: switch_pattern PAGES TURNS\n");
    return 2;
  }
  int there[2], back[2];
  char* array = mmap(NULL, pages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (array == MAP_FAILED || pipe(there) || pipe(back)) return perror("switch_pattern"), 1;
  madvise(array, pages * kPage, MADV_NOHUGEPAGE);
  const pid_t child = fork();
  if (child < 0) return perror("switch_pattern: fork"), 1;
  for (uint64_t p = 0; p < pages; p++) *(volatile char*)(array + p * kPage) = 1;
  if (child == 0) {
    take_turns(there[0], back[1], array, pages, turns);
    _exit(0);
  }
  char token = 1;
  if (write(there[1], &token, 1) != 1) return 1;
  take_turns(back[0], there[1], array, pages, turns);
  int status;
  return waitpid(child, &status, 0) == child && status == 0 ? 0 : 1;
}
