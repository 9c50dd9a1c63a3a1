// exec: arguments, environment and auxiliary vector of the new program, and what of the old one survives.
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/stat.h>

#include "check.h"

extern char** environ;

static void handler(int signal) { (void)signal; }

// The second life of this program: checks what the first one passed to it.
static int second(int argc, char** argv) {
  check(argc == 5 && !strcmp(argv[2], "two words") && !strcmp(argv[3], "") && !strcmp(argv[4], "\xc3\xa4\n"),
        "arguments come as they were given, the empty one too");
  check(argv[5] == NULL, "argv ends with NULL");
  check(environ[0] && !strcmp(environ[0], "A=1") && environ[1] && !strcmp(environ[1], "EMPTY=") && !environ[2], "so does the environment");
  check(((uintptr_t)argv - 8) % 16 == 0, "the stack starts at a multiple of 16");
  check(environ == argv + argc + 1, "the environment lies after the arguments");
  check(argv[0] < argv[1] && argv[4] < environ[0], "and the strings in that order");

  check(getauxval(AT_PAGESZ) == 4096, "AT_PAGESZ");
  const unsigned char* random = (const unsigned char*)getauxval(AT_RANDOM);
  bool any = false;
  for (int i = 0; random && i < 16; i++) any |= random[i] != 0;
  check(any, "AT_RANDOM leads to 16 bytes");
  const char* name = (const char*)getauxval(AT_EXECFN);
  check(name && !strcmp(name, argv[1] + strlen("again:")), "AT_EXECFN is the path that was executed");
  check(getauxval(AT_UID) == getuid() && getauxval(AT_EUID) == geteuid() && getauxval(AT_GID) == getgid(), "AT_UID, AT_EUID, AT_GID");
  check(getauxval(AT_SECURE) == 0 && getauxval(AT_CLKTCK) == 100, "AT_SECURE, AT_CLKTCK");
  const Elf64_Phdr* headers = (const Elf64_Phdr*)getauxval(AT_PHDR);
  bool load = false;
  for (unsigned long i = 0; i < getauxval(AT_PHNUM); i++) load |= headers[i].p_type == PT_LOAD;
  check(load && getauxval(AT_PHENT) == sizeof(Elf64_Phdr), "AT_PHDR leads to the program headers");
  check(getauxval(AT_ENTRY) > 4096 && getauxval(AT_PLATFORM) && !strcmp((const char*)getauxval(AT_PLATFORM), "x86_64"),
        "AT_ENTRY, AT_PLATFORM");

  struct sigaction action;
  sigaction(SIGUSR1, NULL, &action);
  check(action.sa_handler == SIG_DFL, "a caught signal is back to its default");
  sigaction(SIGUSR2, NULL, &action);
  check(action.sa_handler == SIG_IGN, "an ignored one stays ignored");
  sigset_t mask;
  sigprocmask(SIG_BLOCK, NULL, &mask);
  check(sigismember(&mask, SIGHUP), "the mask is inherited");
  check(fcntl(10, F_GETFD) == -1 && errno == EBADF, "a close-on-exec descriptor is closed");
  check(fcntl(11, F_GETFD) == 0, "another stays open");
  FILE* f = fopen("/proc/self/comm", "r");
  char comm[32] = "";
  must(f && fgets(comm, sizeof comm, f), "comm");
  fclose(f);
  const char* slash = strrchr(name, '/');
  check(!strncmp(comm, slash ? slash + 1 : name, strlen(comm) - 1), "/proc/self/comm is the program's name");
  f = fopen("/proc/self/cmdline", "r");
  char line[4096];
  must(f != NULL, "cmdline");
  size_t n = fread(line, 1, sizeof line, f);
  fclose(f);
  check(n > 20 && !strcmp(line, argv[0]) && !memcmp(line + n - 4, "\xc3\xa4\n", 4), "/proc/self/cmdline is the arguments");
  return 0;
}

int main(int argc, char** argv) {
  if (argc > 1 && !strncmp(argv[1], "again:", 6)) return second(argc, argv);
  char path[4096], note[4200];
  ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
  must(n > 0, "readlink /proc/self/exe");
  path[n] = 0;
  check(access(path, X_OK) == 0, "/proc/self/exe is this program");
  check(execl("/no/such/program", "x", (char*)NULL) == -1 && errno == ENOENT, "exec of nothing is ENOENT");
  check(execl("/tmp", "x", (char*)NULL) == -1 && errno == EACCES, "exec of a directory is EACCES");

  char script[] = "/tmp/exec_args.XXXXXX";
  int fd = mkstemp(script);
  must(fd >= 0, "mkstemp");
  must(write(fd, "junk\n", 5) == 5 && fchmod(fd, 0755) == 0, "write");
  close(fd);
  check(execl(script, script, (char*)NULL) == -1 && errno == ENOEXEC, "exec of junk is ENOEXEC");
  chmod(script, 0644);
  check(execl(script, script, (char*)NULL) == -1 && errno == EACCES, "without the right to execute EACCES");
  unlink(script);

  must(dup2(1, 10) == 10 && dup2(1, 11) == 11 && fcntl(10, F_SETFD, FD_CLOEXEC) == 0, "descriptors");
  signal(SIGUSR1, handler), signal(SIGUSR2, SIG_IGN);
  sigset_t mask;
  sigemptyset(&mask), sigaddset(&mask, SIGHUP);
  sigprocmask(SIG_BLOCK, &mask, NULL);
  snprintf(note, sizeof note, "again:%s", path);
  char *arguments[] = {"zero", note, "two words", "", "\xc3\xa4\n", NULL}, *environment[] = {"A=1", "EMPTY=", NULL};
  execve(path, arguments, environment);
  failed("execve");
}
