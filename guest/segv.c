// Isolation: what the hardware refuses becomes SIGSEGV, with the reason in si_code and the address in si_addr.
//   segv null          dereferences NULL without a handler: dies (a shell says 139)
//   segv caught ADDR   reads ADDR with a handler and survives
//   segv rodata        writes to a constant   (si_code 2: mapped, but not like that)
//   segv nx            jumps to a data page   (si_code 2)
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static sigjmp_buf escape;
static volatile int code;
static void* volatile address;

static void handler(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)context;
  code = info->si_code;
  address = info->si_addr;
  siglongjmp(escape, 1);
}

static int usage(void) {
  fprintf(stderr, "usage: segv null | caught ADDR | rodata | nx\n");
  return 2;
}

// Keeps the compiler from knowing where a pointer leads.
static void* hide(const void* p) {
  __asm__ volatile("" : "+r"(p));
  return (void*)(uintptr_t)p;
}

static const char constant[] = "read-only";

int main(int argc, char** argv) {
  if (argc < 2) return usage();
  const char* how = argv[1];
  uintptr_t where = 0;
  int caught = !strcmp(how, "caught");
  if (argc != (caught ? 3 : 2)) return usage();
  if (caught) {
    char* end;
    where = strtoull(argv[2], &end, 0);
    if (!*argv[2] || *end) return usage();
  }
  if (!strcmp(how, "null")) {
    int value = *(volatile int*)hide(NULL);
    printf("NULL holds %d\n", value);
    return 1;
  }
  if (!caught && strcmp(how, "rodata") && strcmp(how, "nx")) return usage();

  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, NULL);
  if (sigsetjmp(escape, 1)) {
    printf("caught SIGSEGV si_code=%d addr=%p\n", code, address);
    return 0;
  }
  if (caught) {
    volatile char value = *(volatile char*)hide((void*)where);
    (void)value;
  } else if (!strcmp(how, "rodata")) {
    *(volatile char*)hide(constant) = 'X';
  } else {
    unsigned char* data = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) return perror("segv: mmap"), 1;
    data[0] = 0xc3;  // ret: where it could be executed, nothing would happen
    void (*function)(void) = (void (*)(void))(uintptr_t)hide(data);
    function();
  }
  printf("nothing happened\n");
  return 1;
}
