// Page access patterns for measuring a TLB: touches one byte of a page of a PAGES-page array, nothing else in the loop.
//   tlb_pattern cyclic PAGES ROUNDS   page 0, 1, 2, ... PAGES-1, and again
//   tlb_pattern lcg PAGES N           N pages by x = x*6364136223846793005 + 1442695040888963407 from 1, page (x >> 33) % PAGES
// Every page is written once before the loop, so that the loop has no page faults. The first line printed is the array's first
// page number (address >> 12), from which the set of every page follows.
//
// The loops hold all they need in registers: one data access an iteration (see the disassembly of cyclic() and lcg()).
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { kPage = 4096 };

static __attribute__((noinline)) void cyclic(const char* array, uint64_t pages, uint64_t rounds) {
  for (; rounds; rounds--) {
    const char* at = array;
    for (uint64_t left = pages; left; left--, at += kPage) __asm__ volatile("movzbl (%0), %%eax" : : "r"(at) : "eax");
  }
}

static __attribute__((noinline)) void lcg(const char* array, uint64_t pages, uint64_t count) {
  uint64_t x = 1;
  for (; count; count--) {
    x = x * 6364136223846793005u + 1442695040888963407u;
    const char* at = array + (x >> 33) % pages * kPage;
    __asm__ volatile("movzbl (%0), %%eax" : : "r"(at) : "eax");
  }
}

static int parse(const char* text, uint64_t* value) {
  char* end;
  *value = strtoull(text, &end, 10);
  return *text >= '0' && *text <= '9' && !*end;
}

int main(int argc, char** argv) {
  uint64_t pages, count;
  if (argc != 4 || (strcmp(argv[1], "cyclic") && strcmp(argv[1], "lcg")) || !parse(argv[2], &pages) || !parse(argv[3], &count) ||
      pages == 0 || pages > 1u << 24) {
    fprintf(stderr, "usage: tlb_pattern cyclic PAGES ROUNDS | lcg PAGES N\n");
    return 2;
  }
  char* array = mmap(NULL, pages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (array == MAP_FAILED) return perror("tlb_pattern: mmap"), 1;
  madvise(array, pages * kPage,
          MADV_NOHUGEPAGE);  // the patterns are about 4 KiB pages; a kernel without huge pages refuses, which is as good
  printf("%llu\n", (unsigned long long)((uintptr_t)array / kPage));
  for (uint64_t p = 0; p < pages; p++) *(volatile char*)(array + p * kPage) = 1;
  if (argv[1][0] == 'c')
    cyclic(array, pages, count);
  else
    lcg(array, pages, count);
  return 0;
}
