// Maps SIZE bytes of private anonymous memory and writes one byte to every page: one page fault a page, and hardly anything else.
//
//   touch 8M            2048 faults
//   touch 8M --twice    the same: the second round finds the pages there
//   touch 8M --print    the last line is the first address touched
//
// Nothing is printed before the pages were touched, so that standard output's own faults come last.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { kPage = 4096 };

static int usage(void) {
  fprintf(stderr, "usage: touch SIZE [--twice] [--print]   (SIZE like 64K, 8M, 1G)\n");
  return 2;
}

// "8M" -> 8388608; 0 when it is no size.
static size_t parse_size(const char* text) {
  char* end;
  if (*text < '0' || *text > '9') return 0;
  unsigned long long n = strtoull(text, &end, 10);
  int shift = 0;
  if (*end == 'K' || *end == 'k')
    shift = 10, end++;
  else if (*end == 'M' || *end == 'm')
    shift = 20, end++;
  else if (*end == 'G' || *end == 'g')
    shift = 30, end++;
  return *end || n > (UINT64_MAX >> shift) >> 1 ? 0 : n << shift;
}

int main(int argc, char** argv) {
  int rounds = 1, print = 0;
  size_t size = argc > 1 ? parse_size(argv[1]) : 0;
  if (size == 0) return usage();
  for (int i = 2; i < argc; i++) {
    if (!strcmp(argv[i], "--twice"))
      rounds = 2;
    else if (!strcmp(argv[i], "--print"))
      print = 1;
    else
      return usage();
  }
  volatile char* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return perror("touch: mmap"), 1;
  for (int r = 0; r < rounds; r++)
    for (size_t at = 0; at < size; at += kPage) memory[at] = (char)(r + 1);
  printf("touched %zu pages%s\n", (size + kPage - 1) / kPage, rounds == 2 ? " twice" : "");
  if (print) printf("%p\n", (void*)(uintptr_t)memory);
  return 0;
}
