// Copy on write: parent and child share every frame after fork until one of them writes.
// The parent fills SIZE (4M) with 100, the child overwrites all of it with 200: one copied frame a page. The parent still reads 100.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kPage = 4096 };

static size_t parse_size(const char* text) {
  char* end;
  if (*text < '0' || *text > '9') return 0;
  unsigned long long n = strtoull(text, &end, 10);
  if (*end == 'K')
    n <<= 10, end++;
  else if (*end == 'M')
    n <<= 20, end++;
  else if (*end == 'G')
    n <<= 30, end++;
  return *end ? 0 : n;
}

int main(int argc, char** argv) {
  size_t size = argc > 1 ? parse_size(argv[1]) : 4u << 20;
  if (argc > 2 || size == 0) return fprintf(stderr, "usage: cow_fork [SIZE]   (SIZE like 4M)\n"), 2;
  volatile unsigned char* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return perror("cow_fork: mmap"), 1;
  for (size_t at = 0; at < size; at += kPage) memory[at] = 100;
  pid_t child = fork();
  if (child < 0) return perror("cow_fork: fork"), 1;
  if (child == 0) {
    for (size_t at = 0; at < size; at += kPage) memory[at] = 200;
    printf("child wrote 200 to %zu pages\n", (size + kPage - 1) / kPage);
    fflush(stdout);
    _exit(0);
  }
  int status;
  if (waitpid(child, &status, 0) != child || status != 0) return fprintf(stderr, "cow_fork: the child failed\n"), 1;
  for (size_t at = 0; at < size; at += kPage)
    if (memory[at] != memory[0]) return printf("parent reads %d at offset %zu\n", memory[at], at), 1;
  printf("parent reads %d\n", memory[0]);
  return 0;
}
