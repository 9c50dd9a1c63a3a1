// fork copies an address space; writes in one process are never seen in another, however deep the family.
#include <sys/mman.h>

#include "check.h"

enum { kPage = 4096, kPages = 64 };
static char* memory;
static int global = 7;

static bool all(char value) {
  for (int i = 0; i < kPages; i++)
    if (memory[i * kPage] != value || memory[i * kPage + kPage - 1] != value) return false;
  return true;
}

static void fill(char value) { memset(memory, value, kPages * kPage); }

// A chain of `depth` generations: each sees its parent's value, writes its own, and still sees its own after its child wrote.
static void generation(int depth, char expected) {
  must(all(expected), "a child sees what its parent saw at fork");
  if (depth == 0) return;
  fill((char)(expected + 1));
  pid_t child = fork();
  must(child >= 0, "fork");
  if (child == 0) {
    generation(depth - 1, (char)(expected + 1));
    fill(99);
    _exit(0);
  }
  int status;
  must(waitpid(child, &status, 0) == child && status == 0, "a grandchild");
  must(all((char)(expected + 1)), "a parent's memory after its child wrote");
}

static void first(void) { generation(8, 1); }

static void siblings_child(void) {
  for (int i = 0; i < kPages; i++) memory[i * kPage] = 50;
}

int main(void) {
  memory = mmap(NULL, kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(memory != MAP_FAILED, "mmap");
  fill(1);
  check(in_child(first) == 0, "eight generations of copies");
  check(all(1), "the first one kept its own");

  for (int i = 0; i < 5; i++) must(in_child(siblings_child) == 0, "sibling");
  check(all(1), "five children wrote, the parent did not notice");

  int pipe_down[2], pipe_up[2];
  must(pipe(pipe_down) == 0 && pipe(pipe_up) == 0, "pipe");
  pid_t child = fork();
  if (child == 0) {
    char byte;
    must(read(pipe_down[0], &byte, 1) == 1, "read");
    _exit(all(1) && global == 7 ? 0 : 1);  // the parent wrote before it told us
  }
  fill(2);
  global = 8;
  must(write(pipe_down[1], "x", 1) == 1, "write");
  int status;
  must(waitpid(child, &status, 0) == child, "waitpid");
  check(status == 0, "the parent wrote, the child did not notice");
  check(all(2) && global == 8, "and the parent has what it wrote");

  // The kernel writes to copied pages too: read(2) into a shared frame must copy it first.
  child = fork();
  if (child == 0) {
    must(write(pipe_up[1], "kernel", 6) == 6 && read(pipe_up[0], memory + 10, 6) == 6, "pipe through the kernel");
    _exit(memcmp(memory + 10, "kernel", 6) ? 1 : 0);
  }
  must(waitpid(child, &status, 0) == child && status == 0, "child");
  check(all(2) && memory[10] == 2, "a read(2) in the child copies the page first");

  char* untouched = mmap(NULL, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(untouched[0] == 0, "zero page");
  child = fork();
  if (child == 0) {
    untouched[0] = 5, untouched[kPage] = 6;
    _exit(0);
  }
  waitpid(child, &status, 0);
  check(untouched[0] == 0 && untouched[kPage] == 0, "pages never written stay zero");
  return 0;
}
