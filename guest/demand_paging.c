// Demand paging, slow enough to be watched: map 100 MiB, wait, touch 10 MiB a second, wait, exit.
// At the mapping only Committed_AS grows; memory in use follows the touching (2560 faults a second) and comes back at the end.
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { kPage = 4096, kMiB = 1 << 20, kTotal = 100, kStep = 10 };

int main(int argc, char** argv) {
  (void)argv;
  if (argc > 1) return fprintf(stderr, "usage: demand_paging\n"), 2;
  setvbuf(stdout, NULL, _IOLBF, 0);
  volatile char* memory = mmap(NULL, (size_t)kTotal * kMiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return perror("demand_paging: mmap"), 1;
  printf("mapped %d MiB, touched none\n", kTotal);
  sleep(3);
  for (int done = 0; done < kTotal; done += kStep) {
    for (size_t at = 0; at < (size_t)kStep * kMiB; at += kPage) memory[(size_t)done * kMiB + at] = 1;
    printf("touched %d MiB\n", done + kStep);
    sleep(1);
  }
  sleep(3);
  printf("exit\n");
  return 0;
}
