// Shared anonymous memory: after fork both processes map the same frames, and each sees what the other writes.
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char** argv) {
  (void)argv;
  if (argc > 1) return fprintf(stderr, "usage: shared_anon\n"), 2;
  volatile int* value = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (value == MAP_FAILED) return perror("shared_anon: mmap"), 1;
  *value = 100;
  printf("parent wrote %d\n", *value);
  fflush(stdout);
  pid_t child = fork();
  if (child < 0) return perror("shared_anon: fork"), 1;
  if (child == 0) {
    printf("child reads %d and writes 200\n", *value);
    fflush(stdout);
    *value = 200;
    _exit(0);
  }
  waitpid(child, NULL, 0);
  printf("parent reads %d\n", *value);
  return 0;
}
