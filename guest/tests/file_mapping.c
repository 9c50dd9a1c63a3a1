// Mappings of files: private and shared, what write(2) and the mapping see of each other, and the end of the file.
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "check.h"

enum { kPage = 4096 };
static sigjmp_buf escape;
static volatile int caught;
static void* volatile caught_at;

static void on_fault(int signal, siginfo_t* info, void* context) {
  (void)context;
  caught = signal;
  caught_at = info->si_addr;
  siglongjmp(escape, 1);
}

static int probe(volatile char* p) {
  if (sigsetjmp(escape, 1)) return caught;
  (void)*p;
  return 0;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);

  char name[] = "/tmp/file_mapping.XXXXXX";
  int fd = mkstemp(name);
  must(fd >= 0, "mkstemp");
  char page[kPage];
  for (int i = 0; i < 4; i++) {
    memset(page, 'a' + i, kPage);
    must(write(fd, page, kPage) == kPage, "write");
  }
  must(write(fd, "tail", 4) == 4, "write");

  char* shared = mmap(NULL, 5 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  char* priv = mmap(NULL, 5 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  must(shared != MAP_FAILED && priv != MAP_FAILED, "mmap");
  check(shared[0] == 'a' && priv[3 * kPage] == 'd' && !memcmp(priv + 4 * kPage, "tail", 4), "a mapping shows the file");
  check(priv[4 * kPage + 4] == 0 && shared[5 * kPage - 1] == 0, "beyond the file's end its last page is zero");

  must(pwrite(fd, "written", 7, kPage) == 7, "pwrite");
  check(!memcmp(shared + kPage, "written", 7) && !memcmp(priv + kPage, "written", 7), "write(2) is seen in both mappings");
  memcpy(shared + 2 * kPage, "by mapping", 10);
  must(pread(fd, page, 10, 2 * kPage) == 10, "pread");
  check(!memcmp(page, "by mapping", 10), "a store through the shared mapping is seen by read(2)");
  check(!memcmp(priv + 2 * kPage, "by mapping", 10), "and by the private one, which has not copied that page");
  memcpy(priv, "mine", 4);
  must(pread(fd, page, 4, 0) == 4, "pread");
  check(page[0] == 'a' && shared[0] == 'a', "a store through the private mapping is not seen");
  must(pwrite(fd, "zzzz", 4, 0) == 4, "pwrite");
  check(!memcmp(priv, "mine", 4) && !memcmp(shared, "zzzz", 4), "and its page follows the file no longer");
  check(msync(shared, 5 * kPage, MS_SYNC) == 0, "msync");
  check(msync(shared + 1, kPage, MS_SYNC) == -1 && errno == EINVAL, "msync of an odd address is EINVAL");

  pid_t child = fork();
  if (child == 0) {
    memcpy(shared + 3 * kPage, "child", 5);
    _exit(0);
  }
  int status;
  must(waitpid(child, &status, 0) == child && status == 0, "child");
  check(!memcmp(shared + 3 * kPage, "child", 5), "a child's store to the shared mapping is seen");

  must(ftruncate(fd, 2 * kPage) == 0, "ftruncate");
  check(probe(shared + kPage) == 0, "what is left after truncation stays");
  check(probe(shared + 2 * kPage) == SIGBUS && caught_at == shared + 2 * kPage, "beyond it: SIGBUS with the address");
  check(probe(priv + 3 * kPage) == SIGBUS, "in the private mapping too");
  must(ftruncate(fd, 5 * kPage) == 0, "ftruncate");
  check(shared[2 * kPage] == 0 && shared[3 * kPage] == 0, "grown again it reads zeros");

  char* offset = mmap(NULL, kPage, PROT_READ, MAP_SHARED, fd, kPage);
  check(offset != MAP_FAILED && !memcmp(offset, "written", 7), "a mapping from an offset");
  check(mmap(NULL, kPage, PROT_READ, MAP_SHARED, fd, 100) == MAP_FAILED && errno == EINVAL, "an odd offset is EINVAL");
  must(unlink(name) == 0, "unlink");
  close(fd);
  check(!memcmp(offset, "written", 7), "the mapping outlives the name and the descriptor");

  char other[] = "/tmp/file_mapping.XXXXXX";
  must((fd = mkstemp(other)) >= 0, "mkstemp");
  close(fd);
  fd = open(other, O_RDONLY);
  must(fd >= 0, "open");
  check(mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EACCES,
        "no shared writable mapping of a read-only descriptor");
  check(mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0) != MAP_FAILED, "a private one is fine");
  close(fd);
  unlink(other);
  check(mmap(NULL, kPage, PROT_READ, MAP_PRIVATE, 999, 0) == MAP_FAILED && errno == EBADF, "a bad descriptor is EBADF");
  return 0;
}
